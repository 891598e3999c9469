use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use super::{State, Transcript, TranscriptFile};
use crate::cli::report::Exit;
use crate::cli::speaker::Partner;
use crate::link::{Cause, Ended};
use crate::protocol::{ConversationId, Message, Role, Text};
use crate::trust::KeyId;

fn alice() -> Partner {
    Partner {
        key: KeyId::of_spki(b"alice"),
        petname: Some("alice".to_owned()),
        address: None,
        role: Role::Client,
        conversation: ConversationId::from_bits([1; 16]),
        is_resumed: false,
    }
}

fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

fn message(turn: u64, words: &str) -> Message {
    Message {
        turn,
        text: text(words),
    }
}

/// What is in the file after a conversation of two turns.
async fn recorded(name: &str, has_many: bool) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    let mut transcript = Transcript::open(&path, has_many).unwrap();
    transcript.connected(&alice()).await.unwrap();
    transcript
        .heard(&message(1, "tea?\nor \u{1b}[2J"), false)
        .await
        .unwrap();
    transcript.said(2, &text("tea")).await.unwrap();
    let over = Ended::new(Cause::Peer, 2, None);
    transcript.ended(&over).await.unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::read_to_string(&path).unwrap()
}

#[tokio::test]
async fn it_reads_as_what_is_shown_with_the_time_of_each() {
    let recorded = recorded("talk.txt", false).await;
    let key = KeyId::of_spki(b"alice");
    let rows: Vec<_> = recorded.lines().collect();
    let (times, words): (Vec<_>, Vec<_>) = rows
        .iter()
        .map(|row| row.split_once("Z ").unwrap_or(("", row)))
        .unzip();
    let conversation = ConversationId::from_bits([1; 16]);
    assert_eq!(
        words,
        [
            &format!("Connected with alice ({key}), conversation {conversation}."),
            "They say: tea?",
            "    or \\u{1b}[2J",
            "Your message: tea",
            "The conversation is over: the peer ended the conversation.",
        ]
    );
    assert!(times[0].starts_with("20") && times[0].contains('T'));
}

#[tokio::test]
async fn conversations_side_by_side_are_told_apart() {
    let recorded = recorded("talk.txt", true).await;
    let id = ConversationId::from_bits([1; 16]).to_string();
    let stamped = recorded
        .lines()
        .filter(|row| row.contains(&format!("Z {} ", &id[..8])));
    assert_eq!(stamped.count(), 4);
}

#[tokio::test]
async fn a_name_in_jsonl_gets_json_lines() {
    let recorded = recorded("talk.jsonl", false).await;
    let events: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["connected", "turn", "turn", "ended"].map(Some));
    assert_eq!(events[1]["text"], "tea?\nor \u{1b}[2J");
    assert_eq!(events[1]["speaker"], "peer");
    assert_eq!(events[2]["turn"], 2);
    assert!(events.iter().all(|event| event["time"].is_string()));
}

#[tokio::test]
async fn what_was_torn_off_stays_a_line_of_its_own() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("talk.txt");
    fs::write(&path, "They sa").unwrap();
    let mut transcript = Transcript::open(&path, false).unwrap();
    transcript.begin(ConversationId::from_bits([1; 16]));
    transcript.heard(&message(1, "tea?"), true).await.unwrap();
    let recorded = fs::read_to_string(&path).unwrap();
    assert!(recorded.starts_with("They sa\n20"), "{recorded}");
    assert!(
        recorded.ends_with("Z They say, if it is not above: tea?\n"),
        "{recorded}"
    );
}

/// What is in a file that had `there`, after a write that failed before its first byte and one
/// that did not.
fn after_a_full_disk(there: &str) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("talk.jsonl");
    fs::write(&path, there).unwrap();
    let torn = State {
        // It takes no write.
        file: File::open(&path).unwrap(),
        is_torn: !there.is_empty() && !there.ends_with('\n'),
    };
    let file = TranscriptFile {
        path: path.clone(),
        is_json: true,
        has_many: false,
        state: Mutex::new(torn),
    };
    file.append(b"one\n").unwrap_err();
    let mut options = File::options();
    file.state.lock().unwrap().file = options.read(true).append(true).open(&path).unwrap();
    file.append(b"two\n").unwrap();
    fs::read_to_string(&path).unwrap()
}

#[test]
fn a_line_that_was_never_begun_needs_no_end() {
    assert_eq!(after_a_full_disk(""), "two\n");
    assert_eq!(after_a_full_disk("zero\n"), "zero\ntwo\n");
    assert_eq!(after_a_full_disk("ze"), "ze\ntwo\n");
}

#[tokio::test]
async fn what_others_can_write_or_is_no_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("open.txt"), "").unwrap();
    fs::set_permissions(at("open.txt"), fs::Permissions::from_mode(0o666)).unwrap();
    symlink(at("elsewhere"), at("link.txt")).unwrap();
    let refused = |name| Transcript::open(&at(name), false).unwrap_err();
    assert_eq!(refused("open.txt").exit, Exit::Trust);
    assert_eq!(refused("link.txt").exit, Exit::Failure);
    assert_eq!(refused("").exit, Exit::Failure);
    assert_eq!(refused("missing/talk.txt").exit, Exit::Failure);
    assert!(!at("elsewhere").exists());
}

#[tokio::test]
async fn without_a_file_nothing_is_recorded() {
    let mut transcript = Transcript::default();
    transcript.connected(&alice()).await.unwrap();
    transcript.said(1, &text("tea")).await.unwrap();
}
