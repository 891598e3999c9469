//! The pure floor from outside: two machines joined in memory, walked at
//! random; every refusal; and frames as lines, however they are cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::{BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use turnchat::internals::{
    By, Conversation, Decoder, End, Frame, HeardWhen, Liveness, Output, Role, SayError, Snapshot,
};
use turnchat::{
    Code, ConversationId, Detail, FrameError, Limits, Message, Reason, Text, Violation,
};

const ID: ConversationId = ConversationId::from_bits([7; 16]);
const OTHER_ID: ConversationId = ConversationId::from_bits([8; 16]);

fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

/// One machine and what was seen of it.
#[derive(Clone, Debug)]
struct Side {
    stores: bool,
    machine: Conversation,
    /// Frames on their way to the other side.
    sent: VecDeque<Frame>,
    said: Vec<(u64, Text)>,
    heard: Vec<(u64, Text)>,
    /// How many of these are in their reader's hands.
    taken: usize,
    delivered: Vec<u64>,
    end: Option<End>,
}

impl Side {
    fn new(role: Role, heard_when: HeardWhen) -> Self {
        Self {
            stores: heard_when == HeardWhen::Stored,
            machine: Conversation::new(role, ID, heard_when),
            sent: VecDeque::new(),
            said: Vec::new(),
            heard: Vec::new(),
            taken: 0,
            delivered: Vec::new(),
            end: None,
        }
    }

    /// Does all that the machine has put out.
    fn process_outputs(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Store(_) => {
                    assert_eq!(self.machine.poll_output(), None, "behind an unstored store");
                    self.machine.stored();
                }
                Output::Send(frame) => self.sent.push_back(frame),
                Output::HandOver(Message { turn, text }) => self.heard.push((turn, text)),
                Output::Delivered { turn } => self.delivered.push(turn),
                Output::Ended(end) => {
                    assert_eq!(self.end, None, "two ends");
                    self.end = Some(end);
                }
                Output::Waiting { .. } | Output::Connected => {}
            }
        }
    }

    fn take(&mut self) {
        self.taken = self.heard.len();
        self.machine.taken();
    }

    fn say(&mut self, words: &str) {
        // It takes what it answers, if it can be said at all.
        if self.machine.is_my_turn() {
            self.take();
        }
        let (before, turn) = (self.machine.clone(), self.machine.next_turn());
        let may = self.machine.is_my_turn();
        match self.machine.say(text(words)) {
            Ok(()) => {
                assert!(may);
                self.said.push((turn, text(words)));
            }
            Err(error) => {
                assert_eq!(self.machine, before, "{error}");
                assert!(!may || error == SayError::Ended);
            }
        }
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        let before = self.machine.clone();
        let result = self.machine.receive(frame);
        if result.is_err() {
            assert_eq!(self.machine, before);
        }
        result
    }
}

/// Both sides, joined by a link that can be cut.
#[derive(Clone, Debug)]
struct Pair {
    server: Side,
    client: Side,
    is_linked: bool,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    ServerSays(String),
    ClientSays(String),
    ServerReads,
    ClientReads,
    /// Puts out what it has to, which reading does too.
    ServerWrites,
    ClientWrites,
    ServerTakes,
    ClientTakes,
    ServerQuits,
    ClientQuits,
    /// The link is cut, and what is on its way is lost.
    Cut,
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{0,6}", 1 => any::<String>(), 1 => Just("QUIT".to_owned())]
}

fn heard_when() -> impl Strategy<Value = HeardWhen> {
    prop_oneof![Just(HeardWhen::Stored), Just(HeardWhen::Taken)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => words().prop_map(Step::ServerSays),
        8 => words().prop_map(Step::ClientSays),
        16 => Just(Step::ServerReads),
        16 => Just(Step::ClientReads),
        8 => Just(Step::ServerWrites),
        8 => Just(Step::ClientWrites),
        8 => Just(Step::ServerTakes),
        8 => Just(Step::ClientTakes),
        1 => Just(Step::ServerQuits),
        1 => Just(Step::ClientQuits),
        3 => Just(Step::Cut),
    ]
}

impl Pair {
    fn new([server, client]: [HeardWhen; 2]) -> Self {
        Self {
            server: Side::new(Role::Server, server),
            client: Side::new(Role::Client, client),
            is_linked: false,
        }
    }

    /// The client dials and greets.
    fn link(&mut self) {
        self.client.machine.connect();
        self.client.process_outputs();
        // Nothing of an earlier link comes out here.
        assert!(matches!(self.client.sent[0], Frame::Hello { .. }));
        self.is_linked = true;
    }

    fn cut(&mut self) {
        self.is_linked = false;
        for side in [&mut self.server, &mut self.client] {
            side.sent.clear();
            side.machine.detach();
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::ServerSays(words) => self.server.say(&words),
            Step::ClientSays(words) => self.client.say(&words),
            Step::ServerTakes => self.server.take(),
            Step::ClientTakes => self.client.take(),
            Step::ServerQuits => self.server.machine.quit(),
            Step::ClientQuits => self.client.machine.quit(),
            Step::ServerWrites => self.server.process_outputs(),
            Step::ClientWrites => self.client.process_outputs(),
            Step::Cut => self.cut(),
            Step::ServerReads | Step::ClientReads if !self.is_linked => {
                match self.client.machine.has_ended() {
                    true => self.client.process_outputs(),
                    false => self.link(),
                }
            }
            Step::ServerReads => match self.client.sent.pop_front() {
                Some(Frame::Hello {
                    conversation,
                    heard,
                }) => {
                    assert_eq!(conversation, ID);
                    if self.server.machine.has_ended() {
                        let reason = Reason::Ended;
                        self.server.sent.push_back(Frame::Refuse { reason });
                    } else {
                        assert!(self.server.sent.is_empty());
                        self.server.machine.accept(heard).unwrap();
                        self.server.process_outputs();
                        assert!(matches!(self.server.sent[0], Frame::Welcome { .. }));
                    }
                }
                Some(frame) => {
                    self.server.receive(frame).unwrap();
                    self.server.process_outputs();
                }
                None => self.server.process_outputs(),
            },
            Step::ClientReads => {
                if let Some(frame) = self.server.sent.pop_front() {
                    self.client.receive(frame).unwrap();
                }
                self.client.process_outputs();
            }
        }
    }

    fn check(&self) {
        let Self { server, client, .. } = self;
        // Never two holders of the turn. (That there is none while a message
        // is on its way is as it should be.)
        assert!(!(server.machine.is_my_turn() && client.machine.is_my_turn()));
        for (speaker, listener) in [(server, client), (client, server)] {
            // Heard is what was said: the same words, in order, once each.
            assert!(speaker.said.starts_with(&listener.heard));
            // Delivered is what was heard, and all of it but the last.
            let heard: Vec<_> = listener.heard.iter().map(|(turn, _)| *turn).collect();
            assert!(heard.starts_with(&speaker.delivered));
            assert!(speaker.said.len() - listener.heard.len() <= 1);
            // Acknowledged is taken, where nothing is stored.
            if !listener.stores {
                assert!(speaker.delivered.len() <= listener.taken);
            }
            if let Some(end) = &speaker.end
                && speaker.machine.clone().poll_output().is_none()
            {
                let last = speaker.said.last().cloned();
                let last = last.map(|(turn, text)| Message { turn, text });
                let is_known = last.as_ref().map(|last| &last.turn) == speaker.delivered.last();
                assert_eq!(end.unacknowledged, last.filter(|_| !is_known));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn two_machines_never_disagree(
        server in heard_when(),
        client in heard_when(),
        steps in vec(step(), 1..200),
    ) {
        let mut pair = Pair::new([server, client]);
        for step in steps {
            pair.take(step);
            pair.check();
        }
        // Whatever happened, the link comes back and all that was said is heard,
        // unless somebody wanted the end.
        let wants_end = pair.server.machine.clone().say(text("?")) == Err(SayError::Ended)
            || pair.client.machine.clone().say(text("?")) == Err(SayError::Ended);
        pair.cut();
        for _ in 0..24 {
            for step in [Step::ServerReads, Step::ServerTakes, Step::ClientReads, Step::ClientTakes] {
                pair.take(step);
                pair.check();
            }
        }
        if wants_end {
            // The answer to a server's quit may be lost; it does not dial for it.
            prop_assert!(pair.client.end.is_some());
        } else {
            prop_assert_eq!(&pair.server.said, &pair.client.heard);
            prop_assert_eq!(&pair.client.said, &pair.server.heard);
            prop_assert!(pair.server.machine.is_my_turn() != pair.client.machine.is_my_turn());
        }
    }

    #[test]
    fn any_frame_is_taken_or_changes_nothing(
        steps in vec(step(), 0..40),
        frames in vec(frame(), 1..20),
    ) {
        let mut pair = Pair::new([HeardWhen::Stored; 2]);
        for step in steps {
            pair.take(step);
        }
        for frame in frames {
            for side in [&mut pair.server, &mut pair.client] {
                let heard = side.heard.len();
                let is_taken = side.receive(frame.clone()).is_ok();
                side.process_outputs();
                let may_hear = is_taken && matches!(frame, Frame::Say { .. });
                prop_assert_eq!(side.heard.len() > heard, may_hear && side.heard.len() == heard + 1);
            }
        }
    }

    #[test]
    fn any_counter_is_taken_or_changes_nothing(steps in vec(step(), 0..60), heard in 0_u64..8) {
        let mut pair = Pair::new([HeardWhen::Stored; 2]);
        for step in steps {
            pair.take(step);
        }
        if pair.server.end.is_none() {
            let before = pair.server.machine.clone();
            let (said, r) = counters(&pair.server);
            let is_right = (heard == said || heard == said.saturating_sub(2)) && heard + 1 >= r;
            let accepted = pair.server.machine.accept(heard);
            prop_assert_eq!(accepted.is_ok(), is_right);
            if accepted.is_err() {
                prop_assert_eq!(&pair.server.machine, &before);
            }
        }
        if pair.client.end.is_none() {
            pair.cut();
            pair.link();
            let before = pair.client.machine.clone();
            let (said, r) = counters(&pair.client);
            let is_right = (heard == said || heard == said.saturating_sub(2)) && heard + 1 >= r;
            let has_quit = pair.client.machine.clone().say(text("?")) == Err(SayError::Ended);
            let welcome = Frame::Welcome { conversation: ID, heard };
            let welcomed = pair.client.receive(welcome);
            if !has_quit {
                prop_assert_eq!(welcomed.is_ok(), is_right);
            }
            if welcomed.is_err() {
                prop_assert_eq!(&pair.client.machine, &before);
            }
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written(frame in frame()) {
        let line = frame.to_line();
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert!(line.len() <= Limits::default().line);
        prop_assert_eq!(Frame::from_line(&line[..line.len() - 1]), Ok(frame));
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_are_cut(
        frames in vec(frame(), 1..8),
        sizes in vec(1_usize..60, 1..40),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_line).collect();
        let mut decoder = Decoder::new(Limits::default().line);
        let (mut rest, mut sizes) = (bytes.as_slice(), sizes.iter().cycle());
        let mut decoded = Vec::new();
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            rest = behind;
            while !piece.is_empty() {
                decoded.extend(decoder.decode(&mut piece).unwrap());
            }
        }
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..600), limit in 1_usize..300) {
        let mut decoder = Decoder::new(limit);
        let mut rest = bytes.as_slice();
        let (mut line, mut failed) = (0, false);
        while !rest.is_empty() && !failed {
            let before = rest.len();
            failed = decoder.decode(&mut rest).is_err();
            line += before - rest.len();
            let is_ended = bytes[bytes.len() - rest.len() - 1] == b'\n';
            // It never holds what can be no line any more.
            prop_assert!(failed || line < limit + usize::from(is_ended));
            if is_ended {
                line = 0;
            }
        }
    }

    #[test]
    fn any_line_of_json_is_a_frame_or_refused(line in json()) {
        if let Ok(frame) = Frame::from_line(line.as_bytes()) {
            let again = frame.to_line();
            prop_assert_eq!(Frame::from_line(&again[..again.len() - 1]), Ok(frame));
        }
    }
}

/// The highest turns that a side has said and heard.
fn counters(side: &Side) -> (u64, u64) {
    let last = |turns: &[(u64, Text)]| turns.last().map_or(0, |(turn, _)| *turn);
    (last(&side.said), last(&side.heard))
}

fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..9, 0..=Frame::MAX_INTEGER]
}

fn id() -> impl Strategy<Value = ConversationId> {
    prop_oneof![
        Just(ID),
        any::<[u8; 16]>().prop_map(ConversationId::from_bits)
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    use Code::{Internal, OutOfTurn, ProtocolError, Replaced, Timeout};
    use Reason::{AskedTooOften, Busy, Closing, Declined, Ended, NoAnswer, UnknownPeer};
    let code = prop::sample::select(vec![ProtocolError, OutOfTurn, Timeout, Internal, Replaced]);
    let reason = prop::sample::select(vec![
        UnknownPeer,
        Declined,
        Busy,
        NoAnswer,
        AskedTooOften,
        Closing,
        Ended,
    ]);
    let detail = prop::option::of("\\PC{0,60}".prop_map(|words| Detail::new(words).unwrap()));
    prop_oneof![
        (id(), integer()).prop_map(|(conversation, heard)| Frame::Hello {
            conversation,
            heard
        }),
        integer().prop_map(|ahead| Frame::Wait { ahead }),
        (id(), integer()).prop_map(|(conversation, heard)| Frame::Welcome {
            conversation,
            heard
        }),
        reason.prop_map(|reason| Frame::Refuse { reason }),
        (integer(), any::<String>()).prop_map(|(turn, words)| Frame::Say {
            turn,
            text: text(&words)
        }),
        integer().prop_map(|turn| Frame::Heard { turn }),
        Just(Frame::Quit {}),
        Just(Frame::Ping {}),
        Just(Frame::Pong {}),
        (code, detail).prop_map(|(code, detail)| Frame::Error { code, detail }),
    ]
}

/// Something like a frame, of the right and of wrong pieces.
fn json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "hello",
        "say",
        "heard",
        "quit",
        "error",
        "turn",
        "text",
        "conversation",
        "code",
        "x",
    ]);
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("0".to_owned()),
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("\"AAAAAAAAAAAAAAAAAAAAAA\"".to_owned()),
        Just("\"internal\"".to_owned()),
        any::<String>().prop_map(|words| format!("{words:?}")),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            vec((name.clone(), inner.clone()), 0..3).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(n, v)| format!("\"{n}\":{v}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
            vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

/// A server in an open conversation, in which turns `1..=turns` were said.
fn server_after(turns: u64) -> Side {
    let mut side = Side::new(Role::Server, HeardWhen::Stored);
    side.machine.accept(0).unwrap();
    for turn in 1..=turns {
        match Role::Server.speaks_in(turn) {
            true => side.say("mine"),
            false => side
                .receive(Frame::Say {
                    turn,
                    text: text("theirs"),
                })
                .unwrap(),
        }
    }
    side.process_outputs();
    side
}

#[track_caller]
fn violates(side: &mut Side, frame: Frame) -> Violation {
    let violation = side.receive(frame).unwrap_err();
    side.process_outputs();
    violation
}

#[test]
fn a_frame_out_of_place_is_a_violation() {
    let violation = violates(&mut server_after(1), Frame::Wait { ahead: 0 });
    assert_eq!(
        violation,
        Violation::OutOfPlace {
            kind: "wait",
            phase: "in an open conversation"
        }
    );
    assert_eq!(violation.code(), Code::ProtocolError);
}

#[test]
fn a_say_out_of_turn_or_with_another_number_is_a_violation() {
    for (turns, turn, next) in [
        (0, 1, 2),
        (0, 2, 2),
        (1, 1, 2),
        (1, 4, 2),
        (2, 2, 4),
        (2, 3, 4),
    ] {
        let say = Frame::Say {
            turn,
            text: text("x"),
        };
        let violation = violates(&mut server_after(turns), say);
        assert_eq!(violation, Violation::OutOfTurn { turn, next });
        assert_eq!(violation.code(), Code::OutOfTurn);
    }
}

#[test]
fn a_say_that_comes_too_early_is_called_so() {
    for (turns, turn, words) in [
        (0, 2, "`say` for turn 2 came before that turn"),
        (0, 1, "`say` for turn 1; the next turn of its sender is 2"),
        (1, 4, "`say` for turn 4; the next turn of its sender is 2"),
    ] {
        let text = text("x");
        let violation = violates(&mut server_after(turns), Frame::Say { turn, text });
        assert_eq!(violation.to_string(), words);
    }
}

#[test]
fn hearing_what_was_not_said_is_a_violation() {
    for (turns, turn, said) in [
        (0, 0, 0),
        (0, 1, 0),
        (1, 0, 1),
        (1, 2, 1),
        (3, 1, 3),
        (3, 5, 3),
    ] {
        let violation = violates(&mut server_after(turns), Frame::Heard { turn });
        assert_eq!(violation, Violation::HeardWhatWasNotSaid { turn, said });
        assert_eq!(violation.code(), Code::ProtocolError);
    }
}

#[test]
fn counters_that_cannot_be_are_a_violation() {
    // Said 3, heard 2.
    for theirs in [0, 2, 4, 5] {
        let mut side = server_after(3);
        let before = side.machine.clone();
        let violation = side.machine.accept(theirs).unwrap_err();
        assert_eq!(
            violation,
            Violation::Counters {
                theirs,
                said: 3,
                heard: 2
            }
        );
        assert_eq!(violation.code(), Code::ProtocolError);
        assert_eq!(side.machine, before);
    }
    // Said 3, and heard 4, which acknowledged it.
    for theirs in [1, 2, 4, 5] {
        let violation = server_after(4).machine.accept(theirs).unwrap_err();
        let (said, heard) = (3, 4);
        assert_eq!(
            violation,
            Violation::Counters {
                theirs,
                said,
                heard
            }
        );
    }
    assert_eq!(server_after(4).machine.accept(3), Ok(()));
    for theirs in [1, 3] {
        assert_eq!(server_after(3).machine.accept(theirs), Ok(()));
    }
}

#[test]
fn a_welcome_to_another_conversation_is_a_violation() {
    let mut client = Side::new(Role::Client, HeardWhen::Stored);
    client.machine.connect();
    let welcome = Frame::Welcome {
        conversation: OTHER_ID,
        heard: 0,
    };
    let violation = violates(&mut client, welcome);
    assert_eq!(violation, Violation::OtherConversation);
    assert_eq!(violation.code(), Code::ProtocolError);
}

#[test]
fn a_ping_as_a_first_frame_is_a_violation() {
    let mut liveness = Liveness::new(std::time::Instant::now(), &Limits::default());
    let violation = liveness.filter(Frame::Ping {}).unwrap_err();
    assert_eq!(violation, Violation::FirstFrame { kind: "ping" });
    assert_eq!(violation.code(), Code::ProtocolError);
}

#[test]
fn speaking_in_the_others_turn_is_refused() {
    let mut side = server_after(1);
    let before = side.machine.clone();
    assert_eq!(side.machine.say(text("more")), Err(SayError::NotYourTurn));
    assert_eq!(side.machine, before);
}

#[test]
fn speaking_after_the_end_is_refused() {
    let mut side = server_after(2);
    side.machine.quit();
    side.process_outputs();
    let before = side.machine.clone();
    assert_eq!(side.machine.say(text("more")), Err(SayError::Ended));
    assert_eq!(side.machine, before);

    side.receive(Frame::Quit {}).unwrap();
    side.process_outputs();
    assert_eq!(side.end.as_ref().unwrap().by, By::Me);
    assert_eq!(side.machine.say(text("more")), Err(SayError::Ended));
}

#[test]
fn a_repeated_heard_is_told_once() {
    let mut side = server_after(1);
    for _ in 0..3 {
        side.receive(Frame::Heard { turn: 1 }).unwrap();
        side.process_outputs();
    }
    assert_eq!(side.delivered, [1]);
}

#[test]
fn a_message_is_stored_before_it_is_sent_and_before_it_is_acknowledged() {
    let mut client = Conversation::new(Role::Client, ID, HeardWhen::Stored);
    let stored = |client: &mut Conversation| -> Snapshot {
        let Some(Output::Store(snapshot)) = client.poll_output() else {
            panic!("nothing stored");
        };
        assert_eq!(client.poll_output(), None);
        client.stored();
        snapshot
    };
    client.connect();
    assert_eq!(stored(&mut client).id, ID);
    assert!(matches!(
        client.poll_output(),
        Some(Output::Send(Frame::Hello { .. }))
    ));
    client
        .receive(Frame::Welcome {
            conversation: ID,
            heard: 0,
        })
        .unwrap();
    assert_eq!(client.poll_output(), Some(Output::Connected));

    client
        .receive(Frame::Say {
            turn: 1,
            text: text("one"),
        })
        .unwrap();
    let snapshot = stored(&mut client);
    assert_eq!(
        (snapshot.heard, snapshot.last_heard),
        (1, Some(text("one")))
    );
    assert_eq!(
        client.poll_output(),
        Some(Output::Send(Frame::Heard { turn: 1 }))
    );
    assert!(matches!(
        client.poll_output(),
        Some(Output::HandOver { .. })
    ));

    client.say(text("two")).unwrap();
    let snapshot = stored(&mut client);
    assert_eq!((snapshot.said, snapshot.last_said), (2, Some(text("two"))));
    assert!(matches!(
        client.poll_output(),
        Some(Output::Send(Frame::Say { turn: 2, .. }))
    ));

    client.quit();
    assert!(stored(&mut client).quit);
    assert_eq!(client.poll_output(), Some(Output::Send(Frame::Quit {})));
}

#[test]
fn a_decoder_refuses_a_line_as_soon_as_it_is_too_long() {
    let mut decoder = Decoder::new(8);
    assert_eq!(decoder.decode(&mut &b"       "[..]), Ok(None));
    assert_eq!(
        decoder.decode(&mut &b" "[..]),
        Err(FrameError::LineTooLong { limit: 8 })
    );
}

/// A store was still on its way when the link came and went.
#[test]
fn a_connection_that_is_gone_before_a_store_is_done_is_not_told_of() {
    let mut server = Conversation::new(Role::Server, ID, HeardWhen::Stored);
    server.accept(0).unwrap();
    while server.poll_output().is_some() {}
    server.say(text("one")).unwrap();
    assert!(matches!(server.poll_output(), Some(Output::Store(_))));
    server.accept(0).unwrap();
    server.detach();
    server.stored();
    assert_eq!(server.poll_output(), None);
}

/// Counters that no wire can carry are no conversation's.
#[test]
fn a_record_that_counts_too_far_is_not_gone_on_with() {
    let end = |said, heard| Snapshot {
        id: ID,
        said,
        heard,
        acknowledged: said,
        last_said: None,
        last_heard: None,
        quit: true,
    };
    const MOST: u64 = Frame::MAX_INTEGER;
    for (said, heard) in [
        (u64::MAX, u64::MAX - 1),
        (u64::MAX - 2, u64::MAX - 1),
        (MOST, MOST - 1),
    ] {
        assert_eq!(Conversation::restore(Role::Server, end(said, heard)), None);
    }
    // The last after which one more can be counted.
    assert!(Conversation::restore(Role::Server, end(MOST - 2, MOST - 1)).is_some());
    assert!(Conversation::restore(Role::Server, end(1, 2)).is_some());
}

/// Who has spoken since has heard what was said before (PROTOCOL 3.7): a record that says
/// otherwise is no conversation's, and would become one that cannot be read two turns later.
#[test]
fn a_record_in_which_an_answer_came_to_what_was_not_heard_is_not_gone_on_with() {
    let answered = |acknowledged| Snapshot {
        id: ID,
        said: 3,
        heard: 4,
        acknowledged,
        last_said: Some(text("three")),
        last_heard: Some(text("four")),
        quit: false,
    };
    assert_eq!(Conversation::restore(Role::Server, answered(1)), None);
    assert!(Conversation::restore(Role::Server, answered(3)).is_some());
}

/// One write has all that came while the disk was slow.
#[test]
fn links_that_come_and_go_while_a_store_is_slow_make_one_more() {
    let mut client = Conversation::new(Role::Client, ID, HeardWhen::Stored);
    client.connect();
    assert!(matches!(client.poll_output(), Some(Output::Store(_))));
    for _ in 0..9 {
        client.connect();
    }
    let mut stores = 0;
    client.stored();
    while let Some(output) = client.poll_output() {
        if let Output::Store(_) = output {
            stores += 1;
            client.stored();
        }
    }
    assert_eq!(stores, 1);
}

/// A side's counters: said, heard and acknowledged.
type Counters = [u64; 3];

/// All that the two sides store in a conversation of so many turns.
fn stored(turns: u64) -> [BTreeSet<Counters>; 2] {
    let mut pair = Pair::new([HeardWhen::Stored; 2]);
    let mut stored = [BTreeSet::new(), BTreeSet::new()];
    for turn in 1..=turns {
        let says = match Role::Server.speaks_in(turn) {
            true => Step::ServerSays("words".to_owned()),
            false => Step::ClientSays("words".to_owned()),
        };
        let reads = [Step::ServerReads, Step::ClientReads].into_iter().cycle();
        let steps = reads.clone().take(8).chain([says]).chain(reads.take(8));
        for step in steps {
            pair.take(step);
            for (side, stored) in [&pair.server, &pair.client].into_iter().zip(&mut stored) {
                let record = side.machine.snapshot();
                stored.insert([record.said, record.heard, record.acknowledged]);
            }
        }
    }
    stored
}

/// With these counters, and the texts that belong to them.
fn record([said, heard, acknowledged]: Counters) -> Snapshot {
    Snapshot {
        id: ID,
        said,
        heard,
        acknowledged,
        last_said: (said > 0).then(|| text("said")),
        last_heard: (heard > 0).then(|| text("heard")),
        quit: false,
    }
}

/// Damage, or another program, may have written anything.
#[test]
fn a_record_is_gone_on_with_if_a_conversation_could_have_stored_it() {
    const MOST: u64 = 7;
    let stored = stored(MOST + 2);
    for (role, stored) in [Role::Server, Role::Client].into_iter().zip(stored) {
        let of_any = |said| (0..=MOST).map(move |heard| (said, heard));
        let pairs = (0..=MOST).flat_map(of_any);
        let all = pairs.flat_map(|(said, heard)| (0..=MOST).map(move |to| [said, heard, to]));
        for counters in all {
            let restored = Conversation::restore(role, record(counters));
            let could_be = stored.contains(&counters);
            assert_eq!(restored.is_some(), could_be, "{role:?} {counters:?}");
            let Some(restored) = restored else { continue };
            let [said, heard, acknowledged] = counters;
            assert_eq!(restored.next_turn(), said.max(heard) + 1);
            assert_eq!(restored.has_untaken(), heard > said);
            assert_eq!(restored.is_acknowledged(), acknowledged > 0);
            let last = (heard > 0).then(|| Message {
                turn: heard,
                text: text("heard"),
            });
            assert_eq!(restored.last_heard(), last);
            let lost = (said > acknowledged).then(|| Message {
                turn: said,
                text: text("said"),
            });
            assert_eq!(restored.end(By::Peer).unacknowledged, lost);
        }
    }
}

/// Only an end needs no words: of it they were not kept.
#[test]
fn a_record_has_the_words_of_its_last_turns() {
    let whole = record([3, 2, 3]);
    let is_taken = |record: &Snapshot| Conversation::restore(Role::Server, record.clone());
    assert!(is_taken(&whole).is_some());
    for (last_said, last_heard) in [(true, false), (false, true), (false, false)] {
        let mut some = whole.clone();
        some.last_said = some.last_said.filter(|_| last_said);
        some.last_heard = some.last_heard.filter(|_| last_heard);
        assert!(is_taken(&some).is_none(), "{some:?}");
        some.quit = true;
        assert!(is_taken(&some).is_some_and(|of| !of.has_untaken()));
    }
    let mut begun = record([0, 0, 0]);
    begun.last_heard = Some(text("never"));
    assert!(is_taken(&begun).is_none());
    begun.quit = true;
    assert!(is_taken(&begun).is_some_and(|of| !of.has_untaken()));
    let mut begun = record([0, 0, 0]);
    begun.last_said = Some(text("never"));
    assert!(is_taken(&begun).is_none());
}

/// A server that is not there, or has no place, must not keep a client (PROTOCOL 3.12 and 4.9).
#[test]
fn a_quit_before_welcome_goes_at_once_unless_a_message_goes_first() {
    let client = |counters, is_queued| {
        let mut side = Side::new(Role::Client, HeardWhen::Stored);
        side.machine = Conversation::restore(Role::Client, record(counters)).unwrap();
        side.machine.connect();
        side.process_outputs();
        if is_queued {
            side.receive(Frame::Wait { ahead: 0 }).unwrap();
        }
        side.machine.quit();
        side.process_outputs();
        side.sent.contains(&Frame::Quit {})
    };
    let (even, behind) = ([2, 1, 2], [2, 1, 0]);
    assert!(client([0, 0, 0], false));
    assert!(client(even, false));
    assert!(!client(behind, false));
    assert!(client(behind, true));
}

/// Nobody reads them again, so that they do not stay on the disk.
#[test]
fn an_end_is_remembered_without_words() {
    let conversation = Conversation::restore(Role::Server, record([3, 2, 3])).unwrap();
    let end = conversation.tombstone();
    assert!(end.is_tombstone());
    assert_eq!((end.last_said, end.last_heard), (None, None));
    assert_eq!((end.said, end.heard, end.acknowledged), (3, 2, 3));
}

#[test]
fn a_second_quit_does_nothing() {
    let mut server = server_after(1);
    server.machine.quit();
    server.process_outputs();
    let before = server.machine.clone();
    server.machine.quit();
    assert_eq!(server.machine, before);
}

/// Only acknowledgements count then (PROTOCOL 3.11), and this is none.
#[test]
fn hearing_what_was_not_said_tells_nothing_after_a_quit() {
    let mut server = server_after(1);
    server.machine.quit();
    server.process_outputs();
    for turn in [0, 2, 3] {
        server.receive(Frame::Heard { turn }).unwrap();
        server.process_outputs();
        assert!(server.delivered.is_empty());
    }
    server.receive(Frame::Heard { turn: 1 }).unwrap();
    server.process_outputs();
    assert_eq!(server.delivered, [1]);
}

/// It is counted in our `welcome`, taken or not (PROTOCOL 4.6).
#[test]
fn what_was_stored_before_a_cut_is_acknowledged_once() {
    let mut server = server_after(2);
    assert!(server.machine.has_untaken());
    server.machine.detach();
    server.sent.clear();
    server.machine.accept(1).unwrap();
    server.process_outputs();
    let welcome = Frame::Welcome {
        conversation: ID,
        heard: 2,
    };
    assert_eq!(server.sent, [welcome]);
    // And so its peer may not say it again.
    let say = Frame::Say {
        turn: 2,
        text: text("theirs"),
    };
    let violation = violates(&mut server, say);
    assert_eq!(violation, Violation::OutOfTurn { turn: 2, next: 4 });
}
