//! [`Putting`]: a put or a removal until its outcome is known. Pure: outcomes go in, what to do
//! comes out.

use super::Version;
use super::error::{PutError, StoreError};

/// One put, or removal, of a record. Where a store does not know what became of it, it is not
/// tried again blindly, for its own success would look like somebody else's: the record is
/// read, and a nonce tells whether it is this put's.
///
/// ```
/// use turnchat::internals::{PutError, Putting, Step, Version};
///
/// let (mut putting, first) = Putting::new(Some(7), Version::NONE);
/// assert_eq!(first, Step::Try(Version::NONE));
/// assert_eq!(putting.tried(Err(PutError::Unknown)), Step::Read);
/// // It is there: it was done.
/// assert_eq!(putting.read(Some((Version::NONE, 7))), Step::Done(Version::NONE));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Putting {
    /// What is in the record once it is done; `None`: there is none then.
    nonce: Option<u64>,
    expected: Version,
    /// A try may have been done, or be done yet.
    is_uncertain: bool,
}

/// What to do about a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try it, at this version; then call [`Putting::tried`].
    Try(Version),
    /// Read the record, after a pause and until that succeeds; then call [`Putting::read`].
    Read,
    /// It is done, and the record has this version.
    Done(Version),
    /// It is not done.
    Failed(StoreError),
}

impl Putting {
    /// A put with this nonce, or a removal, of a record that is at this version; and the first
    /// step.
    pub fn new(nonce: Option<u64>, expected: Version) -> (Self, Step) {
        let putting = Self {
            nonce,
            expected,
            is_uncertain: false,
        };
        (putting, Step::Try(expected))
    }

    /// The outcome of a try.
    pub fn tried(&mut self, outcome: Result<Version, PutError>) -> Step {
        match outcome {
            Ok(version) => Step::Done(version),
            Err(PutError::Unknown) => {
                self.is_uncertain = true;
                Step::Read
            }
            // An earlier try may have been done after all.
            Err(_) if self.is_uncertain => Step::Read,
            Err(PutError::Conflict) => Step::Failed(StoreError::TakenOver),
            Err(PutError::Failed(error)) => Step::Failed(error.into()),
        }
    }

    /// The record as it was read: its version, and the nonce in it.
    pub fn read(&mut self, found: Option<(Version, u64)>) -> Step {
        let version = found.map_or(Version::NONE, |(version, _)| version);
        if found.map(|(_, nonce)| nonce) == self.nonce {
            return Step::Done(version);
        }
        match version == self.expected {
            // Should an earlier try be done yet, this one conflicts, and finds that out.
            true => Step::Try(version),
            false => Step::Failed(StoreError::TakenOver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::store::JournalError;

    const OURS: u64 = 7;
    const THEIRS: u64 = 8;

    fn failed() -> PutError {
        let path = "record".into();
        PutError::Failed(JournalError::Damaged { path })
    }

    #[test]
    fn what_is_known_is_not_read_again() {
        let put = |outcome| Putting::new(Some(OURS), Version(3)).0.tried(outcome);
        assert_eq!(put(Ok(Version(4))), Step::Done(Version(4)));
        assert_eq!(
            put(Err(PutError::Conflict)),
            Step::Failed(StoreError::TakenOver)
        );
        assert!(matches!(
            put(Err(failed())),
            Step::Failed(StoreError::Failed(_))
        ));
    }

    #[test]
    fn an_unknown_put_is_recognised_by_its_nonce() {
        for (found, expected) in [
            (Some((Version(4), OURS)), Step::Done(Version(4))),
            (
                Some((Version(4), THEIRS)),
                Step::Failed(StoreError::TakenOver),
            ),
            (None, Step::Failed(StoreError::TakenOver)),
            (Some((Version(3), THEIRS)), Step::Try(Version(3))),
        ] {
            let (mut putting, _) = Putting::new(Some(OURS), Version(3));
            assert_eq!(putting.tried(Err(PutError::Unknown)), Step::Read);
            assert_eq!(putting.read(found), expected, "{found:?}");
        }
    }

    /// The first try is done late, and the second conflicts with it.
    #[test]
    fn its_own_late_success_is_not_taken_for_anothers() {
        let (mut putting, _) = Putting::new(Some(OURS), Version(3));
        putting.tried(Err(PutError::Unknown));
        assert_eq!(
            putting.read(Some((Version(3), THEIRS))),
            Step::Try(Version(3))
        );
        for outcome in [PutError::Conflict, failed(), PutError::Unknown] {
            assert_eq!(putting.tried(Err(outcome)), Step::Read);
        }
        assert_eq!(
            putting.read(Some((Version(4), OURS))),
            Step::Done(Version(4))
        );
    }

    #[test]
    fn a_removal_is_done_once_nothing_is_there() {
        let (mut removing, _) = Putting::new(None, Version(3));
        assert_eq!(removing.tried(Err(PutError::Unknown)), Step::Read);
        assert_eq!(
            removing.read(Some((Version(3), THEIRS))),
            Step::Try(Version(3))
        );
        assert_eq!(removing.tried(Err(PutError::Conflict)), Step::Read);
        assert_eq!(removing.read(None), Step::Done(Version::NONE));
    }
}
