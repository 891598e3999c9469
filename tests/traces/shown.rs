//! What a person sees after a crash: the real program.

use tokio::net::{TcpListener, TcpStream};
use turnchat::Algorithm;

use super::{ENDED, hello, welcome};
use crate::wire::program::{Home, Program};
use crate::wire::raw::{Came, Face, Papers, Raw, heard, say};

async fn take(
    face: &Face,
    listener: &TcpListener,
) -> Raw<tokio_rustls::server::TlsStream<TcpStream>> {
    let (stream, _) = listener.accept().await.unwrap();
    face.answer(stream).await.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_and_not_shown_is_shown_after_a_crash() {
    let papers = Papers::new();
    let face = Face::new(&papers);
    let bob = Home::new(Algorithm::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let pin = papers.id.to_string();
    let arguments = ["client", &address, "--pin", &pin, "--json"];
    let client = Program::start(&arguments, bob.path());
    let mut raw = take(&face, &listener).await;
    let id = raw.hello().await;
    raw.send(&welcome(&id, 0)).await;
    raw.send(&say(1, "one")).await;
    raw.expect(&heard(1)).await;
    // Killed: whether it was shown, nobody can tell.
    drop(client);

    let client = Program::start(&arguments, bob.path());
    let mut raw = take(&face, &listener).await;
    assert_eq!(raw.next().await, Came::Line(hello(&id, 1)));
    raw.send(ENDED).await;
    drop(raw);
    // A new conversation, which is none.
    let mut raw = take(&face, &listener).await;
    assert_ne!(raw.hello().await, id);
    raw.send("{\"refuse\":{\"reason\":\"busy\"}}").await;
    drop(raw);
    let exited = tokio::task::spawn_blocking(|| client.exited());
    let exited = exited.await.unwrap();
    let shown = exited.stdout.lines().next().unwrap_or_default();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown["event"], "turn", "{exited:?}");
    assert_eq!(shown["text"], "one", "{exited:?}");
    assert_eq!(shown["again"], true, "{exited:?}");
}
