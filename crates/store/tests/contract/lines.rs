//! Whose turn it is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use filesafety_model::{DeliveryId, EventId, ScanId, Timestamp};
use filesafety_store::{Claims, DeliveryStatus, Hold, Lane, Line, Next, Postponed, Turn};

use crate::support::{Fixture, at, attempt, claims, entropy, fixture, now, webhook};

/// A finished scan with its delivery due then.
async fn due_at(f: &Fixture, host: &str, seconds: u64) -> ScanId {
    f.finished(|new, outcome| {
        new.webhook = webhook(host);
        outcome.delivery.as_mut().unwrap().due_at = at(seconds);
    })
    .await
}

async fn look(f: &Fixture, now: Timestamp, limit: usize, turn: impl FnMut(&Line) -> Turn + Send + 'static) -> Claims {
    f.store.claim_deliveries(now, now.plus(Duration::from_secs(20)), limit, turn).await.unwrap()
}

fn hosts(claims: &Claims) -> Vec<&str> {
    claims.claims.iter().map(|claim| claim.host.as_str()).collect()
}

#[tokio::test]
async fn lines_take_turns_and_hosts_have_their_ports() {
    let f = fixture().await;
    for _ in 0..5 {
        due_at(&f, "busy.example", 1).await;
    }
    for host in ["b.example", "c.example:8443", "[2001:db8::1]", "[2001:db8::1]:9"] {
        due_at(&f, host, 2).await;
    }
    let one = |_: &Line| Turn::Take(1);
    let first = look(&f, at(5), 3, one).await;
    assert_eq!(hosts(&first), ["busy.example:443", "b.example:443", "c.example:8443"]);
    assert!(first.next.is_some_and(|next| next <= at(5)), "there is more to do");
    let second = look(&f, at(6), 3, one).await;
    assert_eq!(hosts(&second), ["[2001:db8::1]:443", "[2001:db8::1]:9", "busy.example:443"], "who had a turn goes to the end");
    let rest = look(&f, at(7), 100, |line| Turn::Take(line.due.len())).await;
    assert_eq!(hosts(&rest), ["busy.example:443"; 3]);
    assert_eq!(rest.claims[0].target.url_host, "busy.example");
    assert_eq!(rest.next, Some(at(25)), "the end of the first claims");
}

#[tokio::test]
async fn retries_and_first_attempts_go_by_turns() {
    let f = fixture().await;
    for number in 0..4 {
        due_at(&f, &format!("old{number}.example"), 0).await;
    }
    for claim in claims(&f.store, at(0), at(9)).await.claims {
        assert_eq!(claim.lane, Lane::First);
        f.store.finish_attempt(&claim, attempt(500), Next::RetryAt(at(1))).await.unwrap();
    }
    for number in 0..2 {
        due_at(&f, &format!("new{number}.example"), 2).await;
    }
    let got = look(&f, at(3), 4, |_| Turn::Take(1)).await;
    let lanes: Vec<_> = got.claims.iter().map(|claim| claim.lane).collect();
    assert_eq!(lanes, [Lane::First, Lane::Retry, Lane::First, Lane::Retry]);
    let rest = look(&f, at(3), 9, |line| if line.lane == Lane::First { Turn::NoRoom } else { Turn::Take(1) }).await;
    assert_eq!((rest.claims.len(), rest.no_room), (2, false), "a lane that nobody asked for has room");
}

#[tokio::test]
async fn late_first_attempts_can_be_put_behind() {
    let f = fixture().await;
    let scans = [due_at(&f, "a.example", 0).await, due_at(&f, "a.example", 1).await, due_at(&f, "a.example", 5).await];
    let behind = |line: &Line| match line.lane {
        Lane::First if line.due[0] < at(2) => Turn::Behind { before: at(2) },
        Lane::First => Turn::Take(line.due.len()),
        Lane::Retry => panic!("its turn is in the next look"),
    };
    let first = look(&f, at(5), 9, behind).await;
    assert!(first.claims.is_empty());
    assert!(first.next.is_some_and(|next| next <= at(5)), "there is more to do");
    let got = look(&f, at(5), 9, |line| Turn::Take(line.due.len())).await;
    let got: Vec<_> = got.claims.iter().map(|claim| (claim.lane, claim.scan, claim.try_number)).collect();
    assert_eq!(got, [(Lane::First, scans[2], 1), (Lane::Retry, scans[0], 1), (Lane::Retry, scans[1], 1)]);
}

#[tokio::test]
async fn a_lane_without_room_is_not_asked_again() {
    let f = fixture().await;
    for number in 0..3 {
        due_at(&f, &format!("h{number}.example"), 0).await;
    }
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let got = look(&f, at(1), 9, move |_| {
        *count.lock().unwrap() += 1;
        Turn::NoRoom
    })
    .await;
    assert_eq!((got.claims.len(), got.no_room, got.next, *asked.lock().unwrap()), (0, true, None, 1));
    assert_eq!(claims(&f.store, at(1), at(9)).await.claims.len(), 3, "they keep their turn");
}

#[tokio::test]
async fn a_held_line_waits_for_its_time_or_for_room() {
    let f = fixture().await;
    let id = due_at(&f, "a.example", 0).await;
    let under_way = claims(&f.store, at(0), at(90)).await.claims.remove(0);
    due_at(&f, "a.example", 1).await;
    let held = look(&f, at(1), 9, |line| {
        assert_eq!((line.host.as_str(), &line.due[..]), ("a.example:443", &[at(1)][..]));
        Turn::Hold { until: at(30), why: Hold::Room }
    })
    .await;
    assert_eq!((held.claims.len(), held.next), (0, Some(at(30))));
    assert!(claims(&f.store, at(2), at(90)).await.claims.is_empty());
    f.store.finish_attempt(&under_way, attempt(500), Next::RetryAt(at(300))).await.unwrap();
    assert_eq!(claims(&f.store, at(6), at(90)).await.claims.len(), 1, "an attempt at its host has ended");
    assert_eq!(f.store.deliveries(f.account, id).await.unwrap().planned[0].at, at(300));
}

#[tokio::test]
async fn an_open_circuit_is_the_reason_and_a_success_ends_it() {
    let f = fixture().await;
    due_at(&f, "a.example", 0).await;
    let probe = claims(&f.store, at(0), at(90)).await.claims.remove(0);
    let id = due_at(&f, "a.example", 1).await;
    assert_eq!(f.store.deliveries(f.account, id).await.unwrap().planned[0].postponed, None);
    look(&f, at(1), 9, |_| Turn::Hold { until: at(11), why: Hold::Circuit }).await;
    let planned = f.store.deliveries(f.account, id).await.unwrap().planned.remove(0);
    assert_eq!((planned.number, planned.at, planned.postponed), (1, at(11), Some(Postponed::Circuit)));
    let listed = f.store.delivery_list(f.account, Default::default()).await.unwrap().deliveries.remove(0);
    assert_eq!((listed.scan, listed.status, listed.next), (id, DeliveryStatus::Pending, Some(planned)));
    f.store.finish_attempt(&probe, attempt(500), Next::RetryAt(at(300))).await.unwrap();
    assert!(claims(&f.store, at(7), at(90)).await.claims.is_empty(), "a failure opens no circuit");
    due_at(&f, "b.example", 7).await;
    let other = claims(&f.store, at(7), at(90)).await.claims.remove(0);
    f.store.finish_attempt(&other, attempt(200), Next::Delivered).await.unwrap();
    assert!(claims(&f.store, at(8), at(90)).await.claims.is_empty(), "nor does another host's success");
    let again = claims(&f.store, at(300), at(400)).await.claims;
    assert_eq!(again.len(), 2);
    f.store.finish_attempt(&again[0], attempt(200), Next::Delivered).await.unwrap();
}

#[tokio::test]
async fn a_success_gives_the_lines_behind_the_circuit_their_turn() {
    let f = fixture().await;
    due_at(&f, "a.example", 0).await;
    let probe = claims(&f.store, at(0), at(90)).await.claims.remove(0);
    due_at(&f, "a.example", 1).await;
    look(&f, at(1), 9, |_| Turn::Hold { until: at(61), why: Hold::Circuit }).await;
    f.store.finish_attempt(&probe, attempt(200), Next::Delivered).await.unwrap();
    assert_eq!(claims(&f.store, at(7), at(90)).await.claims.len(), 1);
}

#[tokio::test]
async fn a_new_delivery_gives_its_line_a_turn() {
    let f = fixture().await;
    due_at(&f, "a.example", 100).await;
    assert_eq!(claims(&f.store, at(0), at(9)).await.next, Some(at(100)));
    let sooner = due_at(&f, "a.example", 3).await;
    assert_eq!(claims(&f.store, at(1), at(9)).await.next, Some(at(3)));
    let claim = claims(&f.store, at(3), at(9)).await;
    assert_eq!((claim.claims[0].scan, claim.claims.len()), (sooner, 1));
    f.store.delete(f.account, sooner, at(4)).await.unwrap();
    assert_eq!(claims(&f.store, at(4), at(9)).await.next, Some(at(100)));
}

#[tokio::test]
async fn a_later_event_waits_for_the_earlier() {
    let f = fixture().await;
    let id = due_at(&f, "a.example", 0).await;
    let update = second_event(&f, id);
    let earlier = claims(&f.store, at(1), at(90)).await.claims;
    assert_eq!((earlier.len(), earlier[0].event_name.as_str()), (1, "scan.complete"));
    f.store.finish_attempt(&earlier[0], attempt(500), Next::RetryAt(at(10))).await.unwrap();
    assert!(claims(&f.store, at(9), at(90)).await.claims.is_empty());
    let log = f.store.deliveries(f.account, id).await.unwrap();
    let planned: Vec<_> = log.planned.iter().map(|planned| (planned.number, planned.postponed)).collect();
    assert_eq!(planned, [(2, None), (1, Some(Postponed::EarlierEvent))]);
    let again = claims(&f.store, at(10), at(90)).await.claims.remove(0);
    f.store.finish_attempt(&again, attempt(410), Next::Abandoned).await.unwrap();
    let later = claims(&f.store, at(11), at(90)).await.claims;
    assert_eq!((later.len(), later[0].event), (1, update));
    let page = f.store.delivery_list(f.account, Default::default()).await.unwrap();
    let superseded: Vec<_> = page.deliveries.iter().map(|delivery| (delivery.sequence, delivery.superseded)).collect();
    assert_eq!((superseded, page.next.is_some()), (vec![(2, false)], true));
}

/// Announces a scan once more, as newer data would.
fn second_event(f: &Fixture, scan: ScanId) -> EventId {
    let conn = rusqlite::Connection::open(f.folder.path().join("data/filesafety.db")).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let (event, delivery) = (EventId::new(at(1), entropy()), DeliveryId::new(at(1), entropy()));
    let (event_id, scan_id) = (event.to_string(), scan.to_string());
    conn.execute(
        "INSERT INTO events (id, account, scan, name, sequence, body, webhook, created_at) \
         SELECT ?1, account, id, 'scan.verdict_updated', 2, '{}', 1, ?3 FROM scans WHERE id = ?2",
        rusqlite::params![event_id, scan_id, now().as_millis()],
    )
    .unwrap();
    conn.execute(
        "INSERT INTO deliveries (id, account, scan, event, host, status, due_at) \
         SELECT ?2, account, id, ?1, webhook_host || ':443', 'pending', ?4 FROM scans WHERE id = ?3",
        rusqlite::params![event_id, delivery.to_string(), scan_id, now().as_millis()],
    )
    .unwrap();
    event
}

#[tokio::test]
async fn a_clock_that_went_back_delays_nothing_for_long() {
    let f = fixture().await;
    due_at(&f, "a.example", 3600).await;
    due_at(&f, "b.example", 3605).await;
    let claim = claims(&f.store, at(3600), at(3700)).await.claims.remove(0);
    f.store.finish_attempt(&claim, attempt(500), Next::RetryAt(at(3610))).await.unwrap();
    look(&f, at(3605), 9, |_| Turn::Hold { until: at(3660), why: Hold::Circuit }).await;
    // An hour back.
    assert!(claims(&f.store, at(0), at(9)).await.claims.is_empty());
    f.store.realign_deliveries(at(0), at(900)).await.unwrap();
    assert!(claims(&f.store, at(0), at(9)).await.claims.is_empty());
    assert_eq!(claims(&f.store, at(1), at(9)).await.next, Some(at(900)));
    assert_eq!(claims(&f.store, at(900), at(909)).await.claims.len(), 2);
}

#[tokio::test]
async fn a_clock_that_went_forward_takes_no_claim_away() {
    let f = fixture().await;
    due_at(&f, "a.example", 0).await;
    let claim = claims(&f.store, at(0), at(40)).await.claims.remove(0);
    f.store.extend_claims(Duration::from_secs(3600)).await.unwrap();
    assert!(claims(&f.store, at(3600), at(3640)).await.claims.is_empty());
    f.store.finish_attempt(&claim, attempt(200), Next::Delivered).await.unwrap();
}
