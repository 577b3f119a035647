//! Handlers whose effect commits with the mark.

use std::time::Duration;

use filesafety::receiver::{HandlerError, Receiver, Route, sqlite::SqliteStore};

use crate::support::{body, eventually, now, scan_id, secret, send, signed};

fn orders(path: &std::path::Path) -> Vec<(String, i64)> {
    let conn = filesafety::receiver::rusqlite::Connection::open(path).unwrap();
    let mut query = conn.prepare("SELECT scan_id, count(*) FROM orders GROUP BY scan_id ORDER BY scan_id").unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn effect_and_mark_commit_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    // The application's own database.
    filesafety::receiver::rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE orders (scan_id TEXT)").unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let handler = store.in_transaction(|conn, event| {
        conn.execute("INSERT INTO orders VALUES (?1)", [&event.scan_id])?;
        match (event.scan_id.ends_with('2'), event.attempt) {
            (true, 1) => Err(HandlerError::retry("after its effect")),
            (true, 2) => panic!("after its effect"),
            _ => Ok(()),
        }
    });
    let receiver = Receiver::builder(store)
        .secret(secret(1))
        .clock(now)
        .retries([Duration::ZERO; 3])
        .on_in_transaction(Route::Otherwise, handler)
        .build()
        .unwrap();
    for number in [1, 2] {
        send(&receiver, signed(&[secret(1)], &body(&scan_id(number), "clean", 1))).await;
    }
    eventually("both", || receiver.metrics().handled == 2).await;
    assert_eq!(receiver.metrics().failed, 2);
    assert_eq!(orders(&path), [(scan_id(1), 1), (scan_id(2), 1)]);
}
