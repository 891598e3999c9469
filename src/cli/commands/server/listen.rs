//! Where the server listens.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use nix::errno::Errno;
use tokio::net::{TcpListener, lookup_host};

use crate::cli::book::address::DEFAULT_PORT;
use crate::cli::display::Display;
use crate::cli::listen_at::ListenAt;
use crate::cli::own_addresses::{OwnAddresses, lacks_zone};
use crate::cli::proposal::shell_quoted;
use crate::cli::report::Report;
use crate::link::tcp;
use crate::trust::KeyId;

/// Listens at the socket that was handed over, or else where `--listen` says. A name is resolved,
/// and of its addresses the first one that is free is taken. May be dropped at any time.
pub(super) async fn listen(
    socket: Option<std::net::TcpListener>,
    at: &ListenAt,
) -> Result<TcpListener, Report> {
    if let Some(socket) = socket {
        let listener = TcpListener::from_std(socket);
        return listener.map_err(|error| Report::listen("the socket", &error));
    }
    let listener = match at.host() {
        Some(host) if lacks_zone(host) => return Err(Report::no_zone(host)),
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
pub(super) fn announce(address: SocketAddr, own: &KeyId, pairs: bool, display: &Display) {
    display.print_always(&format!("Listening on {address}"));
    let mut hosts = OwnAddresses::find().of_server(address).into_iter();
    let best = hosts.next().unwrap_or_default();
    let how = match pairs {
        true => "--pair --as NAME".to_owned(),
        false => format!("--pin {own}"),
    };
    display.print_always(&format!(
        "Your peer runs: turnchat client {} {how}",
        as_argument(&best, address.port())
    ));
    if best.contains('%') {
        display.say("Behind `%` your peer writes the interface on its own side.");
    }
    let others: Vec<_> = hosts.map(|host| with_port(&host, address.port())).collect();
    if !others.is_empty() {
        display.say(&format!("It may also dial {}.", others.join(", ")));
    }
}

/// In a command: to some shells brackets are a pattern.
fn as_argument(host: &str, port: u16) -> String {
    shell_quoted(Path::new(&with_port(host, port)))
}

fn with_port(host: &str, port: u16) -> String {
    match port {
        DEFAULT_PORT => host.to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_unless_it_is_the_usual_one() {
        for (host, port, told) in [
            ("192.0.2.7", 8876, "192.0.2.7"),
            ("192.0.2.7", 9000, "192.0.2.7:9000"),
            ("2001:db8::7", 8876, "2001:db8::7"),
            ("fe80::7%eth0", 9000, "[fe80::7%eth0]:9000"),
        ] {
            assert_eq!(with_port(host, port), told);
        }
        assert_eq!(as_argument("192.0.2.7", 9000), "192.0.2.7:9000");
        assert_eq!(as_argument("2001:db8::7", 9000), "'[2001:db8::7]:9000'");
    }
}
