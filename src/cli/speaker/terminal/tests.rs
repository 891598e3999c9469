use super::Terminal;
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::editor::Event;
use crate::cli::editor::recorded::Person;
use crate::cli::speaker::scene::{alice, columns, ended, message, text, waits};
use crate::cli::speaker::{Answer, Intent, Left, Speaker as _};
use crate::link::{Cause, Notice};
use crate::protocol::Role;

/// Bob at a terminal of 60 columns.
struct Scene {
    bob: Terminal,
    person: Person,
    shown: Shown,
}

impl Scene {
    /// In conversation with alice, on a server.
    fn new() -> Self {
        let (display, shown, editor, events, person) = Display::edited(columns(60));
        let mut bob = Terminal::new(display, None, true);
        bob.editor = Some((editor, events));
        let mut scene = Self { bob, person, shown };
        scene.bob.connected(&alice(Role::Server)).unwrap();
        scene.shown();
        scene
    }

    fn shown(&self) -> String {
        self.person.looks();
        self.shown.take()
    }

    fn enters(&self, turn: u64, words: &str) {
        let text = words.to_owned();
        self.person
            .does
            .send(Event::Entered { turn, text })
            .unwrap();
    }
}

#[tokio::test]
async fn each_state_is_told_once() {
    let mut scene = Scene::new();
    assert!(waits(scene.bob.ask(1)).await);
    assert!(waits(scene.bob.ask(1)).await);
    assert_eq!(scene.shown(), "|[prompt of turn 1 bell]\n");
    scene.enters(1, "hello");
    let Intent::Message(said) = scene.bob.ask(1).await else {
        panic!("no message");
    };
    scene.bob.sent(1, &said).unwrap();
    scene.bob.notice(Notice::Delivered { turn: 1 }).unwrap();
    scene.bob.notice(Notice::Lost).unwrap();
    scene.bob.notice(Notice::Resumed).unwrap();
    scene
        .bob
        .notice(Notice::Silence { is_over: false })
        .unwrap();
    scene.bob.notice(Notice::Silence { is_over: true }).unwrap();
    scene.bob.heard(&message(2, "hi")).unwrap();
    assert_eq!(
        scene.shown(),
        "|[Sent. Waiting for alice.]\n\
         Your message: hello\n\
         |turnchat: Turn 1 is delivered.\n\
         |[Delivered. Waiting for alice.]\n\
         |turnchat: The link is lost. Nothing is delivered until it \n\
         |    is back; then all goes on where it was.\n\
         |[The link is lost. Waiting for alice.]\n\
         |turnchat: The link is back.\n\
         |[Waiting for alice.]\n\
         |[Nothing has come from your peer for 30 seconds: the link may be gone.]\n\
         |[Waiting for alice.]\n\
         They say: hi\n"
    );
}

#[tokio::test]
async fn a_notice_in_our_turn_leaves_the_prompt() {
    let mut scene = Scene::new();
    assert!(waits(scene.bob.ask(1)).await);
    scene.shown();
    scene
        .bob
        .notice(Notice::Silence { is_over: false })
        .unwrap();
    scene.bob.notice(Notice::Lost).unwrap();
    assert!(waits(scene.bob.ask(1)).await);
    let shown = scene.shown();
    assert!(shown.contains("|turnchat: Nothing has come"), "{shown}");
    assert!(!shown.contains('['), "{shown}");
}

#[tokio::test]
async fn what_was_entered_for_another_turn_is_not_said() {
    let mut scene = Scene::new();
    scene.enters(1, "for turn 1");
    assert!(waits(scene.bob.ask(3)).await);
}

#[tokio::test]
async fn quit_and_the_end_of_the_input_quit() {
    let mut scene = Scene::new();
    scene.enters(1, "QUIT");
    assert!(matches!(scene.bob.ask(1).await, Intent::Quit));
    assert!(scene.shown().ends_with("Your message: QUIT\n"));
    scene.person.does.send(Event::End).unwrap();
    assert!(matches!(scene.bob.ask(1).await, Intent::Quit));
}

#[tokio::test]
async fn a_closed_terminal_hangs_up_in_every_state() {
    let mut scene = Scene::new();
    scene.person.does.send(Event::Gone).unwrap();
    assert!(matches!(scene.bob.ask(1).await, Intent::HangUp));
    scene.person.does.send(Event::Gone).unwrap();
    assert!(matches!(scene.bob.idle().await, Intent::HangUp));
    scene.person.does.send(Event::Gone).unwrap();
    assert_eq!(scene.bob.between(true).await, Ok(Left::Terminal));
    scene.person.does.send(Event::Gone).unwrap();
    scene.bob.question("Talk with it? ");
    let answer = scene.bob.answer().await;
    assert_eq!(answer, Ok(Answer::Left(Left::Terminal)));
}

#[tokio::test]
async fn a_draft_is_named_at_the_end_and_when_interrupted() {
    for is_interrupted in [false, true] {
        let mut scene = Scene::new();
        scene.person.drafts("half a thought");
        if is_interrupted {
            scene.bob.interrupted();
        }
        scene.bob.ended(&ended(Cause::Peer)).unwrap();
        let shown = scene.shown();
        assert_eq!(shown.matches("|Not sent: half a thought\n").count(), 1);
        assert!(shown.contains("|turnchat: alice has ended the conversation.\n"));
    }
}

#[tokio::test]
async fn a_draft_is_named_when_the_conversation_is_left() {
    let scene = Scene::new();
    scene.person.drafts("half a thought");
    drop(scene.bob);
    assert_eq!(scene.shown.take(), "|Not sent: half a thought\n");
}

#[tokio::test]
async fn what_is_entered_as_it_ends_is_found() {
    let mut scene = Scene::new();
    scene.enters(1, "QUIT");
    scene.enters(1, "too late");
    assert_eq!(scene.bob.entered(), [text("too late")]);
    assert_eq!(scene.bob.entered(), []);
}

/// At SIGTERM nobody asks for it.
#[tokio::test]
async fn what_was_entered_and_not_said_is_named_when_the_conversation_is_left() {
    let scene = Scene::new();
    scene.enters(1, "too late");
    scene.person.drafts("half a thought");
    drop(scene.bob);
    let shown = scene.shown.take();
    assert_eq!(shown, "|Not sent: too late\n|Not sent: half a thought\n");
}

/// The end is told a moment after that it was asked what was entered.
#[tokio::test]
async fn once_what_was_entered_is_asked_for_enter_does_nothing() {
    let mut scene = Scene::new();
    scene.person.drafts("half a thought");
    assert_eq!(scene.bob.entered(), []);
    scene.person.drafts("nothing more");
    scene.bob.ended(&ended(Cause::Peer)).unwrap();
    let shown = scene.shown();
    let named = "|Not sent: half a thought\n";
    assert!(shown.contains(named), "{shown}");
}

#[tokio::test]
async fn a_withdrawn_question_takes_its_answer_along() {
    let mut scene = Scene::new();
    scene.bob.question("Talk with it? ");
    assert!(scene.bob.is_asking());
    let answer = Event::Answered("accept".to_owned());
    scene.person.does.send(answer).unwrap();
    scene.bob.withdraw();
    assert!(!scene.bob.is_asking());
    assert!(waits(scene.bob.answer()).await);
}

#[tokio::test]
async fn a_paste_that_is_too_long_is_told() {
    let mut scene = Scene::new();
    scene.person.does.send(Event::TooLong).unwrap();
    assert!(waits(scene.bob.ask(1)).await);
    assert!(scene.shown().contains("at most"));
}

#[tokio::test]
async fn what_is_said_while_the_link_is_lost_is_not_called_sent() {
    let mut scene = Scene::new();
    for (notice, told) in [
        (None, "Sent. Waiting"),
        (Some(Notice::Lost), "It is sent once the link is back."),
        (Some(Notice::Resumed), "Sent. Waiting"),
    ] {
        if let Some(notice) = notice {
            scene.bob.notice(notice).unwrap();
        }
        scene.shown();
        scene.bob.sent(1, &text("tea?")).unwrap();
        let shown = scene.shown();
        assert!(shown.contains(told), "no {told} in {shown}");
    }
}
