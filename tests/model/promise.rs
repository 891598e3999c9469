//! What is promised, by name.

pub(crate) const TURN: &str = "the turn has one holder";
pub(crate) const SAID: &str = "what is heard was said, in these words";
pub(crate) const ONCE: &str = "in order, and each once";
pub(crate) const LOST: &str = "nothing is lost, or it is named";
pub(crate) const AGREED: &str = "the end is agreed";
pub(crate) const WANTED: &str = "nobody's conversation is ended by nobody";
pub(crate) const REOPENED: &str = "what has ended stays so";
pub(crate) const STUCK: &str = "nobody is stuck";
pub(crate) const ENDLESS: &str = "nobody dials for ever";
pub(crate) const ACCUSED: &str = "nobody is accused of a broken rule";
pub(crate) const COMPLETE: &str = "what there is to say can be said";
pub(crate) const ONE_OPEN: &str = "a key has one open conversation";
pub(crate) const UNSAID: &str = "what was entered before a quit is said before it";
pub(crate) const SAFE: &str = "what is acknowledged was taken, or stands in a record";
pub(crate) const REPLACED: &str = "nobody is replaced by an older connection";
