//! Lists of deliveries.

use filesafety_model::DeliveryId;
use filesafety_store::{AttemptError, AttemptRecord, DeliveryFilter, DeliveryStatus, FinishedAttempt, Next};

use crate::support::{Fixture, at, attempt, claims, entropy, fixture, webhook};

async fn fill(f: &Fixture) {
    for number in 0..6 {
        f.finished(|new, outcome| {
            new.webhook = webhook("a.example");
            (outcome.at, outcome.announcement.created_at) = (at(number), at(number));
            let delivery = outcome.delivery.as_mut().unwrap();
            (delivery.id, delivery.due_at) = (DeliveryId::new(at(number), entropy()), at(number));
        })
        .await;
    }
    let mut claims = claims(&f.store, at(3), at(99)).await.claims;
    assert_eq!(claims.len(), 4);
    let error = Some(AttemptError { kind: "status".into(), text: "the answer was 410 Gone".into() });
    claims.pop();
    let ended = claims.into_iter().enumerate().map(|(index, claim)| FinishedAttempt {
        delivery: claim.id,
        attempt: claim.attempt,
        host: claim.host,
        record: if index == 0 { AttemptRecord { error: error.clone(), ..attempt(410) } } else { attempt(200) },
        next: if index == 0 { Next::Abandoned } else { Next::Delivered },
    });
    assert_eq!(f.store.finish_attempts(ended.collect(), at(7)).await.unwrap(), [true; 3]);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_by_status_and_time() {
    let f = fixture().await;
    fill(&f).await;
    let list = async |filter: DeliveryFilter| {
        let page = f.store.delivery_list(f.account, DeliveryFilter { limit: 100, ..filter }).await.unwrap();
        assert_eq!(page.next, None);
        page.deliveries
    };
    let all = list(DeliveryFilter::default()).await;
    assert!(all.is_sorted_by(|a, b| a.created_at > b.created_at) && all.len() == 6);
    for (status, count) in
        [(DeliveryStatus::Pending, 2), (DeliveryStatus::Delivering, 1), (DeliveryStatus::Delivered, 2), (DeliveryStatus::Abandoned, 1)]
    {
        let found = list(DeliveryFilter { status: Some(status), ..DeliveryFilter::default() }).await;
        assert!(found.len() == count && found.iter().all(|delivery| delivery.status == status), "{found:?}");
    }
    let between = list(DeliveryFilter { since: Some(at(1)), until: Some(at(3)), ..DeliveryFilter::default() }).await;
    assert_eq!(between.iter().map(|delivery| delivery.created_at).collect::<Vec<_>>(), [at(2), at(1)]);
    let abandoned = &all[5];
    let last = abandoned.last.as_ref().unwrap();
    assert_eq!((abandoned.attempts, last.number, last.status, last.tls.as_deref()), (1, 1, Some(410), Some("1.3")));
    assert_eq!((last.target.url.as_str(), &abandoned.next), ("https://a.example/hook?token=SESAME", &None));
    let waiting = &all[0];
    assert_eq!((waiting.attempts, &waiting.last, waiting.next.as_ref().map(|next| (next.number, next.at))), (0, &None, Some((1, at(5)))));
}

#[tokio::test]
async fn pages_follow_one_another_and_show_nobody_elses() {
    let f = fixture().await;
    fill(&f).await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = f.store.delivery_list(f.account, DeliveryFilter { limit: 4, cursor, ..DeliveryFilter::default() }).await.unwrap();
        seen.extend(page.deliveries.iter().map(|delivery| delivery.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        // What is added meanwhile is newer, and on no later page.
        f.finished(|new, outcome| {
            new.webhook = webhook("a.example");
            outcome.delivery.as_mut().unwrap().id = DeliveryId::new(at(50), entropy());
        })
        .await;
    }
    assert!(seen.len() == 6 && seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let other = filesafety_model::AccountId::new(at(0), entropy());
    assert!(f.store.delivery_list(other, DeliveryFilter::default()).await.unwrap().deliveries.is_empty());
}

#[tokio::test]
async fn an_attempt_that_lost_its_claim_is_not_written() {
    let f = fixture().await;
    f.finished(|new, _| new.webhook = webhook("a.example")).await;
    let claim = claims(&f.store, at(5), at(6)).await.claims.remove(0);
    let ended =
        |record| FinishedAttempt { delivery: claim.id, attempt: claim.attempt, host: claim.host.clone(), record, next: Next::Delivered };
    let both = f.store.finish_attempts(vec![ended(attempt(200)), ended(attempt(500))], at(7)).await.unwrap();
    assert_eq!(both, [true, false]);
    assert_eq!(f.store.deliveries(f.account, claim.scan).await.unwrap().attempts[0].status, Some(200));
}
