//! [`EtcdAddress`]: where etcd is, and what our keys begin with there.

use std::fmt;
use std::str::FromStr;

/// `etcd://HOST:PORT[,HOST:PORT]/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAddress {
    hosts: Vec<String>,
    prefix: String,
}

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not etcd://HOST:PORT[,HOST:PORT]/PREFIX")]
pub struct NoEtcdAddress;

impl EtcdAddress {
    /// The machines of one etcd, as its client wants them.
    pub(super) fn endpoints(&self, over_tls: bool) -> Vec<String> {
        let scheme = if over_tls { "https" } else { "http" };
        let hosts = self.hosts.iter();
        hosts.map(|host| format!("{scheme}://{host}")).collect()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for EtcdAddress {
    type Err = NoEtcdAddress;

    fn from_str(text: &str) -> Result<Self, NoEtcdAddress> {
        let rest = text.strip_prefix("etcd://").ok_or(NoEtcdAddress)?;
        let (hosts, prefix) = rest.split_once('/').ok_or(NoEtcdAddress)?;
        let hosts: Vec<_> = hosts.split(',').map(str::to_owned).collect();
        let prefix = prefix.trim_end_matches('/').to_owned();
        let is_one = |host: &String| {
            let parts = host.rsplit_once(':');
            let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
            parts.is_some_and(|(name, port)| is_name(name) && is_port(port))
        };
        match hosts.iter().all(is_one) && !prefix.is_empty() {
            true => Ok(Self { hosts, prefix }),
            false => Err(NoEtcdAddress),
        }
    }
}

/// A name, or an address; one of IPv6 in brackets.
fn is_name(name: &str) -> bool {
    let bracketed = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !name.is_empty() && name.chars().all(is_of_a_name)
        }
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd://{}/{}", self.hosts.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, endpoints) in [
            (
                "etcd://localhost:2379/turnchat",
                &["http://localhost:2379"][..],
            ),
            (
                "etcd://one:2379,[::1]:2380/one/two",
                &["http://one:2379", "http://[::1]:2380"],
            ),
        ] {
            let address: EtcdAddress = text.parse().unwrap();
            assert_eq!(address.endpoints(false), endpoints);
            assert_eq!(address.to_string(), text);
        }
        let address: EtcdAddress = "etcd://a:1/b/".parse().unwrap();
        assert_eq!(address.to_string(), "etcd://a:1/b");
        assert_eq!(address.endpoints(true), ["https://a:1"]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "etcd://",
            "etcd://a:1",
            "etcd://a:1/",
            "etcd://a/b",
            "etcd://a:0/b",
            "etcd://a:65536/b",
            "etcd://a:1,/b",
            "etcd://:1/b",
            "etcd://::1:2/b",
            "etcd://bob:secret@a:1/b",
            "file:a",
        ] {
            assert_eq!(text.parse::<EtcdAddress>(), Err(NoEtcdAddress), "{text}");
        }
    }
}
