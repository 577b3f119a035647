//! The commands, one file each, and what they share: exit codes and the way to the store.

mod accounts;
mod backup;
mod config;
mod deliveries;
mod keys;
mod listen;
mod receive;
mod rescan;
mod rules;
mod scan;
mod secrets;
mod serve;
mod store;
mod submit;
mod webhook;
mod worker;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;

use crate::arguments::{Cli, Command, RulesCommand};

/// Everything examined and clean; the command did its work.
const CLEAN: u8 = 0;
/// Something was found.
const FOUND: u8 = 1;
/// Neither of both can be said. Also what a mistyped command line ends with.
const UNSURE: u8 = 2;
/// A command that judges nothing did not do its work.
const FAILED: u8 = 1;

pub(crate) fn run(cli: Cli) -> ExitCode {
    let judges =
        matches!(cli.command, Command::Scan(_) | Command::Submit(_) | Command::Status(_) | Command::Rules(RulesCommand::Test { .. }));
    let config = cli.config;
    let outcome = match cli.command {
        Command::Serve(flags) => serve::run(flags, config),
        Command::Scan(arguments) => scan::run(arguments, config),
        Command::Submit(arguments) => submit::submit(arguments, config),
        Command::Status(arguments) => submit::status(&arguments, config),
        Command::Deliveries(command) => deliveries::run(command, config),
        Command::Accounts(command) => accounts::run(command, config),
        Command::Keys(command) => keys::run(command, config),
        Command::Receive(arguments) => receive::run(arguments, config),
        Command::Secrets(command) => secrets::run(command, config),
        Command::Listen(arguments) => listen::run(arguments, config),
        Command::Rescan(arguments) => rescan::run(arguments, config),
        Command::Rules(command) => rules::run(command, config),
        Command::Backup(arguments) => backup::run(arguments, config),
        Command::Config(flags) => config::run(flags, config),
        Command::Worker => return filesafety_sandbox::run_child(),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !is_closed_pipe(&error) {
                let _nowhere_left_to_say_it = writeln!(io::stderr(), "filesafety: {error:#}");
            }
            ExitCode::from(if judges { UNSURE } else { FAILED })
        }
    }
}

/// Whoever read our output has stopped: no reason for a message.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Runs a command that waits for one thing at a time.
fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
