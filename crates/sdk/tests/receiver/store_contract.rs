//! What every store promises.

use std::time::{Duration, SystemTime};

use filesafety::{
    event::Verdict,
    receiver::{
        memory::MemoryStore,
        sqlite::SqliteStore,
        store::{Acceptance, Admission, Claim, Claims, Counts, EventKey, NewEvent, Outcome, Settled, SignedHeaders, Store, StoreError},
    },
};
use tempfile::TempDir;

use crate::support::{now, scan_id};

fn at(secs: u64) -> SystemTime {
    now() + Duration::from_secs(secs)
}

fn event(scan: u64, sequence: u32) -> NewEvent {
    let name = if sequence == 1 { "scan.complete" } else { "scan.verdict_updated" };
    let key = EventKey { scan_id: scan_id(scan), event: name.into(), sequence };
    let headers = SignedHeaders { id: Some("evt_1".into()), timestamp: None, signature: Some("v1,a".into()) };
    NewEvent { key, verdict: Verdict::Nsfw, headers, body: format!("body {scan} {sequence}").into() }
}

async fn accept(store: &dyn Store, scan: u64, sequence: u32) -> Acceptance {
    store.accept(event(scan, sequence), Admission::AnyScan, at(0)).await.unwrap()
}

async fn claim(store: &dyn Store, most: usize, secs: u64) -> Claims {
    store.claim(most, at(secs), at(secs + 60)).await.unwrap()
}

/// By scan: of events due at the same time none is first.
fn claimed(claims: &Claims) -> Vec<(String, u32)> {
    let mut keys: Vec<_> = claims.events.iter().map(|event| (event.claim.key.scan_id.clone(), event.claim.key.sequence)).collect();
    keys.sort();
    keys
}

fn one(claims: Claims) -> Claim {
    let [event] = <[_; 1]>::try_from(claims.events).expect("one event");
    event.claim
}

async fn settle(store: &dyn Store, claim: Claim, outcome: Outcome, secs: u64) -> Settled {
    store.settle(claim, outcome, at(secs)).await.unwrap()
}

async fn a_key_is_taken_once(store: &dyn Store) {
    assert_eq!(accept(store, 1, 1).await, Acceptance::Stored);
    let (again, beside) = tokio::join!(accept(store, 1, 1), accept(store, 1, 2));
    assert_eq!((again, beside), (Acceptance::Duplicate, Acceptance::Stored));
    let same_moment = tokio::join!(accept(store, 2, 1), accept(store, 2, 1));
    assert!(matches!(same_moment, (Acceptance::Stored, Acceptance::Duplicate) | (Acceptance::Duplicate, Acceptance::Stored)));
    let first = claim(store, 1, 0).await;
    assert_eq!(first.events[0].headers, event(1, 1).headers);
    assert_eq!(first.events[0].body, event(1, 1).body);
    assert_eq!((first.events[0].attempt, first.events[0].received_at), (1, at(0)));
    settle(store, one(first), Outcome::Handled, 1).await;
    assert_eq!(accept(store, 1, 1).await, Acceptance::Duplicate, "for good");
}

async fn an_unknown_scan_leaves_nothing(store: &dyn Store) {
    let knock = || store.accept(event(1, 1), Admission::PendingScans, at(0));
    assert_eq!(knock().await.unwrap(), Acceptance::UnknownScan);
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    store.add_pending(vec![scan_id(1), scan_id(2)], at(0)).await.unwrap();
    store.add_pending(vec![scan_id(1)], at(1)).await.unwrap();
    assert!(store.is_pending(&scan_id(1)).await.unwrap() && !store.is_pending(&scan_id(3)).await.unwrap());
    assert_eq!(store.counts().await.unwrap(), Counts { pending: 2, ..Counts::default() });
    assert_eq!(knock().await.unwrap(), Acceptance::Stored);
    assert_eq!(knock().await.unwrap(), Acceptance::Duplicate);
    settle(store, one(claim(store, 9, 0).await), Outcome::Handled, 5).await;
    assert_eq!(store.counts().await.unwrap(), Counts { pending: 1, ..Counts::default() });
    // Done, it stays: an update may follow.
    assert_eq!(store.accept(event(1, 2), Admission::PendingScans, at(6)).await.unwrap(), Acceptance::Stored);
    assert_eq!(store.sweep(at(4)).await.unwrap(), 1, "scan 2, which was added before");
    assert!(store.is_pending(&scan_id(1)).await.unwrap() && !store.is_pending(&scan_id(2)).await.unwrap());
    assert_eq!(store.sweep(at(6)).await.unwrap(), 1);
    assert_eq!(knock().await.unwrap(), Acceptance::Duplicate, "marks stay");
}

async fn an_older_event_is_set_aside(store: &dyn Store) {
    accept(store, 1, 3).await;
    settle(store, one(claim(store, 9, 0).await), Outcome::Handled, 1).await;
    assert_eq!(accept(store, 1, 2).await, Acceptance::Superseded);
    assert_eq!(accept(store, 1, 2).await, Acceptance::Duplicate);
    assert_eq!(accept(store, 1, 4).await, Acceptance::Stored);
    assert_eq!(accept(store, 2, 2).await, Acceptance::Stored, "another scan is another matter");
    assert_eq!(claimed(&claim(store, 9, 0).await), [(scan_id(1), 4), (scan_id(2), 2)]);

    // It waits for its next try when a newer one is handled.
    accept(store, 3, 1).await;
    settle(store, one(claim(store, 9, 0).await), Outcome::Retry { at: at(50), error: "e".into() }, 0).await;
    accept(store, 3, 2).await;
    settle(store, one(claim(store, 9, 0).await), Outcome::Handled, 1).await;
    let later = claim(store, 9, 50).await;
    assert_eq!((claimed(&later), later.superseded), (vec![], 1));
    let keys = store.dead_letters(None, 9).await.unwrap();
    assert!(keys.is_empty(), "set aside is not dead");
}

async fn events_of_one_scan_go_out_one_at_a_time_and_in_order(store: &dyn Store) {
    for sequence in [3, 2, 1] {
        accept(store, 1, sequence).await;
    }
    accept(store, 2, 1).await;
    let first = claim(store, 9, 0).await;
    assert_eq!(claimed(&first), [(scan_id(1), 1), (scan_id(2), 1)]);
    assert!(claim(store, 9, 0).await.events.is_empty(), "the others wait");
    for event in first.events {
        settle(store, event.claim, Outcome::Handled, 1).await;
    }
    for sequence in [2, 3] {
        let next = claim(store, 9, 1).await;
        assert_eq!(claimed(&next), [(scan_id(1), sequence)]);
        settle(store, one(next), Outcome::Handled, 2).await;
    }
    assert_eq!(claim(store, 9, 9).await.next_due, None);
}

async fn no_more_are_claimed_than_asked_for(store: &dyn Store) {
    for scan in 1..=5 {
        accept(store, scan, 1).await;
    }
    assert_eq!(claim(store, 2, 0).await.events.len(), 2);
    assert_eq!(claim(store, 2, 0).await.events.len(), 2);
    let last = claim(store, 2, 0).await;
    assert_eq!((last.events.len(), last.next_due), (1, Some(at(60))));
}

async fn a_failed_event_waits_and_then_dies(store: &dyn Store) {
    accept(store, 1, 1).await;
    let retry = Outcome::Retry { at: at(10), error: "first".into() };
    assert_eq!(settle(store, one(claim(store, 9, 0).await), retry, 0).await, Settled::Written);
    let early = claim(store, 9, 9).await;
    assert_eq!((early.events.len(), early.next_due), (0, Some(at(10))));
    let second = claim(store, 9, 10).await;
    assert_eq!(second.events[0].attempt, 2);
    settle(store, one(second), Outcome::Dead { error: "second".into() }, 11).await;
    assert_eq!(store.counts().await.unwrap(), Counts { dead: 1, ..Counts::default() });
    let dead = store.dead_letters(None, 9).await.unwrap();
    let letter = &dead[0];
    assert_eq!((dead.len(), &letter.key, letter.verdict, letter.attempts), (1, &event(1, 1).key, Verdict::Nsfw, 2));
    assert_eq!((letter.error.as_str(), letter.received_at, letter.died_at, &letter.body), ("second", at(0), at(11), &event(1, 1).body));
    assert!(claim(store, 9, 1000).await.events.is_empty());
    assert!(!store.replay(event(1, 2).key, at(20)).await.unwrap());
    assert!(store.replay(letter.key.clone(), at(20)).await.unwrap());
    assert!(!store.replay(letter.key.clone(), at(20)).await.unwrap());
    assert_eq!(claim(store, 9, 20).await.events[0].attempt, 1);
}

async fn dead_letters_come_in_pages(store: &dyn Store) {
    for scan in 1..=5 {
        accept(store, scan, 1).await;
    }
    for event in claim(store, 9, 0).await.events {
        settle(store, event.claim, Outcome::Dead { error: "e".into() }, 1).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.dead_letters(after.take(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        seen.extend(page.into_iter().map(|letter| letter.key.scan_id));
    }
    assert_eq!(seen, (1..=5).map(scan_id).collect::<Vec<_>>());
}

async fn a_claim_fences(store: &dyn Store) {
    accept(store, 1, 1).await;
    let late = one(claim(store, 9, 0).await);
    assert!(claim(store, 9, 59).await.events.is_empty());
    let taken_over = claim(store, 9, 60).await;
    assert_eq!(taken_over.events[0].attempt, 2, "the try that never ended counts");
    let current = one(taken_over);
    for outcome in [Outcome::Handled, Outcome::Dead { error: "e".into() }, Outcome::Retry { at: at(0), error: "e".into() }] {
        assert_eq!(settle(store, late.clone(), outcome, 61).await, Settled::Lost);
    }
    assert_eq!(settle(store, current.clone(), Outcome::Dead { error: "e".into() }, 61).await, Settled::Written);
    assert_eq!(settle(store, current.clone(), Outcome::Handled, 61).await, Settled::Lost, "once");
    // A replay begins to count anew, and still is another claim.
    store.replay(current.key.clone(), at(62)).await.unwrap();
    let replayed = one(claim(store, 9, 62).await);
    assert_eq!(settle(store, late, Outcome::Handled, 62).await, Settled::Lost);
    assert_eq!(settle(store, replayed, Outcome::Handled, 62).await, Settled::Written);
}

async fn a_closed_store_says_so(store: &dyn Store) {
    store.close().await.unwrap();
    let refused = store.accept(event(1, 1), Admission::AnyScan, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
}

/// A test of every case for one store. `$open` gives what must live as long as the store, and the store; `None` where there is none.
macro_rules! contract {
    ($name:ident, $open:expr; $($case:ident),* $(,)?) => {
        mod $name {
            $(#[tokio::test]
            async fn $case() {
                let Some((_kept, store)) = $open().await else { return };
                super::$case(&store).await;
            })*
        }
    };
    ($name:ident, $open:expr) => {
        contract!($name, $open; a_key_is_taken_once, an_unknown_scan_leaves_nothing, an_older_event_is_set_aside,
            events_of_one_scan_go_out_one_at_a_time_and_in_order, no_more_are_claimed_than_asked_for, a_failed_event_waits_and_then_dies,
            dead_letters_come_in_pages, a_claim_fences, a_closed_store_says_so);
    };
}

async fn in_memory() -> Option<((), MemoryStore)> {
    Some(((), MemoryStore::new()))
}

async fn in_a_file() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("webhooks.db")).unwrap();
    (folder, store)
}

async fn in_a_new_file() -> Option<(TempDir, SqliteStore)> {
    Some(in_a_file().await)
}

contract!(memory, super::in_memory);
contract!(sqlite, super::in_a_new_file);
#[cfg(feature = "receiver-postgres")]
contract!(postgres, crate::postgres::in_a_new_schema);

#[tokio::test]
async fn one_process_receives_into_a_file_and_others_stand_beside() {
    let (folder, store) = in_a_file().await;
    let path = folder.path().join("webhooks.db");
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::InUse(_))));
    let beside = SqliteStore::open_beside(&path).unwrap();
    beside.add_pending(vec![scan_id(1)], at(0)).await.unwrap();
    assert_eq!(store.accept(event(1, 1), Admission::PendingScans, at(0)).await.unwrap(), Acceptance::Stored);
    let current = one(claim(&store, 1, 0).await);
    // Only who receives knows that nobody else can be handling.
    beside.recover(at(1)).await.unwrap();
    assert!(claim(&store, 1, 1).await.events.is_empty());
    drop((store, current));
    // Its last handle is gone, and with it the lock.
    let next = SqliteStore::open(&path).unwrap();
    next.recover(at(2)).await.unwrap();
    assert_eq!(claim(&next, 1, 2).await.events[0].attempt, 2);
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart_and_the_file_is_private() {
    let (folder, store) = in_a_file().await;
    let path = folder.path().join("webhooks.db");
    accept(&store, 1, 1).await;
    store.close().await.unwrap();
    drop(store);
    let again = SqliteStore::open(&path).unwrap();
    assert_eq!(accept(&again, 1, 1).await, Acceptance::Duplicate);
    assert_eq!(claimed(&claim(&again, 1, 0).await), [(scan_id(1), 1)]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_newer_store_and_what_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhooks.db");
    drop(SqliteStore::open(&path).unwrap());
    let conn = filesafety::receiver::rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE filesafety_schema SET version = 99", []).unwrap();
    let Err(StoreError::Corrupt(message)) = SqliteStore::open(&path) else { panic!("opened") };
    assert!(message.contains("version 99"), "{message}");
    std::fs::write(folder.path().join("text.db"), "no database at all, and long enough to be looked at by SQLite as a header. ".repeat(20))
        .unwrap();
    assert!(matches!(SqliteStore::open(folder.path().join("text.db")), Err(StoreError::Corrupt(_))));
    assert!(matches!(SqliteStore::open(folder.path().join("no/such/folder.db")), Err(StoreError::Unavailable(_))));
}
