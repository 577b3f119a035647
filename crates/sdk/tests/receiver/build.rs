//! What is weak or missing is refused when the receiver is built.

use filesafety::{
    SigningSecret,
    event::Verdict,
    receiver::{BuildError, Receiver, memory::MemoryStore, sqlite::SqliteStore},
};

use crate::support::{Seen, builder, secret};

#[test]
fn weak_secrets_are_no_secrets() {
    for bytes in [0, 1, 23, 65] {
        assert!(SigningSecret::from_bytes(&vec![7; bytes]).is_err(), "{bytes} bytes");
    }
    assert!("whsec_".parse::<SigningSecret>().is_err());
    assert!("".parse::<SigningSecret>().is_err());
}

#[tokio::test]
async fn weak_tokens_are_refused() {
    for token in ["", "short", "with space and more", "percent%20percent%20percent", "ümläut-ümläut-ümläut", &"a".repeat(257)] {
        assert!(matches!(builder(&Seen::default()).token(token).build(), Err(BuildError::BadToken)), "{token}");
    }
}

#[tokio::test]
async fn every_verdict_has_a_handler() {
    let all = Receiver::builder(MemoryStore::new()).on_clean(|_| async { Ok(()) }).on_infected(|_| async { Ok(()) });
    let Err(error) = all.build() else { panic!("built") };
    assert!(matches!(&error, BuildError::NoHandler(missing) if missing == &[Verdict::Nsfw, Verdict::Mixed, Verdict::Failed]));
    assert_eq!(error.to_string(), "no handler for nsfw, mixed, failed; add one, or `otherwise`");
}

#[tokio::test]
async fn a_transaction_of_another_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = SqliteStore::open(folder.path().join("one.db")).unwrap();
    let other = SqliteStore::open(folder.path().join("other.db")).unwrap();
    let foreign =
        Receiver::builder(one).otherwise(|_| async { Ok(()) }).on_in_transaction(Verdict::Clean, other.in_transaction(|_, _| Ok(())));
    assert!(matches!(foreign.build(), Err(BuildError::ForeignTransaction(_))));
}

#[tokio::test]
async fn nothing_is_handled_by_no_handlers() {
    assert!(matches!(builder(&Seen::default()).handlers_at_once(0).build(), Err(BuildError::Zero(_))));
    let many = (0..17).fold(builder(&Seen::default()), |builder, byte| builder.secret(secret(byte)));
    assert!(matches!(many.build(), Err(BuildError::TooManySecrets(17))));
}

#[test]
fn a_receiver_needs_a_runtime() {
    assert!(matches!(builder(&Seen::default()).build(), Err(BuildError::NoRuntime)));
}
