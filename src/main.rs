//! The `pannier` program: parse arguments, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    pannier::cli::Cli::parse().run()
}
