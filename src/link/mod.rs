//! Floor 3: conversations over connections. Async, but naming no socket type
//! where a simulated network should be able to stand in.
