//! No core dumps: the memory of this program has a private key, and messages.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A byte holds no core. Of none, Linux takes no notice where dumps go to a program; but with just
/// one it dumps nothing there either (fs/coredump.c).
const LIMIT: u64 = 1;

/// Has the system write no memory of ours to a file, however the program ends. Whoever wants one
/// all the same raises the limit of the process that runs: the hard one stays.
pub fn forbid() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        // It can only be lowered; where even that fails, nothing else would help.
        let _ = setrlimit(Resource::RLIMIT_CORE, LIMIT.min(hard), hard);
    }
}
