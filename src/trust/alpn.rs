//! [`Alpn`]: what is spoken behind a handshake.

use rustls::server::ClientHello;

/// The protocols, as both sides name them in the handshake (RFC 7301). A connection is for one
/// of them alone: each configuration offers one, and a proof is for that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// Conversations (PROTOCOL 1.3).
    Talk,
    /// Pairing (PAIRING 1.2).
    Pair,
}

impl Alpn {
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Talk => b"turnchat/1",
            Self::Pair => b"turnchat-pair/1",
        }
    }

    /// Whether a client wants to pair, and nothing else that is spoken here.
    pub(crate) fn is_pair(clienthello: &ClientHello<'_>) -> bool {
        let offers = |alpn: Self| {
            let mut names = clienthello.alpn().into_iter().flatten();
            names.any(|name| name == alpn.name())
        };
        offers(Self::Pair) && !offers(Self::Talk)
    }
}
