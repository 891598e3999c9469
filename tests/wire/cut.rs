//! A whole conversation of our two sides, cut after each k-th byte of either
//! direction, the handshake's bytes included, where nothing is held. Each
//! time both sides come to an end, nothing is heard that was not said, and
//! the server serves the next honest peer. (With a hold the conversation goes
//! on instead: that is tested elsewhere.)

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use turnchat::{Algorithm, Message};

use super::ours::{Habit, House, PIPE, cause, dial, told, unheld};
use super::program::{Home, PATIENCE, Program};

/// Which way the bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// Carries bytes both ways until `k` went this way, then cuts. Returns how
/// many went.
async fn carry<C, S>(client: C, server: S, way: Way, k: usize) -> usize
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let (mut up, mut down) = match way {
        Way::ToServer => (k, usize::MAX),
        Way::ToClient => (usize::MAX, k),
    };
    // Cut, or at its end both ways.
    tokio::select! {
        true = one_way(from_client, to_server, &mut up) => {}
        true = one_way(from_server, to_client, &mut down) => {}
        else => {}
    }
    match way {
        Way::ToServer => k - up,
        Way::ToClient => k - down,
    }
}

/// True if it was cut, false at the end of the stream.
async fn one_way<R, W>(mut from: R, mut to: W, left: &mut usize) -> bool
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut chunk = [0; 4096];
    while *left > 0 {
        let most = chunk.len().min(*left);
        let read = match from.read(&mut chunk[..most]).await {
            Ok(read) => read,
            Err(_) => return true,
        };
        if read == 0 {
            let _ = to.shutdown().await;
            return false;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return true;
        }
        *left -= read;
    }
    true
}

const CLIENT_HEARS: [&str; 4] = ["began", "heard 1 turn 1", "delivered 2", "heard 3 turn 3"];
const SERVER_HEARS: [&str; 4] = ["began", "delivered 1", "heard 2 turn 2", "delivered 3"];

/// One conversation, cut after `k` bytes; how many were carried.
async fn cut(way: Way, k: usize) -> usize {
    let mut house = House::new(Habit::Answers).await;
    let (ours, near) = duplex(PIPE);
    let carrying = tokio::spawn(carry(near, house.call(), way, k));
    let mut whole = false;
    match dial(ours, house.id, Habit::QuitsAt(4), unheld()).await {
        // Before `hello`: an error, and nothing began here.
        Err(_) => {}
        Ok(mut tale) => {
            let (words, over) = told(&mut tale).await;
            assert!(
                CLIENT_HEARS.starts_with(&strs(&words)),
                "{way:?} {k}: {words:?}"
            );
            whole = cause(&over) == "me";
            assert!(!whole || words.len() == 4, "{way:?} {k}: {words:?}");
            if let Some(Message { turn, .. }) = over.unacknowledged {
                assert!((turn, words.len()) == (2, 2), "{way:?} {k}: {words:?}");
            }
        }
    }
    let carried = timeout(Duration::from_secs(3600), carrying).await;
    let carried = carried.expect("the link hangs").unwrap();
    house.serves_the_next(Habit::Answers).await;

    // What the server lived through: this conversation, if it began there,
    // and then the honest one.
    let (mut words, mut over) = told(&mut house.tale).await;
    if !words.contains(&"heard 2 honest".to_owned()) {
        assert!(
            SERVER_HEARS.starts_with(&strs(&words)),
            "{way:?} {k}: {words:?}"
        );
        assert!(!whole || cause(&over) == "peer", "{way:?} {k}: {over:?}");
        (words, over) = told(&mut house.tale).await;
    }
    assert!(
        words.contains(&"heard 2 honest".to_owned()),
        "{way:?} {k}: {words:?}"
    );
    assert_eq!(cause(&over), "peer");
    carried
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// All `k` of a way that leave this remainder.
fn every(way: Way, of: usize, remainder: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        // A signature may be a few bytes longer the next time.
        let bytes = cut(way, usize::MAX).await + 8;
        for k in (remainder..bytes).step_by(of) {
            cut(way, k).await;
        }
    });
}

#[test]
fn a_cut_after_any_even_byte_to_the_server_ends_both_sides() {
    every(Way::ToServer, 2, 0);
}

#[test]
fn a_cut_after_any_odd_byte_to_the_server_ends_both_sides() {
    every(Way::ToServer, 2, 1);
}

#[test]
fn a_cut_after_any_even_byte_to_the_client_ends_both_sides() {
    every(Way::ToClient, 2, 0);
}

#[test]
fn a_cut_after_any_odd_byte_to_the_client_ends_both_sides() {
    every(Way::ToClient, 2, 1);
}

/// The program on both sides, over TCP, cut after `k` bytes.
async fn cut_programs(way: Way, k: usize) {
    let (alice, bob) = (
        Home::new(Algorithm::default()),
        Home::new(Algorithm::default()),
    );
    let (allowed, pin) = (bob.id.to_string(), alice.id.to_string());
    let arguments = ["--hold", "0s", "--first", "One.", "--allow", &allowed];
    let (mut server, address) = Program::server(&arguments, alice.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap().to_string();
    let arguments = ["client", &between, "--pin", &pin, "--hold", "0s"];
    let mut client = Program::start(&arguments, bob.path());
    client.types("Two.\n");
    let (near, _) = listener.accept().await.unwrap();
    let far = TcpStream::connect(address).await.unwrap();
    let carrying = timeout(PATIENCE, carry(near, far, way, k));
    server.types("Three.\nFive.\n");
    let ending = tokio::task::spawn_blocking(|| client.ended());
    let (_, exited) = tokio::join!(carrying, ending);
    let exited = exited.unwrap();
    assert!([0, 4].contains(&exited.code), "{way:?} {k}: {exited:?}");
    let whole = "They say: One.\nYour message: Two.\nThey say: Three.\n";
    assert!(whole.starts_with(&exited.stdout), "{way:?} {k}: {exited:?}");
    // The next one is served.
    let address = address.to_string();
    let next = Program::start(&["client", &address, "--pin", &pin], bob.path());
    let exited = tokio::task::spawn_blocking(|| next.ended()).await.unwrap();
    assert_eq!(exited.code, 0, "{way:?} {k}: {exited:?}");
    assert!(exited.stdout.starts_with("They say: One.\n"), "{exited:?}");
}

#[tokio::test]
async fn the_program_comes_to_an_end_after_a_cut_too() {
    // What comes when is in the sixteenths: handshake, greeting, words, end.
    for k in [0, 1, 5, 600, 1300, 1800, 1900, 2000, 2100, 2200, usize::MAX] {
        cut_programs(Way::ToServer, k).await;
    }
    for k in [0, 1, 5, 600, 1300, 1800, 1900, 2000, 2100, 2200] {
        cut_programs(Way::ToClient, k).await;
    }
}
