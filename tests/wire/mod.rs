//! turnchat on the wire: what a peer that is not ours can send, and what it
//! then reads. Our side runs in memory on played time, or as the real program
//! over TCP; the other side is [`raw`], or `openssl`.

#[cfg(feature = "cli")]
mod closing;
#[cfg(feature = "cli")]
mod cut;
#[cfg(feature = "cli")]
mod exits;
#[cfg(feature = "cli")]
mod frames;
#[cfg(feature = "cli")]
mod handshake;
#[cfg(feature = "cli")]
mod leaving;
#[cfg(feature = "cli")]
mod names;
#[cfg(feature = "cli")]
mod openssl;
#[cfg(feature = "cli")]
mod ours;
#[cfg(feature = "cli")]
mod phases;
#[cfg(feature = "cli")]
pub(crate) mod program;
#[cfg(feature = "cli")]
mod questions;
#[cfg_attr(
    not(feature = "cli"),
    expect(dead_code, reason = "the wire's own tests need it")
)]
pub(crate) mod raw;
#[cfg(feature = "cli")]
mod resuming;
#[cfg(feature = "cli")]
mod strangers;
#[cfg(feature = "cli")]
mod streams;
#[cfg(feature = "cli")]
mod time;
