//! What announces verdicts: the secrets that sign, a look back, and events on this machine.

use clap::{Args, Subcommand, ValueEnum};

use super::DataDir;

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
