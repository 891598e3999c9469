//! Two programs without a key of each other, and three words. Run
//! `cargo run --example pairing -- server`, and on another terminal
//! `cargo run --example pairing -- client ADDRESS`, which asks for the words.
//!
//! Their keys are for one run. A program of yours would keep its own, and store the other's.
#![expect(clippy::print_stdout, reason = "an example shows itself")]

use std::io;
use std::net::SocketAddr;

use turnchat::{Algorithm, Identity, PairingClient, PairingCode, PairingEvent, Storing};
use turnchat::{Reason, ServerBuilder, Verdict, tcp};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let identity = Identity::generate(Algorithm::default())?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server"] => serve(&identity).await,
        ["client", address] => dial(&identity, address.parse()?).await,
        _ => Err("server, or client ADDRESS".into()),
    }
}

async fn serve(identity: &Identity) -> Outcome {
    let listener = tcp::listen("127.0.0.1:0".parse()?)?;
    println!("Listening on {}", listener.local_addr()?);
    // It only pairs.
    let server = ServerBuilder::new(identity, async |_| Verdict::Refuse(Reason::UnknownPeer));
    let server = server.start(tcp::acceptor(listener)).await?;
    let mut pairing = server.pair();
    while let Some(event) = pairing.next().await {
        match event {
            PairingEvent::Code(code) => println!("Pairing code: {}", code.spoken()),
            PairingEvent::Confirmed(peer) => {
                println!("Paired with {}", peer.key);
                peer.answer(Storing::Stored);
            }
            PairingEvent::WrongGuess { key, .. } => println!("A wrong code, from {key}"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}

async fn dial(identity: &Identity, to: SocketAddr) -> Outcome {
    println!("The words:");
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    let code: PairingCode = typed.parse()?;
    let host = to.ip().to_string();
    let dialling = tcp::dial(&host, to.port());
    let paired = PairingClient::new(identity).pair(code, dialling).await?;
    println!("Paired with {}", paired.key());
    paired.close().await;
    Ok(())
}
