use serde_json::{Value, json};

use super::JsonLines;
use super::channel::Stdio;
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::report::{Exit, Report};
use crate::cli::speaker::scene::{alice, conversation, ended, input, message, waits};
use crate::cli::speaker::{Intent, Left, Speaker as _};
use crate::link::{Cause, LinkError, Notice};
use crate::protocol::{Reason, Role};

fn reading(commands: &str) -> (JsonLines<Stdio>, Shown) {
    let (display, shown) = Display::recorded(None);
    (JsonLines::over(input(commands), display, None), shown)
}

/// In conversation with alice, in this role.
fn talking(commands: &str, role: Role) -> (JsonLines<Stdio>, Shown) {
    let (mut program, shown) = reading(commands);
    program.connected(&alice(role)).unwrap();
    shown.take();
    (program, shown)
}

/// Whether an event is one that docs/json.schema.json knows.
fn is_in_schema(event: &Value) -> bool {
    let schema = include_str!("../../../../docs/json.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let definitions = schema.get("$defs").unwrap();
    let of_events = json!({ "$ref": "#/$defs/event", "$defs": definitions });
    jsonschema::is_valid(&of_events, event)
}

/// The events, without the conversation that each of them names.
fn events(shown: &Shown) -> Vec<Value> {
    let shown = shown.take();
    let events = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    events
        .map(|mut event: Value| {
            assert!(is_in_schema(&event), "{event}");
            let named = event.as_object_mut().unwrap().remove("conversation");
            assert_eq!(named, Some(conversation().to_string().into()));
            event
        })
        .collect()
}

#[tokio::test]
async fn a_turn_is_announced_once_and_answered() {
    let (mut bot, shown) = talking("{\"say\":{\"text\":\"hi\",\"turn\":1}}\n", Role::Server);
    let Intent::Message(said) = bot.ask(1).await else {
        panic!("no message");
    };
    bot.sent(1, &said).unwrap();
    bot.heard(&message(2, "hello")).unwrap();
    assert_eq!(
        events(&shown),
        [
            json!({ "event": "your-turn", "turn": 1 }),
            json!({ "event": "turn", "turn": 1, "speaker": "me", "text": "hi" }),
            json!({ "event": "turn", "turn": 2, "speaker": "peer", "text": "hello" }),
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_done_changes_nothing() {
    let commands = [
        "no json",
        "{\"sing\":{}}",
        "{\"say\":{\"text\":\"a\",\"text\":\"b\"}}",
        "{\"say\":{\"text\":\"a\"},\"say\":{\"text\":\"b\"}}",
        "{\"say\":{\"text\":\"a\",\"turn\":7}}",
        "{\"say\":{\"text\":\"a\",\"conversation\":\"AAAAAAAAAAAAAAAAAAAAAA\"}}",
        "{\"say\":{\"text\":\"right\"}}",
    ];
    let (mut bot, shown) = talking(&(commands.join("\n") + "\n"), Role::Server);
    assert!(matches!(bot.ask(1).await, Intent::Message(text) if text.as_str() == "right"));
    let codes: Vec<_> = events(&shown)
        .iter()
        .filter_map(|event| Some(event.get("code")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(
        codes,
        [
            "bad-input",
            "bad-input",
            "bad-input",
            "bad-input",
            "not-your-turn",
            "other-conversation"
        ]
    );
}

#[tokio::test]
async fn after_the_first_conversation_a_command_names_its_own() {
    let named = format!(
        "{{\"say\":{{\"text\":\"b\",\"conversation\":\"{}\"}}}}",
        conversation()
    );
    let (mut bot, shown) = talking(&format!("{{\"quit\":{{}}}}\n{named}\n"), Role::Server);
    bot.ended(&ended(Cause::Peer)).unwrap();
    bot.connected(&alice(Role::Server)).unwrap();
    shown.take();
    assert!(matches!(bot.ask(1).await, Intent::Message(text) if text.as_str() == "b"));
    assert!(shown.take().contains("\"code\":\"other-conversation\""));
}

#[tokio::test]
async fn the_end_of_the_input_quits_in_turn_and_waits_out_of_it() {
    let (mut bot, _) = talking("", Role::Client);
    assert!(matches!(bot.ask(2).await, Intent::Quit));
    assert!(waits(bot.idle()).await);
    assert_eq!(bot.between(false).await, Ok(Left::Input));
}

#[tokio::test]
async fn a_client_tells_of_what_it_did_not_say() {
    let commands = ["late", "later"].map(|text| format!("{{\"say\":{{\"text\":\"{text}\"}}}}\n"));
    let (mut bot, shown) = talking(&commands.concat(), Role::Client);
    while !bot.channel.input.is_ready() {}
    for late in bot.entered() {
        bot.unsaid(late);
    }
    let told = events(&shown);
    assert!(told.iter().all(|event| event["code"] == "not-sent"));
    let texts: Vec<_> = told.iter().map(|event| &event["text"]).collect();
    assert_eq!(texts, ["late", "later"]);
    // It is not told of again as the program stops.
    bot.ended(&ended(Cause::Peer)).unwrap();
    shown.take();
    bot.stopped(&Report::unsaid(), Role::Client);
    assert_eq!(shown.take(), "");
}

#[tokio::test]
async fn each_end_says_whose_it_is() {
    for (cause, by) in [
        (Cause::Me, "me"),
        (Cause::Peer, "peer"),
        (Cause::Link(LinkError::Cut), "lost"),
    ] {
        let (mut bot, shown) = talking("", Role::Server);
        bot.ended(&ended(cause)).unwrap();
        let [event] = &events(&shown)[..] else {
            panic!("not one event");
        };
        assert_eq!(event.get("by"), Some(&by.into()));
        assert_eq!(event.get("turns"), Some(&3.into()));
    }
}

#[tokio::test]
async fn ended_is_a_client_s_last_event_always() {
    let (mut bot, shown) = reading("");
    let report = Report::new(Exit::Link, "No connection.", "Try again.");
    bot.stopped(&report, Role::Client);
    let shown = shown.take();
    let last = shown.lines().last().unwrap();
    assert!(last.contains("\"event\":\"ended\""), "{shown}");
}

#[tokio::test]
async fn notices_are_events() {
    let (mut bot, shown) = talking("", Role::Client);
    for notice in [
        Notice::Waiting { ahead: 2 },
        Notice::Lost,
        Notice::Resumed,
        Notice::Silence { is_over: false },
        Notice::Silence { is_over: true },
        Notice::Delivered { turn: 2 },
        Notice::NotNow {
            reason: Reason::Busy,
        },
    ] {
        bot.notice(notice).unwrap();
    }
    bot.heard_again(conversation(), &message(3, "again"))
        .unwrap();
    assert_eq!(
        events(&shown),
        [
            json!({ "event": "waiting", "ahead": 2 }),
            json!({ "event": "lost" }),
            json!({ "event": "resumed" }),
            json!({ "event": "silence", "over": false }),
            json!({ "event": "silence", "over": true }),
            json!({ "event": "delivered", "turn": 2 }),
            json!({
                "event": "error",
                "code": "link",
                "what": "The server is busy.",
                "advice": "The conversation goes on once the server takes it: turnchat asks again.",
            }),
            json!({ "event": "turn", "turn": 3, "speaker": "peer", "text": "again", "again": true }),
        ]
    );
}

#[tokio::test]
async fn nothing_that_could_steer_a_terminal_is_written() {
    let (mut bot, shown) = talking("", Role::Client);
    bot.heard(&message(2, "\u{1b}[2J\u{9b}\u{202e}\u{7f}"))
        .unwrap();
    let shown = shown.take();
    assert!(shown.contains("\\u001b[2J\\u009b\\u202e\\u007f"), "{shown}");
}
