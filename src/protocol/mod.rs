//! Floor 1: the protocol as pure values. No sockets, no files, no tasks, no
//! clock: bytes, frames and instants come in as arguments.
