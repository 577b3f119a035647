//! Handlers that fail, hang, panic or give up; dead letters; the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use filesafety::{
    event::Verdict,
    receiver::{
        HandlerError, Receiver,
        memory::MemoryStore,
        sqlite::SqliteStore,
        store::{Admission, EventKey, NewEvent, SignedHeaders, Store as _},
    },
};

use crate::support::{Seen, body, eventually, scan_id, secret, send};

const SOON: Duration = Duration::from_millis(10);

fn now_signed(body: &str) -> axum::http::Request<axum::body::Body> {
    let secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    crate::support::signed_at(&[secret(1)], secs, body)
}

/// On the real clock, since handling is tried again later.
fn receiver(seen: &Seen, retries: usize) -> Receiver {
    let seen = seen.clone();
    let builder = Receiver::builder(MemoryStore::new()).secret(secret(1)).retries(vec![SOON; retries]);
    builder.otherwise(move |event| seen.clone().handle(event)).build().unwrap()
}

#[tokio::test]
async fn a_handler_that_fails_is_tried_again() {
    let seen = Seen::failing(2);
    let receiver = receiver(&seen, 2);
    send(&receiver, now_signed(&body(&scan_id(1), "clean", 1))).await;
    eventually("the third try", || receiver.metrics().handled == 1).await;
    let attempts: Vec<u32> = seen.events().iter().map(|event| event.attempt).collect();
    assert_eq!((attempts, receiver.metrics().failed, receiver.metrics().dead), (vec![1, 2, 3], 2, 0));
}

#[tokio::test]
async fn what_keeps_failing_is_listed_and_can_be_replayed() {
    let seen = Seen::failing(3);
    let receiver = receiver(&seen, 2);
    for number in [1, 2] {
        send(&receiver, now_signed(&body(&scan_id(number), "clean", 1))).await;
        eventually("the end of it", || receiver.metrics().dead + receiver.metrics().handled == number).await;
    }
    let dead = receiver.dead_letters().list(None, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].attempts, dead[0].error.as_str()), (1, 3, "on purpose"));
    assert_eq!(receiver.counts().await.unwrap().dead, 1);
    // A dead letter is a duplicate all the same: replaying is for the operator.
    assert_eq!(send(&receiver, now_signed(&body(&scan_id(1), "clean", 1))).await.short(), (200, "duplicate"));
    let key = dead[0].key.clone();
    assert!(receiver.dead_letters().list(Some(key.clone()), 10).await.unwrap().is_empty());
    seen.fail_next(1);
    assert!(receiver.dead_letters().replay(key.clone()).await.unwrap());
    eventually("the replay, which has all its tries", || receiver.metrics().handled == 2).await;
    assert!(!receiver.dead_letters().replay(key).await.unwrap(), "it is no dead letter any more");
    assert_eq!(receiver.counts().await.unwrap(), filesafety::receiver::store::Counts::default());
}

#[tokio::test]
async fn a_dead_letter_that_was_overtaken_is_set_aside_when_replayed() {
    let seen = Seen::failing(1);
    let receiver = receiver(&seen, 0);
    send(&receiver, now_signed(&body(&scan_id(1), "clean", 1))).await;
    eventually("the death", || receiver.metrics().dead == 1).await;
    send(&receiver, now_signed(&body(&scan_id(1), "infected", 2))).await;
    eventually("the update", || receiver.metrics().handled == 1).await;
    let key = receiver.dead_letters().list(None, 1).await.unwrap()[0].key.clone();
    assert!(receiver.dead_letters().replay(key).await.unwrap());
    eventually("the old one to be set aside", || receiver.metrics().superseded == 1).await;
    assert_eq!(seen.keys(), [(scan_id(1), 1), (scan_id(1), 2)]);
}

#[tokio::test]
async fn who_gives_up_panics_or_hangs_harms_no_other() {
    let good = Seen::default();
    let taken = good.clone();
    let receiver = Receiver::builder(MemoryStore::new())
        .secret(secret(1))
        .retries([SOON])
        .handler_time(Duration::from_millis(50))
        .on_clean(move |event| taken.clone().handle(event))
        .on_failed(|_| async { Err(HandlerError::give_up("never")) })
        .on_infected(|_| async { panic!("on purpose") })
        .otherwise(|_| std::future::pending())
        .build()
        .unwrap();
    for (number, verdict) in (1..).zip(["failed", "infected", "nsfw", "clean"]) {
        send(&receiver, now_signed(&body(&scan_id(number), verdict, 1))).await;
    }
    eventually("three deaths", || receiver.metrics().dead == 3).await;
    eventually("the good one", || receiver.metrics().handled == 1).await;
    let dead = receiver.dead_letters().list(None, 10).await.unwrap();
    let told: Vec<(u32, &str)> = dead.iter().map(|letter| (letter.attempts, letter.error.as_str())).collect();
    assert_eq!(told, [(1, "never"), (2, "the handler panicked"), (2, "the handler took longer than 0.05 s")]);
}

#[tokio::test]
async fn no_more_handlers_run_than_may_and_one_scan_has_one() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (r, m) = (Arc::clone(&running), Arc::clone(&most));
    let seen = Seen::default();
    let record = seen.clone();
    let receiver = Receiver::builder(MemoryStore::new())
        .secret(secret(1))
        .handlers_at_once(3)
        .otherwise(move |event| {
            let (running, most, record) = (Arc::clone(&r), Arc::clone(&m), record.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                record.handle(event).await
            }
        })
        .build()
        .unwrap();
    for number in 1..=8 {
        send(&receiver, now_signed(&body(&scan_id(number), "clean", 1))).await;
    }
    eventually("eight", || receiver.metrics().handled == 8).await;
    assert_eq!(most.swap(0, Ordering::SeqCst), 3);
    for sequence in [2, 3, 4] {
        send(&receiver, now_signed(&body(&scan_id(99), "clean", sequence))).await;
    }
    eventually("three more, one after the other", || receiver.metrics().handled == 11).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(seen.keys()[8..], [2, 3, 4].map(|sequence| (scan_id(99), sequence)));
}

#[tokio::test]
async fn an_event_that_ends_the_process_every_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("webhooks.db")).unwrap();
    let seen = Seen::default();
    let key = EventKey { scan_id: scan_id(1), event: "scan.complete".into(), sequence: 1 };
    let event = NewEvent { key, verdict: Verdict::Clean, headers: SignedHeaders::default(), body: body(&scan_id(1), "clean", 1).into() };
    let now = SystemTime::now();
    store.accept(event, Admission::AnyScan, now).await.unwrap();
    // As if two processes had ended during their tries.
    for attempt in [1, 2] {
        assert_eq!(store.claim(9, now, now).await.unwrap().events[0].attempt, attempt);
    }
    let again = seen.clone();
    let next =
        Receiver::builder(store).secret(secret(1)).retries([SOON]).otherwise(move |event| again.clone().handle(event)).build().unwrap();
    eventually("the end of it", || next.metrics().dead == 1).await;
    let dead = next.dead_letters().list(None, 1).await.unwrap();
    assert_eq!(dead[0].error, "the receiver ended during the last try of the handler");
    assert!(seen.events().is_empty());
}

#[tokio::test]
async fn at_the_end_handlers_may_finish_and_hanging_ones_start_over_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhooks.db");
    let first = Receiver::builder(SqliteStore::open(&path).unwrap())
        .secret(secret(1))
        .on_clean(|_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        })
        .otherwise(|_| std::future::pending())
        .build()
        .unwrap();
    send(&first, now_signed(&body(&scan_id(1), "clean", 1))).await;
    send(&first, now_signed(&body(&scan_id(2), "infected", 1))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    first.shutdown(Duration::from_millis(300)).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(first.metrics().handled, 1);
    drop(first);

    let seen = Seen::default();
    let again = seen.clone();
    let store = loop {
        // The lock goes with the last task that still holds the store.
        match SqliteStore::open(&path) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let second = Receiver::builder(store).secret(secret(1)).otherwise(move |event| again.clone().handle(event)).build().unwrap();
    eventually("the one left over", || second.metrics().handled == 1).await;
    assert_eq!((seen.keys(), seen.events()[0].attempt), (vec![(scan_id(2), 1)], 2));
}
