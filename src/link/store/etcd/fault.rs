//! [`Fault`]: why an answer of etcd is of no use, in words.

use std::error::Error as _;
use std::fmt;
use std::io;

use etcd_client::Error;

/// gRPC's status codes (grpc.github.io, "Status codes and their use in gRPC") by which etcd refuses
/// what it will not take later either, does not know a lease, and refuses whoever asks.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;
/// etcd's word, with [`INVALID_ARGUMENT`], for one who has no certificate where users have rights.
const NO_USER: &str = "user name is empty";

/// Why there is no answer, or none to go by.
#[derive(Debug)]
pub(super) enum Fault {
    /// As etcd, or the way to it, has it.
    Failed(Error),
    /// An etcd that is another than the one that answered first.
    OtherCluster,
}

impl Fault {
    /// Whether etcd does not let this user do it.
    pub(super) fn is_forbidden(&self) -> bool {
        match self.code() {
            Some((PERMISSION_DENIED | UNAUTHENTICATED, _)) => true,
            Some((INVALID_ARGUMENT, message)) => message.contains(NO_USER),
            _ => false,
        }
    }

    /// Whether etcd would not take it later either.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.code(), Some((INVALID_ARGUMENT, _))) && !self.is_forbidden()
    }

    /// Whether etcd does not know what it is about.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.code(), Some((NOT_FOUND, _)))
    }

    fn code(&self) -> Option<(i32, &str)> {
        match self {
            Self::Failed(Error::GRpcStatus(status)) => {
                Some((status.code().into(), status.message()))
            }
            _ => None,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster => f.write_str("another etcd answers than the one before"),
            Self::Failed(Error::GRpcStatus(status)) if self.is_forbidden() => {
                write!(f, "etcd gives no permission there ({})", status.message())
            }
            Self::Failed(Error::GRpcStatus(status)) => {
                f.write_str(&causes(status.message(), status.source()))
            }
            Self::Failed(Error::TransportError(error)) => {
                f.write_str(&causes(&error.to_string(), error.source()))
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault.is_forbidden() {
            true => Self::new(io::ErrorKind::PermissionDenied, fault),
            false => Self::other(fault),
        }
    }
}

/// What is said, and each cause behind it that says more.
fn causes(said: &str, mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut said = said.to_owned();
    while let Some(error) = source {
        let words = error.to_string();
        if said.is_empty() {
            said = words;
        } else if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        source = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::io_error::IoError;

    #[test]
    fn each_cause_is_said_once() {
        let cause = IoError::from(io::Error::other("refused"));
        assert_eq!(causes("", Some(&cause)), "refused");
        assert_eq!(
            causes("no connection", Some(&cause)),
            "no connection: refused"
        );
        assert_eq!(causes("was refused", Some(&cause)), "was refused");
    }
}
