//! Lines of deliveries, and whose turn it is.
//!
//! Deliveries of one account to one host and port stand in a line, first attempts and retries apart. The store keeps the lines and their turns;
//! how many of a line may go is the caller's to say, who knows what is under way.

use std::time::Duration;

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};

use crate::{Result, Store, WebhookTarget, secrets::Purpose, sqlite::lines as sql};

/// Which attempts stand in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The first ever made of a delivery.
    First,
    /// Any later one, redeliveries too.
    Retry,
}

/// A line that has its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `host:port`, always with the port.
    pub host: String,
    pub account: AccountId,
    pub lane: Lane,
    /// When those at its head were due, the oldest first: at least one, at most [`Line::HEAD`], none after now.
    pub due: Vec<Timestamp>,
}

impl Line {
    pub const HEAD: usize = 4;
}

/// What becomes of a line's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// So many of its oldest go, at least one. Whoever takes all has another turn once the other lines had theirs.
    Take(usize),
    /// None goes now; its next turn is at `until`, or sooner if an attempt at its host ends.
    Hold { until: Timestamp, why: Hold },
    /// Its first attempts that were due `before` this go to the line of its retries: they are late already.
    Behind { before: Timestamp },
    /// No line of its lane can go.
    NoRoom,
}

/// Why deliveries wait although they are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Enough attempts are under way.
    Room,
    /// The circuit of their host is open.
    Circuit,
}

/// A delivery whose attempt is to be made now. The attempt is written down already: a crash mid-request uses up a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryClaim {
    pub id: DeliveryId,
    /// Its number in the log, from 1; fences.
    pub attempt: u32,
    /// Its number in the present schedule, from 1.
    pub try_number: u32,
    pub account: AccountId,
    pub scan: ScanId,
    pub event: EventId,
    pub event_name: String,
    /// `host:port`, the line's.
    pub host: String,
    pub lane: Lane,
    pub target: WebhookTarget,
    /// The bytes to sign and send.
    pub body: String,
}

/// What a look at the lines gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub claims: Vec<DeliveryClaim>,
    /// When to look again, now or later; lanes that had no room are left out.
    pub next: Option<Timestamp>,
    /// Whether a lane had no room: then look again once an attempt has ended.
    pub no_room: bool,
}

impl Store {
    /// Claims due deliveries until `lease_until`: `limit` of them, and at most a line's head more. Lines have their turns in the order in which they waited for them, a line of
    /// first attempts and one of retries by turns; `turn` is asked how many of each may go. A later event of a scan waits until the earlier
    /// ones are delivered or abandoned. Claims that ran out come back, a try poorer.
    ///
    /// `turn` runs inside the transaction: it must not wait.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: usize,
        turn: impl FnMut(&Line) -> Turn + Send + 'static,
    ) -> Result<Claims> {
        let found = self.write(move |conn| sql::claim(conn, now, lease_until, limit, turn)).await?;
        let mut claims = Vec::with_capacity(found.rows.len());
        for row in found.rows {
            let scan = row.scan;
            match self.unseal_claim(row) {
                Ok(claim) => claims.push(claim),
                // One row that does not open must not stop all others. Its claim runs out, and it comes back here.
                Err(error) => tracing::error!(%scan, %error, "a webhook's URL is lost"),
            }
        }
        Ok(Claims { claims, next: found.next, no_room: found.no_room })
    }

    /// For the start, and for when the clock went back: gives every line its turn, and brings what is planned later than `latest` back to
    /// that time. `latest` is what no schedule reaches from now. Works in rounds, between which others write.
    pub async fn realign_deliveries(&self, now: Timestamp, latest: Timestamp) -> Result<()> {
        self.write(move |conn| sql::wake_lines(conn, now)).await?;
        self.signal_deliveries();
        while self.write(move |conn| sql::bring_back(conn, latest)).await? {}
        self.signal_deliveries();
        Ok(())
    }

    /// For when the clock went forward by so much: claims hold that much longer.
    pub async fn extend_claims(&self, by: Duration) -> Result<()> {
        self.write(move |conn| sql::extend_claims(conn, by)).await
    }

    fn unseal_claim(&self, row: sql::ClaimRow) -> Result<DeliveryClaim> {
        let url = self.sealer().open_text(Purpose::ScanWebhook, &row.scan.to_string(), &row.url)?;
        Ok(DeliveryClaim {
            id: row.id,
            attempt: row.attempt,
            try_number: row.try_number,
            account: row.account,
            scan: row.scan,
            event: row.event,
            event_name: row.event_name,
            host: row.host,
            lane: row.lane,
            target: WebhookTarget { url, url_host: row.url_host },
            body: row.body,
        })
    }
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::First, Self::Retry];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
        }
    }
}

impl Hold {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Circuit => "circuit",
        }
    }
}
