//! What passes, and what of that is taken in.

use std::time::Duration;

use filesafety::{
    event::Verdict,
    receiver::{PendingError, Receiver, memory::MemoryStore},
};

use crate::support::{Seen, body, builder, eventually, now, request, scan_id, secret, send, signed, with_metadata};

#[tokio::test]
async fn without_a_secret_only_pending_scans_are_taken() {
    let seen = Seen::default();
    let receiver = builder(&seen).build().unwrap();
    let event = body(&scan_id(1), "infected", 1);
    let early = send(&receiver, request(event.clone())).await;
    assert_eq!((early.short(), early.retry_after.as_deref()), ((503, "unknown_scan"), Some("5")));
    assert_eq!(receiver.counts().await.unwrap().waiting, 0, "a forged event leaves nothing behind");
    receiver.pending().add(&scan_id(1)).await.unwrap();
    assert_eq!(send(&receiver, request(event.clone())).await.short(), (200, "accepted"));
    eventually("the event to be handled", || seen.events().len() == 1).await;
    // The id stays, marked done: the update that follows is taken, and so is the repeat.
    eventually("the mark", || receiver.metrics().handled == 1).await;
    assert_eq!(receiver.counts().await.unwrap().pending, 0);
    assert_eq!(send(&receiver, request(event)).await.short(), (200, "duplicate"));
    assert_eq!(send(&receiver, request(body(&scan_id(1), "clean", 2))).await.short(), (200, "accepted"));
    eventually("the update", || seen.events().len() == 2).await;
    let update = &seen.events()[1];
    assert_eq!((update.verdict, update.previous_verdict, update.sequence), (Verdict::Clean, Some(Verdict::Clean), 2));
}

#[tokio::test]
async fn the_pending_set_takes_only_ids() {
    let seen = Seen::default();
    let receiver = builder(&seen).build().unwrap();
    for bad in ["", "scn_", "abc", "scn_a b", "scn_<b>", &format!("scn_{}", "a".repeat(61))] {
        assert!(matches!(receiver.pending().add(bad).await, Err(PendingError::BadId(_))), "{bad}");
    }
    let many: Vec<String> = (0..1001).map(scan_id).collect();
    assert!(matches!(receiver.pending().add_all(many.iter().map(String::as_str)).await, Err(PendingError::TooMany(_))));
    receiver.pending().add_all(many[..1000].iter().map(String::as_str)).await.unwrap();
    assert_eq!(receiver.counts().await.unwrap().pending, 1000);
}

#[tokio::test]
async fn tests_and_unknown_events_pass_and_leave_nothing() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).pending_set().build().unwrap();
    for event in [r#"{"event":"webhook.test","account":"default","created_at":"2026-01-31T12:00:00Z"}"#, r#"{"event":"scan.archived"}"#] {
        assert_eq!(send(&receiver, request(event)).await.short(), (401, "invalid_signature"));
        assert_eq!(send(&receiver, signed(&[secret(1)], event)).await.short(), (200, "ignored"));
        assert_eq!(send(&receiver, signed(&[secret(1)], event)).await.short(), (200, "ignored"));
    }
    assert_eq!(receiver.counts().await.unwrap(), filesafety::receiver::store::Counts::default());
    assert!(seen.events().is_empty());
}

#[tokio::test]
async fn an_event_older_than_the_newest_handled_one_is_not_handed_on() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).build().unwrap();
    for sequence in [3, 1, 2] {
        assert_eq!(send(&receiver, signed(&[secret(1)], &body(&scan_id(1), "infected", sequence))).await.status, 200);
        eventually("3 to be handled", || receiver.metrics().handled == 1).await;
    }
    assert_eq!(receiver.metrics().received.get("superseded"), Some(&2));
    assert_eq!(send(&receiver, signed(&[secret(1)], &body(&scan_id(1), "infected", 4))).await.short(), (200, "accepted"));
    eventually("4 to be handled", || receiver.metrics().handled == 2).await;
    assert_eq!(seen.keys(), [(scan_id(1), 3), (scan_id(1), 4)]);
}

#[tokio::test]
async fn a_context_goes_before_the_verdict_and_the_verdict_before_the_rest() {
    let [avatar, clean, rest] = [Seen::default(), Seen::default(), Seen::default()];
    let (a, c) = (avatar.clone(), clean.clone());
    let receiver = builder(&rest)
        .secret(secret(1))
        .on_context("avatar", move |event| a.clone().handle(event))
        .on_clean(move |event| c.clone().handle(event))
        .build()
        .unwrap();
    let contexts = [r#"{"context":"avatar"}"#, r#"{"context":"other"}"#, r#"{"context":7}"#, "{}", r#"{"context":null}"#];
    for (number, metadata) in (1..).zip(contexts) {
        for verdict in ["clean", "failed"] {
            let scan = scan_id(number * 10 + u64::from(verdict == "failed"));
            send(&receiver, signed(&[secret(1)], &with_metadata(&scan, verdict, 1, metadata))).await;
        }
    }
    eventually("all ten", || receiver.metrics().handled == 10).await;
    assert_eq!((avatar.events().len(), clean.events().len(), rest.events().len()), (2, 4, 4));
    assert_eq!(avatar.events()[0].context().as_deref(), Some("avatar"));
}

#[tokio::test]
async fn after_the_end_webhooks_are_asked_to_come_again() {
    let receiver = Receiver::builder(MemoryStore::new()).secret(secret(1)).clock(now).otherwise(|_| async { Ok(()) }).build().unwrap();
    receiver.shutdown(Duration::from_secs(1)).await;
    let answer = send(&receiver, signed(&[secret(1)], &body(&scan_id(1), "clean", 1))).await;
    assert_eq!((answer.short(), answer.retry_after.as_deref()), ((503, "storage_unavailable"), Some("5")));
}
