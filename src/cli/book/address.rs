//! [`Address`], where a peer is dialled: a host and a port, checked and in
//! one form. It is never resolved here.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of a server that was told no other: T-U-R-N on a phone's keypad.
pub const DEFAULT_PORT: u16 = 8876;

/// The longest host name, in bytes (RFC 1035, section 2.3.4, written out).
const MAX_HOST: usize = 253;

/// The longest part of a host name between dots, in bytes (the same section).
const MAX_LABEL: usize = 63;

/// A host and a port. Two are equal where they are written the same but for
/// case and for the ways to write an IPv6 address; whether two names lead to
/// one machine is not asked.
///
/// It is read from `HOST`, `HOST:PORT`, an IPv6 address, `[IPv6]` or
/// `[IPv6]:PORT`, and always printed with its port.
///
/// ```
/// use turnchat::cli::book::Address;
///
/// let address: Address = "Alice-Laptop".parse()?;
/// assert_eq!(address.to_string(), "alice-laptop:8876");
/// let address: Address = "[2001:DB8::1]:443".parse()?;
/// assert_eq!((address.host(), address.port()), ("2001:db8::1", 443));
/// # Ok::<(), turnchat::cli::book::address::MalformedAddress>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host: a name in lower case, an IPv4 address, or an IPv6 address
    /// without brackets (with its zone, where it has one).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = MalformedAddress;

    fn from_str(text: &str) -> Result<Self, MalformedAddress> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(MalformedAddress)?;
            let port = match port.strip_prefix(':') {
                Some(port) => Some(port),
                None if port.is_empty() => None,
                None => return Err(MalformedAddress),
            };
            (ipv6(host)?, port)
        } else {
            match text.split_once(':') {
                None => (name(text)?, None),
                // More than one colon: an IPv6 address, which has no port
                // outside of brackets.
                Some((_, rest)) if rest.contains(':') => (ipv6(text)?, None),
                Some((host, port)) => (name(host)?, Some(port)),
            }
        };
        let port = port.map_or(Ok(DEFAULT_PORT), self::port)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an address: an address is HOST, HOST:PORT or [IPV6]:PORT")]
pub struct MalformedAddress;

/// A host name or an IPv4 address, in lower case. Underscores are no part of
/// a host name in the RFCs, but of some on local networks.
fn name(text: &str) -> Result<String, MalformedAddress> {
    // A dot at the end makes a name absolute.
    let labels = text.strip_suffix('.').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let good = text.len() <= MAX_HOST
        && labels.split('.').all(|label| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.chars().all(allowed)
                && !label.starts_with('-')
        });
    good.then(|| text.to_ascii_lowercase())
        .ok_or(MalformedAddress)
}

/// An IPv6 address in its shortest form. Its zone, an interface of this
/// machine, stays as it is written.
fn ipv6(text: &str) -> Result<String, MalformedAddress> {
    let (address, zone) = match text.split_once('%') {
        None => (text, None),
        Some((address, zone)) => (address, Some(zone)),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| MalformedAddress)?;
    let Some(zone) = zone else {
        return Ok(address.to_string());
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=MAX_LABEL).contains(&zone.len()) && zone.chars().all(allowed);
    good.then(|| format!("{address}%{zone}"))
        .ok_or(MalformedAddress)
}

fn port(text: &str) -> Result<u16, MalformedAddress> {
    // `parse` alone would take a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MalformedAddress);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(MalformedAddress),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn every_way_to_write_an_address_is_read() {
        for (text, host, port) in [
            ("localhost", "localhost", 8876),
            ("Alice-Laptop", "alice-laptop", 8876),
            ("example.com:443", "example.com", 443),
            ("example.com.", "example.com.", 8876),
            ("my_box", "my_box", 8876),
            ("192.0.2.7", "192.0.2.7", 8876),
            ("192.0.2.7:1", "192.0.2.7", 1),
            ("::1", "::1", 8876),
            ("2001:DB8:0::1", "2001:db8::1", 8876),
            ("[::1]", "::1", 8876),
            ("[::1]:65535", "::1", 65535),
            ("fe80::1%eth0", "fe80::1%eth0", 8876),
            ("[fe80::1%En0]:443", "fe80::1%En0", 443),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = "a".repeat(64);
        let longer = "a.".repeat(127);
        for text in [
            "",
            ":",
            ":8876",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "host:80a",
            "host:http",
            "a b",
            "a/b",
            "-a",
            "a.-b",
            "a..b",
            ".",
            ".a",
            "bücher",
            "user@host",
            "http://host",
            "[",
            "[]",
            "[::1",
            "[::1]8876",
            "[::1]:",
            "[host]:80",
            "[192.0.2.7]:80",
            "::1]",
            "1:2:3",
            "fe80::1%",
            "fe80::1%a b",
            "host\n",
            "host\u{1b}[2J",
            &long,
            &longer,
        ] {
            assert_eq!(text.parse::<Address>(), Err(MalformedAddress), "{text:?}");
        }
    }

    #[test]
    fn case_and_spelling_do_not_tell_two_addresses_apart() {
        for (one, other) in [
            ("EXAMPLE.com", "example.COM:8876"),
            ("::1", "[0:0:0:0:0:0:0:1]:8876"),
        ] {
            assert_eq!(one.parse::<Address>(), other.parse());
        }
    }

    /// Names and IPv6 addresses, with and without ports and brackets, and
    /// what comes near them.
    const ADDRESS_LIKE: &str =
        "([a-zA-Z0-9.-]{1,12}|\\[?([0-9A-F]{1,4}:){0,3}:[0-9a-f]{0,4}\\]?)(:[0-9]{1,5})?";

    proptest! {
        #[test]
        fn whatever_is_read_is_printed_in_one_form(text in ADDRESS_LIKE) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
