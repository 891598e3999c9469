use std::fs::File;
use std::io::Write as _;

use nix::pty::openpty;

use super::Lines;
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::input::Input;
use crate::cli::speaker::scene::{alice, columns, conversation, ended, message, text, waits};
use crate::cli::speaker::{Answer, Intent, Left, Speaker as _, Unsaid};
use crate::link::{Cause, Notice};
use crate::protocol::{Role, Text};

/// A person at a terminal of 60 columns.
struct Person {
    lines: Lines,
    shown: Shown,
    keyboard: File,
}

impl Person {
    /// In conversation with alice, on a server.
    fn new() -> Self {
        let (display, shown) = Display::recorded(Some(columns(60)));
        let terminal = openpty(None, None).unwrap();
        let input = Input::of(terminal.slave, Text::MAX);
        let mut lines = Lines::new(input, display, None);
        lines.connected(&alice(Role::Server)).unwrap();
        shown.take();
        Self {
            lines,
            shown,
            keyboard: File::from(terminal.master),
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Sees the prompt of this turn, and then types.
    async fn answers(&mut self, turn: u64, keys: &str) -> Intent {
        assert!(waits(self.lines.ask(turn)).await);
        self.types(keys);
        self.lines.ask(turn).await
    }

    /// What was said is as it was typed, and what is shown since.
    fn says(&mut self, turn: u64, intent: Intent) -> (String, String) {
        let Intent::Message(text) = intent else {
            panic!("{intent:?}");
        };
        self.lines.sent(turn, &text).unwrap();
        (text.as_str().to_owned(), self.shown.take())
    }
}

#[tokio::test]
async fn a_typed_line_is_said_and_not_shown_again() {
    let mut bob = Person::new();
    let intent = bob.answers(1, "\n  \nhello\n").await;
    let (said, shown) = bob.says(1, intent);
    assert_eq!(said, "hello");
    // Enter alone is asked again.
    assert_eq!(shown, "Your message: Your message: Your message: ");
}

#[tokio::test]
async fn what_was_typed_before_the_prompt_waits_for_enter() {
    let mut bob = Person::new();
    bob.types("early\n");
    let intent = bob.answers(1, "\n").await;
    let (said, shown) = bob.says(1, intent);
    assert_eq!(said, "early");
    assert_eq!(
        shown,
        "|\n\
         |Typed before your turn, and not sent: early\n\
         |Enter alone sends it; anything else is sent in its place.\n\
         Your message: Your message: early\n"
    );
}

#[tokio::test]
async fn something_else_takes_its_place() {
    let mut bob = Person::new();
    bob.types("early\n");
    let intent = bob.answers(1, "late\n").await;
    assert_eq!(bob.says(1, intent).0, "late");
}

#[tokio::test]
async fn what_the_terminal_cuts_is_not_sent() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.shown.take();
    bob.types(&format!("{}\n", "x".repeat(5_000)));
    bob.types("short\n");
    let intent = bob.lines.ask(1).await;
    let (said, shown) = bob.says(1, intent);
    assert_eq!(said, "short");
    assert_eq!(
        shown,
        "|turnchat: That was over 4094 bytes, and was not sent. Say \n\
         |    it in several turns.\n\
         Your message: "
    );
}

#[tokio::test]
async fn a_notice_begins_a_row_and_the_prompt_comes_back() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.lines.notice(Notice::Lost).unwrap();
    assert!(waits(bob.lines.ask(1)).await);
    assert_eq!(
        bob.shown.take(),
        "Your message: |\n\
         |turnchat: The link is lost. Nothing is delivered until it \n\
         |    is back; then all goes on where it was.\n\
         |turnchat: If you had begun a line, it still counts, though \n\
         |    it is not shown: Ctrl-U clears it.\n\
         Your message: "
    );
}

#[tokio::test]
async fn what_is_left_at_the_end_is_named() {
    let mut bob = Person::new();
    bob.types("early\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("later\n");
    bob.shown.take();
    bob.lines.ended(&ended(Cause::Peer)).unwrap();
    assert_eq!(
        bob.shown.take(),
        "|\n\
         |turnchat: alice has ended the conversation.\n\
         |Not sent: early\n\
         |Not sent: later\n"
    );
}

#[tokio::test]
async fn what_was_typed_for_one_never_reaches_the_next() {
    let mut bob = Person::new();
    bob.types("for alice\n");
    while !bob.lines.input.is_ready() {}
    bob.lines.connected(&alice(Role::Server)).unwrap();
    let shown = bob.shown.take();
    assert!(shown.starts_with("|\n|Not sent: for alice\n"), "{shown}");
    let intent = bob.answers(1, "for the next\n").await;
    assert_eq!(bob.says(1, intent).0, "for the next");
}

#[tokio::test]
async fn of_enter_alone_nothing_is_said() {
    let mut bob = Person::new();
    bob.types("\n");
    while !bob.lines.input.is_ready() {}
    bob.lines.connected(&alice(Role::Server)).unwrap();
    let shown = bob.shown.take();
    assert!(shown.starts_with("|turnchat: Connected"), "{shown}");
}

/// The terminal has cut it, and tells nobody.
#[tokio::test]
async fn nor_is_the_rest_of_a_line_sent_that_was_too_long_before_the_prompt() {
    let mut bob = Person::new();
    bob.types(&format!("{}\n", "x".repeat(5_000)));
    assert!(waits(bob.lines.ask(1)).await);
    let shown = bob.shown.take();
    assert!(
        shown.contains("That was over 4094 bytes, and was not sent."),
        "{shown}"
    );
    bob.types("\n");
    assert!(waits(bob.lines.ask(1)).await);
}

#[tokio::test]
async fn what_was_typed_ahead_is_shown_again_behind_a_notice() {
    let mut bob = Person::new();
    bob.types("early\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.lines.notice(Notice::Lost).unwrap();
    bob.shown.take();
    assert!(waits(bob.lines.ask(1)).await);
    let shown = bob.shown.take();
    let again = "|Typed before your turn, and not sent: early\n";
    assert!(shown.contains(again), "{shown}");
    assert!(shown.ends_with("in its place.\nYour message: "), "{shown}");
}

#[tokio::test]
async fn a_question_is_there_again_after_ctrl_z() {
    let mut bob = Person::new();
    bob.lines.question("Talk with it? ");
    assert!(waits(bob.lines.answer()).await);
    bob.shown.take();
    bob.lines.display.forget_prompt();
    assert!(waits(bob.lines.answer()).await);
    assert_eq!(bob.shown.take(), "|Talk with it? ");
}

#[tokio::test]
async fn a_terminal_that_closes_hangs_up() {
    let bob = Person::new();
    let Person {
        mut lines,
        keyboard,
        shown,
    } = bob;
    drop(keyboard);
    assert!(matches!(lines.ask(1).await, Intent::HangUp));
    assert_eq!(lines.between(true).await, Ok(Left::Terminal));
    drop(shown);
}

#[tokio::test]
async fn ctrl_d_is_a_quit() {
    let mut bob = Person::new();
    assert!(matches!(bob.answers(1, "\u{4}").await, Intent::Quit));
    assert_eq!(bob.lines.between(false).await, Ok(Left::Input));
}

#[tokio::test]
async fn a_question_takes_what_is_typed_after_it() {
    let mut bob = Person::new();
    bob.types("stale\n");
    while !bob.lines.input.is_ready() {}
    bob.lines.question("Talk with it? ");
    assert!(bob.lines.is_asking());
    bob.types("accept\n");
    let answer = bob.lines.answer().await;
    assert_eq!(answer, Ok(Answer::Line("accept".to_owned())));
    assert_eq!(bob.shown.take(), "|\n|Not sent: stale\n|Talk with it? ");
}

#[tokio::test]
async fn what_crossed_a_quit_is_named() {
    let mut bob = Person::new();
    assert_eq!(bob.lines.unsaid(text("late")), Unsaid::Lost);
    assert_eq!(bob.shown.take(), "|Not sent: late\n");
}

#[tokio::test]
async fn a_message_is_wrapped_and_never_at_the_margin() {
    let mut bob = Person::new();
    let words = "word ".repeat(20);
    bob.lines.heard(&message(2, words.trim_end())).unwrap();
    let shown = bob.shown.take();
    assert!(shown.starts_with("They say: word"), "{shown}");
    let rows: Vec<_> = shown.lines().skip(1).collect();
    assert!(!rows.is_empty());
    assert!(
        rows.iter().all(|row| row.starts_with("    word")),
        "{shown}"
    );
}

#[tokio::test]
async fn what_was_heard_before_a_restart_says_so() {
    let mut bob = Person::new();
    let said = message(2, "hi");
    bob.lines.heard_again(conversation(), &said).unwrap();
    assert_eq!(
        bob.shown.take(),
        "|turnchat: The last message, if you have not seen it:\nThey say: hi\n"
    );
}

#[tokio::test]
async fn a_line_that_was_cut_within_a_letter_is_too_long() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.shown.take();
    bob.types(&format!("{}\nshort\n", "\u{fc}".repeat(3_000)));
    let intent = bob.lines.ask(1).await;
    let (_, shown) = bob.says(1, intent);
    assert!(shown.contains("That was over 4094 bytes"), "{shown}");
}
