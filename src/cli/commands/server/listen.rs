//! Where the server listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use tokio::net::TcpListener;

use crate::cli::book::address::DEFAULT_PORT;
use crate::cli::console::Console;
use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::link::tcp;
use crate::trust::KeyId;

/// Binds the address of `--listen`.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, Report> {
    let everywhere = address.ip() == Ipv6Addr::UNSPECIFIED;
    match tcp::listen(address) {
        // A machine without IPv6.
        Err(error) if everywhere && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            tcp::listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        listener => listener,
    }
    .map_err(|error| Report::listen(&address.to_string(), &error))
}

/// Tells where the server listens, and what its peer runs.
pub(super) fn announce(
    address: SocketAddr,
    own: &KeyId,
    console: &Console,
    speaker: &mut impl Speaker,
) -> Result<(), Report> {
    console.announce(&format!("Listening on {address}"));
    console.announce(&format!(
        "Your peer runs: turnchat client {} --pin {own}",
        reachable(address)
    ));
    speaker.listening(&address.to_string(), own)
}

/// The address as a peer may dial it: this host's name where any will do.
fn reachable(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "HOST".to_owned()),
        IpAddr::V6(v6) if address.port() != DEFAULT_PORT => {
            format!("[{v6}]")
        }
        ip => ip.to_string(),
    };
    match address.port() {
        DEFAULT_PORT => host,
        port => format!("{host}:{port}"),
    }
}
