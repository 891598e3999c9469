//! The addresses of this machine, as a peer may dial them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// So many are told at most.
const MOST: usize = 8;

/// What this machine can be reached at.
#[derive(Debug, Default)]
pub struct OwnAddresses {
    /// On interfaces that are up, with the name of each.
    found: Vec<(IpAddr, String)>,
    /// Those from which the rest of the world is reached.
    outward: Vec<IpAddr>,
    host_name: Option<String>,
}

impl OwnAddresses {
    /// Asks the system. What it does not tell is missing.
    pub fn find() -> Self {
        let interfaces = getifaddrs().into_iter().flatten();
        let up = interfaces.filter(|it| it.flags.contains(InterfaceFlags::IFF_UP));
        let found = up.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            let v6 = address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
            Some((v4.or(v6)?, interface.interface_name))
        });
        let host_name = nix::unistd::gethostname();
        Self {
            found: found.collect(),
            outward: ["0.0.0.0:0", "[::]:0"]
                .into_iter()
                .filter_map(outward)
                .collect(),
            host_name: host_name.ok().and_then(|name| name.into_string().ok()),
        }
    }

    /// Where a server that listens at this address can be dialled, without the port: the best
    /// first, never nothing.
    pub fn of_server(&self, at: SocketAddr) -> Vec<String> {
        if !at.ip().is_unspecified() {
            return vec![self.written(at.ip(), at)];
        }
        let can_reach = |ip: &IpAddr| at.is_ipv6() || ip.is_ipv4();
        let mut wide: Vec<_> = self.found.iter().map(|(ip, _)| *ip).collect();
        wide.retain(|ip| can_reach(ip) && !ip.is_loopback() && !is_of_link(ip));
        // What leads outward first, and IPv4, which is quicker to read out.
        wide.sort_by_key(|ip| (!self.outward.contains(ip), ip.is_ipv6()));
        let mut told: Vec<_> = wide.iter().map(ToString::to_string).collect();
        if told.is_empty() {
            let of_link = self
                .found
                .iter()
                .filter(|(ip, _)| can_reach(ip) && is_of_link(ip));
            told.extend(of_link.map(|(ip, interface)| zoned(*ip, interface)));
        }
        if told.is_empty() {
            // Nobody else reaches this machine; from here itself it can be dialled.
            let mut found = self.found.iter().map(|(ip, _)| ip);
            let own = found.find(|ip| can_reach(ip) && ip.is_loopback());
            told.extend(own.map(ToString::to_string));
        }
        told.dedup();
        told.truncate(MOST);
        told.extend(self.host_name.clone());
        if told.is_empty() {
            told.push("HOST".to_owned());
        }
        told
    }

    /// An address with its interface, where it needs one.
    fn written(&self, ip: IpAddr, at: SocketAddr) -> String {
        let of_this = |(found, _): &&(IpAddr, String)| *found == ip;
        match (is_of_link(&ip), self.found.iter().find(of_this), at) {
            (true, Some((_, interface)), _) => zoned(ip, interface),
            (true, None, SocketAddr::V6(at)) => zoned(ip, &at.scope_id().to_string()),
            _ => ip.to_string(),
        }
    }

    /// The name of an interface that is no loopback, to show what one looks like.
    pub fn an_interface(&self) -> &str {
        let outer = self.found.iter().find(|(ip, _)| is_of_link(ip));
        outer.map_or("eth0", |(_, interface)| interface)
    }
}

fn zoned(ip: IpAddr, interface: &str) -> String {
    match ip {
        IpAddr::V6(_) => format!("{ip}%{interface}"),
        IpAddr::V4(_) => ip.to_string(),
    }
}

/// Whether an address is known on one link alone: an IPv6 one then needs a zone.
fn is_of_link(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether this host is an IPv6 address that every link has, and no link is named.
pub fn lacks_zone(host: &str) -> bool {
    let address = host.parse::<Ipv6Addr>();
    address.is_ok_and(|address| address.is_unicast_link_local())
}

/// The address from which an address outside would be called. Nothing is sent: that of a UDP
/// socket is settled as it is connected. The two are for documentation, and nobody's.
fn outward(from: &str) -> Option<IpAddr> {
    let to = match from.starts_with('[') {
        true => "[2001:db8::1]:9",
        false => "192.0.2.1:9",
    };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(found: &[(&str, &str)], outward: &[&str]) -> OwnAddresses {
        let ip = |text: &str| text.parse().unwrap();
        let found = found.iter().map(|(text, on)| (ip(text), (*on).to_owned()));
        OwnAddresses {
            found: found.collect(),
            outward: outward.iter().map(|text| ip(text)).collect(),
            host_name: Some("alice-laptop".to_owned()),
        }
    }

    #[test]
    fn a_peer_is_told_what_it_can_dial() {
        let all = [
            ("127.0.0.1", "lo"),
            ("::1", "lo"),
            ("172.17.0.1", "bridge"),
            ("192.0.2.7", "eth0"),
            ("2001:db8::7", "eth0"),
            ("fe80::7", "eth0"),
        ];
        let usual = machine(&all, &["192.0.2.7", "2001:db8::7"]);
        let alone = machine(&[("::1", "lo"), ("fe80::7", "eth0")], &[]);
        let nothing = machine(&[("127.0.0.1", "lo")], &[]);
        for (machine, at, told) in [
            (
                &usual,
                "[::]:8876",
                &["192.0.2.7", "2001:db8::7", "172.17.0.1", "alice-laptop"][..],
            ),
            (
                &usual,
                "0.0.0.0:1",
                &["192.0.2.7", "172.17.0.1", "alice-laptop"],
            ),
            (&usual, "127.0.0.1:1", &["127.0.0.1"]),
            (&usual, "[2001:db8::9]:1", &["2001:db8::9"]),
            (&usual, "[fe80::7%2]:1", &["fe80::7%eth0"]),
            (&usual, "[fe80::9%2]:1", &["fe80::9%2"]),
            (&alone, "[::]:1", &["fe80::7%eth0", "alice-laptop"]),
            (&alone, "0.0.0.0:1", &["alice-laptop"]),
            (&nothing, "[::]:1", &["127.0.0.1", "alice-laptop"]),
        ] {
            assert_eq!(machine.of_server(at.parse().unwrap()), told, "{at}");
        }
        let nameless = OwnAddresses::default();
        assert_eq!(nameless.of_server("[::]:1".parse().unwrap()), ["HOST"]);
    }

    #[test]
    fn only_an_address_of_a_link_needs_a_zone() {
        for (host, expected) in [
            ("fe80::1", true),
            ("fe80::1%eth0", false),
            ("2001:db8::1", false),
            ("::1", false),
            ("169.254.0.1", false),
            ("localhost", false),
        ] {
            assert_eq!(lacks_zone(host), expected, "{host}");
        }
    }
}
