use filesafety_model::{AccountId, KeyId};
use filesafety_store::{Access, AccountChange, Conflict, NewKey, Overage, Rate, StoreError};

use crate::support::{Fixture, at, entropy, fixture, key_id, now, open, secret_id, webhook};

fn key(f: &Fixture, sha256: [u8; 32]) -> NewKey {
    NewKey { id: key_id(), account: f.account, name: "ci".into(), sha256, prefix: "fs_live_ab".into(), created_at: now() }
}

#[tokio::test]
async fn accounts_are_made_once_and_changed_field_by_field() {
    let f = fixture().await;
    let again = f.store.ensure_default_account(AccountId::new(now(), entropy()), at(9)).await.unwrap();
    assert_eq!((again.id, again.created_at), (f.account, now()));
    let change = AccountChange {
        plan: Some("pro".into()),
        quota: Some(Some(5)),
        overage: Some(Overage::Allow),
        rate: Some(Some(Rate::Limit { per_second: 1, burst: 2 })),
        events: Some(vec!["scan.verdict_updated".into()]),
        webhook: Some(webhook("hooks.example")),
    };
    let set = f.store.set_account("default", change).await.unwrap();
    assert_eq!(f.store.account(f.account).await.unwrap(), set);
    assert_eq!(set.webhook, webhook("hooks.example"));
    let less = AccountChange { webhook: Some(None), quota: Some(None), rate: Some(Some(Rate::Off)), ..AccountChange::default() };
    let set = f.store.set_account("default", less).await.unwrap();
    assert_eq!((set.plan.as_str(), set.quota, set.rate, &set.webhook), ("pro", None, Some(Rate::Off), &None));
    assert_eq!(f.store.account_named("default").await.unwrap(), set);
    let taken = f.store.create_account(AccountId::new(now(), entropy()), "default", AccountChange::default(), now()).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::AccountExists))));
    assert!(matches!(f.store.set_account("nobody", AccountChange::default()).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.accounts().await.unwrap(), [set]);
}

#[tokio::test]
async fn a_revoked_key_never_comes_back() {
    let f = fixture().await;
    assert!(f.store.key_by_hash([1; 32]).await.unwrap().is_none());
    let made = f.store.create_key(key(&f, [1; 32])).await.unwrap();
    let found = f.store.key_by_hash([1; 32]).await.unwrap().unwrap();
    assert_eq!((found.key, found.revoked, found.account.id), (made.id, false, f.account));
    let again = f.store.create_key(key(&f, [1; 32])).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::KeyExists))));
    let revoked = f.store.revoke_key(made.id, at(5)).await.unwrap();
    assert_eq!(f.store.revoke_key(made.id, at(6)).await.unwrap(), revoked);
    assert!(f.store.key_by_hash([1; 32]).await.unwrap().unwrap().revoked);
    let again = f.store.create_key(key(&f, [1; 32])).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::KeyRevoked))));
    assert!(matches!(f.store.revoke_key(key_id(), now()).await, Err(StoreError::NotFound)));
    let stranger = NewKey { account: AccountId::new(now(), entropy()), ..key(&f, [2; 32]) };
    assert!(matches!(f.store.create_key(stranger).await, Err(StoreError::NotFound)));
    f.store.touch_keys(&[(made.id, at(9)), (made.id, at(3)), (KeyId::new(now(), entropy()), at(1))]).await.unwrap();
    let keys = f.store.keys(Some(f.account)).await.unwrap();
    assert_eq!((keys.len(), keys[0].last_used_at, keys[0].revoked_at), (1, Some(at(9)), Some(at(5))));
}

#[tokio::test]
async fn another_process_sees_changes_by_the_generation() {
    let f = fixture().await;
    let beside = open(&f.folder, Access::Shared).await.unwrap();
    let before = f.store.generation().await.unwrap();
    let made = beside.create_key(key(&f, [1; 32])).await.unwrap();
    let between = f.store.generation().await.unwrap();
    assert!(between > before);
    assert_eq!(f.store.key_by_hash([1; 32]).await.unwrap().unwrap().key, made.id);
    f.store.touch_keys(&[(made.id, now())]).await.unwrap();
    assert_eq!(f.store.generation().await.unwrap(), between);
    beside.revoke_key(made.id, now()).await.unwrap();
    assert!(f.store.generation().await.unwrap() > between);
    // Both write at the same time.
    let (one, two) = (f.queued(|_| {}), beside.create_key(key(&f, [2; 32])));
    let (_, key) = tokio::join!(one, two);
    key.unwrap();
}

#[tokio::test]
async fn signing_secrets_come_back_and_are_not_shown() {
    let f = fixture().await;
    f.store.add_signing_secret(f.account, secret_id(), b"older-secret", now()).await.unwrap();
    f.store.add_signing_secret(f.account, secret_id(), b"newer-secret", at(1)).await.unwrap();
    let secrets = f.store.signing_secrets(f.account).await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.expose()).collect::<Vec<_>>(), [b"newer-secret", b"older-secret"]);
    assert!(!format!("{secrets:?}").contains("secret\": ["));
    assert!(format!("{secrets:?}").contains("[redacted]"));
    let nobody = f.store.add_signing_secret(AccountId::new(now(), entropy()), secret_id(), b"x", now()).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)));
}
