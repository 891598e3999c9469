//! What is fuzzed: each target is a function of bytes that panics where a rule is broken. libFuzzer
//! calls it from `fuzz_targets/`, and tests/fuzz without libFuzzer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target stops at the first surprise"
)]

pub mod admission;
pub mod args;
pub mod book;
pub mod decoder;
pub mod keys;
pub mod pairing;
pub mod pem;
pub mod record;
pub mod screen;
pub mod session;

mod files;
mod forbidden;
mod peers;
mod pieces;

/// A target: what it is called, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("admission", admission::run),
    ("args", args::run),
    ("book", book::run),
    ("decoder", decoder::run),
    ("keys", keys::run),
    ("pairing", pairing::run),
    ("pem", pem::run),
    ("record", record::run),
    ("screen", screen::run),
    ("session", session::run),
];
