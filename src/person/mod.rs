//! Floor 4: the program. Arguments, terminal, JSON, reports and exit codes.

pub mod input;
pub mod layout;
pub mod line;
pub mod screen;
