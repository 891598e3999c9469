//! A bot that thinks for seconds, as one does that asks a language model. It may be
//! cancelled, killed and started again at any time, and answers each message once: run it
//! with `cargo run --example agent -- DIRECTORY 127.0.0.1:8876 [SECONDS]`.
#![expect(clippy::print_stdout, reason = "an example shows itself")]

use std::{env, path::Path, time::Duration};

use turnchat::{
    Algorithm, Identity, Journal, Message, MyTurn, ServerBuilder, Talk, Text, TooLong, Turn,
    Verdict, tcp,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: agent DIRECTORY ADDRESS:PORT [SECONDS]";
    let directory = arguments.next().ok_or(usage)?;
    let listener = tcp::listen(arguments.next().ok_or(usage)?.parse()?)?;
    let time = Duration::from_secs(arguments.next().as_deref().unwrap_or("3").parse()?);

    let directory = Path::new(&directory);
    let identity = Identity::load_or_create(directory, Algorithm::default())?;
    let (address, key) = (listener.local_addr()?, identity.key_id());
    let server = ServerBuilder::new(&identity, async |_| Verdict::Admit)
        .with_journal(Journal::new(&directory.join("journal"), &key))
        .start(tcp::acceptor(listener))
        .await?;
    println!("turnchat client {address} --pin {key}");
    server.serve(8, move |talk| converse(talk, time)).await;
    Ok(())
}

async fn converse(talk: Talk, time: Duration) {
    // A message that came before a restart, and that nobody has answered.
    let (mut turn, mut heard) = (talk.turn, talk.unanswered);
    loop {
        let next = match turn {
            Turn::Mine(mut mine) => {
                // The journal has it. A peer that leaves need not wait for the answer.
                mine.taken();
                let answer = tokio::select! {
                    answer = think(heard.take(), time) => answer,
                    () = is_over(&mut mine) => return println!("Never mind."),
                };
                match answer {
                    // What is said is in the journal first: no restart says it again.
                    Ok(answer) => mine.say(answer).await.map(Turn::Theirs),
                    Err(_) => Err(mine.quit().await),
                }
            }
            Turn::Theirs(theirs) => theirs.hear().await.map(|(message, mine)| {
                heard = Some(message);
                Turn::Mine(mine)
            }),
        };
        turn = match next {
            Ok(turn) => turn,
            Err(ended) => return println!("The conversation is over: {ended}."),
        };
    }
}

/// This may take as long as it likes: the peer is answered by the library meanwhile.
async fn think(about: Option<Message>, time: Duration) -> Result<Text, TooLong> {
    let Some(Message { turn, text }) = about else {
        return Text::new("Ask me something, and give me a moment.");
    };
    println!("Thinking about turn {turn}.");
    tokio::time::sleep(time).await;
    Text::new(format!("I have thought about {:?}.", text.as_str()))
}

/// Until there is nobody to answer to: a lost link alone is no reason to stop thinking.
async fn is_over(mine: &mut MyTurn) {
    while mine.notice().await.is_some() {}
}
