//! `keys`: API keys. On the store itself, while the service runs; only a digest of a key is kept.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Result, bail};
use filesafety_model::{KeyId, Timestamp};
use filesafety_server::{KEY_PREFIX, new_api_key};
use filesafety_store::{KeyRecord, NewKey, Store};
use sha2::{Digest, Sha256};

use super::{CLEAN, block_on, store};
use crate::{
    arguments::{DataDir, KeysCommand},
    terminal::{escaped, print_table},
};

/// Characters of a key that may be shown: enough to tell keys apart, too few to help a guess.
const SHOWN: usize = KEY_PREFIX.len() + 4;
const NAME_MAX: usize = 100;

pub(super) fn run(command: KeysCommand, config: Option<PathBuf>) -> Result<u8> {
    block_on(async {
        match command {
            KeysCommand::Create { account, name, data } => create(&account, &name, data, config).await?,
            KeysCommand::List { account, data } => list(account.as_deref(), data, config).await?,
            KeysCommand::Revoke { key, data } => revoke(&key, data, config).await?,
        }
        Ok(CLEAN)
    })
}

async fn create(account: &str, name: &str, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    if name.chars().count() > NAME_MAX {
        bail!("--name has more than {NAME_MAX} characters");
    }
    let store = store::open(data, config).await?.store;
    let account = store.account_named(account).await.map_err(|error| no_such_account(error, account))?;
    let key = new_api_key();
    let now = store::now();
    let record = NewKey {
        id: KeyId::new(now, store::entropy()?),
        account: account.id,
        name: name.to_owned(),
        sha256: Sha256::digest(key.as_bytes()).into(),
        prefix: key.chars().take(SHOWN).collect(),
        created_at: now,
    };
    store.create_key(record).await?;
    store.close().await;
    writeln!(io::stdout(), "{key}")?;
    writeln!(io::stderr(), "This key is not shown again. It is in effect within two seconds.")?;
    Ok(())
}

async fn list(account: Option<&str>, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    let store = store::open(data, config).await?.store;
    let accounts = store.accounts().await?;
    let wanted = match account {
        Some(name) => Some(store.account_named(name).await.map_err(|error| no_such_account(error, name))?.id),
        None => None,
    };
    let names: HashMap<_, _> = accounts.iter().map(|account| (account.id, account.name.clone())).collect();
    let when = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let keys = store.keys(wanted).await?;
    let row = |key: &KeyRecord| {
        let account = names.get(&key.account).cloned().unwrap_or_else(|| key.account.to_string());
        let state = key.revoked_at.map_or_else(|| "active".to_owned(), |time| format!("revoked {time}"));
        vec![key.prefix.clone(), account, key.name.clone(), when(key.last_used_at), state, key.created_at.to_string(), key.id.to_string()]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    Ok(print_table(&["prefix", "account", "name", "last used", "state", "created", "id"], &rows)?)
}

async fn revoke(key: &str, data: DataDir, config: Option<PathBuf>) -> Result<()> {
    let store = store::open(data, config).await?.store;
    let id = find(&store, key).await?;
    let record = store.revoke_key(id, store::now()).await?;
    store.close().await;
    writeln!(io::stdout(), "revoked {} {}", escaped(&record.prefix), record.id)?;
    Ok(())
}

/// The one key that an id, or the beginning of a key, means.
async fn find(store: &Store, text: &str) -> Result<KeyId> {
    let keys = store.keys(None).await?;
    matching(&keys, text)
}

fn matching(keys: &[KeyRecord], text: &str) -> Result<KeyId> {
    if let Ok(id) = text.parse::<KeyId>() {
        return match keys.iter().find(|key| key.id == id) {
            Some(key) => Ok(key.id),
            None => bail!("there is no key {id}; see `filesafety keys list`"),
        };
    }
    // A whole key begins with its own prefix: whoever pastes one means it.
    let begins = |key: &&KeyRecord| text.len() > KEY_PREFIX.len() && (key.prefix.starts_with(text) || text.starts_with(&key.prefix));
    let found: Vec<_> = keys.iter().filter(begins).collect();
    match found.as_slice() {
        [one] => Ok(one.id),
        [] => bail!("no key begins so; give a prefix or an id of `filesafety keys list`"),
        _ => bail!("{} keys begin so; give the id of one, from `filesafety keys list`", found.len()),
    }
}

pub(super) fn no_such_account(error: filesafety_store::StoreError, name: &str) -> anyhow::Error {
    store::missing(error, || format!("there is no account {}; see `filesafety accounts list`", escaped(name)))
}

#[cfg(test)]
mod tests {
    use filesafety_model::AccountId;

    use super::*;

    fn key(number: u8, prefix: &str) -> KeyRecord {
        let now = Timestamp::from_millis(1);
        KeyRecord {
            id: KeyId::new(now, [number; 10]),
            account: AccountId::new(now, [0; 10]),
            name: String::new(),
            prefix: prefix.to_owned(),
            created_at: now,
            last_used_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_is_meant_by_its_id_its_beginning_or_itself() {
        let keys = [key(1, "fs_live_AAAAbbbb"), key(2, "fs_live_AAAAcccc"), key(3, "fs_live_Zz")];
        assert_eq!(matching(&keys, &keys[1].id.to_string()).unwrap(), keys[1].id);
        assert_eq!(matching(&keys, "fs_live_AAAAb").unwrap(), keys[0].id);
        assert_eq!(matching(&keys, "fs_live_AAAAccccDDDD").unwrap(), keys[1].id);
        for text in ["fs_live_AAAA", "fs_live_", "fs_live_q", "", "key_0000000000000000000000000A"] {
            assert!(matching(&keys, text).is_err(), "{text}");
        }
    }
}
