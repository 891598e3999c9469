//! Where the server listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use tokio::net::{TcpListener, lookup_host};

use crate::cli::book::address::DEFAULT_PORT;
use crate::cli::display::Display;
use crate::cli::listen_at::ListenAt;
use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::link::tcp;
use crate::trust::KeyId;

/// Listens where `--listen` says. A name is resolved, and of its addresses the first one that
/// is free is taken. May be dropped at any time.
pub(super) async fn listen(at: &ListenAt) -> Result<TcpListener, Report> {
    let listener = match at.host() {
        None => everywhere(at.port()),
        Some(host) => match lookup_host((host, at.port())).await {
            Ok(addresses) => first(addresses),
            Err(error) => return Err(Report::no_such_host(&at.to_string(), &error)),
        },
    };
    listener.map_err(|error| Report::listen(&at.to_string(), &error))
}

/// On all addresses of this machine, of IPv6 and IPv4.
fn everywhere(port: u16) -> io::Result<TcpListener> {
    let has_no_ipv6 = |error: &io::Error| {
        let absent = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL];
        absent
            .map(|errno| Some(errno as i32))
            .contains(&error.raw_os_error())
    };
    match tcp::listen((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if has_no_ipv6(&error) => tcp::listen((Ipv4Addr::UNSPECIFIED, port).into()),
        listener => listener,
    }
}

/// On the first of these that can be had; the error is that of the first that cannot.
fn first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let mut first_error = None;
    for address in addresses {
        match tcp::listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    Err(first_error.unwrap_or_else(none))
}

/// Tells where the server listens, and what its peer runs.
pub(super) fn announce(
    address: SocketAddr,
    own: &KeyId,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<(), Report> {
    display.announce(&format!("Listening on {address}"));
    display.announce(&format!(
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
        // The peer reaches it through an interface of its own, which has a name there.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => format!("{v6}%INTERFACE"),
        ip => ip.to_string(),
    };
    match address.port() {
        DEFAULT_PORT => host,
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_what_it_can_dial() {
        for (address, told) in [
            ("192.0.2.7:8876", "192.0.2.7"),
            ("192.0.2.7:9000", "192.0.2.7:9000"),
            ("[2001:db8::1]:8876", "2001:db8::1"),
            ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
            ("[fe80::1%2]:8876", "fe80::1%INTERFACE"),
            ("[fe80::1%2]:9000", "[fe80::1%INTERFACE]:9000"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()), told);
        }
    }
}
