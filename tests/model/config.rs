//! What a run of the checker is about: how far it goes, who keeps a journal,
//! and which rule is broken on purpose.

use turnchat::Peer;
use turnchat::internals::HeardWhen;

use crate::proven::proven_peer;
use crate::rules::Broken;
pub(crate) use crate::tale::Side;

/// When people quit, besides when all is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quits {
    AtTheEnd,
    /// Each at any time of the first conversation.
    AnyTime,
    /// And of whatever they begin after it.
    AnyTimeAnywhere,
}

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// In the first conversation.
    pub(crate) turns: u64,
    pub(crate) cuts: u8,
    pub(crate) crashes: u8,
    /// How often a timer past which a side gives up fires at any step, and not
    /// only where nothing else can happen.
    pub(crate) waits: u8,
    /// Hellos of another program with the client's key, for a conversation
    /// that the server does not know.
    pub(crate) strays: u8,
    pub(crate) quits: Quits,
    /// What is stored is on its way for a while.
    pub(crate) stores_late: bool,
    /// What is handed over is in its reader's hands only after a while.
    pub(crate) takes_late: bool,
    /// What the hub tells a session is on its way for a while.
    pub(crate) tells_late: bool,
}

/// Nothing goes wrong.
pub(crate) const NOTHING: Size = Size {
    turns: 4,
    cuts: 0,
    crashes: 0,
    waits: 0,
    strays: 0,
    quits: Quits::AnyTime,
    stores_late: false,
    takes_late: false,
    tells_late: false,
};

/// Who keeps a journal: server, client.
pub(crate) const JOURNALS: [[bool; 2]; 4] =
    [[true, true], [false, true], [true, false], [false, false]];

#[derive(Clone, Debug)]
pub(crate) struct Config {
    journal: [bool; 2],
    pub(crate) size: Size,
    broken: Option<Broken>,
    /// The client's key, proven in a real handshake.
    pub(crate) peer: Peer,
}

impl Config {
    pub(crate) fn new(journal: [bool; 2], size: Size) -> Self {
        Self {
            journal,
            size,
            broken: None,
            peer: proven_peer(),
        }
    }

    pub(crate) fn without(self, rule: Broken) -> Self {
        let broken = Some(rule);
        Self { broken, ..self }
    }

    /// In a conversation that is begun after the first, two are enough.
    pub(crate) fn turns(&self, is_first: bool) -> u64 {
        match is_first {
            true => self.size.turns,
            false => self.size.turns.min(2),
        }
    }

    pub(crate) fn keeps_journal(&self, side: Side) -> bool {
        self.journal[side as usize]
    }

    pub(crate) fn heard_when(&self, side: Side) -> HeardWhen {
        match self.keeps_journal(side) {
            true => HeardWhen::Stored,
            false => HeardWhen::Taken,
        }
    }

    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }
}
