//! What can be typed after `receive`.

use clap::{Args, Subcommand};

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
