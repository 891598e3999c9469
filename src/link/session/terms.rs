//! What goes into a [`Session`](super::Session) besides frames, and what comes out.

use std::time::Duration;

use crate::link::error::Ended;
pub use crate::link::store::LastPut;
use crate::protocol::{Code, Conversation, Frame, Message, Reason, Snapshot, Violation};
use crate::trust::KeyId;

/// Sent on a connection that a newer one has replaced.
pub const REPLACED: Frame = Frame::Error {
    code: Code::Replaced,
    detail: None,
};

/// What a session waits for without being able to see a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A conversation that was cut is held no longer.
    Hold,
    /// The same, earlier, while somebody waits for its place.
    CrowdedHold,
    /// Our `quit` was not acknowledged.
    Quit,
    /// The same, earlier, while somebody waits for the place.
    CrowdedQuit,
    /// The peer's last message was not taken, and its `quit` waits for that.
    Taking,
    /// The next redial is due; its driver adds jitter.
    Redial,
    /// One more notice may be told.
    Notices,
}

/// What a session's driver is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Store this, then call [`Session::stored`](super::Session::stored).
    Store {
        /// What is needed to continue.
        snapshot: Snapshot,
        /// Whether the conversation is on or held; if not, it is parked or has ended.
        is_live: bool,
        /// A server's: when the ClientHello of its newest connection came.
        clienthello: u64,
    },
    /// Remove what is stored, then call [`Session::stored`](super::Session::stored).
    Remove,
    /// The newest connection is the link from here on.
    Link,
    /// Send this frame over the link.
    Send(Frame),
    /// Close the link in order, after this frame if there is one, then call
    /// [`Session::closed`](super::Session::closed).
    Close(Option<Frame>),
    /// Close the link in order, in the background.
    CloseInBackground(Option<Frame>),
    /// Drop the link without a frame.
    Cut,
    /// Dial, then call [`Session::connected`](super::Session::connected) or [`Session::dial_failed`](super::Session::dial_failed).
    Dial,
    /// Call [`Session::fired`](super::Session::fired) with this timer after so long.
    Arm(Timer, Duration),
    /// Do not call it for this timer any more.
    Disarm(Timer),
    /// Hand this message over to the user.
    HandOver(Message),
    /// The record has still to be finished, once the user knows of the end, which comes next.
    OnceTold(LastPut),
    /// Tell the user the end.
    Ended(Ended),
    /// The session is done, and this is left of its conversation. Always the last.
    Done(Remains),
}

/// News that does not change whose turn it is. A user who asks rarely learns the current
/// state, not every change. All but `Delivered` come 20 at once at most, then one in 5 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notice {
    /// We are in the server's queue, or a person is deciding about us.
    Waiting {
        /// How many are before us; 0: we are next, or a person is deciding.
        ahead: u64,
    },
    /// The peer holds our message of this turn.
    Delivered {
        /// Which turn.
        turn: u64,
    },
    /// The link is lost. The conversation is held, for up to
    /// [`Limits::hold`](crate::protocol::Limits::hold): what you say now is kept, and sent once
    /// there is a link again.
    Lost,
    /// The link is back, and the conversation goes on where it was.
    Resumed,
    /// Nothing comes from the peer, not even an answer to `ping`, since 30 s
    /// ([`Limits::ping_after`](crate::protocol::Limits::ping_after) and a quarter of the time from
    /// there to [`Limits::silence`](crate::protocol::Limits::silence), when the link is lost).
    Silence {
        /// Something has come again.
        is_over: bool,
    },
    /// Another key answers where the peer was. Nothing was sent to it, and the conversation is
    /// held for the peer's own key.
    OtherKey {
        /// The key that was offered. It was not proven.
        key: KeyId,
    },
    /// The server answers, and does not go on with the conversation for now (PROTOCOL 4.12). It is
    /// held, and dialled for again.
    NotNow {
        /// Why not: a [temporary](Reason::is_temporary) reason.
        reason: Reason,
    },
}

/// What is left of a conversation that this session does not go on with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remains {
    /// Nothing that the server has to know: somebody else goes on with it.
    Nothing,
    /// It is over. A `hello` may still ask for it as if it were new: from a peer that does not
    /// know of the end, or on an older connection.
    End,
    /// It can go on later.
    Parked(Box<Conversation>),
}

/// A client's `hello` on a later connection, or the first, and what came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Greeting {
    /// The highest turn that the client has heard.
    pub heard: u64,
    /// A `quit` has come after the `hello`.
    pub has_quit: bool,
    /// Its place in the order of all ClientHellos that came to this server.
    pub clienthello: u64,
}

/// Why a session does not take a connection. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The conversation is ending, or being parked.
    #[error("the conversation is being put away")]
    Ending,
    /// Its counters are impossible.
    #[error(transparent)]
    Violation(#[from] Violation),
}
