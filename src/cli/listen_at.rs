//! [`ListenAt`]: where a server is told to listen, as it is written. It is resolved only when
//! it listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A port, on all addresses of this machine or on those of a name.
///
/// Read from `PORT`, `:PORT`, `HOST:PORT` or `[IPv6]:PORT`. HOST is a name or an IPv4 address;
/// the IPv6 address may have a zone: `[fe80::1%eth0]:8876`. Port 0 takes any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAt {
    host: Option<String>,
    port: u16,
}

impl ListenAt {
    /// The host, without brackets; `None` for all addresses, of IPv6 and IPv4.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port; 0 takes any free one.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "[::]:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

impl FromStr for ListenAt {
    type Err = NoPlaceToListen;

    fn from_str(text: &str) -> Result<Self, NoPlaceToListen> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        // `parse` alone would take a plus sign.
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number);
        let port = port.ok_or(NoPlaceToListen)?;
        let host = match (host.strip_prefix('['), host) {
            (None, "") => None,
            (Some(rest), _) => Some(ipv6(rest.strip_suffix(']').ok_or(NoPlaceToListen)?)?),
            (None, host) => Some(name(host)?),
        };
        // The unspecified address has IPv4 with it, however it is written.
        let host = host.filter(|host| host.parse() != Ok(Ipv6Addr::UNSPECIFIED));
        Ok(Self { host, port })
    }
}

/// A text that does not say where to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a place to listen at: give PORT, HOST:PORT or [IPv6]:PORT, with a port from 0 to 65535"
)]
pub struct NoPlaceToListen;

fn ipv6(text: &str) -> Result<String, NoPlaceToListen> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_address = address.parse::<Ipv6Addr>().is_ok();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_zone = !zone.is_empty() && zone.chars().all(allowed);
    match is_address && is_zone {
        true => Ok(text.to_owned()),
        false => Err(NoPlaceToListen),
    }
}

/// A host's name or IPv4 address.
fn name(text: &str) -> Result<String, NoPlaceToListen> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = match is_number {
        // A resolver would take `9000` for an address too.
        true => text.parse::<Ipv4Addr>().is_ok(),
        false => text.chars().all(allowed) && !text.starts_with(['-', '.']),
    };
    good.then(|| text.to_owned()).ok_or(NoPlaceToListen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_where_to_listen_is_read() {
        for (text, host, port) in [
            ("9000", None, 9000),
            (":9000", None, 9000),
            ("0", None, 0),
            ("[::]:8876", None, 8876),
            ("[0:0::0]:8876", None, 8876),
            ("localhost:9000", Some("localhost"), 9000),
            ("alice-laptop.example:1", Some("alice-laptop.example"), 1),
            ("0.0.0.0:9000", Some("0.0.0.0"), 9000),
            ("[::1]:0", Some("::1"), 0),
            ("[fe80::1%eth0]:8876", Some("fe80::1%eth0"), 8876),
        ] {
            let at: ListenAt = text.parse().unwrap();
            assert_eq!((at.host(), at.port()), (host, port), "{text}");
            assert_eq!(at.to_string().parse(), Ok(at), "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for text in [
            "",
            ":",
            "localhost",
            "localhost:",
            "[::1]",
            "::1",
            "::1:9000",
            "[::1",
            "[::1]9000",
            "[localhost]:1",
            "[::1%]:1",
            "[::1%a b]:1",
            "65536",
            "-1",
            "+1",
            "1.2.3:9000",
            "9000:9000",
            "a b:1",
            "-a:1",
            "http://host:1",
            "host:http",
            "*:9000",
        ] {
            assert_eq!(text.parse::<ListenAt>(), Err(NoPlaceToListen), "{text}");
        }
    }
}
