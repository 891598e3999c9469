use tokio::time::timeout;

use super::{Pipe, SHARED};
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::report::Exit;
use crate::cli::speaker::scene::{alice, ended, input, message, text};
use crate::cli::speaker::{Intent, Left, Speaker as _, Unsaid};
use crate::link::Cause;
use crate::protocol::Role;

fn reading(lines: &str, first: Option<&str>) -> (Pipe, Shown) {
    let (display, shown) = Display::recorded(None);
    (Pipe::new(input(lines), display, first.map(text)), shown)
}

async fn said(pipe: &mut Pipe, turn: u64) -> String {
    match pipe.ask(turn).await {
        Intent::Message(text) => {
            pipe.sent(turn, &text).unwrap();
            text.as_str().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transcript_reads_as_a_typed_one() {
    let (mut pipe, shown) = reading("one\nthree\nQUIT\n", None);
    pipe.connected(&alice(Role::Server)).unwrap();
    said(&mut pipe, 1).await;
    pipe.heard(&message(2, "two\nlines")).unwrap();
    said(&mut pipe, 3).await;
    pipe.heard(&message(4, "four")).unwrap();
    assert!(matches!(pipe.ask(5).await, Intent::Quit));
    assert_eq!(
        shown.take(),
        "|turnchat: Connected with alice.\n\
         Your message: one\n\
         They say: two\n    lines\n\
         Your message: three\n\
         They say: four\n\
         Your message: QUIT\n"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_shown_with_the_answer_or_soon() {
    let (mut pipe, shown) = reading("one\nthree\nfive\n", None);
    said(&mut pipe, 1).await;
    assert_eq!(shown.take(), "");
    pipe.heard(&message(2, "two")).unwrap();
    assert_eq!(shown.take(), "Your message: one\nThey say: two\n");
    said(&mut pipe, 3).await;
    // Dropped and asked again, as at each notice.
    assert!(timeout(SHARED / 2, pipe.idle()).await.is_err());
    assert!(timeout(SHARED, pipe.idle()).await.is_err());
    assert_eq!(shown.take(), "Your message: three\n");
    pipe.heard(&message(4, "four")).unwrap();
    said(&mut pipe, 5).await;
    pipe.display().say("Still here.");
    assert_eq!(
        shown.take(),
        "They say: four\nYour message: five\n|turnchat: Still here.\n"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_shown_when_the_pipe_lets_go() {
    let (mut pipe, shown) = reading("one\n", None);
    said(&mut pipe, 1).await;
    drop(pipe);
    assert_eq!(shown.take(), "Your message: one\n");
}

#[tokio::test(start_paused = true)]
async fn a_closed_stdout_is_told_wherever_it_is_found() {
    let (mut pipe, shown) = reading("one\nthree\n", None);
    said(&mut pipe, 1).await;
    shown.close();
    pipe.display().say("Nobody reads this, either.");
    assert!(matches!(pipe.idle().await, Intent::Broken(_)));
    let (mut pipe, shown) = reading("one\n", None);
    said(&mut pipe, 1).await;
    shown.close();
    assert!(pipe.ended(&ended(Cause::Peer)).is_err());
}

#[tokio::test]
async fn the_end_of_the_input_is_a_quit_without_a_row() {
    let (mut pipe, shown) = reading("", None);
    assert!(matches!(pipe.ask(1).await, Intent::Quit));
    assert_eq!(shown.take(), "");
}

#[tokio::test]
async fn an_escaped_quit_is_the_word() {
    let (mut pipe, _) = reading("\\QUIT\n", None);
    assert_eq!(said(&mut pipe, 1).await, "QUIT");
}

/// Of a conversation that was to go on, and was ended meanwhile, nobody told its name.
#[tokio::test]
async fn an_end_before_the_conversation_has_a_peer_too() {
    let (mut pipe, shown) = reading("", None);
    pipe.ended(&ended(Cause::Peer)).unwrap();
    assert_eq!(
        shown.take(),
        "|turnchat: Your peer has ended the conversation.\n"
    );
}

#[tokio::test]
async fn a_client_tells_what_it_has_not_said() {
    let (mut pipe, shown) = reading("two\nfour\nsix\n", None);
    pipe.connected(&alice(Role::Client)).unwrap();
    let Intent::Message(text) = pipe.ask(2).await else {
        panic!("no message");
    };
    shown.take();
    assert_eq!(pipe.unsaid(text), Unsaid::Lost);
    pipe.ended(&ended(Cause::Peer)).unwrap();
    assert_eq!(
        shown.take(),
        "|Not sent: two\n\
         |turnchat: alice has ended the conversation.\n\
         |turnchat: 2 lines of standard input were not sent.\n"
    );
}

#[tokio::test]
async fn a_server_says_it_to_the_next() {
    let (mut pipe, shown) = reading("one\n", None);
    pipe.connected(&alice(Role::Server)).unwrap();
    let Intent::Message(text) = pipe.ask(1).await else {
        panic!("no message");
    };
    assert_eq!(pipe.unsaid(text), Unsaid::Kept);
    pipe.ended(&ended(Cause::Me)).unwrap();
    shown.take();
    assert_eq!(said(&mut pipe, 1).await, "one");
    assert_eq!(pipe.between(false).await, Ok(Left::Input));
}

#[tokio::test]
async fn the_first_words_are_said_to_everybody() {
    let (mut pipe, _) = reading("three\n", Some("welcome"));
    for _ in 0..2 {
        let Intent::Message(text) = pipe.ask(1).await else {
            panic!("no message");
        };
        assert_eq!(text.as_str(), "welcome");
        assert_eq!(pipe.unsaid(text), Unsaid::Kept);
    }
    assert_eq!(said(&mut pipe, 3).await, "three");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_it() {
    let (mut pipe, _) = reading(&format!("{}\n", "x".repeat(65_537)), None);
    let Intent::Failed(report) = pipe.ask(1).await else {
        panic!("no failure");
    };
    assert_eq!(report.exit, Exit::Failure);
    assert!(report.what.contains("65536 bytes"), "{report:?}");
}

#[tokio::test]
async fn a_closed_stdout_takes_nothing() {
    let (mut pipe, shown) = reading("one\n", None);
    shown.close();
    assert!(pipe.heard(&message(2, "two")).is_err());
}
