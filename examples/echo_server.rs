//! A bot that says back what it hears, to all who prove a key: run it with
//! `cargo run --example echo_server`, and it prints how to talk with it.
#![expect(clippy::print_stdout, reason = "an example shows itself")]

use turnchat::{Algorithm, Identity, Text};
use turnchat::{ServerBuilder, Talk, Turn, Verdict, tcp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity::generate(Algorithm::default())?;
    let listener = tcp::listen("127.0.0.1:0".parse()?)?;
    let (address, key) = (listener.local_addr()?, identity.key_id());
    println!("turnchat client {address} --pin {key}");
    let server = ServerBuilder::new(&identity, async |_| Verdict::Admit).many_at_a_time();
    server
        .start(tcp::acceptor(listener))
        .await?
        .serve(1_000, echo)
        .await;
    Ok(())
}

async fn echo(talk: Talk) {
    let Ok(mut answer) = Text::new("Speak, and I repeat it.") else {
        return;
    };
    let mut turn = talk.turn;
    // An `Err` is the end, by whomever.
    while let Ok(next) = match turn {
        Turn::Mine(mine) => mine.say(answer.clone()).await.map(Turn::Theirs),
        Turn::Theirs(theirs) => theirs.hear().await.map(|(message, mine)| {
            answer = message.text;
            Turn::Mine(mine)
        }),
    } {
        turn = next;
    }
}
