use std::time::Duration;

use filesafety_model::{AccountId, Timestamp};
use filesafety_store::{After, AttemptError, AttemptRecord, Conflict, DeliveryClaim, DeliveryStatus, Next, StoreError};

use crate::support::{Fixture, at, attempt, claims, entropy, fixture, webhook};

async fn due(f: &Fixture, now: Timestamp) -> Vec<DeliveryClaim> {
    claims(&f.store, now, now.plus(Duration::from_secs(20))).await.claims
}

#[tokio::test]
async fn a_delivery_waits_for_its_time_and_is_tried_until_it_arrives() {
    let f = fixture().await;
    let id = f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let early = claims(&f.store, at(4), at(20)).await;
    assert_eq!((early.claims.len(), early.next), (0, Some(at(5))));
    let claim = due(&f, at(5)).await.remove(0);
    assert_eq!((claim.scan, claim.attempt, claim.try_number), (id, 1, 1));
    assert_eq!(claim.target.url, "https://a.example/hook?token=SESAME");
    assert_eq!(claim.body, "{\"event\":\"scan.complete\"}");
    assert!(!format!("{claim:?}").contains("SESAME"));
    assert!(due(&f, at(6)).await.is_empty());
    let failed = AttemptRecord {
        status: None,
        error: Some(AttemptError { kind: "timeout".into(), text: "No answer within 10 s.".into() }),
        ..attempt(500)
    };
    f.store.finish_attempt(&claim, failed, Next::RetryAt(at(16))).await.unwrap();
    assert!(matches!(f.store.finish_attempt(&claim, attempt(200), Next::Delivered).await, Err(StoreError::LeaseLost)));
    assert_eq!(claims(&f.store, at(6), at(20)).await.next, Some(at(16)));
    let claim = due(&f, at(16)).await.remove(0);
    f.store.finish_attempt(&claim, attempt(204), Next::Delivered).await.unwrap();
    assert_eq!(claims(&f.store, at(16), at(20)).await.next, None);
    let log = f.store.deliveries(f.account, id).await.unwrap().attempts;
    assert_eq!(log.iter().map(|one| (one.number, one.status)).collect::<Vec<_>>(), [(1, None), (2, Some(204))]);
    assert_eq!((log[0].next_attempt_at, log[1].next_attempt_at), (Some(at(16)), None));
    assert_eq!((log[0].error.as_ref().unwrap().kind.as_str(), log[1].response_head.len()), ("timeout", 1024));
    assert_eq!(log[1].tls.as_deref(), Some("1.3"));
    let webhook = f.store.scan(f.account, id).await.unwrap().webhook.unwrap();
    assert_eq!((webhook.status, webhook.attempts), (Some(DeliveryStatus::Delivered), 2));
}

#[tokio::test]
async fn a_crash_mid_request_uses_up_a_try_and_loses_nothing() {
    let f = fixture().await;
    let id = f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let lost = due(&f, at(5)).await.remove(0);
    assert!(due(&f, at(24)).await.is_empty());
    let again = due(&f, at(25)).await.remove(0);
    assert_eq!((again.id, again.event, again.attempt, again.try_number), (lost.id, lost.event, 2, 2));
    assert!(matches!(f.store.finish_attempt(&lost, attempt(200), Next::Delivered).await, Err(StoreError::LeaseLost)));
    assert_eq!(f.store.recover().await.unwrap().deliveries, 1);
    let third = due(&f, at(26)).await.remove(0);
    assert_eq!(third.attempt, 3);
    let log = f.store.deliveries(f.account, id).await.unwrap().attempts;
    assert_eq!(log[0].error.as_ref().unwrap().kind, "interrupted");
    assert_eq!((log[2].millis, &log[2].error), (None, &None));
    f.store.return_delivery(&third, at(30)).await.unwrap();
    assert_eq!(f.store.deliveries(f.account, id).await.unwrap().attempts.len(), 2);
    assert_eq!(due(&f, at(30)).await.remove(0).attempt, 3);
}

#[tokio::test]
async fn only_a_first_attempt_is_brought_forward() {
    let f = fixture().await;
    f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let claim = async |now| due(&f, now).await.pop();
    assert!(claim(at(1)).await.is_none());
    let id = f.store.scans(f.account, crate::support::all()).await.unwrap().scans[0].webhook.clone().unwrap().delivery.unwrap();
    f.store.bring_forward(id, at(2)).await.unwrap();
    f.store.bring_forward(id, at(3)).await.unwrap();
    let first = claim(at(2)).await.unwrap();
    f.store.bring_forward(id, at(2)).await.unwrap();
    f.store.finish_attempt(&first, attempt(500), Next::RetryAt(at(12))).await.unwrap();
    f.store.bring_forward(id, at(3)).await.unwrap();
    assert!(claim(at(11)).await.is_none());
}

#[tokio::test]
async fn redelivers_what_was_abandoned() {
    let f = fixture().await;
    let id = f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let claim = due(&f, at(5)).await.remove(0);
    let again = || f.store.redeliver(f.account, id, at(100));
    assert!(matches!(again().await, Err(StoreError::Conflict(Conflict::DeliveryInProgress))));
    f.store.finish_attempt(&claim, attempt(410), Next::Abandoned).await.unwrap();
    assert!(due(&f, at(99)).await.is_empty());
    assert_eq!(again().await.unwrap(), claim.id);
    let retried = due(&f, at(100)).await.remove(0);
    assert_eq!((retried.event, retried.attempt, retried.try_number), (claim.event, 2, 1));
    f.store.finish_attempt(&retried, attempt(200), Next::Delivered).await.unwrap();
    assert_eq!(f.store.deliveries(f.account, id).await.unwrap().attempts.len(), 2);

    let silent = f.finished(|_, _| {}).await;
    assert!(matches!(f.store.redeliver(f.account, silent, at(1)).await, Err(StoreError::Conflict(Conflict::NoWebhook))));
    assert!(f.store.deliveries(f.account, silent).await.unwrap().attempts.is_empty());
    let waiting = f.queued(|new| new.webhook = webhook("a.example")).await;
    assert!(matches!(f.store.redeliver(f.account, waiting, at(1)).await, Err(StoreError::Conflict(Conflict::ScanInProgress))));
}

#[tokio::test]
async fn events_come_in_order_and_tell_of_gaps() {
    let f = fixture().await;
    let mut scans = Vec::new();
    for _ in 0..5 {
        scans.push(f.finished(|_, _| {}).await);
    }
    let since = async |after, kept_from| f.store.events_since(f.account, after, kept_from, 3).await.unwrap();
    let first = since(After::Beginning, at(0)).await;
    assert_eq!(first.events.iter().map(|event| event.scan).collect::<Vec<_>>(), scans[..3]);
    let rest = since(After::Event(first.events[2].id), at(0)).await;
    assert_eq!((rest.gap, rest.events.iter().map(|event| event.scan).collect::<Vec<_>>()), (false, scans[3..].to_vec()));
    assert_eq!(f.store.newest_place(f.account).await.unwrap(), rest.place);
    f.store.delete(f.account, scans[2], at(1)).await.unwrap();
    let page = since(After::Event(first.events[2].id), at(0)).await;
    assert!(page.gap && page.events.len() == 3);
    let page = since(After::Event(rest.events[0].id), at(2)).await;
    assert!(page.gap && page.events.is_empty());
}

#[tokio::test]
async fn erasing_the_newest_event_repeats_none_and_hides_none() {
    let f = fixture().await;
    f.finished(|_, _| {}).await;
    let newest = f.finished(|_, _| {}).await;
    let seen = f.store.events_since(f.account, After::Beginning, at(0), 10).await.unwrap();
    assert_eq!(seen.events.len(), 2);
    f.store.delete(f.account, newest, at(1)).await.unwrap();
    let page = f.store.events_since(f.account, After::Place(seen.place), at(0), 10).await.unwrap();
    assert_eq!((page.gap, page.events.len(), page.place), (false, 0, seen.place));
    let next = f.finished(|_, _| {}).await;
    let page = f.store.events_since(f.account, After::Place(seen.place), at(0), 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.scan).collect::<Vec<_>>(), [next]);
}

#[tokio::test]
async fn every_bookmark_is_read_by_its_account_alone() {
    let f = fixture().await;
    let other = AccountId::new(at(0), entropy());
    for number in 0..300 {
        f.finished(|_, _| {}).await;
        let place = f.store.newest_place(f.account).await.unwrap();
        let text = f.store.bookmark(f.account, place, at(number));
        assert_eq!(f.store.read_bookmark(f.account, &text), Some(After::Bookmark { place, at: at(number) }), "{text}");
        assert_eq!(f.store.read_bookmark(other, &text), None);
        assert_eq!(f.store.read_bookmark(f.account, &text.replace("at_", "at_1")), None);
    }
    for text in ["", "at_", "at_1", "at_1_2", "at_1_2_", "at_x_2_AAAAAAAAAAAAAAAA", "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        assert_eq!(f.store.read_bookmark(f.account, text), None, "{text}");
    }
}

#[tokio::test]
async fn a_bookmark_resumes_until_it_is_too_old_or_of_a_day_to_come() {
    let f = fixture().await;
    let scan = f.finished(|_, _| {}).await;
    let place = f.store.newest_place(f.account).await.unwrap();
    let since = async |after, kept_from| f.store.events_since(f.account, after, kept_from, 10).await.unwrap();
    f.store.delete(f.account, scan, at(1)).await.unwrap();
    let page = since(After::Bookmark { place, at: at(5) }, at(5)).await;
    assert_eq!((page.gap, page.events.len(), page.place), (false, 0, place));
    assert!(since(After::Bookmark { place, at: at(5) }, at(6)).await.gap);
    let later = f.finished(|_, _| {}).await;
    let beyond = f.store.newest_place(f.account).await.unwrap();
    let page = since(After::Bookmark { place, at: at(5) }, at(0)).await;
    assert_eq!((page.gap, page.events.iter().map(|event| event.scan).collect::<Vec<_>>()), (false, vec![later]));
    // A store that was put back to an earlier day knows less than its readers.
    let restored = fixture().await;
    let page = restored.store.events_since(restored.account, After::Bookmark { place: beyond, at: at(5) }, at(0), 10).await.unwrap();
    assert!(page.gap);
}
