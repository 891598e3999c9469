//! What has to be waited for in place.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Waits for this on the thread that waits for the system too, which hands that over meanwhile:
/// connections still answer `ping`. Costs two switches of threads: only for what really waits.
pub fn wait<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(wait),
        _ => wait(),
    }
}
