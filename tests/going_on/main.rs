//! Going on after cuts: the library's server and client, real TLS, over a
//! network in memory that cuts. Time is played.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod network;

use std::io;

use network::{Link, network};
use tokio::sync::oneshot;
use turnchat::link::{Client, Over, Server, ServerBuilder, Talk, Turn, Verdict};
use turnchat::protocol::Text;
use turnchat::trust::{Algorithm, Identity};

/// What one side said and heard, in order.
type Transcript = Vec<(u64, bool, String)>;

/// Speaks its turns, `turns` in all on both sides, then the client quits.
async fn converse(talk: Talk, is_server: bool, turns: u64) -> (Transcript, Over) {
    let mut transcript = Transcript::new();
    let mut turn = talk.turn;
    loop {
        turn = match turn {
            Turn::Mine(mine) if mine.number() > turns => return (transcript, mine.quit().await),
            Turn::Mine(mine) => {
                let number = mine.number();
                let words = format!("turn {number}");
                transcript.push((number, is_server, words.clone()));
                match mine.say(Text::new(words).unwrap()).await {
                    Ok(theirs) => Turn::Theirs(theirs),
                    Err(over) => return (transcript, over),
                }
            }
            Turn::Theirs(theirs) => {
                let number = theirs.number();
                match theirs.hear().await {
                    Ok((text, mine)) => {
                        transcript.push((number, !is_server, text.as_str().to_owned()));
                        Turn::Mine(mine)
                    }
                    Err(over) => return (transcript, over),
                }
            }
        }
    }
}

struct Sides {
    server: Identity,
    client: Identity,
}

impl Sides {
    fn new() -> Self {
        Self {
            server: Identity::generate(Algorithm::EcdsaP256).unwrap(),
            client: Identity::generate(Algorithm::EcdsaP256).unwrap(),
        }
    }

    fn serve<A, F, S>(&self, accept: A) -> Server
    where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<std::net::IpAddr>)>> + Send + 'static,
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        ServerBuilder::new(&self.server, |_| Verdict::Admit)
            .unwrap()
            .start(accept)
    }

    fn client(&self) -> Client {
        Client::new(&self.client, vec![self.server.key_id()]).unwrap()
    }
}

/// One conversation of seven turns over links that are cut so. `None` where
/// the client was never connected: a first dial fails at once.
async fn run(sides: &Sides, cuts: Vec<usize>) -> Option<Vec<usize>> {
    const TURNS: u64 = 7;
    let (dial, accept, links) = network(cuts.clone());
    let mut server = sides.serve(accept);
    let (done, serving) = oneshot::channel();
    tokio::spawn(async move {
        let mut transcripts = Vec::new();
        while let Some(talk) = server.next().await {
            transcripts.push(converse(talk, true, TURNS).await);
            let (transcript, _) = transcripts.last().unwrap();
            if transcript.len() as u64 == TURNS {
                break;
            }
        }
        let _ = done.send(transcripts);
    });
    let waiting = match sides.client().connect::<Link, _, _>(dial).await {
        Ok(waiting) => waiting,
        Err(_) => return None,
    };
    let talk = match waiting.welcome().await {
        Ok(talk) => talk,
        Err(_) => return None,
    };
    let (heard, over) = converse(talk, false, TURNS).await;
    let expected: Transcript = (1..=TURNS)
        .map(|turn| (turn, turn % 2 == 1, format!("turn {turn}")))
        .collect();
    assert_eq!(heard, expected, "client, cuts {cuts:?}: {over:?}");
    assert!(over.unacknowledged.is_none(), "cuts {cuts:?}: {over:?}");
    let served = serving.await.unwrap();
    let (said, over) = served.last().unwrap();
    assert_eq!(*said, expected, "server, cuts {cuts:?}: {over:?}");
    let carried = links.lock().unwrap();
    let carried = carried.iter();
    Some(
        carried
            .map(|(bytes, left)| bytes - *left.lock().unwrap())
            .collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_loses_nothing_and_doubles_nothing() {
    let sides = Sides::new();
    let whole = run(&sides, vec![]).await.unwrap();
    let [bytes] = whole[..] else {
        panic!("one link: {whole:?}");
    };
    let mut connected = 0;
    let step = 1;
    for k in (0..bytes).step_by(step) {
        connected += u32::from(run(&sides, vec![k]).await.is_some());
    }
    eprintln!("{bytes} bytes, cut at each; connected in {connected}");
    assert!(connected > 0);
}
