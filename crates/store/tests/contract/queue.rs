use filesafety_model::{AccountId, ScanId, Verdict};
use filesafety_store::{Accepted, Access, AccountChange, Beside, ClaimLimit, Content, Lease, Place, StoreError, Submission};

use crate::support::{Fixture, QUEUE, all, at, blob, claims, entropy, facts, fixture, new_scan, now, open, outcome, webhook};

async fn claim_ids(f: &Fixture, limit: u32) -> Vec<ScanId> {
    f.store.claim(now(), at(60), limit).await.unwrap().into_iter().map(|claimed| claimed.lease.scan).collect()
}

#[tokio::test]
async fn the_oldest_goes_first_and_once() {
    let f = fixture().await;
    let second = f.queued(|new| new.created_at = at(2)).await;
    let first = f.queued(|new| new.created_at = at(1)).await;
    assert_eq!(claim_ids(&f, 1).await, [first]);
    assert_eq!(claim_ids(&f, 5).await, [second]);
    assert!(claim_ids(&f, 5).await.is_empty());
}

#[tokio::test]
async fn sync_goes_first_but_one_in_four_is_async() {
    let f = fixture().await;
    let mut asynchronous = Vec::new();
    for _ in 0..2 {
        asynchronous.push(f.queued(|_| {}).await);
    }
    for _ in 0..8 {
        f.queued(|new| new.lane = Submission::Sync).await;
    }
    let order = claim_ids(&f, 10).await;
    let places: Vec<_> = order.iter().enumerate().filter(|(_, id)| asynchronous.contains(id)).map(|(place, _)| place).collect();
    assert_eq!(places, [3, 7]);
}

#[tokio::test]
async fn a_place_can_be_kept_for_scans_that_nobody_waits_for() {
    let f = fixture().await;
    for _ in 0..4 {
        f.queued(|new| new.lane = Submission::Sync).await;
    }
    let limit = ClaimLimit { total: 3, sync: 2 };
    let lanes =
        async || -> Vec<_> { f.store.claim(now(), at(60), limit).await.unwrap().into_iter().map(|claimed| claimed.scan.lane).collect() };
    assert_eq!(lanes().await, [Submission::Sync; 2]);
    f.queued(|_| {}).await;
    assert_eq!(lanes().await, [Submission::Sync, Submission::Async, Submission::Sync]);
}

#[tokio::test]
async fn accounts_take_turns() {
    let f = fixture().await;
    let other = f.store.create_account(AccountId::new(now(), entropy()), "other", AccountChange::default(), now()).await.unwrap().id;
    for _ in 0..6 {
        f.queued(|_| {}).await;
    }
    for _ in 0..2 {
        f.queued(|new| (new.account, new.created_at) = (other, at(30))).await;
    }
    let mut owners = Vec::new();
    for limit in [1, 1, 2, 4] {
        owners.extend(f.store.claim(now(), at(60), limit).await.unwrap().into_iter().map(|claimed| claimed.scan.account == other));
    }
    assert_eq!(owners.iter().take(4).filter(|others| **others).count(), 2, "{owners:?}");
    assert_eq!(owners.len(), 8);
}

#[tokio::test]
async fn only_the_holder_ends_a_scan_and_only_once() {
    let f = fixture().await;
    let id = f.queued(|new| new.webhook = webhook("a.example")).await;
    let old = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
    assert!(f.store.claim(at(59), at(120), 1).await.unwrap().is_empty());
    let new = f.store.claim(at(60), at(120), 1).await.unwrap().remove(0).lease;
    assert_eq!((new.scan, new.attempt), (id, old.attempt + 1));
    for lost in [old, Lease { attempt: 9, ..new }] {
        assert!(matches!(f.store.complete(lost, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
        assert!(matches!(f.store.start(lost, Beside::Others).await, Err(StoreError::LeaseLost)));
        assert!(matches!(f.store.release(lost).await, Err(StoreError::LeaseLost)));
        assert!(matches!(f.store.read_blob(&lost, Vec::new()).await, Err(StoreError::LeaseLost)));
        assert_eq!(f.store.renew(&[lost, new], at(180)).await.unwrap(), [lost]);
    }
    assert!(f.store.claim(at(179), at(240), 1).await.unwrap().is_empty());
    assert_eq!(f.store.read_blob(&new, Vec::new()).await.unwrap(), b"abc");
    f.store.complete(new, outcome(Verdict::Infected)).await.unwrap();
    assert!(matches!(f.store.complete(new, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
    assert!(f.uploads().is_empty());
    assert_eq!(claims(&f.store, at(5), at(9)).await.claims.len(), 1);
    assert_eq!(f.store.events_since(f.account, filesafety_store::After::Beginning, now(), 10).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn a_url_to_fetch_comes_back_and_is_forgotten() {
    let f = fixture().await;
    let url = "https://x.example/?token=SESAME";
    assert_eq!(f.store.accept_url(new_scan(f.account), url.into(), QUEUE).await.unwrap(), Accepted::Queued);
    let claimed = f.store.claim(now(), at(60), 1).await.unwrap().remove(0);
    assert_eq!(claimed.content, Content::Url(url.into()));
    assert_eq!(claimed.scan.file, None);
    assert!(!format!("{claimed:?}").contains("SESAME"));
    f.store.complete(claimed.lease, outcome(Verdict::Clean)).await.unwrap();
    assert_eq!(f.store.scan(f.account, claimed.lease.scan).await.unwrap().file, Some(facts(1)));
}

#[tokio::test]
async fn a_crash_makes_suspects_of_what_had_started() {
    let f = fixture().await;
    let (started, waited) = (f.queued(|_| {}).await, f.queued(|_| {}).await);
    let leases = f.store.claim(now(), at(60), 2).await.unwrap();
    f.store.start(leases[0].lease, Beside::Others).await.unwrap();
    let Fixture { store, account, folder } = f;
    drop(store);

    let store = open(&folder, Access::Exclusive).await.unwrap();
    let f = Fixture { store, account, folder };
    let recovered = f.store.recover().await.unwrap();
    assert_eq!((recovered.suspects, recovered.released), (1, 1));
    assert!(matches!(f.store.complete(leases[0].lease, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
    assert_eq!(claim_ids(&f, 5).await, [waited]);
    for crashes in 0..3 {
        let suspect = f.store.claim_suspect(now(), at(60)).await.unwrap().unwrap();
        assert_eq!((suspect.lease.scan, suspect.suspect, suspect.crashes), (started, true, crashes));
        assert!(f.store.claim_suspect(now(), at(60)).await.unwrap().is_none());
        f.store.start(suspect.lease, Beside::Nothing).await.unwrap();
        f.store.recover().await.unwrap();
    }
    let suspect = f.store.claim_suspect(now(), at(60)).await.unwrap().unwrap();
    assert_eq!(suspect.crashes, 3);
    // Stopped on purpose: it does not count.
    f.store.start(suspect.lease, Beside::Nothing).await.unwrap();
    f.store.release(suspect.lease).await.unwrap();
    assert_eq!(f.store.depths().await.unwrap().suspects, 1);
    let suspect = f.store.claim_suspect(now(), at(60)).await.unwrap().unwrap();
    assert_eq!((suspect.crashes, f.store.read_blob(&suspect.lease, Vec::new()).await.unwrap()), (3, b"abc".to_vec()));
}

#[tokio::test]
async fn what_runs_in_memory_is_held_and_survives() {
    let f = fixture().await;
    let new = new_scan(f.account);
    let upload = blob(&f.store, b"abc").await;
    let accepted = f.store.accept(new, facts(1), upload, Place::Running { until: at(60), started: true }).await.unwrap();
    let Accepted::Running(lease) = accepted else { panic!("{accepted:?}") };
    assert!(claim_ids(&f, 5).await.is_empty());
    assert_eq!(f.store.recover().await.unwrap().suspects, 1);
    assert!(matches!(f.store.complete(lease, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
    let suspect = f.store.claim_suspect(now(), at(60)).await.unwrap().unwrap();
    f.store.complete(suspect.lease, outcome(Verdict::Clean)).await.unwrap();
    assert_eq!(f.store.scans(f.account, all()).await.unwrap().scans.len(), 1);
}

#[tokio::test]
async fn what_is_held_and_has_not_started_is_no_suspect() {
    let f = fixture().await;
    let held = Place::Running { until: at(60), started: false };
    let accepted = f.store.accept(new_scan(f.account), facts(1), blob(&f.store, b"abc").await, held).await.unwrap();
    let Accepted::Running(first) = accepted else { panic!("{accepted:?}") };
    assert!(claim_ids(&f, 5).await.is_empty());
    let recovered = f.store.recover().await.unwrap();
    assert_eq!((recovered.suspects, recovered.released), (0, 1));
    let again = f.store.claim(now(), at(60), 1).await.unwrap().remove(0);
    assert_eq!((again.lease.scan, again.suspect, again.crashes), (first.scan, false, 0));

    let upload = new_scan(f.account);
    let id = upload.id;
    assert_eq!(f.store.await_upload(upload, [1; 32], at(3600), 2).await.unwrap(), filesafety_store::Awaiting::Awaiting);
    let accepted = f.store.accept_upload(id, now(), facts(1), blob(&f.store, b"abc").await, held).await.unwrap();
    let Accepted::Running(lease) = accepted else { panic!("{accepted:?}") };
    f.store.start(lease, Beside::Others).await.unwrap();
    assert_eq!(f.store.recover().await.unwrap().suspects, 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let f = fixture().await;
    let (damaged, suspect, sound) = (f.queued(|_| {}).await, f.queued(|_| {}).await, f.queued(|_| {}).await);
    let conn = rusqlite::Connection::open(f.folder.path().join("data/filesafety.db")).unwrap();
    let damage = "UPDATE scans SET types = 'nothing known', suspect = ?2 WHERE id = ?1";
    conn.execute(damage, (damaged.to_string(), 0)).unwrap();
    conn.execute(damage, (suspect.to_string(), 1)).unwrap();
    assert_eq!(claim_ids(&f, 5).await, [sound]);
    assert!(f.store.claim_suspect(now(), at(60)).await.unwrap().is_none());
    let depths = f.store.depths().await.unwrap();
    assert_eq!((depths.pending_async, depths.scanning, f.used().await), (0, 1, 1));
}

#[tokio::test]
async fn many_are_given_back_at_once() {
    let f = fixture().await;
    f.queued(|_| {}).await;
    f.queued(|_| {}).await;
    let mut leases: Vec<_> = f.store.claim(now(), at(60), 2).await.unwrap().into_iter().map(|claimed| claimed.lease).collect();
    leases.insert(0, Lease { attempt: 9, ..leases[0] });
    f.store.release_many(&leases).await.unwrap();
    assert_eq!(f.store.depths().await.unwrap().pending_async, 2);
}

#[tokio::test]
async fn depths_follow_every_move() {
    let f = fixture().await;
    f.queued(|_| {}).await;
    f.queued(|new| new.lane = Submission::Sync).await;
    let depths = f.store.depths().await.unwrap();
    assert_eq!((depths.pending_sync, depths.pending_async, depths.scanning), (1, 1, 0));
    let leases = f.store.claim(now(), at(60), 2).await.unwrap();
    let depths = f.store.depths().await.unwrap();
    assert_eq!((depths.pending_sync, depths.pending_async, depths.scanning), (0, 0, 2));
    for claimed in leases {
        f.store.complete(claimed.lease, outcome(Verdict::Clean)).await.unwrap();
    }
    assert_eq!(f.store.depths().await.unwrap(), filesafety_store::QueueDepths::default());
}

#[tokio::test]
async fn signals_tell_of_work() {
    let f = fixture().await;
    let mut signals = f.store.signals();
    f.queued(|_| {}).await;
    assert!(signals.queue.has_changed().unwrap() && !signals.events.has_changed().unwrap());
    signals.queue.mark_unchanged();
    let lease = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
    f.store.complete(lease, outcome(Verdict::Clean)).await.unwrap();
    assert!(signals.events.has_changed().unwrap() && signals.deliveries.has_changed().unwrap());
}

#[tokio::test]
async fn a_password_is_given_to_who_runs_the_scan_and_gone_with_the_verdict() {
    let f = fixture().await;
    let given = f.store.archive_password(filesafety_model::Password::new("SESAME-PASSWORD").unwrap());
    let scan = f.queued(|new| new.password = Some(given.clone())).await;
    assert!(f.store.scan(f.account, scan).await.unwrap().password.is_none(), "it is not for who reads");
    let claimed = f.store.claim(now(), at(60), 1).await.unwrap().remove(0);
    assert_eq!(claimed.scan.password, Some(given.clone()));
    assert!(!format!("{:?} {given:?}", claimed.scan).contains("SESAME"));
    f.store.release(claimed.lease).await.unwrap();
    let lease = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
    f.store.complete(lease, outcome(Verdict::Clean)).await.unwrap();
    assert_eq!(f.store.archive_password(given.password.clone()).mark, given.mark);
    assert_ne!(f.store.archive_password(filesafety_model::Password::new("other").unwrap()).mark, given.mark);
}
