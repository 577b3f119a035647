use filesafety_model::{AccountId, KeyId};
use filesafety_store::{Access, Account, AccountChange, Conflict, CustomHeader, NewKey, Overage, Rate, StoreError};

use crate::support::{Fixture, at, entropy, fixture, key_id, now, open, quota, webhook};

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
        ..AccountChange::default()
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
async fn headers_of_an_account_are_sealed_and_changed_by_their_names() {
    let f = fixture().await;
    let header = |name: &str, value: &str| CustomHeader { name: name.into(), value: value.into() };
    let set = |headers: Vec<CustomHeader>| AccountChange { set_headers: headers, ..AccountChange::default() };
    let account = f.store.set_account("default", set(vec![header("X-One", "SESAME"), header("X-Two", "2")])).await.unwrap();
    assert_eq!(account.headers, [header("X-One", "SESAME"), header("X-Two", "2")]);
    assert!(!format!("{account:?}").contains("SESAME"));
    // Another change leaves them; one of the same name, in any case, takes the other's place.
    f.store.set_account("default", quota(5)).await.unwrap();
    let change = AccountChange { remove_headers: vec!["x-two".into(), "x-none".into()], ..set(vec![header("x-one", "new")]) };
    f.store.set_account("default", change).await.unwrap();
    assert_eq!(f.store.account(f.account).await.unwrap().headers, [header("x-one", "new")]);
    assert_eq!(f.store.account_named("default").await.unwrap().quota, Some(5));
    let many = (0..Account::MAX_HEADERS).map(|number| header(&format!("X-{number}"), "v")).collect();
    let refused = f.store.set_account("default", set(many)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::TooManyHeaders))));
    f.store.set_account("default", AccountChange { remove_headers: vec!["X-ONE".into()], ..AccountChange::default() }).await.unwrap();
    assert!(f.store.account(f.account).await.unwrap().headers.is_empty());
    f.store.set_account("default", set(vec![header("X-At-Rest", "TOKEN-AT-REST")])).await.unwrap();
    f.store.close().await;
    for file in std::fs::read_dir(f.folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"TOKEN-AT-REST"), "{file:?}");
    }
}
