use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use nix::pty::openpty;
use tokio::time::timeout;

use super::Lines;
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::input::Input;
use crate::cli::speaker::scene::{alice, columns, conversation, ended, message, text};
use crate::cli::speaker::{Answer, Intent, Left, Speaker as _, Unsaid};
use crate::link::{Cause, Notice};
use crate::protocol::{Role, Text};

/// Whether this still waits, long after all that was typed has come.
async fn waits(asked: impl Future) -> bool {
    timeout(Duration::from_secs(1), asked).await.is_err()
}

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

    /// What was typed ahead is in the terminal.
    fn types_ahead(&mut self, keys: &str) {
        self.types(keys);
        while !self.lines.input.is_ready() {}
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

#[tokio::test(start_paused = true)]
async fn a_typed_line_is_said_and_not_shown_again() {
    let mut bob = Person::new();
    let intent = bob.answers(1, "\n  \nhello\n").await;
    let (said, shown) = bob.says(1, intent);
    assert_eq!(said, "hello");
    // Enter alone is asked again.
    assert_eq!(shown, "Your message: Your message: Your message: ");
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_before_the_prompt_waits_for_enter() {
    let mut bob = Person::new();
    bob.types_ahead("early\n");
    let intent = bob.answers(1, "\n").await;
    let (said, shown) = bob.says(1, intent);
    assert_eq!(said, "early");
    assert_eq!(
        shown,
        "|\n\
         |Typed before this prompt, and not sent: early\n\
         |Enter alone sends it; anything else is sent in its place.\n\
         Your message: Your message: early\n"
    );
}

#[tokio::test(start_paused = true)]
async fn something_else_takes_its_place() {
    let mut bob = Person::new();
    bob.types_ahead("early\n");
    let intent = bob.answers(1, "late\n").await;
    assert_eq!(bob.says(1, intent).0, "late");
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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
         Your message: "
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_is_named() {
    let mut bob = Person::new();
    bob.types_ahead("early\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("later\n");
    bob.shown.take();
    bob.lines.ended(&ended(Cause::Peer)).unwrap();
    assert_eq!(
        bob.shown.take(),
        "|\n\
         |turnchat: alice has ended the conversation.\n\
         |Not sent: early\n\
         |    later\n"
    );
}

/// Of one that is half typed as the turn comes, nothing is sent that was not seen as a whole.
#[tokio::test(start_paused = true)]
async fn a_line_that_was_begun_goes_on_and_is_seen_before_it_is_sent() {
    let mut bob = Person::new();
    bob.types_ahead("whole\n");
    bob.types("I will not ");
    assert!(waits(bob.lines.ask(1)).await);
    assert_eq!(
        bob.shown.take(),
        "|\n\
         |Begun before this prompt, and not sent: whole\n\
         |    I will not \n\
         |Go on with it, or send it by Enter alone.\n\
         Your message: "
    );
    bob.types("pay you\n");
    assert!(waits(bob.lines.ask(1)).await);
    assert_eq!(
        bob.shown.take(),
        "|\n\
         |Typed before this prompt, and not sent: whole\n\
         |    I will not pay you\n\
         |Enter alone sends it; anything else is sent in its place.\n\
         Your message: "
    );
    bob.types("\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "whole\nI will not pay you");
}

/// A paste in which the turn comes.
#[tokio::test(start_paused = true)]
async fn what_stands_behind_the_rest_of_a_line_belongs_to_it() {
    let mut bob = Person::new();
    bob.types_ahead("whole\n");
    bob.types("alpha be");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("a\nb\nc\n\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "whole\nalpha bea\nb\nc");
}

/// A notice has covered it.
#[tokio::test(start_paused = true)]
async fn a_line_that_was_begun_at_the_prompt_is_shown_behind_a_notice() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("secret h\u{e4}");
    bob.lines.notice(Notice::Lost).unwrap();
    bob.shown.take();
    assert!(waits(bob.lines.ask(1)).await);
    let shown = bob.shown.take();
    let begun = "Begun before this prompt, and not sent: secret h\u{e4}\n";
    assert!(shown.contains(begun), "{shown}");
    bob.types("lf\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "secret h\u{e4}lf");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_text_is_told_of_before_the_prompt_too() {
    let mut bob = Person::new();
    bob.types_ahead("one\n");
    bob.keyboard.write_all(b"gr\xfcn\nthree\n").unwrap();
    assert!(waits(bob.lines.ask(1)).await);
    let shown = bob.shown.take();
    assert!(shown.contains("That was not UTF-8"), "{shown}");
    bob.types("\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "one\nthree");
}

/// The turn comes between the bytes of a character.
#[tokio::test(start_paused = true)]
async fn a_character_that_is_half_there_is_not_cut() {
    let mut bob = Person::new();
    bob.types_ahead("one\n");
    bob.keyboard.write_all(b"caf\xc3").unwrap();
    assert!(waits(bob.lines.ask(1)).await);
    bob.keyboard.write_all(b"\xa9\n").unwrap();
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "one\ncaf\u{e9}");
}

/// The key counts where nothing is typed.
#[tokio::test(start_paused = true)]
async fn the_end_of_input_in_mid_line_sends_nothing() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.types("more\u{4}\u{4}\u{4}");
    assert!(waits(bob.lines.ask(1)).await);
    bob.types(" of it\n");
    let intent = bob.lines.ask(1).await;
    assert_eq!(bob.says(1, intent).0, "more of it");
    assert!(matches!(bob.answers(3, "\u{4}").await, Intent::Quit));
}

/// The prompt that was lost was another one's.
#[tokio::test(start_paused = true)]
async fn a_question_that_was_asked_after_ctrl_z_is_asked_once() {
    let mut bob = Person::new();
    bob.lines.display.forget_prompt();
    bob.lines.question("Talk with it? ");
    assert!(waits(bob.lines.answer()).await);
    let shown = bob.shown.take();
    assert_eq!(shown.matches("Talk with it?").count(), 1, "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_for_one_never_reaches_the_next() {
    let mut bob = Person::new();
    bob.types_ahead("for alice\n");
    bob.lines.connected(&alice(Role::Server)).unwrap();
    let shown = bob.shown.take();
    assert!(shown.starts_with("|\n|Not sent: for alice\n"), "{shown}");
    let intent = bob.answers(1, "for the next\n").await;
    assert_eq!(bob.says(1, intent).0, "for the next");
}

#[tokio::test(start_paused = true)]
async fn of_enter_alone_nothing_is_said() {
    let mut bob = Person::new();
    bob.types_ahead("\n");
    bob.lines.connected(&alice(Role::Server)).unwrap();
    let shown = bob.shown.take();
    assert!(shown.starts_with("|turnchat: Connected"), "{shown}");
}

/// The terminal has cut it, and tells nobody.
#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn what_was_typed_ahead_is_shown_again_behind_a_notice() {
    let mut bob = Person::new();
    bob.types_ahead("early\n");
    assert!(waits(bob.lines.ask(1)).await);
    bob.lines.notice(Notice::Lost).unwrap();
    bob.shown.take();
    assert!(waits(bob.lines.ask(1)).await);
    let shown = bob.shown.take();
    let again = "|Typed before this prompt, and not sent: early\n";
    assert!(shown.contains(again), "{shown}");
    assert!(shown.ends_with("in its place.\nYour message: "), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_there_again_after_ctrl_z() {
    let mut bob = Person::new();
    bob.lines.question("Talk with it? ");
    assert!(waits(bob.lines.answer()).await);
    bob.shown.take();
    bob.lines.display.forget_prompt();
    assert!(waits(bob.lines.answer()).await);
    assert_eq!(bob.shown.take(), "|Talk with it? ");
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn ctrl_d_is_a_quit() {
    let mut bob = Person::new();
    assert!(matches!(bob.answers(1, "\u{4}").await, Intent::Quit));
    assert_eq!(bob.lines.between(false).await, Ok(Left::Input));
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn what_crossed_a_quit_is_named() {
    let mut bob = Person::new();
    assert_eq!(bob.lines.unsaid(text("late")), Unsaid::Lost);
    assert_eq!(bob.shown.take(), "|Not sent: late\n");
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn what_was_heard_before_a_restart_says_so() {
    let mut bob = Person::new();
    let said = message(2, "hi");
    bob.lines.heard_again(conversation(), &said).unwrap();
    assert_eq!(
        bob.shown.take(),
        "|turnchat: The last message, if you have not seen it:\nThey say: hi\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_cut_within_a_letter_is_too_long() {
    let mut bob = Person::new();
    assert!(waits(bob.lines.ask(1)).await);
    bob.shown.take();
    bob.types(&format!("{}\nshort\n", "\u{fc}".repeat(3_000)));
    let intent = bob.lines.ask(1).await;
    let (_, shown) = bob.says(1, intent);
    assert!(shown.contains("That was over 4094 bytes"), "{shown}");
}
