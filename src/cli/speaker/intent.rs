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
    /// It cannot go on; the conversation is ended for it.
    Failed(Report),
}
