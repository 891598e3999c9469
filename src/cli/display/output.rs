//! [`Output`]: one of the two streams that are written to.

use std::fmt::Debug;
use std::io;

use crate::cli::layout::Page;

/// One of the two streams, as the display needs it.
pub(super) trait Output: Debug + Send + Sync {
    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool;

    /// Whether it is given colours: a terminal, unless that was refused.
    fn is_colourful(&self) -> bool;

    /// The terminal that its rows end up on.
    fn page(&self) -> Option<Page>;

    /// Writes all of it.
    ///
    /// # Errors
    /// It is closed, or full for ever.
    fn write(&self, text: &str) -> io::Result<()>;
}
