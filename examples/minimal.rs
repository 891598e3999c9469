//! The whole loop in one process: two identities, mutual TLS on loopback, and
//! a conversation in turns. Run it with `cargo run --example minimal`.
#![expect(clippy::print_stdout, reason = "an example shows itself")]

use turnchat::{Algorithm, Identity};
use turnchat::{Candidate, Client, Ended, ServerBuilder, Talk, Turn, Verdict, tcp};
use turnchat::{Reason, Text};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let alice = Identity::generate(Algorithm::default())?;
    let bob = Identity::generate(Algorithm::default())?;
    let bobs_key = bob.key_id();

    // Alice listens, and lets nobody in but Bob.
    let listener = tcp::listen("127.0.0.1:0".parse()?)?;
    let port = listener.local_addr()?.port();
    let admit = move |candidate: Candidate| match candidate.key == bobs_key {
        true => std::future::ready(Verdict::Admit),
        false => std::future::ready(Verdict::Refuse(Reason::UnknownPeer)),
    };
    let starting = ServerBuilder::new(&alice, admit).start(tcp::acceptor(listener));
    let mut server = starting.await?;

    // Bob dials, and talks to nobody but Alice.
    let client = Client::new(&bob, vec![alice.key_id()]);
    let waiting = client.connect(tcp::dialer("127.0.0.1", port)).await?;
    let alices = server.next().await.ok_or("the server has stopped")?;
    let bobs = waiting.welcome().await?;
    let (alices_end, bobs_end) = tokio::join!(
        converse("Alice", alices, &["Hello, client!", "Then say QUIT."]),
        converse("Bob", bobs, &["Hi back! How does it end?"]),
    );
    println!("Alice: {alices_end}. Bob: {bobs_end}.");
    Ok(())
}

/// Says these lines, each in its turn, then quits.
async fn converse(who: &str, talk: Talk, lines: &[&str]) -> Ended {
    let (mut turn, mut lines) = (talk.turn, lines.iter());
    loop {
        let passed = match turn {
            Turn::Mine(mine) => match lines.next().and_then(|line| Text::new(*line).ok()) {
                Some(text) => mine.say(text).await.map(Turn::Theirs),
                None => return mine.quit().await,
            },
            Turn::Theirs(theirs) => theirs.hear().await.map(|(message, mine)| {
                // Foreign text: `{:?}` escapes what could steer a terminal.
                println!("{who} hears {:?}", message.text.as_str());
                Turn::Mine(mine)
            }),
        };
        turn = match passed {
            Ok(turn) => turn,
            Err(over) => return over,
        };
    }
}
