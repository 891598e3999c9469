//! A conversation's name is its client's key and an id: two clients may use one id
//! (PROTOCOL 4.21), and a server's records keep them apart too.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use turnchat::{Algorithm, KeyId};

use super::program::{Home, Program};
use super::raw::{Face, ID, Papers, heard, hello, say, welcome};

/// A server that repeats what it hears, for these two.
fn server(home: &Home, known: [KeyId; 2]) -> (Program, SocketAddr) {
    let [alice, bob] = known.map(|key| key.to_string());
    let program = ["--first", "Hello.", "--exec", "/bin/cat"];
    let known = ["--journal", "--allow", &alice, "--allow", &bob];
    Program::server(&[&known[..], &program].concat(), home.path())
}

#[tokio::test]
async fn two_keys_that_say_one_id_go_on_with_their_own_after_a_crash() {
    let home = Home::new(Algorithm::default());
    let papers = [Papers::new(), Papers::new()];
    let known = [papers[0].id, papers[1].id];
    let words = ["I am alice.", "I am bob."];
    let faces = papers.each_ref().map(Face::new);

    let (running, address) = server(&home, known);
    let mut both = Vec::new();
    for (face, words) in faces.iter().zip(words) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut raw = face.dial(stream).await.unwrap();
        raw.begin().await;
        raw.expect(&say(1, "Hello.")).await;
        raw.send(&heard(1)).await;
        raw.send(&say(2, words)).await;
        both.push(raw);
    }
    for (raw, words) in both.iter_mut().zip(words) {
        raw.expect(&heard(2)).await;
        raw.expect(&say(3, words)).await;
    }
    // Killed, while both are on.
    drop(running);

    let (_running, address) = server(&home, known);
    // In the other order: neither is the one that came last.
    for (face, words) in faces.iter().zip(words).rev() {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut raw = face.dial(stream).await.unwrap();
        raw.send(&hello(ID).replace("\"heard\":0", "\"heard\":1"))
            .await;
        raw.expect(&welcome(ID).replace("\"heard\":0", "\"heard\":2"))
            .await;
        raw.expect(&say(3, words)).await;
    }
}
