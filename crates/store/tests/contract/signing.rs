use std::time::Duration;

use filesafety_model::{AccountId, Timestamp};
use filesafety_store::{Access, Conflict, NewSecret, SecretKind, SecretState, StoreError};

use crate::support::{Fixture, at, entropy, fixture, now, open, secret_id};

const DAY: u64 = 24 * 60 * 60;

fn key_pair(f: &Fixture, secret: &[u8], at: Timestamp) -> NewSecret {
    NewSecret { kind: SecretKind::KeyPair, public_key: Some(vec![9; 32]), ..NewSecret::shared(secret_id(), f.account, secret, at) }
}

async fn signing(f: &Fixture, at: Timestamp) -> Vec<Vec<u8>> {
    let secrets = f.store.signing_secrets(f.account).await.unwrap();
    secrets.iter().filter(|secret| secret.record.signs(at)).map(|secret| secret.expose().to_vec()).collect()
}

#[tokio::test]
async fn secrets_come_back_and_are_not_shown() {
    let f = fixture().await;
    f.store.add_signing_secret(f.account, secret_id(), b"older-secret", now()).await.unwrap();
    f.store.create_signing_secret(key_pair(&f, b"newer-secret", at(1))).await.unwrap();
    let secrets = f.store.signing_secrets(f.account).await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.expose()).collect::<Vec<_>>(), [b"newer-secret", b"older-secret"]);
    assert_eq!((secrets[0].record.kind, secrets[0].record.public_key.as_deref()), (SecretKind::KeyPair, Some([9; 32].as_slice())));
    let shown = format!("{secrets:?} {:?}", key_pair(&f, b"SESAME", now()));
    assert!(shown.contains("[redacted]") && !shown.contains("secret\": ["), "{shown}");
    assert!(!shown.contains(&format!("{:?}", b"SESAME")), "{shown}");
    let nobody = f.store.add_signing_secret(AccountId::new(now(), entropy()), secret_id(), b"x", now()).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn after_a_rotation_both_sign_for_a_day() {
    let f = fixture().await;
    f.store.add_signing_secret(f.account, secret_id(), b"old", now()).await.unwrap();
    f.store.create_signing_secret(key_pair(&f, b"pair", at(1))).await.unwrap();
    let beside = open(&f.folder, Access::Shared).await.unwrap();
    let before = f.store.generation().await.unwrap();
    let until = at(10).plus(Duration::from_secs(DAY));
    beside.rotate_signing_secret(NewSecret::shared(secret_id(), f.account, b"new", at(10)), until).await.unwrap();
    assert!(f.store.generation().await.unwrap() > before, "another process sees it");
    // Of another kind, the key pair is left alone.
    assert_eq!(signing(&f, at(10 + DAY - 1)).await, [b"new".to_vec(), b"pair".to_vec(), b"old".to_vec()]);
    assert_eq!(signing(&f, at(10 + DAY)).await, [b"new".to_vec(), b"pair".to_vec()]);
    let states: Vec<_> = f.store.secret_records(Some(f.account)).await.unwrap().iter().map(|record| record.state(at(20))).collect();
    assert_eq!(states, [SecretState::Expiring(until), SecretState::Active, SecretState::Active]);
    // A second rotation ends its predecessor a day later, and the first one not later than it was to end.
    f.store.rotate_signing_secret(NewSecret::shared(secret_id(), f.account, b"newest", at(20)), at(20 + DAY)).await.unwrap();
    assert_eq!(signing(&f, at(10 + DAY)).await, [b"newest".to_vec(), b"new".to_vec(), b"pair".to_vec()]);
    assert_eq!(signing(&f, at(20 + DAY)).await, [b"newest".to_vec(), b"pair".to_vec()]);
}

#[tokio::test]
async fn a_rotation_that_fails_ends_nothing() {
    let f = fixture().await;
    let id = secret_id();
    f.store.add_signing_secret(f.account, id, b"old", now()).await.unwrap();
    let again = f.store.rotate_signing_secret(NewSecret::shared(id, f.account, b"new", at(1)), at(2)).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::IdExists))));
    assert_eq!(signing(&f, at(100 * DAY)).await, [b"old".to_vec()]);
}

#[tokio::test]
async fn a_revoked_secret_signs_nothing_and_never_comes_back() {
    let f = fixture().await;
    let id = secret_id();
    f.store.add_signing_secret(f.account, id, b"leaked", now()).await.unwrap();
    let revoked = f.store.revoke_signing_secret(id, at(5)).await.unwrap();
    assert_eq!(revoked.state(at(5)), SecretState::Revoked(at(5)));
    assert!(signing(&f, at(5)).await.is_empty());
    assert_eq!(f.store.revoke_signing_secret(id, at(9)).await.unwrap().revoked_at, Some(at(5)));
    f.store.rotate_signing_secret(NewSecret::shared(secret_id(), f.account, b"new", at(10)), at(10 + DAY)).await.unwrap();
    assert_eq!(f.store.secret_records(None).await.unwrap()[0].state(at(11)), SecretState::Revoked(at(5)));
    assert!(matches!(f.store.revoke_signing_secret(secret_id(), at(5)).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn so_many_sign_at_a_time_and_no_more() {
    let f = fixture().await;
    for number in 0..NewSecret::MAX_SIGNING {
        f.store.add_signing_secret(f.account, secret_id(), &[number as u8], now()).await.unwrap();
    }
    let one_more = |at| f.store.add_signing_secret(f.account, secret_id(), b"one more", at);
    assert!(matches!(one_more(now()).await, Err(StoreError::Conflict(Conflict::TooManySecrets))));
    let first = f.store.secret_records(Some(f.account)).await.unwrap()[0].id;
    f.store.revoke_signing_secret(first, at(1)).await.unwrap();
    one_more(at(1)).await.unwrap();
}
