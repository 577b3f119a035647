//! What became of deliveries, and what is planned.

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};
use rusqlite::{Connection, Row, types::Value};

use super::columns::{all, number, number_if_any, parsed, parsed_if_any, time, time_if_any};
use crate::{AttemptError, DeliveryFilter, DeliveryStatus, Hold, Postponed, Result};

/// A sealed URL and its host.
pub(crate) type SealedTarget = (Vec<u8>, String);

/// The attempts to tell of a scan, those that are planned, and where they go.
pub(crate) struct LogRows {
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) planned: Vec<PlannedRow>,
    pub(crate) target: Option<SealedTarget>,
}

/// An attempt as it was logged.
pub(crate) struct AttemptRow {
    pub(crate) delivery: DeliveryId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) number: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) millis: Option<u64>,
    pub(crate) address: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<AttemptError>,
    pub(crate) response_head: Vec<u8>,
    pub(crate) next_at: Option<Timestamp>,
}

/// An attempt that is still to be made.
pub(crate) struct PlannedRow {
    pub(crate) delivery: DeliveryId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) postponed: Option<Postponed>,
}

/// A delivery of the list, with its URL still sealed.
pub(crate) struct DeliveryRow {
    pub(crate) id: DeliveryId,
    pub(crate) scan: ScanId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) sequence: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) status: DeliveryStatus,
    pub(crate) attempts: u32,
    pub(crate) superseded: bool,
    pub(crate) next: Option<(Timestamp, Option<Postponed>)>,
    pub(crate) target: SealedTarget,
    pub(crate) last: Option<AttemptRow>,
}

pub(crate) fn of_scan(conn: &Connection, account: AccountId, scan: ScanId) -> Result<LogRows> {
    let mut query = conn.prepare_cached("SELECT webhook_url, webhook_host FROM scans WHERE id = ?1 AND account = ?2")?;
    let target = query.query_row([scan.to_string(), account.to_string()], |row| {
        Ok(row.get::<_, Option<Vec<u8>>>(0)?.zip(row.get::<_, Option<String>>(1)?))
    })?;
    let mut query = conn.prepare_cached(
        "SELECT a.delivery, d.event, e.name, a.number, a.started_at, a.millis, a.address, a.tls, a.status, a.error_kind, a.error_text, \
         a.response_head, a.next_at FROM deliveries d JOIN attempts a ON a.delivery = d.id JOIN events e ON e.id = d.event \
         WHERE d.scan = ?1 ORDER BY a.started_at, d.row, a.number",
    )?;
    let attempts = all(query.query([scan.to_string()])?, attempt)?;
    let mut query = conn.prepare_cached(
        "SELECT d.id, d.event, e.name, d.attempts, d.due_at, d.blocked, l.turn_at, l.held FROM deliveries d JOIN events e ON e.id = d.event \
         LEFT JOIN lines l ON l.host = d.host AND l.account = d.account AND l.lane = d.lane \
         WHERE d.scan = ?1 AND d.status = 'pending' ORDER BY d.row",
    )?;
    let planned = all(query.query([scan.to_string()])?, |row| {
        let (at, postponed) = plan(row)?;
        Ok(PlannedRow {
            delivery: parsed(row, "id")?,
            event: parsed(row, "event")?,
            event_name: row.get("name")?,
            number: number::<u32>(row, "attempts")?.saturating_add(1),
            at,
            postponed,
        })
    })?;
    Ok(LogRows { attempts, planned, target })
}

/// The account's deliveries, newest first: one more than the page has, if there are more.
pub(crate) fn list(conn: &Connection, account: AccountId, filter: &DeliveryFilter, limit: u32) -> Result<Vec<DeliveryRow>> {
    let (sql, values) = list_query(account, filter, limit);
    let mut query = conn.prepare_cached(&sql)?;
    all(query.query(rusqlite::params_from_iter(values))?, delivery)
}

fn list_query(account: AccountId, filter: &DeliveryFilter, limit: u32) -> (String, Vec<Value>) {
    let mut sql = String::from(
        "SELECT d.id, d.scan, d.event, e.name, e.sequence, e.created_at, d.status AS state, d.attempts, d.due_at, d.blocked, l.turn_at, l.held, \
         s.webhook_url, s.webhook_host, EXISTS (SELECT 1 FROM deliveries n WHERE n.scan = d.scan AND n.row > d.row) AS superseded, \
         a.delivery, a.number, a.started_at, a.millis, a.address, a.tls, a.status, a.error_kind, a.error_text, a.response_head, a.next_at \
         FROM deliveries d CROSS JOIN events e ON e.id = d.event CROSS JOIN scans s ON s.id = d.scan \
         LEFT JOIN lines l ON l.host = d.host AND l.account = d.account AND l.lane = d.lane \
         LEFT JOIN attempts a ON a.delivery = d.id AND a.number = d.attempts WHERE d.account = ?1",
    );
    let mut values: Vec<Value> = vec![account.to_string().into()];
    // Ids begin with their time, and so sort by it.
    let mut narrow = |comparison: &str, id: DeliveryId| {
        values.push(id.to_string().into());
        sql.push_str(&format!(" AND d.id {comparison} ?{}", values.len()));
    };
    if let Some(since) = filter.since {
        narrow(">=", DeliveryId::new(since, [0; 10]));
    }
    if let Some(until) = filter.until {
        narrow("<", DeliveryId::new(until, [0; 10]));
    }
    if let Some(cursor) = filter.cursor {
        narrow("<", cursor);
    }
    // Written out: only so does SQLite see that the partial indexes apply.
    sql.push_str(match filter.status {
        None => "",
        Some(DeliveryStatus::Delivered) => " AND d.status = 'delivered'",
        Some(DeliveryStatus::Abandoned) => " AND d.status = 'abandoned'",
        Some(DeliveryStatus::Pending) => " AND d.status <> 'delivered' AND d.status = 'pending'",
        Some(DeliveryStatus::Delivering) => " AND d.status <> 'delivered' AND d.status = 'delivering'",
    });
    sql.push_str(&format!(" ORDER BY d.id DESC LIMIT {limit}"));
    (sql, values)
}

fn delivery(row: &Row<'_>) -> Result<DeliveryRow> {
    let status = parsed(row, "state")?;
    Ok(DeliveryRow {
        id: parsed(row, "id")?,
        scan: parsed(row, "scan")?,
        event: parsed(row, "event")?,
        event_name: row.get("name")?,
        sequence: number(row, "sequence")?,
        created_at: time(row, "created_at")?,
        status,
        attempts: number(row, "attempts")?,
        superseded: row.get("superseded")?,
        next: if status == DeliveryStatus::Pending { Some(plan(row)?) } else { None },
        target: (row.get::<_, Option<_>>("webhook_url")?.unwrap_or_default(), row.get::<_, Option<_>>("webhook_host")?.unwrap_or_default()),
        last: parsed_if_any::<DeliveryId>(row, "delivery")?.map(|_| attempt(row)).transpose()?,
    })
}

fn attempt(row: &Row<'_>) -> Result<AttemptRow> {
    let kind: Option<String> = row.get("error_kind")?;
    Ok(AttemptRow {
        delivery: parsed(row, "delivery")?,
        event: parsed(row, "event")?,
        event_name: row.get("name")?,
        number: number(row, "number")?,
        started_at: time(row, "started_at")?,
        millis: number_if_any(row, "millis")?,
        address: row.get("address")?,
        tls: row.get("tls")?,
        status: number_if_any(row, "status")?,
        error: kind.zip(row.get("error_text")?).map(|(kind, text)| AttemptError { kind, text }),
        response_head: row.get("response_head")?,
        next_at: time_if_any(row, "next_at")?,
    })
}

/// When a pending delivery goes, as far as that is known, and why not when it was due.
fn plan(row: &Row<'_>) -> Result<(Timestamp, Option<Postponed>)> {
    let due_at = time(row, "due_at")?;
    if row.get("blocked")? {
        return Ok((due_at, Some(Postponed::EarlierEvent)));
    }
    let turn_at = time_if_any(row, "turn_at")?.unwrap_or(due_at);
    let by_circuit = row.get_ref("held")?.as_str_or_null().is_ok_and(|held| held == Some(Hold::Circuit.as_str()));
    Ok(if by_circuit && turn_at > due_at { (turn_at, Some(Postponed::Circuit)) } else { (due_at, None) })
}

#[cfg(test)]
mod tests {
    use filesafety_model::Timestamp;

    use super::*;
    use crate::{Access, sqlite::schema};

    #[test]
    fn every_list_reads_an_index_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = crate::sqlite::connect(&folder.path().join("t.db"), Access::Exclusive).unwrap();
        schema::migrate(&mut conn).unwrap();
        let account = AccountId::new(Timestamp::from_millis(0), [0; 10]);
        for (status, index) in [
            (None, "deliveries_newest"),
            (Some(DeliveryStatus::Delivered), "deliveries_newest"),
            (Some(DeliveryStatus::Abandoned), "deliveries_abandoned"),
            (Some(DeliveryStatus::Pending), "deliveries_undelivered"),
            (Some(DeliveryStatus::Delivering), "deliveries_undelivered"),
        ] {
            let filter = DeliveryFilter { status, since: Some(Timestamp::from_millis(1)), ..DeliveryFilter::default() };
            let (sql, values) = list_query(account, &filter, 21);
            let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan: Vec<String> = all(query.query(rusqlite::params_from_iter(values)).unwrap(), |row| Ok(row.get(3)?)).unwrap();
            assert!(
                plan[0].contains(index) && !plan.iter().any(|step| step.contains("SCAN") || step.contains("B-TREE")),
                "{status:?} {plan:#?}"
            );
        }
    }
}
