//! Through a SOCKS5 proxy (RFC 1928): a name goes there as it is, and is looked up there. What
//! goes over the connection is the same as without: the proxy sees TLS, and both keys are proven
//! behind it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error, TargetAddr};

use super::tcp::{self, Dialing};

/// How long a proxy may take for a connection, from the dial to its answer. Tor first builds a
/// circuit, and finds an onion service.
const DIAL_TIME: Duration = Duration::from_secs(60);

/// The longest name and the longest word of a login: their lengths are a byte.
const LONGEST: usize = 255;

/// The schemes: where `socks5` would have us look names up.
const SCHEME: &str = "socks5h";
const LOCAL_NAMES: &str = "socks5";

/// A SOCKS5 proxy. It is read from `socks5h://HOST:PORT` or `socks5h://USER:PASS@HOST:PORT`, and
/// printed without user and password.
///
/// ```
/// use turnchat::socks::Proxy;
///
/// let proxy: Proxy = "socks5h://alice:secret@[::1]:9050".parse()?;
/// assert_eq!(proxy.to_string(), "[::1]:9050");
/// # Ok::<(), turnchat::socks::MalformedProxy>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

impl Proxy {
    /// Its URL, without what is secret in it.
    pub fn url(&self) -> String {
        let login = self.login.as_ref().map_or("", |_| "…:…@");
        format!("{SCHEME}://{login}{self}")
    }

    fn error(&self, failure: ProxyFailure) -> io::Error {
        let proxy = self.to_string();
        let kind = failure.kind();
        io::Error::new(kind, ProxyError { proxy, failure })
    }
}

impl FromStr for Proxy {
    type Err = MalformedProxy;

    fn from_str(url: &str) -> Result<Self, MalformedProxy> {
        let (scheme, rest) = url.split_once("://").ok_or(MalformedProxy::NoScheme)?;
        match scheme {
            SCHEME => {}
            LOCAL_NAMES => return Err(MalformedProxy::LocalNames),
            _ => return Err(MalformedProxy::OtherScheme),
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(Login::read(login)?), place),
            None => (None, rest),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(place) => place.split_once(']').ok_or(MalformedProxy::NoHost)?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
        if !(1..=LONGEST).contains(&host.len()) || !host.chars().all(is_part) {
            return Err(MalformedProxy::NoHost);
        }
        let port = port.strip_prefix(':').ok_or(MalformedProxy::NoPort)?;
        // `parse` alone would take a plus sign.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0);
        Ok(Self {
            host: host.to_owned(),
            port: port.ok_or(MalformedProxy::NoPort)?,
            login,
        })
    }
}

impl Login {
    fn read(text: &str) -> Result<Self, MalformedProxy> {
        let (user, password) = text.split_once(':').ok_or(MalformedProxy::Login)?;
        let word = |text| {
            let word = decoded(text).filter(|word| (1..=LONGEST).contains(&word.len()));
            word.ok_or(MalformedProxy::Login)
        };
        Ok(Self {
            user: word(user)?,
            password: word(password)?,
        })
    }
}

/// What `%40` and its kin stand for (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2)?;
        // `from_str_radix` alone would take a plus sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.url()).finish()
    }
}

/// A text that is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedProxy {
    /// It is no URL.
    #[error("not a proxy: a proxy is written as socks5h://HOST:PORT")]
    NoScheme,
    /// `socks5://`.
    #[error(
        "with socks5 this machine would look the name up: write socks5h://HOST:PORT, which leaves that to the proxy"
    )]
    LocalNames,
    /// Another scheme.
    #[error("only SOCKS5 proxies are dialled through: write socks5h://HOST:PORT")]
    OtherScheme,
    /// No host, or one that cannot be.
    #[error(
        "the proxy has no valid host: write socks5h://HOST:PORT, with an IPv6 host in brackets"
    )]
    NoHost,
    /// No port, or one that cannot be, or something behind it.
    #[error("the proxy has no valid port: write socks5h://HOST:PORT (Tor's is usually 9050)")]
    NoPort,
    /// No user and password that SOCKS5 can carry.
    #[error(
        "the proxy's login is not USER:PASS, of 1 to 255 bytes each: write %40 for @, %3A for : and %25 for %"
    )]
    Login,
}

/// What [`Client::connect`](super::Client::connect) dials with: each call is one [`dial`].
pub fn dialer(
    proxy: &Proxy,
    host: impl Into<String>,
    port: u16,
) -> impl FnMut() -> Dialing + Send + 'static {
    let (proxy, host) = (proxy.clone(), host.into());
    move || dial(&proxy, &host, port)
}

/// Has the proxy connect to `host`, and never dials it from here. A name is looked up by the
/// proxy. Takes at most 60 s, 10 of them for the proxy itself. Dropped, all is given up.
///
/// # Errors
/// Each has a [`ProxyError`] inside: [`ProxyError::of`] finds it.
pub fn dial(proxy: &Proxy, host: &str, port: u16) -> Dialing {
    let target = target(host, port);
    let proxy = proxy.clone();
    let by = Instant::now() + DIAL_TIME;
    Box::pin(async move {
        let made = async {
            let target = target?;
            let dialled = tcp::dial(&proxy.host, proxy.port).await;
            negotiate(
                dialled.map_err(ProxyFailure::Unreachable)?,
                &proxy,
                target,
                by,
            )
            .await
        };
        made.await.map_err(|failure| proxy.error(failure))
    })
}

fn target(host: &str, port: u16) -> Result<TargetAddr<'static>, ProxyFailure> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(TargetAddr::Ip(SocketAddr::new(ip, port))),
        Err(_) if host.contains('%') || host.len() > LONGEST => Err(ProxyFailure::NoTarget),
        Err(_) => Ok(TargetAddr::Domain(host.to_owned().into(), port)),
    }
}

/// Asks the proxy at the other end of the stream. What it says is read byte for byte, at most 262
/// of them; what follows is the target's.
async fn negotiate<S>(
    stream: S,
    proxy: &Proxy,
    target: TargetAddr<'static>,
    by: Instant,
) -> Result<S, ProxyFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let made = async {
        match &proxy.login {
            Some(Login { user, password }) => {
                Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, target).await,
        }
    };
    match timeout_at(by, made).await {
        Ok(Ok(made)) => Ok(made.into_inner()),
        Ok(Err(error)) => Err(ProxyFailure::of(error, proxy.login.is_some())),
        Err(_) => Err(ProxyFailure::Silent),
    }
}

/// No connection through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("no connection through the proxy {proxy}")]
pub struct ProxyError {
    proxy: String,
    #[source]
    failure: ProxyFailure,
}

impl ProxyError {
    /// The one inside of what [`dial`] has failed with.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Where the proxy is.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// What has failed.
    pub fn failure(&self) -> &ProxyFailure {
        &self.failure
    }
}

/// What has failed at a proxy, or behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The proxy itself cannot be reached.
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The proxy has taken the connection, and gave no answer in time.
    #[error("it gave no answer within 60 s")]
    Silent,
    /// The proxy has closed the connection before it answered.
    #[error("it closed the connection without an answer")]
    Closed(#[source] io::Error),
    /// What answers is something else, or breaks the rules of SOCKS5.
    #[error("it does not speak SOCKS5")]
    NotSocks5,
    /// It admits nobody without a login, and there is none.
    #[error("it asks for a login")]
    NeedsLogin,
    /// It does not admit this login, or none of the kind.
    #[error("it refuses the login")]
    WrongLogin,
    /// Its rules forbid this target.
    #[error("it does not allow connections to this host or port")]
    NotAllowed,
    /// It has no way to the target's network.
    #[error("it cannot reach the network of this host")]
    NetworkUnreachable,
    /// It cannot reach the host, or does not find the name.
    #[error("it cannot reach this host")]
    HostUnreachable,
    /// The host has refused it.
    #[error("this host refused the connection")]
    Refused,
    /// The target took too long, or is too far.
    #[error("it got no answer from this host in time")]
    Expired,
    /// It cannot connect to this kind of address, or to none.
    #[error("it does not support this kind of address")]
    Unsupported,
    /// It does not say why.
    #[error("it failed for a reason that it does not name")]
    Failed,
    /// No proxy can be asked for this host: an address on a link of this machine, or too long a name.
    #[error("a proxy cannot be asked for this host")]
    NoTarget,
}

impl ProxyFailure {
    fn of(error: Error, has_login: bool) -> Self {
        match error {
            Error::Io(error) => Self::Closed(error),
            Error::GeneralSocksServerFailure => Self::Failed,
            Error::ConnectionNotAllowedByRuleset => Self::NotAllowed,
            Error::NetworkUnreachable => Self::NetworkUnreachable,
            Error::HostUnreachable => Self::HostUnreachable,
            Error::ConnectionRefused => Self::Refused,
            Error::TtlExpired => Self::Expired,
            Error::CommandNotSupported | Error::AddressTypeNotSupported => Self::Unsupported,
            Error::AuthorizationRequired => Self::NeedsLogin,
            Error::NoAcceptableAuthMethods if !has_login => Self::NeedsLogin,
            Error::NoAcceptableAuthMethods | Error::PasswordAuthFailure(_) => Self::WrongLogin,
            // All else is an answer that no SOCKS5 proxy gives.
            _ => Self::NotSocks5,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Unreachable(error) | Self::Closed(error) => error.kind(),
            Self::Silent | Self::Expired => io::ErrorKind::TimedOut,
            Self::NotSocks5 => io::ErrorKind::InvalidData,
            Self::NeedsLogin | Self::WrongLogin | Self::NotAllowed => {
                io::ErrorKind::PermissionDenied
            }
            Self::NetworkUnreachable => io::ErrorKind::NetworkUnreachable,
            Self::HostUnreachable => io::ErrorKind::HostUnreachable,
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::Unsupported => io::ErrorKind::Unsupported,
            Self::NoTarget => io::ErrorKind::InvalidInput,
            Self::Failed => io::ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests;
