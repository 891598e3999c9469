//! One exchange on the server's side.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::desk::{Desk, Place};
use super::event::Storing;
use super::wire::{PairWire, Stop};
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake::Proven;
use crate::protocol::{
    Code, FrameError, Limits, Overdue, PairFrame, PairReason, PairStep, Role, Violation,
};
use crate::trust::pairing::{Exchange, Exporter, Keys, NoPoint};

/// From the client's first frame to the server's last (PAIRING 5.9 and 6.3).
pub(super) const EXCHANGE_TIME: Duration = Duration::from_secs(15);

/// Goes through one exchange, on a connection for pairing; the client's first frame is due by
/// then. Dropped, the connection is cut, and nothing is judged any more.
///
/// # Errors
/// What went wrong, other than a refusal.
pub(crate) async fn receive<S>(
    proven: Proven<S>,
    desk: Arc<Desk>,
    address: Option<IpAddr>,
    limits: &Limits,
    first_frame_by: Instant,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exporter = proven.exporter()?;
    let client = proven.peer.key();
    let keys = Keys {
        client,
        server: desk.key(),
    };
    let wire = PairWire::new(proven.stream, proven.meter, limits, Role::Server);
    let mut wire = Box::new(wire);
    let (place, closing) = match desk.arrive(&client, address) {
        Ok(arrived) => arrived,
        Err(reason) => {
            wire.close(Some(PairFrame::Refuse { reason })).await;
            return Ok(());
        }
    };
    let exchange = Running {
        place: &place,
        keys,
        address,
        exporter,
    };
    let last = tokio::select! {
        biased;
        reason = closing.reason() => Ok(PairFrame::Refuse { reason }),
        last = exchange.run(&mut wire, first_frame_by) => last,
    };
    drop(place);
    match last {
        Ok(last) => {
            wire.close(Some(last)).await;
            Ok(())
        }
        Err(error) => {
            wire.part(&error).await;
            Err(error.into())
        }
    }
}

struct Running<'a> {
    place: &'a Place,
    keys: Keys,
    address: Option<IpAddr>,
    exporter: Exporter,
}

impl Running<'_> {
    /// Up to the server's last frame, which comes back.
    async fn run<S>(
        self,
        wire: &mut PairWire<S>,
        first_frame_by: Instant,
    ) -> Result<PairFrame, LinkError>
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        let first = timeout_at(first_frame_by, wire.spake2()).await;
        let theirs = first.map_err(|_| LinkError::Overdue(Overdue::FirstFrame))?;
        let theirs = theirs.map_err(link)?;
        let by = Instant::now() + EXCHANGE_TIME;
        let too_late = |_| LinkError::Overdue(Overdue::Pairing);

        let exchange = Exchange::server(&self.place.code);
        let ours = exchange.message();
        let confirmations = exchange
            .finish(&theirs, &self.exporter, &self.keys)
            .map_err(|NoPoint| FrameError::BadValue("spake2"))?;
        let said = timeout_at(by, async {
            wire.send(PairStep::Spake2(ours)).await;
            wire.confirm().await
        });
        let said = said.await.map_err(too_late)?.map_err(link)?;
        let is_right = confirmations.client.is(&said);

        let turn = timeout_at(by, async {
            tokio::select! {
                turn = self.place.turn() => Ok(turn),
                stop = wire.stray() => Err(link(stop)),
            }
        });
        let Ok(turn) = turn.await else {
            let reason = PairReason::Busy;
            return Ok(PairFrame::Refuse { reason });
        };
        let asked = self
            .place
            .judge(turn?, is_right, self.keys.client, self.address);
        let storing = match asked {
            Ok(storing) => timeout_at(by, storing).await.map_err(too_late)?,
            Err(reason) => return Ok(PairFrame::Refuse { reason }),
        };
        Ok(match storing {
            Ok(Storing::Stored) => {
                PairFrame::Pair(PairStep::Confirm(confirmations.server.to_bytes()))
            }
            Ok(Storing::Declined) => PairFrame::Refuse {
                reason: PairReason::Declined,
            },
            Ok(Storing::Failed) | Err(_) => PairFrame::Error {
                code: Code::Internal,
                detail: None,
            },
        })
    }
}

fn link(stop: Stop) -> LinkError {
    match stop {
        Stop::Link(error) => error,
        // The order of frames does not let one through.
        Stop::Refused(_) => LinkError::Violation(Violation::OutOfPlace {
            kind: "refuse",
            phase: "from a client",
        }),
    }
}
