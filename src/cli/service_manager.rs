//! What a service manager such as systemd hands over, and is told: a socket that listens
//! already (sd_listen_fds(3)), and whether we are ready (sd_notify(3)). Without one, none of this
//! does anything.

use std::net::TcpListener;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use sd_notify::{NotifyState, notify};

use super::report::{Exit, Report};

/// In whose environment it says where it is told something; not for programs that we start.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The socket that was handed over. Its variables leave the environment, so this comes before
/// any thread is started.
///
/// # Errors
/// There are several, or one that does not listen for TCP.
pub fn socket() -> Result<Option<TcpListener>, Report> {
    let mut sockets = ListenFd::from_env();
    match sockets.len() {
        0 => return Ok(None),
        1 => {}
        many => {
            return Err(Report::new(
                Exit::Usage,
                format!("The service manager hands over {many} sockets; one is used."),
                "Give one `ListenStream=`: `[::]:8876` takes IPv4 too, and a second server needs a unit of its own.",
            ));
        }
    }
    let listener = sockets.take_tcp_listener(0).ok().flatten();
    let listening = |socket: &TcpListener| getsockopt(socket, AcceptConn) == Ok(true);
    let listener = listener
        .filter(listening)
        .filter(|socket| socket.set_nonblocking(true).is_ok());
    match listener {
        Some(listener) => Ok(Some(listener)),
        None => Err(Report::new(
            Exit::Usage,
            "The socket that the service manager hands over does not listen for TCP.",
            "Give a port with `ListenStream=`, and leave `Accept=` at `no`: one server has all connections.",
        )),
    }
}

/// The server listens, or has read again what it was to read.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its files again.
pub fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// It stops.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A manager that does not listen has not asked for it.
fn tell(states: &[NotifyState<'_>]) {
    let _ = notify(states);
}
