//! What a run of the checker is about: how far it goes, who keeps a journal,
//! and which rule is broken on purpose.

use std::time::Instant;

use turnchat::trust::Peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Server, client.
    pub(crate) journal: [bool; 2],
    /// Turns in the first conversation. In later ones, `later_turns`.
    pub(crate) turns: u64,
    pub(crate) later_turns: u64,
    pub(crate) cuts: u8,
    pub(crate) crashes: u8,
    /// People quit at any time, and not only when all is said.
    pub(crate) quits_early: bool,
    /// How often a side's patience is at an end while it could still go on.
    pub(crate) waits: u8,
    /// Hellos of another program with the client's key, for a conversation
    /// that the server does not know.
    pub(crate) strays: u8,
    pub(crate) broken: Option<Broken>,
    /// The client's key, proven in a real handshake.
    pub(crate) peer: Peer,
    /// Time stands still for admission: what expires is tested elsewhere.
    pub(crate) now: Instant,
}

impl Config {
    pub(crate) fn keeps_journal(&self, side: Side) -> bool {
        self.journal[side as usize]
    }

    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }
}

/// A rule that is switched off, in the driver or from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The `heard` of `hello` and `welcome` is not looked at.
    Counters,
    /// Frames leave before what they depend on is stored.
    StoredBeforeSent,
    /// The old connection is still read after the new one was welcomed.
    DetachFirst,
    /// No `hello` is too old.
    NewestWins,
    /// The server forgets what has ended.
    EndsRemembered,
    /// A key may have several conversations, with a server that talks to one.
    OneOpen,
    /// A `quit` is not stored.
    QuitOutlivesCrash,
    /// `quit` is not answered; the end of the stream acknowledges it.
    QuitAnswered,
    /// What was unacknowledged is not said again.
    SayAgain,
    /// A `hello` ends the others before it is refused.
    RefusedChangesNothing,
    /// A seat that was given to a connection which is gone is lost.
    SeatComesBack,
    /// A parked conversation that was given to such a connection is gone, too.
    ParkedStays,
    /// Who comes when a conversation has just been put away is told `ended`.
    JustPutAway,
    /// Connections are taken over in whatever order they come.
    NewestAttaches,
    /// A conversation that is acknowledged is not remembered at all.
    JustEnded,
    /// A restarted client shows its last message only once it is welcomed.
    ShownFirst,
}
