//! Many conversations at once with programs of `--exec`, from four keys: none is mixed up with
//! another, and nothing is left of them. `TURNCHAT_PROGRAMS` says how many (50; `scripts/prove
//! programs` has 500), and the figures are printed.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use turnchat::{Algorithm, Client, Identity, KeyId, MyTurn, Text, Turn, tcp};

use crate::harness::{Person, Program, Server, example};

const KEYS: usize = 4;
/// Turns of each conversation, and their replies.
const ROUNDS: usize = 20;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// What the system says of a process alone.
struct Figures {
    descriptors: usize,
    /// Resident kilobytes.
    resident: usize,
    /// Clock ticks on the processor.
    ticks: usize,
}

impl Figures {
    fn of(id: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.unwrap().trim().trim_end_matches(" kB");
        let stat = read("stat");
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks = [11, 12].map(|field: usize| fields[field].parse::<usize>().unwrap());
        Self {
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            resident: resident.parse().unwrap(),
            ticks: ticks.iter().sum(),
        }
    }
}

/// The programs that it has started, whichever thread of the process has started them.
fn programs(id: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().count()
    };
    tasks.map(|task| of(task.unwrap())).sum()
}

/// A server that many are to talk with.
#[derive(Clone)]
struct Host {
    process: u32,
    address: String,
    key: KeyId,
    /// It says first who it talks to.
    names_peer: bool,
}

impl Host {
    /// A conversation that has begun.
    async fn begin(self, client: Client, own: KeyId) -> (String, MyTurn) {
        let (host, port) = self.address.rsplit_once(':').unwrap();
        let dialer = tcp::dialer(host, port.parse().unwrap());
        let waiting = client.connect(dialer).await.unwrap();
        let talk = waiting.welcome().await.unwrap();
        let conversation = talk.conversation.to_string();
        let Turn::Theirs(theirs) = talk.turn else {
            panic!("the server speaks first");
        };
        let (first, mine) = theirs.hear().await.unwrap();
        if self.names_peer {
            assert_eq!(first.text.as_str(), format!("{own} {conversation}"));
        }
        (conversation, mine)
    }

    /// So many conversations at once, from four keys, each of so many turns. What they cost is
    /// printed, with these words; and nothing is left of them.
    async fn bear(self, words: &str, conversations: usize, has_programs: bool) {
        let id = self.process;
        let identities = [(); KEYS].map(|()| Identity::generate(Algorithm::EcdsaP256).unwrap());
        let before = Figures::of(id);
        let mut beginning = JoinSet::new();
        for number in 0..conversations {
            let identity = &identities[number % KEYS];
            let client = Client::new(identity, vec![self.key]);
            beginning.spawn(self.clone().begin(client, identity.key_id()));
        }
        let begun = beginning.join_all().await;
        let during = Figures::of(id);
        assert_eq!(programs(id), conversations * usize::from(has_programs));

        let mut echoing = JoinSet::new();
        for (conversation, mine) in begun {
            echoing.spawn(echoes(conversation, mine));
        }
        let talks = echoing.join_all().await;
        let after = Figures::of(id);
        let turns = conversations * ROUNDS * 2;
        eprintln!(
            "{words}, {conversations} conversations: {} KiB and {} descriptors each, {} us of \
             processor a turn",
            during.resident.saturating_sub(before.resident) / conversations,
            (during.descriptors - before.descriptors) / conversations,
            (after.ticks - during.ticks) * 10_000 / turns,
        );
        let mut quitting = JoinSet::new();
        for mine in talks {
            quitting.spawn(async move { mine.quit().await });
        }
        quitting.join_all().await;
        // The last of them are still ending.
        let deadline = Instant::now() + Duration::from_secs(60);
        while programs(id) > 0 || Figures::of(id).descriptors > before.descriptors + 1 {
            assert!(Instant::now() < deadline, "something is left");
            tokio::task::yield_now().await;
        }
    }
}

/// Says this and that, and hears it again.
async fn echoes(conversation: String, mut mine: MyTurn) -> MyTurn {
    for round in 0..ROUNDS {
        let words = Text::new(format!("{conversation} {round}")).unwrap();
        let theirs = mine.say(words.clone()).await.unwrap();
        let (heard, next) = theirs.hear().await.unwrap();
        assert_eq!(heard.text, words);
        mine = next;
    }
    mine
}

#[test]
fn of_many_at_once_none_is_mixed_up_and_nothing_is_left() {
    let conversations = number("TURNCHAT_PROGRAMS", 52).next_multiple_of(KEYS);
    let alice = Person::new();
    let many = conversations.to_string();
    let server = alice.start(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--allow-anyone",
        "--conversations",
        &many,
        "--exec",
        "/bin/sh",
        "-c",
        r#"echo "$TURNCHAT_KEY $TURNCHAT_CONVERSATION"; exec cat"#,
    ]);
    let server = Server::of(server.without_input());
    let host = Host {
        process: server.program.id(),
        address: server.address.clone(),
        key: alice.key().parse().unwrap(),
        names_peer: true,
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(host.bear("programs", conversations, true));

    // For comparison; a test that measures nothing needs it not.
    if std::env::var_os("TURNCHAT_PROGRAMS").is_some() {
        let mut library = Program::start(Command::new(example("echo_server")));
        let line = library.stdout.line();
        let words: Vec<_> = line.split(' ').collect();
        let host = Host {
            process: library.id(),
            address: words[2].to_owned(),
            key: words[4].parse().unwrap(),
            names_peer: false,
        };
        runtime.block_on(host.bear("the library", conversations, false));
    }
}
