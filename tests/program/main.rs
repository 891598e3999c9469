//! The built program from outside: arguments, standard input and output,
//! terminals, signals and exit codes. Peers that are no `turnchat` are not here.

mod conversation;
mod harness;
mod help;
mod identity;
mod json;
mod peers;
mod refusals;
mod serving;
mod stopping;
mod terminal;
mod trust;
