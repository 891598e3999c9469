//! What can go wrong at a proxy, as words.

use std::io;

use super::{Exit, Report};
use crate::cli::proposal::theirs;
use crate::cli::remedy;
use crate::link::socks::{ProxyError, ProxyFailure};

impl Report {
    /// An address on a link of this machine, and a proxy that is to dial it.
    pub fn zone_through_proxy(host: &str) -> Self {
        Self::new(
            Exit::Usage,
            format!("The address {host} is one on a link of this machine: no proxy can dial it."),
            "Leave `--proxy` out, or give a name or address that the proxy can reach.",
        )
    }

    /// There is no connection to `host` through the proxy.
    pub(super) fn proxy(error: &ProxyError, host: &str) -> Self {
        let proxy = error.proxy();
        let failure = error.failure();
        let what = match failure {
            // That it ended is said already.
            ProxyFailure::Closed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                failure.to_string()
            }
            ProxyFailure::Unreachable(error) | ProxyFailure::Closed(error) => {
                format!("{failure}: {error}")
            }
            _ => failure.to_string(),
        };
        Self::new(
            Exit::Link,
            format!("Cannot reach {host} through the proxy {proxy}: {what}."),
            advice(failure),
        )
    }
}

fn advice(failure: &ProxyFailure) -> String {
    match failure {
        ProxyFailure::Unreachable(error) => remedy::for_too_many(error).unwrap_or_else(|| {
            "Start the proxy, or correct its address in `--proxy`. Tor's port is usually 9050, that of Tor Browser 9150."
                .to_owned()
        }),
        ProxyFailure::NotSocks5 => {
            "Check that the address in `--proxy` is that of a SOCKS5 proxy, and what the proxy's log says."
                .to_owned()
        }
        // So does OpenSSH for each of these reasons.
        ProxyFailure::Closed(_) => format!(
            "The proxy may not reach this host (`ssh -D` says it so): check the name and the port, and that {} runs there. Check too that the address in `--proxy` is that of a SOCKS5 proxy.",
            theirs("server")
        ),
        ProxyFailure::Silent => format!(
            "Check that the address in `--proxy` is that of a SOCKS5 proxy, and that {} runs at the other end; then run the same command again.",
            theirs("server")
        ),
        ProxyFailure::NeedsLogin => {
            "Give it as `--proxy socks5h://USER:PASS@HOST:PORT`; other users of this machine can read that while the program runs."
                .to_owned()
        }
        ProxyFailure::WrongLogin => {
            "Correct USER and PASS in `--proxy`; or leave them out, if the proxy knows none.".to_owned()
        }
        ProxyFailure::NotAllowed => {
            "Ask whoever runs the proxy, or choose another with `--proxy`.".to_owned()
        }
        ProxyFailure::NetworkUnreachable | ProxyFailure::HostUnreachable => {
            "Check the name: it is looked up there, and not here. Ask your peer whether that machine is online."
                .to_owned()
        }
        ProxyFailure::Refused => format!(
            "Check the port, and that {} runs there.",
            theirs("server")
        ),
        ProxyFailure::Expired => format!(
            "Ask your peer whether {} runs there; then run the same command again.",
            theirs("server")
        ),
        ProxyFailure::Unsupported => {
            "Give your peer's host as a name, or as an IPv4 address, or choose another proxy."
                .to_owned()
        }
        ProxyFailure::NoTarget => {
            "Give a name or address that the proxy can reach.".to_owned()
        }
        // So does Tor where nobody listens behind an onion service.
        ProxyFailure::Failed => format!(
            "Check the name, and that {} runs there; and see what the proxy's log says: it may have no connection itself.",
            theirs("server")
        ),
    }
}
