use std::time::Duration;

use filesafety_model::{AccountId, ScanState, Sha256, Verdict};
use filesafety_store::{
    Accepted, AccountChange, Awaiting, Conflict, Cursor, ListFilter, Overage, Place, Recorded, StateRecord, StoreError, UploadSlot,
};

use crate::support::{
    QUEUE, all, at, attempt, blob, claims, entropy, facts, fixture, idempotency, judgement, new_scan, now, outcome, quota, scan_id, webhook,
};

#[tokio::test]
async fn a_finished_scan_reads_as_it_was_written() {
    let f = fixture().await;
    let metadata = "{\"b\": 1.50, \"a\":9007199254740993}";
    let id = f.finished(|new, _| (new.metadata, new.webhook) = (Some(metadata.into()), webhook("a.example"))).await;
    let scan = f.store.scan(f.account, id).await.unwrap();
    assert_eq!(scan.metadata.as_deref(), Some(metadata));
    assert_eq!(scan.file, Some(facts(1)));
    assert_eq!(scan.status(), ScanState::Complete);
    assert_eq!(scan.state, StateRecord::Finished { at: at(1), judgement: Box::new(judgement(Verdict::Clean)) });
    assert_eq!(scan.webhook.unwrap().url_host, "a.example");
    assert_eq!(f.used().await, 1);
}

#[tokio::test]
async fn anothers_scan_is_not_found() {
    let f = fixture().await;
    let id = f.finished(|_, _| {}).await;
    let other = f.store.create_account(AccountId::new(now(), entropy()), "other", AccountChange::default(), now()).await.unwrap().id;
    assert!(matches!(f.store.scan(other, id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.delete(other, id, at(1)).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.deliveries(other, id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.redeliver(other, id, now()).await, Err(StoreError::NotFound)));
    assert!(f.store.scans(other, all()).await.unwrap().scans.is_empty());
    assert!(f.store.events_since(other, filesafety_store::After::Beginning, now(), 10).await.unwrap().events.is_empty());
    assert!(matches!(f.store.scan(f.account, scan_id()).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn fifty_at_once_get_exactly_the_quota() {
    let f = fixture().await;
    f.store.set_account("default", quota(10)).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (store, new) = (f.store.clone(), new_scan(f.account));
        calls.spawn(async move {
            if number % 2 == 0 {
                return store.record_finished(new, outcome(Verdict::Clean), false).await.unwrap() == Recorded::Recorded;
            }
            let upload = blob(&store, b"abc").await;
            store.accept(new, facts(1), upload, QUEUE).await.unwrap() == Accepted::Queued
        });
    }
    let accepted = calls.join_all().await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!((accepted, f.used().await), (10, 10));
    assert_eq!(f.store.scans(f.account, all()).await.unwrap().scans.len(), 10);
    assert_eq!(f.uploads().len() as u64, f.store.depths().await.unwrap().pending_async, "refused uploads are deleted");
}

#[tokio::test]
async fn quota_is_by_month_and_overage_by_choice() {
    let f = fixture().await;
    f.store.set_account("default", quota(1)).await.unwrap();
    f.finished(|_, _| {}).await;
    let refused = f.store.record_finished(new_scan(f.account), outcome(Verdict::Clean), false).await.unwrap();
    let Recorded::QuotaExceeded(exceeded) = refused else { panic!("{refused:?}") };
    assert_eq!((exceeded.quota, exceeded.used, exceeded.period_ends), (1, 1, now().next_month()));
    f.finished(|new, _| new.created_at = now().next_month()).await;
    f.store.set_account("default", AccountChange { overage: Some(Overage::Allow), ..AccountChange::default() }).await.unwrap();
    f.finished(|_, _| {}).await;
    let usage = f.store.usage(f.account, now()).await.unwrap();
    assert_eq!((usage.used, usage.overage, usage.quota), (2, 1, Some(1)));
}

#[tokio::test]
async fn a_failed_scan_counts_nothing() {
    let f = fixture().await;
    let new = new_scan(f.account);
    assert_eq!(f.store.record_finished(new, outcome(Verdict::Failed), false).await.unwrap(), Recorded::Recorded);
    assert_eq!(f.used().await, 0);
    f.queued(|_| {}).await;
    assert_eq!(f.used().await, 1);
    let claimed = f.store.claim(now(), at(60), 1).await.unwrap().remove(0);
    f.store.complete(claimed.lease, outcome(Verdict::Failed)).await.unwrap();
    assert_eq!(f.used().await, 0);
}

#[tokio::test]
async fn of_many_with_one_idempotency_key_one_is_accepted() {
    let f = fixture().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, mut new) = (f.store.clone(), new_scan(f.account));
        new.idempotency = idempotency("k");
        calls.spawn(async move { store.record_finished(new, outcome(Verdict::Clean), false).await.unwrap() });
    }
    let (first, others): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(|answer| *answer == Recorded::Recorded);
    assert_eq!((first.len(), others.len(), f.used().await), (1, 19, 1));
    let earlier = f.store.idempotent(f.account, "k", at(1)).await.unwrap().unwrap();
    assert_eq!((earlier.fields, earlier.sha256), ([3; 32], Some(Sha256::new([1; 32]))));
    assert!(others.into_iter().all(|answer| answer == Recorded::IdempotencyTaken(earlier)));
}

#[tokio::test]
async fn idempotency_keys_last_a_day() {
    let f = fixture().await;
    f.finished(|new, _| new.idempotency = idempotency("k")).await;
    let day = 24 * 60 * 60;
    assert!(f.store.idempotent(f.account, "k", at(day - 1)).await.unwrap().is_some());
    assert!(f.store.idempotent(f.account, "k", at(day)).await.unwrap().is_none());
    assert!(f.store.idempotent(f.account, "other", now()).await.unwrap().is_none());
    f.finished(|new, _| (new.idempotency, new.created_at) = (idempotency("k"), at(day))).await;
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let f = fixture().await;
    f.store.set_account("default", quota(0)).await.unwrap();
    let mut new = new_scan(f.account);
    new.idempotency = idempotency("k");
    let refused = f.store.record_finished(new, outcome(Verdict::Clean), false).await.unwrap();
    assert!(matches!(refused, Recorded::QuotaExceeded(_)));
    assert!(f.store.idempotent(f.account, "k", now()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_nothing() {
    let f = fixture().await;
    f.queued(|_| {}).await;
    let place = Place::Queue { limit: 1 };
    let upload = blob(&f.store, b"abc").await;
    assert_eq!(f.store.accept(new_scan(f.account), facts(1), upload, place).await.unwrap(), Accepted::Overloaded);
    assert_eq!(f.store.accept_url(new_scan(f.account), "https://x.example/".into(), place).await.unwrap(), Accepted::Overloaded);
    assert_eq!((f.used().await, f.uploads().len()), (1, 1));
    // What runs already has no place in the queue.
    let upload = blob(&f.store, b"abc").await;
    let accepted = f.store.accept(new_scan(f.account), facts(1), upload, Place::Running { until: at(60), started: true }).await.unwrap();
    let Accepted::Running(lease) = accepted else { panic!("{accepted:?}") };
    f.store.complete(lease, outcome(Verdict::Clean)).await.unwrap();
}

#[tokio::test]
async fn an_upload_url_is_used_once() {
    let f = fixture().await;
    let mut new = new_scan(f.account);
    (new.idempotency, new.file_name) = (idempotency("k"), Some("given.bin".into()));
    let id = new.id;
    assert_eq!(f.store.await_upload(new, [1; 32], at(3600), 2).await.unwrap(), Awaiting::Awaiting);
    assert_eq!(f.store.idempotent(f.account, "k", now()).await.unwrap().unwrap().sha256, None);
    assert_eq!(f.used().await, 0);
    assert_eq!(f.store.upload_slot(id, [2; 32], now()).await.unwrap(), UploadSlot::Unknown);
    assert_eq!(f.store.upload_slot(scan_id(), [1; 32], now()).await.unwrap(), UploadSlot::Unknown);
    assert!(matches!(f.store.upload_slot(id, [1; 32], at(3600)).await.unwrap(), UploadSlot::Expired(_)));
    assert!(matches!(f.store.upload_slot(id, [1; 32], now()).await.unwrap(), UploadSlot::Open(_)));

    let (one, two) = (blob(&f.store, b"abc").await, blob(&f.store, b"abc").await);
    let both = tokio::join!(f.store.accept_upload(id, now(), facts(1), one, QUEUE), f.store.accept_upload(id, now(), facts(2), two, QUEUE));
    let used = |result: &Result<Accepted, StoreError>| matches!(result, Err(StoreError::Conflict(Conflict::UploadUsed)));
    assert_eq!(usize::from(used(&both.0)) + usize::from(used(&both.1)), 1, "{both:?}");
    assert!(used(&f.store.record_upload_finished(id, outcome(Verdict::Clean), false).await.map(|_| Accepted::Queued)));
    assert!(matches!(f.store.upload_slot(id, [1; 32], now()).await.unwrap(), UploadSlot::Used(_)));
    assert_eq!((f.used().await, f.uploads().len()), (1, 1));
}

#[tokio::test]
async fn an_upload_judged_in_memory_uses_its_url_up() {
    let f = fixture().await;
    let new = new_scan(f.account);
    let id = new.id;
    assert_eq!(f.store.await_upload(new, [1; 32], at(3600), 2).await.unwrap(), Awaiting::Awaiting);
    assert_eq!(f.store.record_upload_finished(id, outcome(Verdict::Infected), false).await.unwrap(), Recorded::Recorded);
    let UploadSlot::Used(scan) = f.store.upload_slot(id, [1; 32], at(4000)).await.unwrap() else { panic!("not used") };
    assert_eq!((scan.status(), f.used().await), (ScanState::Complete, 1));
    let not_an_upload = f.finished(|_, _| {}).await;
    let refused = f.store.record_upload_finished(not_an_upload, outcome(Verdict::Clean), false).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn what_really_judged_is_what_is_reused() {
    let f = fixture().await;
    let found = async |content| f.store.reuse(f.account, Sha256::new([content; 32]), "f2", now()).await.unwrap().map(|found| found.scan);
    let newer = |content| {
        let mut newer = outcome(Verdict::Clean);
        (newer.file, newer.fingerprint) = (Some(facts(content)), Some("f2".into()));
        newer
    };
    let in_memory = f.finished(|_, outcome| *outcome = newer(1)).await;
    assert_eq!(found(1).await, Some(in_memory));

    let upload = new_scan(f.account);
    let uploaded = upload.id;
    assert_eq!(f.store.await_upload(upload, [1; 32], at(3600), 2).await.unwrap(), Awaiting::Awaiting);
    assert_eq!(f.store.record_upload_finished(uploaded, newer(2), false).await.unwrap(), Recorded::Recorded);
    assert_eq!(found(2).await, Some(uploaded));

    let queued = f.queued(|_| {}).await;
    let lease = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
    f.store.complete(lease, newer(3)).await.unwrap();
    assert_eq!(found(3).await, Some(queued));
    assert_eq!(f.store.scan(f.account, queued).await.unwrap().fingerprint, "f2");
    assert_eq!(f.store.reuse(f.account, Sha256::new([3; 32]), "f1", now()).await.unwrap(), None);
}

#[tokio::test]
async fn open_uploads_are_limited() {
    let f = fixture().await;
    for expected in [Awaiting::Awaiting, Awaiting::Awaiting, Awaiting::TooManyOpen] {
        assert_eq!(f.store.await_upload(new_scan(f.account), [1; 32], at(3600), 2).await.unwrap(), expected);
    }
    assert_eq!(f.store.depths().await.unwrap().awaiting_upload, 2);
    let mut later = new_scan(f.account);
    later.created_at = at(3600);
    assert_eq!(f.store.await_upload(later, [1; 32], at(7200), 2).await.unwrap(), Awaiting::Awaiting, "those that expired are not open");
}

#[tokio::test]
async fn only_complete_scans_of_the_same_kind_are_reused() {
    let f = fixture().await;
    let reuse = async |content, fingerprint, since| f.store.reuse(f.account, Sha256::new([content; 32]), fingerprint, since).await.unwrap();
    f.finished(|_, outcome| (outcome.judgement, outcome.file) = (judgement(Verdict::Failed), Some(facts(1)))).await;
    f.queued(|_| {}).await;
    assert_eq!(reuse(1, "f1", now()).await, None);
    let id = f.finished(|_, outcome| outcome.judgement = judgement(Verdict::Infected)).await;
    let found = reuse(1, "f1", at(1)).await.unwrap();
    assert_eq!((found.scan, found.judgement.verdict, found.file), (id, Verdict::Infected, facts(1)));
    assert_eq!(reuse(1, "f1", at(2)).await, None);
    assert_eq!(reuse(1, "f2", now()).await, None);
    assert_eq!(reuse(2, "f1", now()).await, None);
    let copy = f.store.record_finished(new_scan(f.account), outcome(Verdict::Infected), true).await.unwrap();
    assert_eq!((copy, reuse(1, "f1", now()).await.unwrap().scan), (Recorded::Recorded, id));
}

#[tokio::test]
async fn a_cursor_stays_where_it_is() {
    let f = fixture().await;
    let mut made = Vec::new();
    for number in 0..10 {
        // Two of each moment.
        made.push(f.finished(|new, _| new.created_at = at(number / 2)).await);
    }
    made.reverse();
    let page = |cursor| f.store.scans(f.account, ListFilter { limit: 4, cursor, ..ListFilter::default() });
    let first = page(None).await.unwrap();
    assert_eq!(first.scans.iter().map(|scan| scan.id).collect::<Vec<_>>(), made[..4]);
    let cursor: Cursor = first.next.unwrap().to_string().parse().unwrap();
    f.finished(|new, _| new.created_at = at(100)).await;
    f.store.delete(f.account, made[3], at(1)).await.unwrap();
    let second = page(Some(cursor)).await.unwrap();
    assert_eq!(second.scans.iter().map(|scan| scan.id).collect::<Vec<_>>(), made[4..8]);
    let third = page(second.next).await.unwrap();
    assert_eq!((third.scans.len(), third.next), (2, None));
    for text in ["", "_", "1", "1_scn_", "x_scn_01ARYZ6S410000000000000000"] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn lists_by_every_filter() {
    let f = fixture().await;
    let metadata = "{\"n\":1.50,\"s\":\"a\\u0062\",\"t\":true,\"z\":null,\"o\":{\"n\":1}}";
    let id = f
        .finished(|new, outcome| {
            (new.metadata, new.created_at) = (Some(metadata.into()), at(10));
            (outcome.judgement, outcome.file) = (judgement(Verdict::Nsfw), Some(facts(9)));
        })
        .await;
    f.finished(|new, outcome| (new.metadata, outcome.file) = (Some("{\"n\":1.5}".into()), Some(facts(2)))).await;
    f.finished(|_, outcome| (outcome.judgement, outcome.file) = (judgement(Verdict::Failed), None)).await;
    f.queued(|_| {}).await;
    let find = async |filter: ListFilter| {
        let page = f.store.scans(f.account, ListFilter { limit: 100, ..filter }).await.unwrap();
        page.scans.into_iter().map(|scan| scan.id).collect::<Vec<_>>()
    };
    let none = ListFilter::default;
    assert_eq!(find(ListFilter { verdict: Some(Verdict::Nsfw), ..none() }).await, [id]);
    assert_eq!(find(ListFilter { file_hash: Some(Sha256::new([9; 32])), ..none() }).await, [id]);
    assert_eq!(find(ListFilter { since: Some(at(10)), ..none() }).await, [id]);
    assert_eq!(find(ListFilter { until: Some(at(10)), ..none() }).await.len(), 3);
    for (key, value, found) in [
        ("n", "1.50", true),
        ("s", "ab", true),
        ("t", "true", true),
        ("z", "null", true),
        ("n", "1.5000", false),
        ("o", "{\"n\":1}", false),
    ] {
        let filter = ListFilter { metadata: vec![(key.into(), value.into())], ..none() };
        assert_eq!(find(filter).await == [id], found, "{key}={value}");
    }
    let both = |n: &str| vec![("n".to_owned(), n.to_owned()), ("t".to_owned(), "true".to_owned())];
    let found = find(ListFilter { metadata: both("1.50"), verdict: Some(Verdict::Nsfw), since: Some(at(9)), ..none() }).await;
    assert_eq!(found, [id]);
    assert!(find(ListFilter { metadata: both("1.5"), ..none() }).await.is_empty());
    for (status, count) in [
        (ScanState::Complete, 2),
        (ScanState::Failed, 1),
        (ScanState::Pending, 1),
        (ScanState::Scanning, 0),
        (ScanState::AwaitingUpload, 0),
    ] {
        assert_eq!(find(ListFilter { status: Some(status), ..none() }).await.len(), count, "{status}");
    }
}

#[tokio::test]
async fn a_scan_under_way_is_not_deleted_and_any_other_leaves_no_trace() {
    let f = fixture().await;
    let id = f.queued(|new| (new.idempotency, new.webhook) = (idempotency("k"), webhook("a.example"))).await;
    let lease = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
    assert!(matches!(f.store.delete(f.account, id, at(1)).await, Err(StoreError::Conflict(Conflict::ScanInProgress))));
    f.store.release(lease).await.unwrap();
    f.store.delete(f.account, id, at(1)).await.unwrap();
    assert!(f.uploads().is_empty());
    assert!(matches!(f.store.delete(f.account, id, at(1)).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.complete(lease, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
    assert!(f.store.idempotent(f.account, "k", now()).await.unwrap().is_none());

    let id = f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let claim = claims(&f.store, at(5), at(20)).await.claims.remove(0);
    f.store.delete(f.account, id, at(1)).await.unwrap();
    let late = f.store.finish_attempt(&claim, attempt(200), filesafety_store::Next::Delivered).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)));
    assert!(f.store.events_since(f.account, filesafety_store::After::Beginning, now(), 10).await.unwrap().events.is_empty());
    let depths = f.store.depths().await.unwrap();
    assert_eq!((depths.deliveries_delivering, depths.scanning, depths.pending_async), (0, 0, 0));
}

#[tokio::test]
async fn two_hundred_callers_are_all_answered() {
    let f = fixture().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (store, account) = (f.store.clone(), f.account);
        calls.spawn(async move {
            for _ in 0..5 {
                let id = scan_id();
                let new = filesafety_store::NewScan { id, ..new_scan(account) };
                assert_eq!(store.record_finished(new, outcome(Verdict::Clean), false).await.unwrap(), Recorded::Recorded);
                assert_eq!(store.scan(account, id).await.unwrap().id, id);
            }
        });
    }
    calls.join_all().await;
    assert_eq!(f.used().await, 1000);
    let page =
        f.store.events_since(f.account, filesafety_store::After::Beginning, now().minus(Duration::from_secs(1)), 2000).await.unwrap();
    assert_eq!(page.events.len(), 1000);
}
