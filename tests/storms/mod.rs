//! The library's server and client, TLS and journals included, in simulated
//! networks with delays, partitions, held-back packets and crashes, one storm
//! for each seed. Time is played.
//!
//! `TURNCHAT_SEEDS` makes the run longer (`scripts/prove`); `TURNCHAT_SEED`
//! repeats one storm.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};
use turnchat::{Algorithm, Identity, Message};
use turnchat::{Cause, Client, Journal, LinkError, ServerBuilder, Talk, Turn, Verdict};
use turnchat::{Overdue, Text};

const PORT: u16 = 8876;
/// Turns of a conversation; after the last one the client quits.
const TURNS: u64 = 12;
/// Simulated time after which nothing is disturbed any more.
const CALM_AFTER: Duration = Duration::from_secs(120);
/// Simulated time in which every storm has to come to its end.
const PATIENCE: Duration = Duration::from_secs(1_500);

/// Storms at the same time: most of one's time goes into journals that reach
/// the disk, so that these may be more than the machine has cores.
const AT_ONCE: usize = 8;

/// What one side has heard, over all of its lives.
#[derive(Default)]
struct Diary {
    heard: BTreeMap<u64, String>,
    is_over: bool,
}

impl Diary {
    fn hear(&mut self, turn: u64, text: &Text, is_again: bool) {
        let before = self.heard.insert(turn, text.as_str().to_owned());
        assert!(before.is_none() || is_again, "turn {turn} came twice");
        if let Some(before) = before {
            assert_eq!(before, text.as_str());
        }
    }
}

type Shared = Arc<Mutex<Diary>>;

fn words(turn: u64) -> String {
    format!("turn {turn}")
}

/// Both people take their time, so that the storm falls into it.
async fn converse(talk: Talk, diary: &Shared) -> Cause {
    if !talk.is_resumed && !diary.lock().unwrap().heard.is_empty() {
        // The crash came between the end and taking note of it.
        return Cause::Peer;
    }
    if let Some(Message { turn, text, .. }) = &talk.unanswered {
        diary.lock().unwrap().hear(*turn, text, true);
    }
    let mut turn = talk.turn;
    loop {
        turn = match turn {
            Turn::Mine(mine) if mine.number() > TURNS => return mine.quit().await.cause,
            Turn::Mine(mine) => {
                sleep(Duration::from_secs(3)).await;
                let text = Text::new(words(mine.number())).unwrap();
                match mine.say(text).await {
                    Ok(theirs) => Turn::Theirs(theirs),
                    Err(over) => return over.cause,
                }
            }
            Turn::Theirs(theirs) => {
                let number = theirs.number();
                match theirs.hear().await {
                    Ok((message, mine)) => {
                        diary.lock().unwrap().hear(number, &message.text, false);
                        Turn::Mine(mine)
                    }
                    Err(over) => return over.cause,
                }
            }
        };
    }
}

/// Whether the conversation is over for this side; it quit, though nobody may
/// have been there to acknowledge it.
fn is_end(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Me | Cause::Peer | Cause::Link(LinkError::Overdue(Overdue::Quit))
    )
}

struct Sides {
    server: Identity,
    client: Identity,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, Option<IpAddr>)>> + Send>>;
type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

async fn serve(sides: Arc<Sides>, dir: PathBuf, diary: Shared) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let listener = Arc::new(listener);
    let accept = move || -> Accepting {
        let listener = Arc::clone(&listener);
        Box::pin(async move {
            listener
                .accept()
                .await
                .map(|(stream, from)| (stream, Some(from.ip())))
        })
    };
    let journal = Journal::new(&dir, &sides.server.key_id());
    let mut server = ServerBuilder::new(&sides.server, async |_| Verdict::Admit)
        .with_journal(journal)
        .start(accept)
        .await?;
    while let Some(talk) = server.next().await {
        let cause = converse(talk, &diary).await;
        if is_end(&cause) {
            diary.lock().unwrap().is_over = true;
        }
    }
    Ok(())
}

async fn call(sides: Arc<Sides>, dir: PathBuf, diary: Shared) -> turmoil::Result {
    let journal = Journal::new(&dir, &sides.client.key_id());
    let client = Client::new(&sides.client, vec![sides.server.key_id()]).with_journal(journal);
    let dial = || -> Dialling { Box::pin(TcpStream::connect(("server", PORT))) };
    // A person who runs the same command again, until the conversation is over.
    while !diary.lock().unwrap().is_over {
        let Ok(waiting) = client.connect(dial).await else {
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        let cause = match waiting.welcome().await {
            Ok(talk) => converse(talk, &diary).await,
            Err(over) => over.cause,
        };
        if is_end(&cause) {
            diary.lock().unwrap().is_over = true;
        }
    }
    Ok(())
}

/// Disturbs the network or a side, or lets them be.
fn disturb(sim: &mut Sim<'_>, rng: &mut TestRng, figures: &mut Figures) {
    match rng.next_u32() % 8 {
        0 => {
            sim.partition("server", "client");
            figures.partitions += 1;
        }
        1 => sim.repair("server", "client"),
        2 => {
            sim.hold("server", "client");
            figures.holds += 1;
        }
        3 => sim.release("server", "client"),
        4 => {
            sim.bounce("server");
            figures.crashes += 1;
        }
        5 => {
            sim.bounce("client");
            figures.crashes += 1;
        }
        _ => {
            sim.release("server", "client");
            sim.repair("server", "client");
        }
    }
}

#[derive(Default)]
struct Figures {
    partitions: u32,
    holds: u32,
    crashes: u32,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.holds += other.holds;
        self.crashes += other.crashes;
    }
}

fn storm(sides: &Arc<Sides>, dir: &Path, seed: u64, figures: &mut Figures) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(50))
        .max_message_latency(Duration::from_millis(1_000))
        .simulation_duration(PATIENCE * 2)
        .build();
    let diaries: [Shared; 2] = Default::default();
    let (of_sides, of_dir, diary) = (
        Arc::clone(sides),
        dir.join("server"),
        Arc::clone(&diaries[0]),
    );
    sim.host("server", move || {
        serve(Arc::clone(&of_sides), of_dir.clone(), Arc::clone(&diary))
    });
    let (of_sides, of_dir, diary) = (
        Arc::clone(sides),
        dir.join("client"),
        Arc::clone(&diaries[1]),
    );
    sim.host("client", move || {
        call(Arc::clone(&of_sides), of_dir.clone(), Arc::clone(&diary))
    });

    let mut next = Duration::from_secs(2);
    let is_over = |at: usize| diaries[at].lock().unwrap().is_over;
    let has_all = |at: usize| diaries[at].lock().unwrap().heard.len() as u64 == TURNS / 2;
    // A side that crashed between the end and taking note of it has heard all.
    while !((0..2).any(is_over) && (0..2).all(|at| is_over(at) || has_all(at))) {
        sim.step().unwrap();
        if sim.elapsed() < CALM_AFTER && sim.elapsed() >= next {
            disturb(&mut sim, &mut rng, figures);
            next = sim.elapsed() + Duration::from_millis(u64::from(rng.next_u32() % 6_000));
        } else if sim.elapsed() >= CALM_AFTER {
            sim.release("server", "client");
            sim.repair("server", "client");
        }
        assert!(sim.elapsed() < PATIENCE, "seed {seed}: no end");
    }
    for (at, parity) in [(0, 0), (1, 1)] {
        let expected: Vec<_> = (1..=TURNS)
            .filter(|turn| turn % 2 == parity)
            .map(|turn| (turn, words(turn)))
            .collect();
        let heard: Vec<_> = diaries[at]
            .lock()
            .unwrap()
            .heard
            .clone()
            .into_iter()
            .collect();
        assert_eq!(heard, expected, "seed {seed}, side {at}");
    }
}

#[test]
fn no_storm_loses_or_doubles_a_message() {
    let number = |variable| {
        std::env::var(variable)
            .ok()
            .map(|n: String| n.parse().unwrap())
    };
    let seeds = match number("TURNCHAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TURNCHAT_SEEDS").unwrap_or(200),
    };
    let sides = Arc::new(Sides {
        server: Identity::generate(Algorithm::EcdsaP256).unwrap(),
        client: Identity::generate(Algorithm::EcdsaP256).unwrap(),
    });
    let next = AtomicU64::new(seeds.start);
    let figures = Mutex::new(Figures::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let dir = tempfile::tempdir().unwrap();
                    let mut of_storm = Figures::default();
                    storm(&sides, dir.path(), seed, &mut of_storm);
                    figures.lock().unwrap().add(&of_storm);
                }
            });
        }
    });
    let Figures {
        partitions,
        holds,
        crashes,
    } = figures.into_inner().unwrap();
    eprintln!(
        "{} storms: {partitions} partitions, {holds} times packets held back, {crashes} crashes",
        seeds.end - seeds.start
    );
}
