//! [`PairOrder`]: the order of the frames in an exchange (PAIRING 3.1).

use super::conversation::Role;
use super::members::FrameError;
use super::pair_frame::{PairFrame, PairStep};
use super::violation::Violation;

/// Which frame of an exchange is due, on either side:
///
/// ```text
/// the client's spake2 → the server's spake2 → the client's confirm → the server's confirm → over
/// ```
///
/// A server may `refuse` in place of any frame before the end, and either side may send
/// `error`. It knows no keys and no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PairOrder(Due);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    ClientSpake2,
    ServerSpake2,
    ClientConfirm,
    ServerConfirm,
    Nothing,
}

/// Why a frame does not come next. Always a protocol error of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OutOfOrder {
    /// Another frame is due.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The other side's SPAKE2 message.
    #[error(transparent)]
    WrongSide(#[from] FrameError),
}

impl PairOrder {
    /// The order of an exchange in which nothing was said.
    pub fn new() -> Self {
        Self(Due::ClientSpake2)
    }

    /// A frame is sent by this side.
    ///
    /// # Errors
    /// [`OutOfOrder`]: it is not due. Nothing has changed then.
    pub fn take(&mut self, by: Role, frame: &PairFrame) -> Result<(), OutOfOrder> {
        let (due, next) = match self.0 {
            Due::ClientSpake2 => (Role::Client, Due::ServerSpake2),
            Due::ServerSpake2 => (Role::Server, Due::ClientConfirm),
            Due::ClientConfirm => (Role::Client, Due::ServerConfirm),
            Due::ServerConfirm => (Role::Server, Due::Nothing),
            Due::Nothing => return Err(self.out_of_place(frame)),
        };
        let wants_spake2 = matches!(self.0, Due::ClientSpake2 | Due::ServerSpake2);
        self.0 = match frame {
            PairFrame::Error { .. } => Due::Nothing,
            PairFrame::Refuse { .. } if by == Role::Server => Due::Nothing,
            PairFrame::Pair(PairStep::Spake2(message)) if by == due && wants_spake2 => {
                if message.first() != Some(&side(by)) {
                    return Err(FrameError::BadValue("spake2").into());
                }
                next
            }
            PairFrame::Pair(PairStep::Confirm(_)) if by == due && !wants_spake2 => next,
            _ => return Err(self.out_of_place(frame)),
        };
        Ok(())
    }

    /// Whether no more frames may come.
    pub fn is_over(&self) -> bool {
        self.0 == Due::Nothing
    }

    fn out_of_place(&self, frame: &PairFrame) -> OutOfOrder {
        let kind = match frame {
            PairFrame::Pair(PairStep::Spake2(_)) => "spake2",
            PairFrame::Pair(PairStep::Confirm(_)) => "confirm",
            PairFrame::Refuse { .. } => "refuse",
            PairFrame::Error { .. } => "error",
        };
        let phase = match self.0 {
            Due::ClientSpake2 => "before the client's `spake2`",
            Due::ServerSpake2 => "before the server's `spake2`",
            Due::ClientConfirm => "before the client's `confirm`",
            Due::ServerConfirm => "before the server's `confirm`",
            Due::Nothing => "after the end",
        };
        Violation::OutOfPlace { kind, phase }.into()
    }
}

impl Default for PairOrder {
    fn default() -> Self {
        Self::new()
    }
}

/// The first byte of a side's SPAKE2 message: `A` or `B`.
fn side(of: Role) -> u8 {
    match of {
        Role::Client => 0x41,
        Role::Server => 0x42,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Code, PairReason};

    fn spake2(first: u8) -> PairFrame {
        let mut message = [7; 33];
        message[0] = first;
        PairFrame::Pair(PairStep::Spake2(message))
    }

    const CONFIRM: PairFrame = PairFrame::Pair(PairStep::Confirm([0; 32]));
    const REFUSE: PairFrame = PairFrame::Refuse {
        reason: PairReason::Busy,
    };
    const ERROR: PairFrame = PairFrame::Error {
        code: Code::Internal,
        detail: None,
    };

    fn exchange() -> [(Role, PairFrame); 4] {
        [
            (Role::Client, spake2(0x41)),
            (Role::Server, spake2(0x42)),
            (Role::Client, CONFIRM),
            (Role::Server, CONFIRM),
        ]
    }

    /// The order after so many frames of an exchange.
    fn after(frames: usize) -> PairOrder {
        let mut order = PairOrder::new();
        for (by, frame) in exchange().iter().take(frames) {
            assert_eq!(order.take(*by, frame), Ok(()));
        }
        order
    }

    #[test]
    fn four_frames_are_an_exchange() {
        for frames in 0..4 {
            assert!(!after(frames).is_over(), "{frames}");
        }
        assert!(after(4).is_over());
    }

    #[test]
    fn each_step_takes_its_frame_alone() {
        let frames = [
            spake2(0x41),
            spake2(0x42),
            spake2(0x53),
            CONFIRM,
            REFUSE,
            ERROR,
        ];
        for step in 0..=4 {
            for by in [Role::Client, Role::Server] {
                for frame in &frames {
                    let is_due = exchange().get(step) == Some(&(by, frame.clone()));
                    let is_end = *frame == ERROR || (*frame == REFUSE && by == Role::Server);
                    let mut order = after(step);
                    let taken = order.take(by, frame);
                    assert_eq!(taken.is_ok(), is_due || is_end && step < 4, "{step} {by:?}");
                    match taken {
                        Ok(()) if is_due => assert_eq!(order, after(step + 1)),
                        Ok(()) => assert!(order.is_over()),
                        Err(_) => assert_eq!(order, after(step)),
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_of_the_wrong_side_is_told_apart() {
        let bad = OutOfOrder::WrongSide(FrameError::BadValue("spake2"));
        assert_eq!(after(0).take(Role::Client, &spake2(0x42)), Err(bad));
        assert_eq!(after(1).take(Role::Server, &spake2(0x41)), Err(bad));
        let early = after(1).take(Role::Client, &CONFIRM).unwrap_err();
        let told = "`confirm` has no place before the server's `spake2`";
        assert_eq!(early.to_string(), told);
    }

    proptest! {
        /// Whatever comes, what is taken begins an exchange, or ends it early.
        #[test]
        fn what_is_taken_is_an_exchange_or_its_beginning(
            choices in prop::collection::vec((any::<bool>(), 0..5usize), 0..24),
        ) {
            let frames = [spake2(0x41), spake2(0x42), CONFIRM, REFUSE, ERROR];
            let (mut order, mut taken) = (PairOrder::new(), Vec::new());
            for (is_client, choice) in choices {
                let by = match is_client {
                    true => Role::Client,
                    false => Role::Server,
                };
                if order.take(by, &frames[choice]).is_ok() {
                    taken.push((by, frames[choice].clone()));
                }
            }
            if let Some((_, REFUSE | ERROR)) = taken.last() {
                taken.pop();
            }
            prop_assert!(exchange().starts_with(&taken));
        }
    }
}
