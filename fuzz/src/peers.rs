//! Keys that were proven: only a handshake makes one.

#[path = "../../tests/model/proven.rs"]
mod proven;

use std::sync::LazyLock;

use turnchat::Peer;

use proven::proven_peer;

/// Three, in the order of their keys: so an input means the same whichever they are.
pub static PEERS: LazyLock<Vec<Peer>> = LazyLock::new(|| {
    let mut peers: Vec<_> = (0..3).map(|_| proven_peer()).collect();
    peers.sort_by_key(Peer::key);
    peers
});
