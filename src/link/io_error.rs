//! [`IoError`]: an error of a stream or a file, as a value.

use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Deref;
use std::sync::Arc;

/// An error of a stream or a file. Two are equal if they are of one kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct IoError(Arc<io::Error>);

impl From<io::Error> for IoError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl Deref for IoError {
    type Target = io::Error;

    fn deref(&self) -> &io::Error {
        &self.0
    }
}

impl PartialEq for IoError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl Eq for IoError {}

impl Hash for IoError {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn two_errors_of_one_kind_are_one() {
        let reset =
            |words: &str| IoError::from(io::Error::new(io::ErrorKind::ConnectionReset, words));
        let full = IoError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(reset("by bob"), reset("by the network"));
        assert_ne!(reset("by bob"), full);
        let all = HashSet::from([reset("by bob"), reset("by the network"), full]);
        assert_eq!(all.len(), 2);
        assert_eq!(reset("by bob").to_string(), "by bob");
        assert_eq!(reset("by bob").kind(), io::ErrorKind::ConnectionReset);
    }
}
