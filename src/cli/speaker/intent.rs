//! [`Intent`]: what the speaker wants, in its turn or out of it.

use crate::cli::report::Report;
use crate::protocol::Text;

/// What the speaker wants.
#[derive(Debug)]
pub enum Intent {
    /// To say this.
    Message(Text),
    /// To end the conversation.
    Quit,
    /// Its terminal is closed: the conversation goes on later.
    HangUp,
    /// Its input cannot go on; the conversation is ended for it.
    Failed(Report),
    /// Its output does not take what was said to it: as after a crash, the
    /// conversation is not ended by that.
    Broken(Report),
}
