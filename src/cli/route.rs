//! [`Route`]: how a client gets to a server. The one place of the program that dials.

use std::fmt;

use crate::cli::book::Address;
use crate::link::socks::{self, Proxy};
use crate::link::tcp::{self, Dialing};

/// The way to a server: by the network that there is, or through a proxy alone.
#[derive(Clone, Debug)]
pub struct Route {
    proxy: Option<Proxy>,
}

impl Route {
    /// Through this proxy, if there is one. The environment has no say in it.
    pub fn through(proxy: Option<Proxy>) -> Self {
        Self { proxy }
    }

    /// Whether nothing is dialled from here but the proxy.
    pub fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// What dials this address, each time it is called.
    pub fn dialer(&self, address: &Address) -> Box<dyn FnMut() -> Dialing + Send> {
        let (host, port) = (address.host(), address.port());
        match &self.proxy {
            Some(proxy) => Box::new(socks::dialer(proxy, host, port)),
            None => Box::new(tcp::dialer(host, port)),
        }
    }
}

/// What is said behind an address that is dialled: ` through PROXY`, or nothing.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, " through {proxy}"),
            None => Ok(()),
        }
    }
}
