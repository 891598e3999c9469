//! Somebody in the middle, with two TLS connections of their own, over loopback TCP: no wrong
//! key is stored, and each side that gets a wrong confirmation says so.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use turnchat::{Identity, KeyId, PairReason, PairingClient, PairingError, ServerBuilder, Verdict};
use turnchat::{Server, tcp};

use super::foreign::{Answerer, FAILED, Guesser, face, line_of};
use super::ours::{Told, User, identity, other_than};
use crate::wire::raw::{Came, Papers};

/// A server on loopback, the code of its pairing, and its user.
async fn serve(identity: &Identity) -> (Server, SocketAddr, User, String) {
    let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let builder = ServerBuilder::new(identity, async |_| Verdict::Admit);
    let server = builder.start(tcp::acceptor(listener)).await.unwrap();
    let mut user = User::of(server.pair());
    let code = user.code().await;
    (server, address, user, code)
}

async fn trap() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn dial(client: &Identity, port: u16, code: &str) -> Result<KeyId, PairingError> {
    let mut client = PairingClient::new(client);
    let code = code.parse().unwrap();
    let paired = client.pair(code, tcp::dial("127.0.0.1", port)).await?;
    let key = paired.key();
    paired.close().await;
    Ok(key)
}

#[tokio::test]
async fn without_anybody_in_the_middle_both_learn_each_others_keys() {
    let (alice, bob) = (identity(), identity());
    let (_server, address, mut user, code) = serve(&alice).await;
    let key = dial(&bob, address.port(), &code).await.unwrap();
    assert_eq!(key, alice.key_id());
    assert_eq!(user.told().await, Told::Asked(bob.key_id()));
    assert_eq!(user.stored(), [bob.key_id()]);
}

/// Both sides know one code, and whoever passes each frame on unchanged has two connections:
/// the exporters and the keys are not the same at the two ends.
#[tokio::test]
async fn who_passes_frames_on_is_found_out() {
    let (alice, bob, mallory) = (identity(), identity(), Papers::new());
    let (_server, address, mut user, code) = serve(&alice).await;
    let (listener, port) = trap().await;
    let relay = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = face(&mallory).answer(stream).await.unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut server = face(&mallory).dial(stream).await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..2 {
            let said = line_of(&mut client).await;
            server.send(&said).await;
            answers.push(line_of(&mut server).await);
            client.send(answers.last().unwrap()).await;
        }
        answers
    };
    let (paired, answers) = tokio::join!(dial(&bob, port, &code), relay);
    assert_eq!(answers[1], FAILED);
    assert!(matches!(
        paired,
        Err(PairingError::Refused(PairReason::PairingFailed))
    ));
    assert_eq!(user.told().await, Told::Wrong(mallory.id));
    assert!(user.stored().is_empty());
}

/// Whoever has a code of their own on each side, guessed wrong: both sides say so.
#[tokio::test]
async fn who_guesses_on_both_sides_is_told_of_on_both() {
    let (alice, bob, mallory) = (identity(), identity(), Papers::new());
    let (_server, address, mut user, code) = serve(&alice).await;
    let (listener, port) = trap().await;
    let middle = async {
        let (stream, _) = listener.accept().await.unwrap();
        let guess = other_than(&code);
        let mut answerer = Answerer::begin(stream, &mallory, &bob.key_id(), guess).await;
        answerer.go_on().await;
        let stream = TcpStream::connect(address).await.unwrap();
        let mut guesser = Guesser::begin(stream, &mallory, &alice.key_id(), guess).await;
        let came = guesser.confirm().await;
        let ours = answerer.ours.clone();
        answerer.raw.send(&ours).await;
        came
    };
    let (paired, came) = tokio::join!(dial(&bob, port, &code), middle);
    assert_eq!(came, Came::Line(FAILED.to_owned()));
    assert!(matches!(paired, Err(PairingError::Impostor(key)) if key == mallory.id));
    assert_eq!(user.told().await, Told::Wrong(mallory.id));
    assert!(user.stored().is_empty());
}

/// Even with the client's confirmation in hand, which is right on another connection.
#[tokio::test]
async fn a_confirmation_is_worth_nothing_elsewhere() {
    let (alice, bob, mallory) = (identity(), identity(), Papers::new());
    let (_server, address, mut user, code) = serve(&alice).await;
    let (listener, port) = trap().await;
    let middle = async {
        let (stream, _) = listener.accept().await.unwrap();
        // It knows the code by now, as the client's own server would: and yet is not let in
        // with the confirmation of another connection.
        let mut answerer = Answerer::begin(stream, &mallory, &bob.key_id(), &code).await;
        let confirm = answerer.go_on().await;
        assert_eq!(confirm, answerer.theirs);
        let stream = TcpStream::connect(address).await.unwrap();
        let mut guesser = Guesser::begin(stream, &mallory, &alice.key_id(), &code).await;
        guesser.ours = confirm;
        guesser.confirm().await
    };
    let (paired, came) = tokio::join!(dial(&bob, port, &code), middle);
    assert_eq!(came, Came::Line(FAILED.to_owned()));
    assert!(matches!(paired, Err(PairingError::Link(_))), "{paired:?}");
    assert_eq!(user.told().await, Told::Wrong(mallory.id));
    assert!(user.stored().is_empty());
}
