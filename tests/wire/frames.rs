//! What is no frame, what is one in spite of its looks, and lines at their
//! limits (PROTOCOL 2.6, 2.7 and 2.9), in both directions.

use turnchat::Text;
use turnchat::{Cause, LinkError};

use super::ours::{Habit, House, called, told, welcomed};
use super::raw::{Came, ID, QUIT, heard, hello, say, welcome};

/// The longest line before and after `welcome`, LF included.
const EARLY_LINE: usize = 4_096;
const LINE: usize = 524_288;

/// Lines that are refused whoever gets them in an open conversation. `§` is
/// the turn that would be right.
const REFUSED: &[&str] = &[
    // No JSON.
    "Hello, server!",
    r#"{"say":{"turn":§,"text":"x"}"#,
    r#"{"say":{"turn":§,"text":"x"}}}"#,
    r#"{"say":{"turn":§,"text":"x"}} {"ping":{}}"#,
    r#"{"say":{"turn":§,"text":"x",}}"#,
    r#"{'say':{'turn':§,'text':'x'}}"#,
    r#"{say:{"turn":§,"text":"x"}}"#,
    r#"{"say":{"turn":§,"text":"x"}}//"#,
    r#"{"say":{"turn":§,"text":"\x41"}}"#,
    r#"{"say":{"turn":§,"text":"\u41"}}"#,
    "{\"say\":{\"turn\":§,\"text\":\"\t\"}}",
    "{\"say\":{\"turn\":§,\"text\":\"\0\"}}",
    "\u{c}{\"say\":{\"turn\":§,\"text\":\"x\"}}",
    "\u{a0}{\"say\":{\"turn\":§,\"text\":\"x\"}}",
    // JSON that is no object, or not of one member.
    "null",
    "1",
    r#""say""#,
    r#"["say",{"turn":§,"text":"x"}]"#,
    r#"[{"say":{"turn":§,"text":"x"}}]"#,
    "{}",
    r#"{"say":{"turn":§,"text":"x"},"ping":{}}"#,
    r#"{"ping":{},"ping":{}}"#,
    r#"{"quit":{},"quit":{}}"#,
    // A kind that there is not.
    r#"{"shout":{"turn":§,"text":"x"}}"#,
    r#"{"Say":{"turn":§,"text":"x"}}"#,
    r#"{"":{}}"#,
    // A value that is no object.
    r#"{"quit":null}"#,
    r#"{"quit":[]}"#,
    r#"{"quit":""}"#,
    r#"{"ping":0}"#,
    r#"{"say":["turn",§,"text","x"]}"#,
    r#"{"say":[§,"x"]}"#,
    // Members too many.
    r#"{"say":{"turn":§,"text":"x","to":"bob"}}"#,
    r#"{"quit":{"why":"tired"}}"#,
    r#"{"ping":{"n":1}}"#,
    r#"{"pong":{"n":1}}"#,
    r#"{"heard":{"turn":1,"text":"x"}}"#,
    r#"{"error":{"code":"internal","detail":"x","more":"x"}}"#,
    // Too few.
    r#"{"say":{"turn":§}}"#,
    r#"{"say":{"text":"x"}}"#,
    r#"{"say":{}}"#,
    r#"{"heard":{}}"#,
    r#"{"error":{}}"#,
    r#"{"error":{"detail":"x"}}"#,
    // Named twice.
    r#"{"say":{"turn":§,"turn":§,"text":"x"}}"#,
    r#"{"say":{"turn":§,"text":"x","text":"x"}}"#,
    r#"{"say":{"turn":§,"text":"x","t\u0065xt":"y"}}"#,
    r#"{"heard":{"turn":1,"turn":1}}"#,
    // Another type.
    r#"{"say":{"turn":"§","text":"x"}}"#,
    r#"{"say":{"turn":true,"text":"x"}}"#,
    r#"{"say":{"turn":[§],"text":"x"}}"#,
    r#"{"say":{"turn":{},"text":"x"}}"#,
    r#"{"say":{"turn":null,"text":"x"}}"#,
    r#"{"say":{"turn":§,"text":1}}"#,
    r#"{"say":{"turn":§,"text":["x"]}}"#,
    r#"{"say":{"turn":§,"text":{}}}"#,
    r#"{"say":{"turn":§,"text":false}}"#,
    r#"{"say":{"turn":§,"text":null}}"#,
    r#"{"heard":{"turn":"1"}}"#,
    r#"{"heard":{"turn":null}}"#,
    r#"{"error":{"code":1}}"#,
    r#"{"error":{"code":null}}"#,
    r#"{"error":{"code":"internal","detail":null}}"#,
    r#"{"error":{"code":"internal","detail":1}}"#,
    // Numbers that are no digits, or too many.
    r#"{"say":{"turn":+§,"text":"x"}}"#,
    r#"{"say":{"turn":-§,"text":"x"}}"#,
    r#"{"say":{"turn":-0,"text":"x"}}"#,
    r#"{"say":{"turn":§.0,"text":"x"}}"#,
    r#"{"say":{"turn":§.,"text":"x"}}"#,
    r#"{"say":{"turn":§e0,"text":"x"}}"#,
    r#"{"say":{"turn":§E+0,"text":"x"}}"#,
    r#"{"say":{"turn":0§,"text":"x"}}"#,
    r#"{"say":{"turn":0x§,"text":"x"}}"#,
    r#"{"say":{"turn":9007199254740992,"text":"x"}}"#,
    r#"{"say":{"turn":18446744073709551616,"text":"x"}}"#,
    r#"{"say":{"turn":1e400,"text":"x"}}"#,
    r#"{"heard":{"turn":1.0}}"#,
    r#"{"heard":{"turn":01}}"#,
    // Surrogates without their other half.
    r#"{"say":{"turn":§,"text":"\ud83d"}}"#,
    r#"{"say":{"turn":§,"text":"\ude00"}}"#,
    r#"{"say":{"turn":§,"text":"\ud83dx"}}"#,
    r#"{"say":{"turn":§,"text":"\ud83d\u0041"}}"#,
    r#"{"say":{"turn":§,"text":"\ude00\ud83d"}}"#,
    r#"{"error":{"code":"internal","detail":"\ud83d"}}"#,
    r#"{"\ud83d":{}}"#,
    // A byte-order mark; nothing at all.
    "\u{feff}{\"say\":{\"turn\":§,\"text\":\"x\"}}",
    "",
    "\r",
    " \t ",
    // Words that there are not.
    r#"{"error":{"code":"out-of-order"}}"#,
    r#"{"error":{"code":"Internal"}}"#,
    r#"{"error":{"code":""}}"#,
];

/// Bytes in a text that are no UTF-8.
const NOT_UTF8: &[&[u8]] = &[
    b"\xff",
    b"\xfe",
    b"\xc3",
    b"\xc3(",
    b"\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\xbd",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80",
];

/// Lines that are as good as others, and the text of turn `§` in them.
const ACCEPTED: &[(&str, &str)] = &[
    (" { \"say\" : { \"turn\" : § , \"text\" : \"x\" } } ", "x"),
    ("\t{\"say\":\t{\"turn\":§,\r\"text\":\"x\"}}\r", "x"),
    ("{\"say\":{\"turn\":§,\"text\":\"x\"}}\r", "x"),
    (r#"{"say":{"text":"x","turn":§}}"#, "x"),
    (r#"{"s\u0061y":{"t\u0075rn":§,"text":"x"}}"#, "x"),
    (r#"{"say":{"turn":§,"text":""}}"#, ""),
    (r#"{"say":{"turn":§,"text":"QUIT"}}"#, "QUIT"),
    (r#"{"say":{"turn":§,"text":"\u0000"}}"#, "\0"),
    (r#"{"say":{"turn":§,"text":"\u00e9é\u00E9"}}"#, "ééé"),
    (r#"{"say":{"turn":§,"text":"\ud83d\uDE00😀"}}"#, "😀😀"),
    (
        r#"{"say":{"turn":§,"text":"\n\r\t\b\f\"\\\/"}}"#,
        "\n\r\t\u{8}\u{c}\"\\/",
    ),
    (
        r#"{"say":{"turn":§,"text":"\uFFFF\ufeff"}}"#,
        "\u{ffff}\u{feff}",
    ),
    (
        "{\"say\":{\"turn\":§,\"text\":\"\u{7f}\u{2028}\u{e000}\"}}",
        "\u{7f}\u{2028}\u{e000}",
    ),
];

fn in_turn(line: &str, turn: u64) -> String {
    line.replace('§', &turn.to_string())
}

fn say_bytes(turn: u64, text: &[u8]) -> Vec<u8> {
    let mut line = format!("{{\"say\":{{\"turn\":{turn},\"text\":\"").into_bytes();
    line.extend_from_slice(text);
    line.extend_from_slice(b"\"}}\n");
    line
}

fn refused(turn: u64) -> Vec<Vec<u8>> {
    let words = REFUSED.iter().map(|line| in_turn(line, turn) + "\n");
    let mut lines: Vec<_> = words.map(String::into_bytes).collect();
    lines.extend(NOT_UTF8.iter().map(|bytes| say_bytes(turn, bytes)));
    let over = Text::MAX + 1;
    lines.push(say_bytes(turn, &vec![b'x'; over]));
    lines.push(say_bytes(turn, r"\u0041".repeat(over).as_bytes()));
    lines.push(say_bytes(turn, r"\n".repeat(over).as_bytes()));
    lines.push(say_bytes(turn, ("é".repeat(over / 2) + "x").as_bytes()));
    let detail = "d".repeat(257);
    lines.push(format!("{{\"error\":{{\"code\":\"internal\",\"detail\":\"{detail}\"}}}}\n").into());
    // UTF-16, as one editor or another saves it.
    let plain = say(turn, "x");
    let utf16 = plain.encode_utf16().flat_map(u16::to_le_bytes);
    lines.push(
        [0xff, 0xfe]
            .into_iter()
            .chain(utf16)
            .chain(*b"\n")
            .collect(),
    );
    lines
}

fn accepted(turn: u64) -> Vec<(Vec<u8>, String)> {
    let mut lines: Vec<_> = ACCEPTED
        .iter()
        .map(|(line, text)| {
            (
                (in_turn(line, turn) + "\n").into_bytes(),
                (*text).to_owned(),
            )
        })
        .collect();
    let longest = "A".repeat(Text::MAX);
    lines.push((say_bytes(turn, longest.as_bytes()), longest.clone()));
    lines.push((
        say_bytes(turn, r"\u0041".repeat(Text::MAX).as_bytes()),
        longest,
    ));
    let longest = "é".repeat(Text::MAX / 2);
    lines.push((say_bytes(turn, longest.as_bytes()), longest));
    lines
}

/// A line of exactly so many bytes, LF included, of this frame and blanks.
fn padded(frame: &str, length: usize) -> Vec<u8> {
    let mut line = frame.as_bytes().to_vec();
    line.resize(length - 1, b' ');
    line.push(b'\n');
    line
}

fn is_protocol(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Link(LinkError::Malformed(_) | LinkError::Violation(_))
    )
}

/// The server's side of every row.
async fn server_refuses(line: &[u8]) {
    let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.send_bytes(line).await;
    guest.expect_error("protocol-error").await;
    let (words, over) = told(&mut house.tale).await;
    assert_eq!(words, ["began"], "{shown}");
    assert!(is_protocol(&over.cause), "{shown}: {over:?}");
    house.serves_the_next(Habit::Answers).await;
}

/// The client's side of every row.
async fn client_refuses(line: &[u8]) {
    let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
    let (mut raw, mut tale) = welcomed(Habit::Answers).await;
    raw.send_bytes(line).await;
    raw.expect_error("protocol-error").await;
    let (words, over) = told(&mut tale).await;
    assert!(words.is_empty(), "{shown}: {words:?}");
    assert!(is_protocol(&over.cause), "{shown}: {over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_what_is_no_frame_with_protocol_error() {
    for line in refused(2) {
        server_refuses(&line).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_answers_what_is_no_frame_with_protocol_error() {
    for line in refused(1) {
        client_refuses(&line).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_takes_a_frame_however_it_is_written() {
    for (line, text) in accepted(2) {
        let mut house = House::new(Habit::Answers).await;
        let mut guest = house.guest().await;
        guest.begin().await;
        guest.expect(&say(1, "turn 1")).await;
        guest.send_bytes(&line).await;
        guest.expect(&heard(2)).await;
        guest.expect(&say(3, "turn 3")).await;
        guest.send(QUIT).await;
        guest.expect(QUIT).await;
        let (words, _) = told(&mut house.tale).await;
        let heard = format!("heard 2 {text}");
        assert_eq!(words, ["began", "delivered 1", &heard], "{text:.99}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_takes_a_frame_however_it_is_written() {
    for (line, text) in accepted(1) {
        let (mut raw, mut tale) = welcomed(Habit::Answers).await;
        raw.send_bytes(&line).await;
        raw.expect(&heard(1)).await;
        raw.expect(&say(2, "turn 2")).await;
        raw.send(QUIT).await;
        raw.expect(QUIT).await;
        let (words, _) = told(&mut tale).await;
        assert_eq!(words, [format!("heard 1 {text}")], "{text:.99}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_none_is_answered_with_protocol_error() {
    let mut lines: Vec<String> = [
        "Hello, server!",
        "",
        "{}",
        r#"{"hello":{}}"#,
        r#"{"hello":null}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA"}}"#,
        r#"{"hello":{"heard":0}}"#,
        r#"{"hello":{"conversation":null,"heard":0}}"#,
        r#"{"hello":{"conversation":1,"heard":0}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":null}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":"0"}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":-1}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":0.0}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":00}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":9007199254740992}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":0,"name":"bob"}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":0,"heard":0}}"#,
        r#"{"hello":{"conversation":"AAAAAAAAAAAAAAAAAAAAAA","heard":0},"ping":{}}"#,
    ]
    .map(str::to_owned)
    .into();
    let ids = [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAAAAAAAAAAAA+A",
        "AAAAAAAAAAAAAAAAAAAA/A",
        "AAAAAAAAAAAAAAAAAAAA A",
        "AAAAAAAAAAAAAAAAAAAAéA",
        "00000000-0000-0000-0000-000000000000",
    ];
    lines.extend(ids.map(hello));
    for line in lines {
        let mut house = House::new(Habit::Answers).await;
        let mut guest = house.guest().await;
        guest.send(&line).await;
        guest.expect_error("protocol-error").await;
        house.serves_the_next(Habit::Answers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_servers_answer_that_is_none_is_answered_with_protocol_error() {
    for line in [
        r#"{"wait":{}}"#,
        r#"{"wait":{"ahead":-1}}"#,
        r#"{"wait":{"ahead":"0"}}"#,
        r#"{"wait":{"ahead":null}}"#,
        r#"{"wait":{"ahead":0,"of":4}}"#,
        r#"{"wait":{"ahead":9007199254740992}}"#,
        r#"{"refuse":{}}"#,
        r#"{"refuse":{"reason":"bored"}}"#,
        r#"{"refuse":{"reason":null}}"#,
        r#"{"refuse":{"reason":"busy","until":1}}"#,
        r#"{"welcome":{"heard":0}}"#,
        r#"{"welcome":{"conversation":"","heard":0}}"#,
        r#"{"welcome":{"conversation":"ID"}}"#,
        r#"{"welcome":{"conversation":"ID","heard":"0"}}"#,
        r#"{"welcome":{"conversation":"ID","heard":0,"heard":0}}"#,
        r#"{"welcome":{"conversation":"ID","heard":0,"name":"alice"}}"#,
        "HTTP/1.1 400 Bad Request",
        "",
    ] {
        let (mut raw, mut tale) = called(Habit::Answers).await;
        let id = raw.hello().await;
        raw.send(&line.replace("ID", &id)).await;
        raw.expect_error("protocol-error").await;
        let (words, over) = told(&mut tale).await;
        assert!(words.is_empty(), "{line}: {words:?}");
        assert!(is_protocol(&over.cause), "{line}: {over:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn before_welcome_a_server_takes_a_line_at_its_limit_and_none_over_it() {
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.send_bytes(&padded(&hello(ID), EARLY_LINE)).await;
    guest.expect(&welcome(ID)).await;
    guest.send(QUIT).await;
    let _ = told(&mut house.tale).await;

    let mut guest = house.guest().await;
    guest.send_bytes(&padded(&hello(ID), EARLY_LINE + 1)).await;
    guest.expect_error("protocol-error").await;

    // It need not have come to its end.
    let mut guest = house.guest().await;
    guest.send_bytes(&vec![b'{'; EARLY_LINE - 1]).await;
    guest.send_bytes(b"{").await;
    guest.expect_error("protocol-error").await;
    house.serves_the_next(Habit::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn before_welcome_a_client_takes_a_line_at_its_limit_and_none_over_it() {
    for (length, is_taken) in [(EARLY_LINE, true), (EARLY_LINE + 1, false)] {
        let (mut raw, _tale) = called(Habit::Answers).await;
        let id = raw.hello().await;
        raw.send_bytes(&padded(&welcome(&id), length)).await;
        if is_taken {
            // The long line that is allowed from now on may come along.
            raw.send_bytes(&padded(&say(1, "x"), LINE)).await;
            raw.expect(&heard(1)).await;
        } else {
            raw.expect_error("protocol-error").await;
        }
    }
    let (mut raw, _tale) = called(Habit::Answers).await;
    raw.hello().await;
    raw.send_bytes(&vec![b' '; EARLY_LINE]).await;
    raw.expect_error("protocol-error").await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_takes_only_short_lines() {
    let house = House::new(Habit::Thinks).await;
    let mut first = house.guest().await;
    first.begin().await;
    let mut queued = house.guest().await;
    queued.send(&hello(ID)).await;
    queued.expect("{\"wait\":{\"ahead\":0}}").await;
    queued.send_bytes(&vec![b' '; EARLY_LINE]).await;
    queued.expect_error("protocol-error").await;
}

#[tokio::test(start_paused = true)]
async fn after_welcome_a_line_may_be_at_its_limit_and_not_over_it() {
    for (length, is_taken) in [(LINE, true), (LINE + 1, false)] {
        let mut house = House::new(Habit::Answers).await;
        let mut guest = house.guest().await;
        guest.begin().await;
        guest.expect(&say(1, "turn 1")).await;
        guest.send_bytes(&padded(&say(2, "x"), length)).await;
        match is_taken {
            true => guest.expect(&heard(2)).await,
            false => {
                guest.expect_error("protocol-error").await;
                let (words, _) = told(&mut house.tale).await;
                assert_eq!(words, ["began"]);
                house.serves_the_next(Habit::Answers).await;
            }
        }

        let (mut raw, _tale) = welcomed(Habit::Answers).await;
        raw.send_bytes(&padded(&say(1, "x"), length)).await;
        match is_taken {
            true => raw.expect(&heard(1)).await,
            false => raw.expect_error("protocol-error").await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_never_ends_is_refused_at_the_limit() {
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.send_bytes(&vec![b'a'; LINE]).await;
    guest.expect_error("protocol-error").await;
    house.serves_the_next(Habit::Answers).await;

    let (mut raw, _tale) = welcomed(Habit::Answers).await;
    raw.send_bytes(&vec![b'a'; LINE]).await;
    raw.expect_error("protocol-error").await;
}

#[tokio::test(start_paused = true)]
async fn one_byte_at_a_time_makes_the_same_conversation() {
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    let script = [
        hello(ID),
        heard(1),
        say(2, r"\u00e9\ud83d\ude00 ünï"),
        heard(3),
        QUIT.to_owned(),
    ];
    for byte in script.map(|line| line + "\r\n").concat().bytes() {
        guest.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    for line in [
        welcome(ID),
        say(1, "turn 1"),
        heard(2),
        say(3, "turn 3"),
        QUIT.to_owned(),
    ] {
        guest.expect(&line).await;
    }
    let (words, _) = told(&mut house.tale).await;
    assert_eq!(
        words,
        ["began", "delivered 1", "heard 2 é😀 ünï", "delivered 3"]
    );

    let (mut raw, mut tale) = called(Habit::Answers).await;
    let id = raw.hello().await;
    let script = [
        welcome(&id),
        say(1, "ünï"),
        heard(2),
        say(3, ""),
        QUIT.to_owned(),
    ];
    for byte in script.map(|line| line + "\n").concat().bytes() {
        raw.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    for line in [
        heard(1),
        say(2, "turn 2"),
        heard(3),
        say(4, "turn 4"),
        QUIT.to_owned(),
    ] {
        raw.expect(&line).await;
    }
    let (words, _) = told(&mut tale).await;
    assert_eq!(words, ["began", "heard 1 ünï", "delivered 2", "heard 3 "]);
}

#[tokio::test(start_paused = true)]
async fn a_quit_behind_the_hello_is_answered_and_costs_no_seat() {
    let mut house = House::new(Habit::Thinks).await;
    for _ in 0..16 {
        let mut guest = house.guest().await;
        guest.send(&format!("{}\n{QUIT}", hello(ID))).await;
        // The `welcome` may come first, or not at all.
        while guest.next().await != Came::Line(QUIT.to_owned()) {}
        assert_eq!(guest.next().await, Came::Close);
    }
    house.serves_the_next(Habit::Thinks).await;
}
