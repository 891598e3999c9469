//! The line editor at a terminal.

pub mod buffer;
pub mod keys;
pub mod rows;
