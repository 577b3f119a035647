//! What can be typed: every command with its options.

mod events;
mod receive;
mod rules;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::SettingFlags;
pub(crate) use events::{ListenArguments, RescanArguments, SecretKindArgument, SecretsCommand};
pub(crate) use receive::{DeadCommand, InboxArguments, ReceiveArguments, ReceiveCommand};
pub(crate) use rules::{RulesCommand, RulesFolder};

/// Scan files for malware and unsafe pictures: as a service, or from here.
#[derive(Debug, Parser)]
#[command(name = "filesafety", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Settings file; by default filesafety.toml (receive: filesafety-receive.toml) in the current folder, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service
    Serve(SettingFlags),
    /// Scan files and folders here, without a service
    Scan(ScanArguments),
    /// Send a file to the service
    Submit(SubmitArguments),
    /// Show a scan of the service
    Status(StatusArguments),
    /// See what became of webhooks, and deliver them again
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Take webhooks in, and run a program or call a local URL for each verdict
    Receive(ReceiveArguments),
    /// Make, list and change accounts
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make, rotate, list and revoke the secrets that sign webhooks
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Bring the account's events to this machine, and to a program on it
    Listen(ListenArguments),
    /// Look back at what was scanned before, with the lists of digests as they are now
    Rescan(RescanArguments),
    /// See, check, try out and update rules, lists and signatures
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Copy the store to a file, while the service runs
    Backup(BackupArguments),
    /// Print the settings in force, and where each came from
    Config(SettingFlags),
    /// Read foreign content for another process of this program, which starts this
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits 0 when everything is clean, 1 when something was found, 2 when nothing was found but something could not be told."
)]
pub(crate) struct ScanArguments {
    /// Files, folders with all they hold, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print one JSON object per file, shaped like the API's result
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only what is not clean
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// What to look for
    #[arg(long, value_delimiter = ',', value_name = "TYPE", default_value = "virus,nsfw")]
    pub(crate) types: Vec<ScanType>,
    /// What unexamined content means: strict, balanced, or entries such as encrypted=allow
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Folder of YARA rules and hash lists
    #[arg(long, value_name = "FOLDER")]
    pub(crate) rules_dir: Option<String>,
    /// A clamd to ask as well: unix:/path or tcp:host:port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) clamd: Option<String>,
    /// A password to try on encrypted archives and documents, before those of FILESAFETY_ARCHIVE_PASSWORDS; may be repeated
    #[arg(long = "password", value_name = "TEXT")]
    pub(crate) passwords: Vec<String>,
    /// Files scanned at the same time; by default the number of cores
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanType {
    Virus,
    Nsfw,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits 0 for clean, 1 when something was found, 2 when it cannot be told (yet). With --async alone, 0 means accepted."
)]
pub(crate) struct SubmitArguments {
    /// The file, or - for standard input
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Where the result is posted to
    #[arg(long, value_name = "URL")]
    pub(crate) webhook_url: Option<String>,
    /// A JSON object that comes back with the result
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// The password of the archive or document
    #[arg(long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// Do not wait for the verdict
    #[arg(long = "async")]
    pub(crate) respond_async: bool,
    /// Ask until the verdict stands, however long that takes
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Exits 0 for clean, 1 when something was found, 2 when it cannot be told (yet).")]
pub(crate) struct StatusArguments {
    /// The scan: scn_ and 26 characters
    #[arg(value_name = "SCAN_ID")]
    pub(crate) scan: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeliveriesCommand {
    /// List deliveries, newest first
    List(DeliveryListArguments),
    /// Show every attempt to deliver a scan's webhook, and what is planned
    Show {
        /// The scan: scn_ and 26 characters
        #[arg(value_name = "SCAN_ID")]
        scan: String,
        /// Print the service's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Deliver a scan's webhook again: one attempt now, and a fresh schedule
    Redeliver {
        /// The scan: scn_ and 26 characters
        #[arg(value_name = "SCAN_ID")]
        scan: String,
    },
    /// Deliver again what was abandoned, after a receiver was down
    Replay(ReplayArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DeliveryListArguments {
    /// Only those that stand so
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<DeliveryStatusArgument>,
    #[command(flatten)]
    pub(crate) span: Span,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print one JSON object per delivery, as the service has it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    pub(crate) span: Span,
    /// Which: what was abandoned, or once more what was delivered
    #[arg(long, value_name = "STATUS", default_value = "abandoned")]
    pub(crate) status: ReplayStatus,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Only say what would be delivered again
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// When deliveries were made.
#[derive(Debug, Args)]
pub(crate) struct Span {
    /// Made since then: 2026-01-31T12:00:00Z, or a time ago such as 90m, 6h, 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Made before then, likewise
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeliveryStatusArgument {
    Pending,
    Delivering,
    Delivered,
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplayStatus {
    Abandoned,
    Delivered,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// Make an account
    Create(AccountArguments),
    /// List the accounts
    List(DataDir),
    /// Change an account; what is not named stays as it is
    Set(AccountArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AccountArguments {
    /// Name of the account
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Name of its plan, shown by /v1/usage
    #[arg(long, value_name = "PLAN")]
    pub(crate) plan: Option<String>,
    /// Scans in a calendar month, or none for no limit
    #[arg(long, value_name = "N|none")]
    pub(crate) quota: Option<String>,
    /// What happens past the quota
    #[arg(long, value_name = "allow|refuse")]
    pub(crate) overage: Option<OverageArgument>,
    /// Submissions per second and at once, such as 50,100; off; or default
    #[arg(long, value_name = "N,BURST|off|default")]
    pub(crate) rate: Option<String>,
    /// Events that its webhooks tell, by commas: scan.complete, scan.verdict_updated
    #[arg(long, value_name = "EVENTS")]
    pub(crate) events: Option<String>,
    /// Where webhooks of scans go that name no other place, or none
    #[arg(long, value_name = "URL|none")]
    pub(crate) webhook_url: Option<String>,
    /// A header that goes with each of its webhooks, as 'Name: value'; - reads such lines from standard input, which
    /// keeps a token out of the list of processes
    #[arg(long, value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    /// A header to take away, by its name
    #[arg(long, value_name = "NAME")]
    pub(crate) remove_header: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverageArgument {
    Allow,
    Refuse,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it: it cannot be shown again
    Create {
        /// Name of the account
        #[arg(long, value_name = "ACCOUNT", default_value = "default")]
        account: String,
        /// What the key is for
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        #[command(flatten)]
        data: DataDir,
    },
    /// List the keys, by their first characters
    List {
        /// Of this account only
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[command(flatten)]
        data: DataDir,
    },
    /// Revoke a key, for good
    Revoke {
        /// Its id or its first characters, as `keys list` shows them
        #[arg(value_name = "PREFIX|ID")]
        key: String,
        #[command(flatten)]
        data: DataDir,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// The file to write; it must not exist
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// Which store a command works on.
#[derive(Debug, Args)]
pub(crate) struct DataDir {
    /// Folder of the store [env: FILESAFETY_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The long help of every command, as wide as on a terminal of 100 columns.
    fn help() -> String {
        let mut pages = Vec::new();
        collect(Cli::command().term_width(100), &mut pages);
        pages.join("\n")
    }

    fn collect(mut command: clap::Command, pages: &mut Vec<String>) {
        command.build();
        let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        let page = command.render_long_help().to_string();
        let page: Vec<_> = page.lines().map(str::trim_end).collect();
        pages.push(format!("$ {name} --help\n{}\n", page.join("\n")));
        for below in command.get_subcommands() {
            collect(below.clone().term_width(100), pages);
        }
    }

    #[test]
    fn help_is_as_it_was() {
        insta::assert_snapshot!("help", help());
    }

    #[test]
    fn what_is_not_built_is_not_offered() {
        let command = Cli::command();
        let offered: Vec<_> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name()).collect();
        assert_eq!(
            offered,
            [
                "serve",
                "scan",
                "submit",
                "status",
                "deliveries",
                "receive",
                "accounts",
                "keys",
                "secrets",
                "listen",
                "rescan",
                "rules",
                "backup",
                "config"
            ]
        );
    }

    #[test]
    fn secrets_have_no_flag() {
        assert!(Cli::try_parse_from(["filesafety", "serve", "--api-key", "fs_live_x"]).is_err());
        assert!(Cli::try_parse_from(["filesafety", "serve", "--behind-proxy", "--listen", "0.0.0.0:80"]).is_ok());
    }
}
