//! Two people in one process: their speakers, and the library's two ends over a pipe in
//! memory.

use std::collections::VecDeque;
use std::fs;
use std::future::pending;
use std::io;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Ending, Terms, converse, quit_unbegun, time_to_leave};
use crate::cli::display::Display;
use crate::cli::display::recorded::Shown;
use crate::cli::report::{Exit, Report};
use crate::cli::signals::{Signals, Stop};
use crate::cli::speaker::{Intent, Partner, Speaker, Unsaid};
use crate::cli::transcript::Transcript;
use crate::link::{Cause, Client, Ended, Server, ServerBuilder, Talk, Turn, Verdict};
use crate::protocol::{Message, Role, Text};
use crate::trust::{Algorithm, Identity};

/// A speaker that does what a test says, at any time, and shows all that it is told.
struct Played {
    display: Display,
    /// What it wants in its turns, one after another.
    in_turn: VecDeque<Intent>,
    out_of_turn: Option<Intent>,
    entered: Option<Text>,
    /// It takes nothing of what it is shown.
    takes_nothing: bool,
    /// How long it thinks in its turns.
    delay: Duration,
}

impl Speaker for Played {
    fn display(&self) -> &Display {
        &self.display
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.display.say(&partner.greeting());
        Ok(())
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        sleep(self.delay).await;
        let Some(intent) = self.in_turn.pop_front() else {
            return pending().await;
        };
        self.display.say(&format!("[turn {turn}]"));
        intent
    }

    async fn idle(&mut self) -> Intent {
        match self.out_of_turn.take() {
            Some(intent) => intent,
            None => pending().await,
        }
    }

    async fn taken(&mut self) -> Result<(), Report> {
        match self.takes_nothing {
            true => pending().await,
            false => Ok(()),
        }
    }

    fn sent(&mut self, _turn: u64, text: &Text) -> Result<(), Report> {
        self.display.message("I say: ", text.as_str())
    }

    fn entered(&mut self) -> Vec<Text> {
        self.entered.take().into_iter().collect()
    }

    fn unsaid(&mut self, text: Text) -> Unsaid {
        self.display.unsaid(text.as_str());
        Unsaid::Lost
    }

    fn ended(&mut self, _over: &Ended) -> Result<(), Report> {
        self.display.say("[ended]");
        Ok(())
    }
}

/// One side: who speaks, what signals come, and what was shown.
struct Side {
    speaker: Played,
    signals: Signals,
    terms: Terms,
    stops: watch::Sender<Option<Stop>>,
    shown: Shown,
}

impl Side {
    fn new() -> Self {
        let (display, shown) = Display::recorded(None);
        let (signals, stops) = Signals::played();
        let speaker = Played {
            display,
            in_turn: VecDeque::new(),
            out_of_turn: None,
            entered: None,
            takes_nothing: false,
            delay: Duration::ZERO,
        };
        Self {
            speaker,
            signals,
            terms: Terms::default(),
            stops,
            shown,
        }
    }

    fn says(&mut self, words: &str) {
        self.wants(Intent::Message(text(words)));
    }

    /// This, in its next turn.
    fn wants(&mut self, intent: Intent) {
        self.speaker.in_turn.push_back(intent);
    }

    async fn converses(&mut self, talk: Talk) -> Ending {
        let partner = partner(&talk);
        let (speaker, signals) = (&mut self.speaker, &mut self.signals);
        converse(talk, &partner, speaker, signals, &mut self.terms).await
    }
}

fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

fn partner(talk: &Talk) -> Partner {
    let role = match talk.turn {
        Turn::Mine(_) => Role::Server,
        Turn::Theirs(_) => Role::Client,
    };
    Partner {
        key: talk.peer.key(),
        petname: Some("alice".to_owned()),
        address: None,
        role,
        conversation: talk.conversation,
        is_resumed: talk.is_resumed,
    }
}

/// A server, and the two ends of a conversation that has just begun on it.
async fn begun() -> (Server, Talk, Talk) {
    let [own, other] = [(); 2].map(|()| Identity::generate(Algorithm::EcdsaP256).unwrap());
    let (dials, mut dialled) = mpsc::unbounded_channel::<DuplexStream>();
    let accept = move || {
        let next = dialled.try_recv();
        async move {
            match next {
                Ok(stream) => Ok((stream, None)),
                Err(_) => pending().await,
            }
        }
    };
    let (near, far) = duplex(65_536);
    dials.send(far).unwrap();
    let mut near = Some(near);
    let builder = ServerBuilder::new(&own, async |_| Verdict::Admit);
    let mut server = builder.start(accept).await.unwrap();
    let client = Client::new(&other, vec![own.key_id()]);
    let waiting = client.connect(move || {
        let stream = near.take().ok_or(io::ErrorKind::ConnectionRefused);
        async move { Ok(stream?) }
    });
    let waiting = waiting.await.unwrap();
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    (server, here.unwrap(), there.unwrap())
}

/// What came of a conversation: each side's end, and what each was shown.
struct Held {
    server: (Ending, String),
    client: (Ending, String),
}

/// Plays what `server` and `client` want, from the beginning to both ends.
async fn hold(mut server: Side, mut client: Side) -> Held {
    let (_server, here, there) = begun().await;
    let (here, there) = tokio::join!(server.converses(here), client.converses(there));
    Held {
        server: (here, server.shown.take()),
        client: (there, client.shown.take()),
    }
}

fn cause(ending: &Ending) -> String {
    ending.over.as_ref().unwrap().cause.to_string()
}

#[tokio::test(start_paused = true)]
async fn two_people_take_turns_until_one_quits() {
    let (mut server, mut client) = (Side::new(), Side::new());
    server.says("one");
    client.says("two");
    server.wants(Intent::Quit);
    let held = hold(server, client).await;
    assert!(
        held.server
            .1
            .starts_with("|turnchat: Connected with alice.\n|turnchat: [turn 1]\nI say: one\n")
    );
    assert!(held.server.1.contains("They say: two\n"));
    assert!(held.client.1.contains("They say: one\n"));
    assert_eq!(cause(&held.server.0), "this side ended the conversation");
    assert_eq!(cause(&held.client.0), "the peer ended the conversation");
    for (ending, _) in [&held.server, &held.client] {
        assert_eq!(ending.exit(), Ok(Exit::Success));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_may_quit_too() {
    let (server, mut client) = (Side::new(), Side::new());
    client.speaker.out_of_turn = Some(Intent::Quit);
    let held = hold(server, client).await;
    assert_eq!(cause(&held.client.0), "this side ended the conversation");
    assert_eq!(cause(&held.server.0), "the peer ended the conversation");
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_says_goodbye_in_either_turn() {
    for is_ours in [true, false] {
        let (server, client) = (Side::new(), Side::new());
        let who = if is_ours { &server } else { &client };
        who.stops.send(Some(Stop::Interrupt)).unwrap();
        let held = hold(server, client).await;
        let [(ending, shown), (other, _)] = match is_ours {
            true => [held.server, held.client],
            false => [held.client, held.server],
        };
        assert_eq!(ending.exit(), Ok(Exit::Interrupted));
        assert!(shown.contains("|turnchat: Saying goodbye."), "{shown}");
        assert_eq!(cause(&other), "the peer ended the conversation");
    }
}

#[tokio::test(start_paused = true)]
async fn sigterm_and_a_closed_terminal_end_nothing() {
    for stop in [Stop::Terminate, Stop::HangUp] {
        let (_server, here, there) = begun().await;
        let mut side = Side::new();
        match stop {
            Stop::HangUp => side.wants(Intent::HangUp),
            _ => _ = side.stops.send(Some(stop)),
        }
        let ending = side.converses(here).await;
        assert_eq!(ending.stop, Some(stop));
        assert!(ending.over.is_none());
        drop(there);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_entered_as_the_peer_quit_is_named() {
    let (mut server, mut client) = (Side::new(), Side::new());
    server.wants(Intent::Quit);
    client.speaker.entered = Some(text("too late"));
    let held = hold(server, client).await;
    let (ending, shown) = held.client;
    assert!(shown.ends_with("|Not sent: too late\n"), "{shown}");
    assert!(ending.is_unsaid);
    assert_eq!(ending.exit(), Err(Report::unsaid()));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_shown_is_not_taken() {
    let (mut server, client) = (Side::new(), Side::new());
    server.says("one");
    client.shown.close();
    let held = hold(server, client).await;
    // Without a journal nothing can go on; nobody is told that it ended in order.
    assert!(held.client.0.over.is_none());
    let exit = held.client.0.exit().unwrap_err();
    assert_eq!(exit.exit, Exit::Failure);
    let Some(Ended {
        cause: Cause::Link(_),
        unacknowledged: Some(Message { turn: 1, .. }),
        ..
    }) = held.server.0.over
    else {
        panic!("{:?}", held.server.0);
    };
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_told_with_the_turn_it_was() {
    let (mut server, client) = (Side::new(), Side::new());
    server.says("one");
    server.shown.close();
    let held = hold(server, client).await;
    let exit = held.server.0.exit().unwrap_err();
    assert_eq!(exit.exit, Exit::Failure);
    let is_named = exit.what.contains("message of turn 1");
    let has_come = held.client.1.contains("They say: one");
    assert!(is_named || has_come, "{exit:?}");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_fails_ends_the_conversation_and_says_why() {
    let (mut server, client) = (Side::new(), Side::new());
    let why = Report::new(Exit::Failure, "A line is too long.", "Cut it.");
    server.wants(Intent::Failed(why.clone()));
    let held = hold(server, client).await;
    assert_eq!(cause(&held.server.0), "this side ended the conversation");
    assert_eq!(held.server.0.exit(), Err(why));
    assert_eq!(cause(&held.client.0), "the peer ended the conversation");
}

#[tokio::test(start_paused = true)]
async fn a_message_on_its_way_to_whoever_leaves_is_shown_or_named() {
    let (_server, here, there) = begun().await;
    let mut client = Side::new();
    let Turn::Mine(mine) = here.turn else {
        panic!("not the server's turn");
    };
    let theirs = mine.say(text("one")).await.unwrap();
    let leaving = quit_unbegun(there, &mut client.speaker, &mut client.terms);
    let (ending, heard) = tokio::join!(leaving, theirs.hear());
    assert_eq!(cause(&ending), "this side ended the conversation");
    let over = heard.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer));
    let is_shown = client.shown.take().contains("They say: one\n");
    assert_eq!(is_shown, over.unacknowledged.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_ends_the_conversation() {
    for is_ours in [true, false] {
        let (mut server, mut client) = (Side::new(), Side::new());
        let limited = if is_ours { &mut server } else { &mut client };
        limited.terms.turn_timeout = Some(Duration::from_secs(60));
        let before = Instant::now();
        let held = hold(server, client).await;
        assert_eq!(before.elapsed().as_secs(), 60);
        let [(ending, _), (other, _)] = match is_ours {
            true => [held.server, held.client],
            false => [held.client, held.server],
        };
        let whose = match is_ours {
            true => "your turn",
            false => "the turn of alice",
        };
        let report = ending.exit().unwrap_err();
        assert_eq!(report.exit, Exit::Failure);
        assert!(report.what.contains(whose), "{report:?}");
        assert!(ending.failure.is_none(), "a server would stop for it");
        assert_eq!(cause(&ending), "this side ended the conversation");
        assert_eq!(cause(&other), "the peer ended the conversation");
    }
}

#[tokio::test(start_paused = true)]
async fn each_turn_has_its_own_time() {
    let (mut server, mut client) = (Side::new(), Side::new());
    server.terms.turn_timeout = Some(Duration::from_secs(60));
    server.says("one");
    client.speaker.delay = Duration::from_secs(40);
    client.says("two");
    let before = Instant::now();
    hold(server, client).await;
    // The turn of the client, and then one's own.
    assert_eq!(before.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_not_acknowledged_whatever_ends_it() {
    for what in ["timeout", "Ctrl-C", "the peer"] {
        let (mut server, mut client) = (Side::new(), Side::new());
        server.says("one");
        client.speaker.takes_nothing = true;
        match what {
            "timeout" => client.terms.turn_timeout = Some(Duration::from_secs(60)),
            "Ctrl-C" => {
                let stops = client.stops.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(30)).await;
                    stops.send(Some(Stop::Interrupt)).unwrap();
                });
            }
            _ => server.speaker.out_of_turn = Some(Intent::Quit),
        }
        let held = hold(server, client).await;
        let over = held.server.0.over.unwrap();
        let is_named = matches!(over.unacknowledged, Some(Message { turn: 1, .. }));
        assert!(is_named, "{what}: {over:?}");
        let failure = held.client.0.failure.unwrap();
        assert!(failure.what.contains("turn 1 was not taken"), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_what_was_taken() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("talk.txt");
    let (mut server, mut client) = (Side::new(), Side::new());
    server.says("one");
    client.says("two");
    server.wants(Intent::Quit);
    client.terms.transcript = Transcript::open(&path, false).unwrap();
    hold(server, client).await;
    let recorded = fs::read_to_string(path).unwrap();
    let rows: Vec<_> = recorded.lines().map(|row| &row[21..]).collect();
    assert_eq!(
        rows[1..],
        [
            "They say: one",
            "Your message: two",
            "The conversation is over: the peer ended the conversation."
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_taken() {
    let (mut server, mut client) = (Side::new(), Side::new());
    server.says("one");
    client.terms.transcript = Transcript::full();
    let held = hold(server, client).await;
    let over = held.server.0.over.unwrap();
    let is_named = matches!(over.unacknowledged, Some(Message { turn: 1, .. }));
    assert!(is_named, "{over:?}");
    let report = held.client.0.exit().unwrap_err();
    assert!(report.what.contains("The transcript"), "{report:?}");
}

#[test]
fn a_goodbye_takes_no_longer_than_the_program_stays() {
    let seconds = |stop| time_to_leave(stop).as_secs();
    assert_eq!(seconds(None), 10);
    assert_eq!(seconds(Some(Stop::Interrupt)), 10);
    assert_eq!(seconds(Some(Stop::Terminate)), 5);
    assert_eq!(seconds(Some(Stop::HangUp)), 5);
}
