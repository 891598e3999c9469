//! Each kind of frame in each phase, in both directions (PROTOCOL 2.1, 3.2, 3.3, 3.6 and
//! 3.11).

use tokio::io::{AsyncRead, AsyncWrite};

use super::ours::{Habit, House, Tale, called, cause, told, welcomed};
use super::raw::{Came, ID, OTHER_ID, PING, PONG, QUIT, Raw, heard, hello, say, welcome};

/// What a frame leads to.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// `error` with this code, and an orderly close.
    Error(&'static str),
    /// These frames, and it goes on.
    Frames(&'static [&'static str]),
    /// These frames, and an orderly close.
    Ends(&'static [&'static str]),
    /// The end, without a word.
    Gone,
}

use Then::{Ends, Error, Frames, Gone};

const NO_PLACE: Then = Error("protocol-error");
const NOTHING: Then = Frames(&[]);

const WELCOME: &str = "{\"welcome\":{\"conversation\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"heard\":0}}";
const WAIT: &str = "{\"wait\":{\"ahead\":0}}";
const BUSY: &str = "{\"refuse\":{\"reason\":\"busy\"}}";
const ENDED: &str = "{\"refuse\":{\"reason\":\"ended\"}}";
const FAILED: &str = "{\"error\":{\"code\":\"internal\",\"detail\":\"disk\"}}";

/// Sends a frame, and checks what comes of it.
async fn check<T>(peer: &mut Raw<T>, frame: &str, then: Then)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    peer.send(frame).await;
    match then {
        Error(code) => peer.expect_error(code).await,
        Frames(lines) => {
            for line in lines {
                peer.expect(line).await;
            }
            // Nothing else came, and it is still there.
            peer.send(PING).await;
            peer.expect(PONG).await;
        }
        Ends(lines) => {
            for line in lines {
                peer.expect(line).await;
            }
            assert_eq!(peer.next().await, Came::Close, "after {frame}");
        }
        Gone => {
            let came = peer.next().await;
            assert!(matches!(came, Came::Close | Came::Cut), "{came:?}");
        }
    }
}

/// One row for each kind of frame, in the order of PROTOCOL's table.
struct Kinds {
    hello: Then,
    wait: Then,
    welcome: Then,
    refuse: Then,
    /// With the number that would be next.
    say: Then,
    /// Of the last turn that our side said, or of turn 1.
    heard: Then,
    quit: Then,
    ping: Then,
    pong: Then,
    error: Then,
}

impl Kinds {
    fn rows(&self, id: &str, next: u64, said: u64) -> [(String, Then); 10] {
        [
            (hello(id), self.hello),
            (WAIT.to_owned(), self.wait),
            (welcome(id), self.welcome),
            (BUSY.to_owned(), self.refuse),
            (say(next, "words"), self.say),
            (heard(said), self.heard),
            (QUIT.to_owned(), self.quit),
            (PING.to_owned(), self.ping),
            (PONG.to_owned(), self.pong),
            (FAILED.to_owned(), self.error),
        ]
    }
}

/// Where a client stands with our server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Arrived,
    Queued,
    /// It is the server's turn 1.
    Listens,
    /// It is the client's turn 2.
    Speaks,
    /// The server has quit in turn 1.
    WasQuit,
}

async fn server_in(phase: Client, frame: &str, then: Then) {
    let habit = match phase {
        Client::Arrived | Client::Queued | Client::Listens => Habit::Thinks,
        Client::Speaks => Habit::Answers,
        Client::WasQuit => Habit::QuitsAt(1),
    };
    let mut house = House::new(habit).await;
    let mut before = None;
    if phase == Client::Queued {
        let mut guest = house.guest().await;
        guest.begin().await;
        before = Some(guest);
    }
    let mut guest = house.guest().await;
    match phase {
        Client::Arrived => {}
        Client::Queued => {
            guest.send(&hello(ID)).await;
            guest.expect(WAIT).await;
        }
        Client::Listens => guest.begin().await,
        Client::Speaks => {
            guest.begin().await;
            guest.expect(&say(1, "turn 1")).await;
        }
        Client::WasQuit => {
            guest.begin().await;
            guest.expect(QUIT).await;
        }
    }
    check(&mut guest, frame, then).await;
    drop((guest, before));
    if !matches!((phase, then), (_, Frames(_))) && phase != Client::Queued {
        house.serves_the_next(habit).await;
    }
    // Nothing that was refused or dropped was heard.
    let may_hear = phase == Client::Speaks && matches!(then, Frames(_));
    while let Ok(told) = house.tale.try_recv() {
        let is_honest = matches!(&told, super::ours::Told::Heard(2, text) if text == "honest");
        let is_heard = matches!(told, super::ours::Told::Heard(..));
        assert!(may_hear || is_honest || !is_heard, "{frame} in {phase:?}");
    }
}

async fn server_table(phase: Client, kinds: Kinds) {
    let next = match phase {
        Client::Arrived | Client::Queued | Client::Listens | Client::WasQuit => 1,
        Client::Speaks => 2,
    };
    for (frame, then) in kinds.rows(ID, next, 1) {
        server_in(phase, &frame, then).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_begins_with_hello_and_nothing_else() {
    server_table(
        Client::Arrived,
        Kinds {
            hello: Frames(&[WELCOME]),
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: NO_PLACE,
            heard: NO_PLACE,
            quit: NO_PLACE,
            ping: NO_PLACE,
            pong: NO_PLACE,
            error: Gone,
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_the_queue_a_client_may_quit_and_ping() {
    server_table(
        Client::Queued,
        Kinds {
            hello: NO_PLACE,
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: NO_PLACE,
            heard: NO_PLACE,
            quit: Ends(&[QUIT]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_the_servers_turn_a_client_does_not_speak() {
    server_table(
        Client::Listens,
        Kinds {
            hello: NO_PLACE,
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: Error("out-of-turn"),
            heard: NO_PLACE,
            quit: Ends(&[QUIT]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
    server_in(Client::Listens, &say(2, "x"), Error("out-of-turn")).await;
    server_in(Client::Listens, &heard(0), NO_PLACE).await;
}

#[tokio::test(start_paused = true)]
async fn in_its_own_turn_a_client_speaks() {
    const ANSWER: &[&str] = &[
        "{\"heard\":{\"turn\":2}}",
        "{\"say\":{\"turn\":3,\"text\":\"turn 3\"}}",
    ];
    server_table(
        Client::Speaks,
        Kinds {
            hello: NO_PLACE,
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: Frames(ANSWER),
            heard: NOTHING,
            quit: Ends(&[QUIT]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
    for wrong in [0, 1, 3, 4, 9_007_199_254_740_991] {
        server_in(Client::Speaks, &say(wrong, "x"), Error("out-of-turn")).await;
        if wrong != 1 {
            server_in(Client::Speaks, &heard(wrong), NO_PLACE).await;
        }
    }
    let repeated = format!("{0}\n{0}\n{0}", heard(1));
    server_in(Client::Speaks, &repeated, NOTHING).await;
    let twice = format!("{}\n{}", say(2, "x"), say(2, "x"));
    let mut house = House::new(Habit::Thinks).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.send(&twice).await;
    guest.expect_error("out-of-turn").await;
    house.serves_the_next(Habit::Thinks).await;
}

#[tokio::test(start_paused = true)]
async fn after_the_servers_quit_only_an_end_counts() {
    server_table(
        Client::WasQuit,
        Kinds {
            hello: NOTHING,
            wait: NOTHING,
            welcome: NOTHING,
            refuse: NOTHING,
            say: NOTHING,
            heard: NOTHING,
            quit: Ends(&[]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
    server_in(Client::WasQuit, &say(2, "dropped"), NOTHING).await;
}

/// Where our client stands with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// It has read `hello`.
    Greeted,
    /// And has sent `wait`.
    Queues,
    /// It is its turn 1.
    Speaks,
    /// It is our client's turn 2, and `heard` 1 has come.
    Listens,
    /// Our client has quit before `welcome`.
    WasQuitEarly,
    /// Our client has quit in turn 1.
    WasQuit,
}

async fn client_in(phase: Server, frame: &str, then: Then) {
    let (mut raw, mut tale, id) = client_up_to(phase).await;
    let frame = frame.replace(ID, &id);
    check(&mut raw, &frame, then).await;
    if matches!(then, Frames(_)) {
        return;
    }
    let (words, over) = told(&mut tale).await;
    let before: &[&str] = match phase {
        Server::Listens => &["heard 1 turn 1"],
        Server::Queues | Server::WasQuitEarly => &["waiting 0"],
        Server::Greeted | Server::Speaks | Server::WasQuit => &[],
    };
    let is_early = phase == Server::WasQuitEarly && words.is_empty();
    assert!(
        words == before || is_early,
        "{frame} in {phase:?}: {words:?}"
    );
    let wanted = match then {
        Error(_) => "the peer broke the protocol",
        _ if frame == FAILED => "the peer reports `internal`",
        _ if frame == BUSY => "busy",
        _ if matches!(phase, Server::WasQuit | Server::WasQuitEarly) => "me",
        // It has not begun.
        _ if matches!(phase, Server::Greeted | Server::Queues) => "ended",
        _ => "peer",
    };
    assert!(
        cause(&over).starts_with(wanted),
        "{frame} in {phase:?}: {over:?}"
    );
}

async fn client_up_to(
    phase: Server,
) -> (
    Raw<tokio_rustls::server::TlsStream<tokio::io::DuplexStream>>,
    Tale,
    String,
) {
    match phase {
        Server::Greeted | Server::Queues => {
            let (mut raw, tale) = called(Habit::Thinks).await;
            let id = raw.hello().await;
            if phase == Server::Queues {
                raw.send(WAIT).await;
            }
            (raw, tale, id)
        }
        Server::WasQuitEarly => {
            let (mut raw, tale) = called(Habit::QuitsAt(0)).await;
            let id = raw.hello().await;
            raw.expect(QUIT).await;
            raw.send(WAIT).await;
            (raw, tale, id)
        }
        Server::Speaks | Server::Listens | Server::WasQuit => {
            let habit = match phase {
                Server::WasQuit => Habit::QuitsAt(1),
                _ => Habit::Thinks,
            };
            let (mut raw, mut tale) = called(habit).await;
            let id = raw.hello().await;
            raw.send(&welcome(&id)).await;
            assert!(matches!(tale.recv().await, Some(super::ours::Told::Began)));
            if phase == Server::Listens {
                raw.send(&say(1, "turn 1")).await;
                raw.expect(&heard(1)).await;
            }
            if phase == Server::WasQuit {
                raw.expect(QUIT).await;
            }
            (raw, tale, id)
        }
    }
}

async fn client_table(phase: Server, kinds: Kinds) {
    let next = match phase {
        Server::Listens => 2,
        _ => 1,
    };
    for (frame, then) in kinds.rows(ID, next, 1) {
        client_in(phase, &frame, then).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_hello_with_wait_welcome_or_refuse() {
    client_table(
        Server::Greeted,
        Kinds {
            hello: NO_PLACE,
            wait: NOTHING,
            welcome: NOTHING,
            refuse: Ends(&[]),
            say: NO_PLACE,
            heard: NO_PLACE,
            quit: NO_PLACE,
            ping: NO_PLACE,
            pong: NO_PLACE,
            error: Gone,
        },
    )
    .await;
    client_in(Server::Greeted, ENDED, Ends(&[])).await;
    client_in(Server::Greeted, &welcome(OTHER_ID), NO_PLACE).await;
    for counter in [1, 2, 3] {
        let welcome = welcome(ID).replace('0', &counter.to_string());
        client_in(Server::Greeted, &welcome, NO_PLACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_its_client_waiting_may_ping() {
    client_table(
        Server::Queues,
        Kinds {
            hello: NO_PLACE,
            wait: NOTHING,
            welcome: NOTHING,
            refuse: Ends(&[]),
            say: NO_PLACE,
            heard: NO_PLACE,
            quit: NO_PLACE,
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_its_own_turn_a_server_speaks() {
    client_table(
        Server::Speaks,
        Kinds {
            hello: NO_PLACE,
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: Frames(&["{\"heard\":{\"turn\":1}}"]),
            heard: NO_PLACE,
            quit: Ends(&[QUIT]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
    for wrong in [0, 2, 3, 9_007_199_254_740_991] {
        client_in(Server::Speaks, &say(wrong, "x"), Error("out-of-turn")).await;
        client_in(Server::Speaks, &heard(wrong), NO_PLACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_clients_turn_a_server_does_not_speak() {
    client_table(
        Server::Listens,
        Kinds {
            hello: NO_PLACE,
            wait: NO_PLACE,
            welcome: NO_PLACE,
            refuse: NO_PLACE,
            say: Error("out-of-turn"),
            heard: NO_PLACE,
            quit: Ends(&[QUIT]),
            ping: Frames(&[PONG]),
            pong: NOTHING,
            error: Gone,
        },
    )
    .await;
    for wrong in [1, 3] {
        client_in(Server::Listens, &say(wrong, "x"), Error("out-of-turn")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_clients_quit_only_an_end_counts() {
    for phase in [Server::WasQuit, Server::WasQuitEarly] {
        client_table(
            phase,
            Kinds {
                hello: NOTHING,
                wait: NOTHING,
                welcome: NOTHING,
                refuse: NOTHING,
                say: NOTHING,
                heard: NOTHING,
                quit: Ends(&[]),
                ping: Frames(&[PONG]),
                pong: NOTHING,
                error: Gone,
            },
        )
        .await;
        client_in(phase, ENDED, Ends(&[])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn heard_counts_after_our_quit() {
    let (mut raw, mut tale) = welcomed(Habit::QuitsAt(3)).await;
    raw.send(&say(1, "x")).await;
    raw.expect(&heard(1)).await;
    raw.expect(&say(2, "turn 2")).await;
    raw.expect(QUIT).await;
    raw.send(&heard(2)).await;
    raw.send(QUIT).await;
    let (words, over) = told(&mut tale).await;
    assert_eq!(words, ["heard 1 x", "delivered 2"]);
    assert_eq!((cause(&over).as_str(), over.unacknowledged), ("me", None));
}
