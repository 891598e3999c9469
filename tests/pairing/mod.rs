//! Pairing by a spoken code, from both sides, on the wire. The other side is our own, or one
//! that shares no code with it: [`foreign`]. Time is played where there is any.

mod clients;
mod codes;
mod crowds;
mod cuts;
mod foreign;
mod malformed;
mod middle;
mod ours;
mod protocols;
mod storing;
mod time;
