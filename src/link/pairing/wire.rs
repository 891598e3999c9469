//! [`PairWire`]: pair frames over a stream, in the order of an exchange. Deadlines are its
//! user's.

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncBufRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::link::closing::{drain, say_last};
use crate::link::error::LinkError;
use crate::link::metered::Meter;
use crate::link::unsent::Unsent;
use crate::protocol::{
    Limits, OutOfOrder, PairDecoder, PairFrame, PairOrder, PairReason, PairStep, Role, Violation,
};

/// Read at once: more than any frame of an exchange has.
const CHUNK: usize = 512;

/// One connection that pairs. What was half read or half written is kept here, so that every
/// future may be dropped and nothing is lost.
pub(super) struct PairWire<S> {
    stream: S,
    meter: Meter,
    limits: Limits,
    role: Role,
    order: PairOrder,
    decoder: PairDecoder,
    unread: Vec<u8>,
    unsent: Unsent,
}

/// Why no step came.
pub(super) enum Stop {
    Refused(PairReason),
    Link(LinkError),
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl<S: AsyncBufRead + AsyncWrite + Unpin> PairWire<S> {
    /// Over an established stream, on the side that has this role.
    pub(super) fn new(stream: S, meter: Meter, limits: &Limits, role: Role) -> Self {
        Self {
            stream,
            meter,
            limits: *limits,
            role,
            order: PairOrder::new(),
            decoder: PairDecoder::new(),
            unread: Vec::new(),
            unsent: Unsent::default(),
        }
    }

    /// Queues a frame; one that is not due is not sent.
    fn queue(&mut self, frame: &PairFrame) {
        if self.order.take(self.role, frame).is_ok() {
            self.unsent.push(&frame.to_line());
        }
    }

    /// Sends a step. That nobody takes it shows at the next reading, behind what the other side
    /// said before.
    pub(super) async fn send(&mut self, step: PairStep) {
        self.queue(&PairFrame::Pair(step));
        let _ = self.flush().await;
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            poll_fn(|cx| self.unsent.poll_write(&mut self.stream, cx)).await?;
        }
        // On a client, with the last flight of its handshake.
        self.meter.uncork();
        self.stream.flush().await
    }

    /// The other side's SPAKE2 message, which is due.
    pub(super) async fn spake2(&mut self) -> Result<[u8; 33], Stop> {
        match self.next().await? {
            PairStep::Spake2(message) => Ok(message),
            PairStep::Confirm(_) => Err(out_of_place("confirm").into()),
        }
    }

    /// The other side's confirmation, which is due.
    pub(super) async fn confirm(&mut self) -> Result<[u8; 32], Stop> {
        match self.next().await? {
            PairStep::Confirm(confirmation) => Ok(confirmation),
            PairStep::Spake2(_) => Err(out_of_place("spake2").into()),
        }
    }

    /// Why the connection cannot go on, while no frame of the other side is due. May be dropped
    /// at any time.
    pub(super) async fn stray(&mut self) -> Stop {
        match self.next().await {
            Ok(PairStep::Spake2(_)) => out_of_place("spake2").into(),
            Ok(PairStep::Confirm(_)) => out_of_place("confirm").into(),
            Err(stop) => stop,
        }
    }

    async fn next(&mut self) -> Result<PairStep, Stop> {
        let by = match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let frame = loop {
            if let Some(frame) = self.decode()? {
                break frame;
            }
            self.unread.reserve(CHUNK);
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err(LinkError::Cut.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(LinkError::Cut.into());
                }
                Err(error) => return Err(LinkError::Io(error.into()).into()),
            }
        };
        self.order.take(by, &frame).map_err(|error| match error {
            OutOfOrder::Violation(violation) => LinkError::from(violation),
            OutOfOrder::WrongSide(error) => error.into(),
        })?;
        match frame {
            PairFrame::Pair(step) => Ok(step),
            PairFrame::Refuse { reason } => Err(Stop::Refused(reason)),
            PairFrame::Error { code, detail } => Err(LinkError::Reported { code, detail }.into()),
        }
    }

    /// Closes, with a last frame if there is one.
    pub(super) async fn close(mut self: Box<Self>, last: Option<PairFrame>) {
        if let Some(last) = last {
            self.queue(&last);
        }
        let (stream, unsent) = (&mut self.stream, &mut self.unsent);
        if say_last(stream, &self.meter, unsent, &self.limits).await {
            drain(&mut self.stream, &self.limits).await;
        }
    }

    /// Closes after something went wrong, and says what if the other side is to know.
    pub(super) async fn part(self: Box<Self>, error: &LinkError) {
        if let Some((code, detail)) = error.fault() {
            self.close(Some(PairFrame::Error { code, detail })).await;
        }
    }

    fn decode(&mut self) -> Result<Option<PairFrame>, LinkError> {
        let mut bytes = self.unread.as_slice();
        let mut frame = None;
        while frame.is_none() && !bytes.is_empty() {
            frame = self.decoder.decode(&mut bytes)?;
        }
        let decoded = self.unread.len() - bytes.len();
        self.unread.drain(..decoded);
        Ok(frame)
    }
}

fn out_of_place(kind: &'static str) -> LinkError {
    let phase = "here";
    LinkError::Violation(Violation::OutOfPlace { kind, phase })
}
