//! The one binary of FileSafety: the service and the commands beside it.

mod arguments;
mod client;
mod commands;
mod logging;
mod settings;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use arguments::Cli;

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
