//! What a history is like: drawn from its seed, before anything happens.

use std::collections::BTreeSet;
use std::time::Duration;

use turnchat::Limits;
use turnchat::internals::HeardWhen;

use crate::dice::Dice;
use crate::rules::Broken;
pub(crate) use crate::tale::Side;

const MOST_KEYS: usize = 5;

/// Who is there, and how much goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) broken: Option<Broken>,
    /// How many servers share a store; one has a store of its own.
    pub(crate) nodes: usize,
    /// The server talks to one peer at a time.
    pub(crate) one_at_a_time: bool,
    /// How many it talks to.
    pub(crate) seats: usize,
    /// The server's user is asked about keys.
    pub(crate) asks: bool,
    pub(crate) server_journal: bool,
    pub(crate) clients: Vec<ClientSetup>,
    pub(crate) limits: Limits,
    /// How long a frame takes, at most.
    pub(crate) latency: Duration,
    /// How long it takes until the hub knows what a task says, at most.
    pub(crate) delay: Duration,
    /// How long a person thinks, at most.
    pub(crate) thought: Duration,
    /// How long a store takes, at most.
    pub(crate) storing: Duration,
    pub(crate) mishaps: Mishaps,
}

/// A person with a program, and perhaps a journal.
#[derive(Clone, Debug)]
pub(crate) struct ClientSetup {
    /// Two programs may have one key.
    pub(crate) key: usize,
    pub(crate) has_journal: bool,
    /// How many conversations, one after another.
    pub(crate) conversations: usize,
    /// In each.
    pub(crate) turns: u64,
}

/// How often something goes wrong. 0: never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mishaps {
    /// When the last one has happened.
    pub(crate) until: Duration,
    /// From one to the next, at most.
    pub(crate) pause: Duration,
    /// Of so many steps of a machine, it crashes in the midst of one.
    pub(crate) crash_in_step: usize,
    /// Of so many stores, in the midst of one the machine stops.
    pub(crate) crash_in_store: usize,
    /// Of so many stores, one fails.
    pub(crate) failing_store: usize,
    /// Of so many stores, of one nobody knows, or somebody else comes first.
    pub(crate) troubled_store: usize,
    /// Of so many dials, one fails.
    pub(crate) failing_dial: usize,
    /// Of so many `hello`s, one is late, and its client does not wait for it.
    pub(crate) held_back: usize,
    /// Of so many messages, the reader fails at one.
    pub(crate) failing_reader: usize,
    /// People quit when they like.
    pub(crate) quits: bool,
}

impl Setup {
    pub(crate) fn drawn(seed: u64, broken: Option<Broken>) -> Self {
        let mut dice = Dice::new(seed ^ 0x7475_726E);
        let seconds = Duration::from_secs;
        let one_at_a_time = dice.once_in(2);
        let mut limits = Limits::default();
        limits.hold = match dice.below(6) {
            0 => Duration::ZERO,
            1 => seconds(20),
            2 => seconds(90),
            _ => limits.hold,
        };
        let journals = dice.below(4);
        let keys = 1 + dice.below(MOST_KEYS);
        let mut clients: Vec<_> = (0..keys)
            .map(|key| ClientSetup {
                key,
                has_journal: journals & 1 > 0,
                conversations: 1 + dice.below(3),
                turns: 2 + dice.below(8) as u64,
            })
            .collect();
        if dice.once_in(6) {
            // Somebody has a second program.
            let key = dice.below(keys);
            clients.push(ClientSetup {
                key,
                conversations: 1,
                ..clients[key].clone()
            });
        }
        let is_calm = dice.once_in(20);
        let times = |dice: &mut Dice, times: &[usize]| match is_calm {
            true => 0,
            false => dice.pick(times),
        };
        let mut setup = Self {
            seed,
            broken,
            nodes: 1,
            one_at_a_time,
            seats: match one_at_a_time {
                true => 1,
                false => 1 + dice.below(4),
            },
            asks: dice.once_in(4),
            server_journal: journals & 2 > 0,
            clients,
            limits,
            latency: Duration::from_millis(dice.pick(&[1, 50, 400, 3_000])),
            delay: Duration::from_millis(dice.pick(&[1, 20, 200, 3_000])),
            thought: Duration::from_millis(dice.pick(&[10, 500, 5_000, 40_000])),
            storing: Duration::from_millis(dice.pick(&[1, 20, 500, 4_000])),
            mishaps: Mishaps {
                until: match is_calm {
                    true => Duration::ZERO,
                    false => seconds(dice.pick(&[10, 60, 240])),
                },
                pause: Duration::from_millis(dice.pick(&[500, 3_000, 10_000, 60_000])),
                crash_in_step: times(&mut dice, &[0, 0, 60, 400]),
                crash_in_store: times(&mut dice, &[0, 0, 30]),
                failing_store: times(&mut dice, &[0, 0, 20]),
                troubled_store: times(&mut dice, &[0, 0, 20]),
                failing_dial: times(&mut dice, &[0, 4]),
                held_back: times(&mut dice, &[0, 0, 5]),
                failing_reader: times(&mut dice, &[0, 0, 12]),
                quits: dice.once_in(2),
            },
        };
        if let Some(rule) = broken {
            rule.suit(&mut setup);
        }
        setup
    }

    /// The same with several servers that share a store.
    pub(crate) fn shared(self) -> Self {
        let mut dice = Dice::new(self.seed ^ 0x6E6F_6465);
        let mut setup = Self {
            nodes: dice.pick(&[2, 2, 3]),
            one_at_a_time: false,
            seats: 1 + dice.below(4),
            asks: false,
            server_journal: true,
            ..self
        };
        setup.storing = Duration::from_millis(dice.pick(&[1, 20, 500, 2_000]));
        if !setup.mishaps.until.is_zero() {
            setup.mishaps.troubled_store = dice.pick(&[0, 20, 6]);
        }
        if let Some(rule) = setup.broken {
            rule.suit_shared(&mut setup);
        }
        setup
    }

    /// Whether servers share a store.
    pub(crate) fn is_shared(&self) -> bool {
        self.nodes > 1
    }

    /// Nothing goes wrong by itself, and both sides have a journal.
    pub(crate) fn calm(self) -> Self {
        let mut clients = self.clients;
        clients.truncate(2);
        for client in &mut clients {
            client.has_journal = true;
            client.conversations = client.conversations.min(2);
        }
        Self {
            server_journal: true,
            clients,
            mishaps: Mishaps::default(),
            ..self
        }
    }

    /// Whether two programs have one key.
    pub(crate) fn has_shared_key(&self) -> bool {
        let keys: BTreeSet<_> = self.clients.iter().map(|client| client.key).collect();
        keys.len() < self.clients.len()
    }

    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }
}

pub(crate) fn heard_when(has_journal: bool) -> HeardWhen {
    match has_journal {
        true => HeardWhen::Stored,
        false => HeardWhen::Taken,
    }
}
