//! The `turnchat` program: parse, run, and map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use turnchat::cli::{args::Arguments, commands::completions, refuse, run};

fn main() -> ExitCode {
    // A shell's words are no arguments.
    let asked = completions::answer();
    let run = || Arguments::try_parse().map_or_else(refuse, run);
    asked.unwrap_or_else(run).into()
}
