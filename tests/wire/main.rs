//! turnchat on the wire: what a peer that is not ours can send, and what it
//! then reads. Our side runs in memory on played time, or as the real program
//! over TCP; the other side is [`raw`], or `openssl`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod closing;
mod cut;
mod exits;
mod frames;
mod handshake;
mod leaving;
mod openssl;
mod ours;
mod phases;
mod program;
mod questions;
mod raw;
mod resuming;
mod strangers;
mod streams;
mod time;
