use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Sha256, Timestamp, Verdict};
use filesafety_store::{
    Access, AccountChange, After, Announcement, Conflict, ContentPlace, DeliveryClaim, DeliveryStatus, FirstDelivery, ListFilter, Next,
    StateRecord, StoreError, VerdictTurn,
};

use crate::support::{Fixture, all, at, attempt, claims, entropy, facts, fixture, judgement, now, open, scan_id, webhook};

const UPDATED: &str = "scan.verdict_updated";

fn turn(scan: ScanId, seen: u32, verdict: Verdict) -> VerdictTurn {
    let (event, sequence) = (EventId::new(now(), entropy()), seen + 1);
    let announcement =
        Announcement { event, name: UPDATED.into(), sequence, body: format!("{{\"sequence\":{sequence}}}"), created_at: at(50) };
    let delivery = FirstDelivery { id: DeliveryId::new(now(), entropy()), due_at: at(50) };
    VerdictTurn { scan, seen, at: at(50), judgement: judgement(verdict), announcement, delivery }
}

/// A finished scan whose owner wants to hear of both events.
async fn told(f: &Fixture) -> ScanId {
    let change = |new: &mut filesafety_store::NewScan, _: &mut filesafety_store::Outcome| {
        new.webhook = webhook("a.example");
        new.events = vec!["scan.complete".into(), UPDATED.into()];
    };
    f.finished(change).await
}

async fn due(f: &Fixture, now: Timestamp) -> Vec<DeliveryClaim> {
    claims(&f.store, now, now.plus(std::time::Duration::from_secs(20))).await.claims
}

#[tokio::test]
async fn a_turned_verdict_is_the_scans_verdict_everywhere() {
    let f = fixture().await;
    let id = told(&f).await;
    assert!(f.store.reuse(f.account, facts(1).sha256, "f1", now()).await.unwrap().is_some());
    assert!(f.store.turn_verdict(turn(id, 1, Verdict::Infected)).await.unwrap());
    let scan = f.store.scan(f.account, id).await.unwrap();
    assert_eq!((scan.sequence, scan.updated_at), (2, Some(at(50))));
    let StateRecord::Finished { at: finished_at, judgement } = &scan.state else { panic!("{scan:?}") };
    assert_eq!((*finished_at, judgement.verdict), (at(1), Verdict::Infected));
    let of = |verdict| ListFilter { verdict: Some(verdict), ..all() };
    assert_eq!(f.store.scans(f.account, of(Verdict::Infected)).await.unwrap().scans.len(), 1);
    assert!(f.store.scans(f.account, of(Verdict::Clean)).await.unwrap().scans.is_empty());
    assert_eq!(f.store.reuse(f.account, facts(1).sha256, "f1", now()).await.unwrap(), None, "an outdated judgement stands for no other");
    let events = f.store.events_since(f.account, After::Beginning, at(0), 10).await.unwrap().events;
    assert_eq!(events.iter().map(|event| (event.name.as_str(), event.sequence)).collect::<Vec<_>>(), [("scan.complete", 1), (UPDATED, 2)]);
}

#[tokio::test]
async fn of_two_that_turn_the_same_verdict_one_does() {
    let f = fixture().await;
    let id = told(&f).await;
    let beside = open(&f.folder, Access::Shared).await.unwrap();
    let (one, other) =
        tokio::join!(f.store.turn_verdict(turn(id, 1, Verdict::Infected)), beside.turn_verdict(turn(id, 1, Verdict::Infected)));
    let results = [one, other];
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(true))).count(), 1, "{results:?}");
    let lost = results.iter().filter(|result| matches!(result, Err(StoreError::Conflict(Conflict::VerdictTurned))));
    assert_eq!(lost.count(), 1, "{results:?}");
    assert_eq!(f.store.events_since(f.account, After::Beginning, at(0), 10).await.unwrap().events.len(), 2);
    f.store.turn_verdict(turn(id, 2, Verdict::Clean)).await.unwrap();
    assert_eq!(f.store.scan(f.account, id).await.unwrap().sequence, 3);
}

#[tokio::test]
async fn only_a_complete_scan_is_turned() {
    let f = fixture().await;
    let failed = f.finished(|_, outcome| outcome.judgement = judgement(Verdict::Failed)).await;
    let waiting = f.queued(|_| {}).await;
    let erased = told(&f).await;
    f.store.delete(f.account, erased, at(2)).await.unwrap();
    for scan in [failed, waiting, erased, scan_id()] {
        let result = f.store.turn_verdict(turn(scan, 1, Verdict::Infected)).await;
        assert!(matches!(result, Err(StoreError::NotFound)), "{result:?}");
    }
}

#[tokio::test]
async fn webhooks_tell_what_was_asked_for() {
    let f = fixture().await;
    let with = async |events: &[&str]| {
        let events: Vec<String> = events.iter().map(|name| (*name).to_owned()).collect();
        f.finished(|new, _| {
            new.webhook = webhook("a.example");
            new.events = events;
        })
        .await
    };
    let complete = with(&["scan.complete"]).await;
    let updated = with(&[UPDATED]).await;
    let default = with(&[]).await;
    let silent = f.finished(|new, _| new.events = vec![UPDATED.into()]).await;
    let states = async |id| f.store.scan(f.account, id).await.unwrap().webhook.and_then(|webhook| webhook.status);
    assert_eq!((states(complete).await, states(updated).await), (Some(DeliveryStatus::Pending), None));
    assert_eq!(states(default).await, Some(DeliveryStatus::Pending), "the account's own list, where the scan has none");
    let turned = async |id, seen| f.store.turn_verdict(turn(id, seen, Verdict::Infected)).await.unwrap();
    assert_eq!((turned(complete, 1).await, turned(updated, 1).await, turned(default, 1).await), (false, true, false));
    assert!(!turned(silent, 1).await, "there is no place to send it to");
    let change = AccountChange { events: Some(vec!["scan.complete".into(), UPDATED.into()]), ..AccountChange::default() };
    f.store.set_account("default", change).await.unwrap();
    assert_eq!((turned(complete, 2).await, turned(default, 2).await), (false, true), "as the account has it now");
    // The stream tells everything.
    let events = f.store.events_since(f.account, After::Beginning, at(0), 100).await.unwrap().events;
    assert_eq!(events.iter().filter(|event| event.name == UPDATED).count(), 6);
}

#[tokio::test]
async fn a_retried_event_never_comes_after_its_update() {
    let f = fixture().await;
    let id = told(&f).await;
    let first = due(&f, at(5)).await.remove(0);
    assert_eq!(first.event_name, "scan.complete");
    f.store.turn_verdict(turn(id, 1, Verdict::Infected)).await.unwrap();
    assert!(due(&f, at(60)).await.iter().all(|claim| claim.id == first.id), "under way, or interrupted: the update waits");
    let first = match due(&f, at(100)).await.as_slice() {
        [again] => again.clone(),
        others => panic!("{others:?}"),
    };
    assert_eq!(first.event_name, "scan.complete");
    f.store.finish_attempt(&first, attempt(500), Next::RetryAt(at(200))).await.unwrap();
    assert!(due(&f, at(199)).await.is_empty(), "while the first is to be retried, the update waits");
    let first = due(&f, at(200)).await.remove(0);
    assert_eq!(first.event_name, "scan.complete");
    f.store.finish_attempt(&first, attempt(500), Next::Abandoned).await.unwrap();
    let update = due(&f, at(201)).await.remove(0);
    assert_eq!((update.event_name.as_str(), update.body.as_str()), (UPDATED, "{\"sequence\":2}"));
    f.store.finish_attempt(&update, attempt(200), Next::Delivered).await.unwrap();
    // What is delivered again is the newest event; the older one is history.
    assert_eq!(f.store.redeliver(f.account, id, at(300)).await.unwrap(), update.id);
    let again = due(&f, at(300)).await;
    assert_eq!(again.iter().map(|claim| claim.id).collect::<Vec<_>>(), [update.id]);
}

#[tokio::test]
async fn an_update_waits_for_a_redelivery_that_came_before_it() {
    let f = fixture().await;
    let id = told(&f).await;
    let first = due(&f, at(5)).await.remove(0);
    f.store.finish_attempt(&first, attempt(200), Next::Delivered).await.unwrap();
    f.store.redeliver(f.account, id, at(40)).await.unwrap();
    f.store.turn_verdict(turn(id, 1, Verdict::Infected)).await.unwrap();
    let again = due(&f, at(60)).await;
    assert_eq!(again.iter().map(|claim| claim.event_name.as_str()).collect::<Vec<_>>(), ["scan.complete"]);
    f.store.finish_attempt(&again[0], attempt(200), Next::Delivered).await.unwrap();
    assert_eq!(due(&f, at(60)).await[0].event_name, UPDATED);
}

#[tokio::test]
async fn all_content_is_walked_once_and_only_since_then() {
    let f = fixture().await;
    let other = f.store.create_account(AccountId::new(now(), entropy()), "other", AccountChange::default(), now()).await.unwrap().id;
    let mut scans = Vec::new();
    for number in 0..25_u8 {
        let id = f
            .finished(|new, outcome| {
                new.created_at = at(u64::from(number));
                new.account = if number % 2 == 0 { new.account } else { other };
                outcome.file.as_mut().unwrap().sha256 = Sha256::new([number % 5; 32]);
            })
            .await;
        scans.push(id);
    }
    f.store.await_upload(crate::support::new_scan(f.account), [1; 32], at(3600), 10).await.map(drop).unwrap();
    let walk = async |since: Option<Timestamp>| {
        let (mut found, mut place): (Vec<ScanId>, Option<ContentPlace>) = (Vec::new(), None);
        loop {
            let page = f.store.contents(place, since, 4).await.unwrap();
            assert!(page.contents.len() <= 4);
            found.extend(page.contents.iter().map(|content| content.scan));
            place = page.next;
            if place.is_none() {
                found.sort();
                return found;
            }
        }
    };
    let mut expected = scans.clone();
    expected.sort();
    assert_eq!(walk(None).await, expected);
    let mut recent = scans[20..].to_vec();
    recent.sort();
    assert_eq!(walk(Some(at(20))).await, recent);
    assert_eq!(f.store.scan_of_anyone(scans[1]).await.unwrap().account, other);
}
