//! Pairing by a spoken code, from both sides, on the wire. The other side is our own, or one
//! that shares no code with it: [`foreign`]. Time is played where there is any.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod clients;
mod codes;
mod crowds;
mod cuts;
mod foreign;
mod malformed;
mod middle;
mod ours;
mod protocols;
mod storing;
mod time;

#[path = "../wire/raw.rs"]
#[expect(dead_code, reason = "conversations need the rest")]
mod raw;
