//! [`Door`]: whether a server pairs just now, and with what.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::desk::Desk;
use super::open::Pairing;
use crate::trust::tls::pair_server_config;
use crate::trust::{Identity, KeyId};

/// Where a server's connections ask whether it pairs. Each asks once, when its ClientHello has
/// come, so that what is offered and what is done are one decision.
pub(crate) struct Door {
    key: KeyId,
    config: Arc<rustls::ServerConfig>,
    /// The last pairing that was opened.
    desk: Mutex<Weak<Desk>>,
}

impl Door {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            key: identity.key_id(),
            config: pair_server_config(identity),
            desk: Mutex::default(),
        }
    }

    /// Opens a pairing, in place of one that may be open.
    pub(crate) fn open(&self) -> Pairing {
        let (desk, events) = Desk::open(self.key);
        self.replace(Arc::downgrade(&desk));
        Pairing::new(desk, events)
    }

    /// What a connection that wants to pair needs, if a pairing is open.
    pub(crate) fn enter(&self) -> Option<(Arc<rustls::ServerConfig>, Arc<Desk>)> {
        let desk = self.desk()?;
        desk.is_open().then(|| (Arc::clone(&self.config), desk))
    }

    /// A peer has said an ordinary `hello`.
    pub(crate) fn hello(&self, key: &KeyId) {
        if let Some(desk) = self.desk() {
            desk.hello(key);
        }
    }

    /// Ends the pairing that is open.
    pub(crate) fn close(&self) {
        self.replace(Weak::new());
    }

    fn desk(&self) -> Option<Arc<Desk>> {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.upgrade()
    }

    fn replace(&self, desk: Weak<Desk>) {
        let mut last = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *last, desk);
        if let Some(last) = last.upgrade() {
            last.close();
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}
