//! The `turnchat` program: parse, run, and map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use turnchat::person::{cli::Arguments, run};

fn main() -> ExitCode {
    run(Arguments::parse()).into()
}
