//! Floor 1: the protocol as pure values. No sockets, no files, no tasks, no
//! clock: bytes, frames and instants come in as arguments.
//!
//! [`Decoder`] turns bytes into frames, [`Conversation`] knows whose turn it is and what to
//! send, [`Liveness`] knows when to ping and when to give up.

mod canonical;
mod conversation;
mod conversation_id;
mod frame;
mod json;
mod limits;
mod lines;
mod liveness;
mod members;
mod pair_frame;
mod pair_order;
mod text;
mod violation;

pub use conversation::{By, Conversation, End, HeardWhen, Output, Role, SayError, Snapshot};
pub use conversation_id::{ConversationId, MalformedId};
pub use frame::{Code, Decoder, Frame, Reason};
pub use limits::Limits;
pub use liveness::{Liveness, Overdue};
pub use members::FrameError;
pub use pair_frame::{PairDecoder, PairFrame, PairReason, PairStep};
pub use pair_order::{OutOfOrder, PairOrder};
pub use text::{Detail, Message, Text, TooLong};
pub use violation::Violation;
