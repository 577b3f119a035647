//! `deliveries replay`: delivers many webhooks again, a page at a time.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    sync::Arc,
};

use anyhow::{Result, bail};
use filesafety_model::ScanId;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{CLEAN, Pages, store};
use crate::{
    arguments::{ReplayArguments, ReplayStatus},
    client::Client,
};

/// Calls under way at once.
const CALLS: usize = 8;

/// What was done, or would be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    redelivered: u32,
    /// A later event of their scans followed: that one tells what holds.
    superseded: u32,
    /// On their way at this moment.
    under_way: u32,
    /// Their scans were deleted meanwhile.
    gone: u32,
}

/// How the service took a call.
enum Taken {
    Redelivered,
    UnderWay,
    Gone,
}

pub(super) async fn run(client: Client, arguments: &ReplayArguments) -> Result<u8> {
    if arguments.span.since.is_none() {
        bail!("give --since, such as --since 6h: how far back to go");
    }
    let status = match arguments.status {
        ReplayStatus::Abandoned => "abandoned",
        ReplayStatus::Delivered => "delivered",
    };
    let client = Arc::new(client);
    // A page is read before its deliveries are touched, and pages go by the time at which deliveries were made: what is delivered again
    // neither comes twice nor hides another.
    let mut pages = Pages::new(Some(status), &arguments.span, store::now())?;
    let (mut tally, mut left) = (Tally::default(), arguments.limit);
    while left > 0 {
        let page = pages.next(&client, left).await?;
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        let scans = scans(&page, &mut tally);
        let done = if arguments.dry_run { count(&mut tally, &scans) } else { redeliver(&client, scans, &mut tally).await };
        if let Err(error) = done {
            writeln!(io::stderr(), "{}", tally.sentence(arguments.dry_run))?;
            return Err(error.context("it stopped there; run it again for the rest"));
        }
        if pages.is_over() {
            break;
        }
    }
    writeln!(io::stderr(), "{}", tally.sentence(arguments.dry_run))?;
    if !pages.is_over() {
        writeln!(io::stderr(), "There are more than --limit {}; --until takes what is left.", arguments.limit)?;
    }
    Ok(CLEAN)
}

/// The scans of a page that have nothing newer to tell.
fn scans(page: &[Value], tally: &mut Tally) -> Vec<ScanId> {
    let mut scans = BTreeMap::new();
    for delivery in page {
        if delivery.get("superseded").and_then(Value::as_bool) == Some(true) {
            tally.superseded += 1;
        } else if let Some(scan) = delivery.get("scan_id").and_then(Value::as_str).and_then(|id| id.parse::<ScanId>().ok()) {
            scans.insert(scan, ());
        }
    }
    scans.into_keys().collect()
}

fn count(tally: &mut Tally, scans: &[ScanId]) -> Result<()> {
    tally.redelivered += u32::try_from(scans.len()).unwrap_or(u32::MAX);
    Ok(())
}

async fn redeliver(client: &Arc<Client>, scans: Vec<ScanId>, tally: &mut Tally) -> Result<()> {
    let mut scans = scans.into_iter();
    let mut calls = JoinSet::new();
    let mut failed = Ok(());
    loop {
        while failed.is_ok() && calls.len() < CALLS {
            let Some(scan) = scans.next() else { break };
            calls.spawn(redeliver_one(client.clone(), scan));
        }
        match calls.join_next().await {
            None => return failed,
            Some(Ok(Ok(Taken::Redelivered))) => tally.redelivered += 1,
            Some(Ok(Ok(Taken::UnderWay))) => tally.under_way += 1,
            Some(Ok(Ok(Taken::Gone))) => tally.gone += 1,
            Some(Ok(Err(error))) => failed = Err(error),
            Some(Err(error)) => failed = Err(error.into()),
        }
    }
}

async fn redeliver_one(client: Arc<Client>, scan: ScanId) -> Result<Taken> {
    let answer = client.call(Method::POST, &format!("/v1/scan/{scan}/redeliver")).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(Taken::Gone),
        StatusCode::CONFLICT => Ok(Taken::UnderWay),
        _ => answer.success().map(|_| Taken::Redelivered),
    }
}

impl Tally {
    fn sentence(&self, dry_run: bool) -> String {
        let many = |count: u32| if count == 1 { "1 webhook".to_owned() } else { format!("{count} webhooks") };
        let verb = if dry_run {
            "would be delivered again"
        } else if self.redelivered == 1 {
            "is delivered again"
        } else {
            "are delivered again"
        };
        let mut sentence = format!("{} {verb}", many(self.redelivered));
        for (count, why) in [
            (self.superseded, "left out, since a later event of the scan followed"),
            (self.under_way, "under way at this moment"),
            (self.gone, "gone with their scans"),
        ] {
            if count > 0 {
                sentence += &format!("; {count} {why}");
            }
        }
        sentence + "."
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_superseded_is_left_out() {
        let scan = "scn_01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let page = [json!({"scan_id": scan, "superseded": true}), json!({"scan_id": scan, "superseded": false}), json!({"scan_id": "x"})];
        let mut tally = Tally::default();
        assert_eq!(scans(&page, &mut tally), [scan.parse().unwrap()]);
        assert_eq!(tally, Tally { superseded: 1, ..Tally::default() });
    }

    #[test]
    fn it_says_what_it_did() {
        let tally = Tally { redelivered: 1, superseded: 2, under_way: 0, gone: 3 };
        assert_eq!(
            tally.sentence(false),
            "1 webhook is delivered again; 2 left out, since a later event of the scan followed; 3 gone with their scans."
        );
        assert_eq!(Tally::default().sentence(true), "0 webhooks would be delivered again.");
    }
}
