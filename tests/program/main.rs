//! The built program from outside: arguments, standard input and output,
//! terminals, signals and exit codes. Peers that are no `turnchat` are not here.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

mod advice;
mod agent;
mod completions;
mod conversation;
mod conversations;
mod crowd;
mod descriptors;
mod editor;
mod exec;
mod full_disk;
mod goodbye;
mod harness;
mod help;
mod homes;
mod identity;
mod json;
mod lines;
mod log;
mod pairing;
mod parked;
mod peers;
mod proxy;
mod readers;
mod refusals;
mod returning;
mod schema;
mod service;
mod serving;
mod stopping;
mod store;
mod storm;
mod strangers;
mod terminal;
mod transcript;
mod trust;
