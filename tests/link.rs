//! Links, real TLS over a network in memory or on loopback, and what becomes of a conversation on
//! them. One program: what each of its parts needs is built once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod going_on;
mod pairing;
mod storms;
mod traces;
mod wire;
