//! What can be typed: every command with its options.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::SettingFlags;

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
    /// Copy the store to a file, while the service runs
    Backup(BackupArguments),
    /// Print the settings in force, and where each came from
    Config(SettingFlags),
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

#[derive(Debug, Default, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Each option can stand in the settings file (on.infected = [\"/usr/local/bin/on-infected\"]) or in the environment \
                  (FILESAFETY_RECEIVE_LISTEN). Signing secrets and the URL token stand there alone: secrets, token."
)]
pub(crate) struct ReceiveArguments {
    #[command(subcommand)]
    pub(crate) command: Option<ReceiveCommand>,
    /// Run a program for a verdict: clean, infected, nsfw, mixed, failed, or any for the rest
    #[arg(long, value_name = "VERDICT=PROGRAM")]
    pub(crate) on: Vec<String>,
    /// Run a program for events whose metadata.context is this
    #[arg(long, value_name = "CONTEXT=PROGRAM")]
    pub(crate) on_context: Vec<String>,
    /// Instead of programs: post each event to this http URL, with the same headers and signature
    #[arg(long, value_name = "URL")]
    pub(crate) forward_to: Option<String>,
    /// Where webhooks come in [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Path of the webhook URL [default: /webhooks/filesafety]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Where the status page and POST /pending are: a loopback address, or off [default: 127.0.0.1:8091]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) status_listen: Option<String>,
    /// Take events only of scans that were added; always so without a secret [default: off]
    #[arg(long, value_name = "on|off")]
    pub(crate) pending_set: Option<String>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<String>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<String>,
    /// A proxy in front ends TLS
    #[arg(long)]
    pub(crate) behind_proxy: bool,
    #[command(flatten)]
    pub(crate) inbox: InboxArguments,
}

/// Which inbox a command works on.
#[derive(Debug, Default, Args)]
pub(crate) struct InboxArguments {
    /// SQLite file of the inbox [default: ./filesafety-receive.db]
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiveCommand {
    /// Add scans to the pending set: their webhooks will be taken
    Add {
        /// As the answer to the submit says them
        #[arg(required = true, value_name = "SCAN_ID")]
        scans: Vec<String>,
        #[command(flatten)]
        inbox: InboxArguments,
    },
    /// Events whose program kept failing
    #[command(subcommand)]
    Dead(DeadCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them
    List {
        /// Print one JSON object per event
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        inbox: InboxArguments,
    },
    /// Handle them again, with all their tries
    Replay {
        /// Those of these scans
        #[arg(required_unless_present = "all", value_name = "SCAN_ID")]
        scans: Vec<String>,
        /// Every one
        #[arg(long, conflicts_with = "scans")]
        all: bool,
        #[command(flatten)]
        inbox: InboxArguments,
    },
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

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Make a secret and print it: it cannot be shown again. Those that the account has go on signing
    Create {
        /// Name of the account
        #[arg(long, value_name = "ACCOUNT", default_value = "default")]
        account: String,
        /// v1: shared with the receivers; v1a: a key pair, of which they get the public key
        #[arg(long, value_name = "KIND", default_value = "v1")]
        kind: SecretKindArgument,
        #[command(flatten)]
        data: DataDir,
    },
    /// Make a secret and print it; those of its kind before it sign beside it for 24 hours more
    Rotate {
        /// Name of the account
        #[arg(long, value_name = "ACCOUNT", default_value = "default")]
        account: String,
        /// Of which kind: v1 or v1a
        #[arg(long, value_name = "KIND", default_value = "v1")]
        kind: SecretKindArgument,
        #[command(flatten)]
        data: DataDir,
    },
    /// List the secrets, by their ids; of key pairs with the public key
    List {
        /// Of this account only
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[command(flatten)]
        data: DataDir,
    },
    /// Revoke a secret, at once and for good
    Revoke {
        /// Its id, as `secrets list` shows it
        #[arg(value_name = "ID")]
        secret: String,
        #[command(flatten)]
        data: DataDir,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecretKindArgument {
    V1,
    V1a,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Needs no tunnel: it reads the service's stream of events, resumes where it stopped, and goes on until it is stopped.\n\
                  With --forward-to each event is posted as a webhook, signed with a secret of this machine's own that is printed at the start. \
                  An event that is not taken with a 2xx is posted again until it is: the ones after it wait."
)]
pub(crate) struct ListenArguments {
    /// Post each event to this URL, such as http://localhost:3000/webhooks/filesafety
    #[arg(long, value_name = "URL")]
    pub(crate) forward_to: Option<String>,
    /// Only events in which this holds, such as verdict=infected,mixed or metadata.tenant=a; all that are given must hold
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Print one JSON object per event: its id and its body
    #[arg(long)]
    pub(crate) json: bool,
    /// Forget where it stopped, and begin with what happens from now on
    #[arg(long)]
    pub(crate) from_now: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "The service does this by itself whenever a file of its rules folder changes, and when it starts.")]
pub(crate) struct RescanArguments {
    /// Only what was scanned since: 2026-01-31T12:00:00Z, or 30d, 12h, 90m ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Tell what would turn, and turn nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Folder of YARA rules and hash lists [env: FILESAFETY_RULES_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) rules_dir: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataDir,
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
        let offered: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
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
