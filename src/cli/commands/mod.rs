//! The commands, a file each. What runs one is called `run` in all of them.

pub mod client;
pub mod completions;
pub mod conversations;
pub mod fingerprint;
pub mod gen_cert;
pub mod man;
pub mod peers;
pub mod server;
mod stdout;
