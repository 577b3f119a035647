//! `secrets`: what signs an account's webhooks. On the store itself, while the service runs.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use filesafety::{
    SigningSecret,
    sign::{PublicKey, SecretKey},
};
use filesafety_model::{AccountId, SecretId, Timestamp};
use filesafety_store::{NewSecret, SecretKind, SecretRecord, SecretState, Store};

use super::{CLEAN, block_on, keys::no_such_account, store};
use crate::{
    arguments::{DataDir, SecretKindArgument, SecretsCommand},
    terminal::{escaped, print_table},
};

/// So long an old secret signs beside its successor.
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// A secret, and the part of it that its receivers need.
struct Made {
    new: NewSecret,
    shown: String,
}

pub(super) fn run(command: SecretsCommand, config: Option<PathBuf>) -> Result<u8> {
    block_on(async {
        match command {
            SecretsCommand::Create { account, kind, data } => create(&account, kind, data, config).await?,
            SecretsCommand::Rotate { account, kind, data } => rotate(&account, kind, data, config).await?,
            SecretsCommand::List { account, data } => list(account.as_deref(), data, config).await?,
            SecretsCommand::Revoke { secret, data } => revoke(&secret, data, config).await?,
        }
        Ok(CLEAN)
    })
}

async fn create(account: &str, kind: SecretKindArgument, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    let store = store::open(data, config).await?.store;
    let made = make(&store, account, kind).await?;
    let id = made.new.id;
    store.create_signing_secret(made.new).await.with_context(|| format!("account {}", escaped(account)))?;
    store.close().await;
    show(id, kind, &made.shown)?;
    writeln!(io::stderr(), "It signs within two seconds, beside those that the account has.")?;
    Ok(())
}

async fn rotate(account: &str, kind: SecretKindArgument, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    let store = store::open(data, config).await?.store;
    let made = make(&store, account, kind).await?;
    let (id, until) = (made.new.id, made.new.created_at.plus(OVERLAP));
    store.rotate_signing_secret(made.new, until).await.with_context(|| format!("account {}", escaped(account)))?;
    store.close().await;
    show(id, kind, &made.shown)?;
    writeln!(io::stderr(), "Those before it sign beside it until {until}: give it to the receivers by then.")?;
    Ok(())
}

async fn make(store: &Store, account: &str, kind: SecretKindArgument) -> Result<Made> {
    let account = store.account_named(account).await.map_err(|error| no_such_account(error, account))?.id;
    let now = store::now();
    let (id, entropy) = (SecretId::new(now, store::entropy()?), store::entropy()?);
    Ok(match kind {
        SecretKindArgument::V1 => {
            let secret = SigningSecret::generate(entropy);
            Made { new: NewSecret::shared(id, account, secret.expose_bytes(), now), shown: secret.expose_text() }
        }
        SecretKindArgument::V1a => {
            let key = SecretKey::generate(entropy);
            let public_key = Some(key.public_key().as_bytes().to_vec());
            let new = NewSecret { kind: SecretKind::KeyPair, public_key, ..NewSecret::shared(id, account, &key.expose_bytes(), now) };
            Made { new, shown: key.public_key().to_string() }
        }
    })
}

fn show(id: SecretId, kind: SecretKindArgument, shown: &str) -> Result<()> {
    writeln!(io::stdout(), "{shown}")?;
    match kind {
        SecretKindArgument::V1 => writeln!(io::stderr(), "This is secret {id}, which is not shown again.")?,
        SecretKindArgument::V1a => {
            writeln!(io::stderr(), "This is the public key of {id}: receivers verify with it. The key that signs is never shown.")?;
        }
    }
    Ok(())
}

async fn list(account: Option<&str>, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    let store = store::open(data, config).await?.store;
    let names: HashMap<AccountId, String> = store.accounts().await?.into_iter().map(|account| (account.id, account.name)).collect();
    let wanted = match account {
        Some(name) => Some(store.account_named(name).await.map_err(|error| no_such_account(error, name))?.id),
        None => None,
    };
    let now = store::now();
    let records = store.secret_records(wanted).await?;
    let rows: Vec<_> = records.iter().map(|record| row(record, &names, now)).collect();
    Ok(print_table(&["id", "account", "kind", "state", "created", "public key"], &rows)?)
}

fn row(record: &SecretRecord, names: &HashMap<AccountId, String>, now: Timestamp) -> Vec<String> {
    let state = match record.state(now) {
        SecretState::Active => "active".to_owned(),
        SecretState::Expiring(until) => format!("signs until {until}"),
        SecretState::Expired(at) => format!("expired {at}"),
        SecretState::Revoked(at) => format!("revoked {at}"),
    };
    let public_key = record.public_key.as_deref().and_then(|bytes| PublicKey::from_bytes(bytes).ok());
    vec![
        record.id.to_string(),
        names.get(&record.account).cloned().unwrap_or_else(|| record.account.to_string()),
        record.kind.as_str().to_owned(),
        state,
        record.created_at.to_string(),
        public_key.map_or_else(|| "-".to_owned(), |key| key.to_string()),
    ]
}

async fn revoke(text: &str, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    // A secret pasted here would stand in the shell's history; its id says as much.
    let Ok(id) = text.parse::<SecretId>() else { bail!("give the id of a secret, from `filesafety secrets list`") };
    let store = store::open(data, config).await?.store;
    let now = store::now();
    let record = store.revoke_signing_secret(id, now).await;
    let record = record.map_err(|error| store::missing(error, || format!("there is no secret {id}; see `filesafety secrets list`")))?;
    let left = store.secret_records(Some(record.account)).await?.iter().any(|record| record.signs(now));
    store.close().await;
    writeln!(io::stdout(), "revoked {id}")?;
    if !left {
        writeln!(
            io::stderr(),
            "The account has no secret left: its webhooks fail with no_secret, and nothing is sent unsigned. Make one with `filesafety secrets create`."
        )?;
    }
    Ok(())
}
