//! What is done with rules, lists and signatures.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List what is loaded from where: counts by kind, and the age of each file
    List {
        /// Print one JSON object for each source
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        folder: RulesFolder,
    },
    /// Check rules, lists of digests and signatures: what the service would refuse, and where
    #[command(after_help = "Exits 0 when all is in order, with or without warnings, and 1 when something is not.")]
    Check {
        /// Files, or folders whose files are meant; by default the rules folder
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        folder: RulesFolder,
    },
    /// Tell which rules match in a file and in everything inside it, at which places, and which facts they state
    #[command(after_help = "Exits 0 when nothing is detected, 1 when something is, 2 when it cannot be told.")]
    Test {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        folder: RulesFolder,
    },
    /// Bring ClamAV's databases in the rules folder up to date, by freshclam; a running service takes them over by itself
    Update {
        /// freshclam's own settings; by default those of the system
        #[arg(long, value_name = "FILE")]
        freshclam_config: Option<PathBuf>,
        #[command(flatten)]
        folder: RulesFolder,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RulesFolder {
    /// Folder of rules, lists and signatures; by default FILESAFETY_RULES_DIR
    #[arg(long, value_name = "FOLDER")]
    pub(crate) rules_dir: Option<String>,
}
