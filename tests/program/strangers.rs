//! Strangers from many addresses, in a network of their own.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Person, Server};

/// Set where the network is one of the test's own.
const ALONE: &str = "TURNCHAT_TEST_NETWORK";
/// 10.98.0.0/15, and one address in each of many IPv6 networks.
const NETWORK: &str = r#"
    ip link set lo up &&
    ip addr add 10.98.0.1/15 dev lo &&
    for net in 1 65535 $(seq 100 227); do
        printf 'addr add 2001:db8:%x::1/128 dev lo nodad\n' $net
    done | ip -batch -
"#;

fn v4(net: u16) -> IpAddr {
    let [high, low] = net.to_be_bytes();
    Ipv4Addr::new(10, 98 + high, low, 1).into()
}

fn v6(net: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, 1).into()
}

/// A connection from there, on which nothing is said.
async fn idle(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = match from {
        IpAddr::V4(_) => TcpSocket::new_v4().unwrap(),
        IpAddr::V6(_) => TcpSocket::new_v6().unwrap(),
    };
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whatever its address: below all of theirs, or above. There are as many as a server
/// keeps whom it does not know (PROTOCOL 5.4).
#[test]
fn idle_strangers_from_everywhere_keep_no_honest_peer_out() {
    if env::var_os(ALONE).is_none() {
        return again_in_a_network_of_its_own();
    }
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = Server::of(alice.start(&["server", "--listen", "[::]:0", "--json"]));
    let port: SocketAddr = server.address.parse().unwrap();
    let port = port.port();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (address, lowest, highest) in [(v4 as fn(u16) -> IpAddr, 0, 511), (v6, 1, 65_535)] {
        for honest in [address(lowest), address(highest)] {
            let to = SocketAddr::new(honest, port);
            let from = |net| runtime.block_on(idle(address(net), to));
            let strangers: Vec<_> = (100..228).map(from).collect();
            // A connection to an address of this machine comes from the same.
            let (address, pin) = (to.to_string(), alice.key());
            let mut client = bob.start(&["client", &address, "--pin", &pin, "--json"]);
            // It may have to wait until the server is done with the one before.
            client.stdout.line_with("\"connected\"");
            client.say("{\"quit\":{}}");
            client.finish().exits(0);
            drop(strangers);
        }
    }
}

#[expect(clippy::print_stdout, reason = "what is not shown is told")]
fn again_in_a_network_of_its_own() {
    let test = "strangers::idle_strangers_from_everywhere_keep_no_honest_peer_out";
    let own = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rn", "sh", "-c", script]);
        unshare.arg(env::current_exe().unwrap()).env(ALONE, "1");
        unshare
    };
    if !own(NETWORK)
        .output()
        .is_ok_and(|made| made.status.success())
    {
        println!("This machine gives no network of one's own: nothing is shown.");
        return;
    }
    let script = format!(r#"set -e; {NETWORK} exec "$0" --exact {test} --nocapture"#);
    let shown = own(&script).output().unwrap();
    let told = String::from_utf8_lossy(&shown.stdout);
    let failed = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{told}\n{failed}");
    assert!(told.contains("1 passed"), "{told}");
}
