//! The `turnchat` program: parse, run, and map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use turnchat::cli::{args::Arguments, refuse, run};

fn main() -> ExitCode {
    Arguments::try_parse().map_or_else(refuse, run).into()
}
