//! [`Granted`]: what the system grants a server.

use std::net::TcpListener;

use crate::protocol::Limits;

/// What the system grants a server.
#[derive(Debug)]
pub struct Granted {
    /// As its descriptors allow.
    pub limits: Limits,
    /// One that listens already; `--listen` counts where there is none.
    pub socket: Option<TcpListener>,
}
