//! [`Pairing`]: an open pairing, as the server's user has it.

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::desk::Desk;
use super::event::PairingEvent;

/// A pairing that is open on a server: until it is dropped or over, a peer that is told the code
/// can prove its key here, beside all conversations.
///
/// A code is good for 10 minutes, and for five wrong guesses; a pairing has three codes at most.
/// One peer can pair. After that the pairing is over with the peer's first `hello`, or after 10
/// more minutes, or after five wrong guesses of its own: until then the peer may come again with
/// the same code, in case it did not hear the end. Keep the pairing, and go on answering.
pub struct Pairing {
    desk: Arc<Desk>,
    events: mpsc::UnboundedReceiver<PairingEvent>,
}

impl Pairing {
    pub(super) fn new(desk: Arc<Desk>, events: mpsc::UnboundedReceiver<PairingEvent>) -> Self {
        Self { desk, events }
    }

    /// What happens next; the first code comes first. `None` once the pairing is over.
    ///
    /// May be dropped at any time.
    pub async fn next(&mut self) -> Option<PairingEvent> {
        loop {
            let until = self.desk.until();
            let old = async {
                match until {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.events.recv() => return event,
                // It looks at the clock itself.
                () = old => {}
            }
        }
    }

    /// Asks for another code after [`PairingEvent::Expired`]. It comes as an event; or, in place
    /// of a fourth, [`PairingEvent::Exhausted`]. Without an expired code this does nothing.
    pub fn new_code(&mut self) {
        self.desk.new_code();
    }
}

impl Drop for Pairing {
    fn drop(&mut self) {
        self.desk.close();
    }
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pairing")
    }
}
