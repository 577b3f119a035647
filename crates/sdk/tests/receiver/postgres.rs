//! The store in a real PostgreSQL: `FILESAFETY_TEST_POSTGRES` names it, and `tests/postgres.sh` starts one. Without it these tests say
//! that they are skipped.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use filesafety::{
    SigningSecret,
    receiver::{
        HandlerError, Receiver, Route, TransactionHandler,
        postgres::{PostgresStore, tokio_postgres},
        store::{Admission, Store, StoreError},
    },
};

use crate::support::{body, eventually, scan_id, secret, send, signed_at};

const SERVER: &str = "FILESAFETY_TEST_POSTGRES";

/// A schema of its own; it goes with the server.
pub(crate) struct Schema {
    url: String,
}

impl Schema {
    async fn new() -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Ok(server) = std::env::var(SERVER) else {
            eprintln!("SKIPPED: {SERVER} names no PostgreSQL server; crates/sdk/tests/postgres.sh starts one");
            return None;
        };
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let schema = Self { url: format!("{server} application_name={name} options='-c search_path={name}'") };
        schema.execute(&format!("CREATE SCHEMA {name}")).await;
        Some(schema)
    }

    async fn execute(&self, sql: &str) {
        self.query(sql).await;
    }

    /// The rows as text.
    async fn query(&self, sql: &str) -> Vec<(String, String)> {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap();
        let rows = messages.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
            _ => None,
        });
        rows.collect()
    }

    async fn store(&self) -> PostgresStore {
        PostgresStore::connect(&self.url).await.unwrap()
    }
}

pub(crate) async fn in_a_new_schema() -> Option<(Schema, PostgresStore)> {
    let schema = Schema::new().await?;
    let store = schema.store().await;
    Some((schema, store))
}

fn now_signed(secret: SigningSecret, body: &str) -> axum::http::Request<axum::body::Body> {
    let secs = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    signed_at(&[secret], secs, body)
}

fn orders(store: &PostgresStore) -> TransactionHandler {
    store.in_transaction(|transaction, event| {
        Box::pin(async move {
            transaction.execute("INSERT INTO orders VALUES ($1)", &[&event.scan_id]).await?;
            match (event.scan_id.ends_with('2'), event.attempt) {
                (true, 1) => Err(HandlerError::retry("after its effect")),
                (true, 2) => panic!("after its effect"),
                _ => Ok(()),
            }
        })
    })
}

#[tokio::test]
async fn effect_and_mark_commit_together_or_not_at_all() {
    let Some((schema, store)) = in_a_new_schema().await else { return };
    schema.execute("CREATE TABLE orders (scan_id TEXT)").await;
    let handler = orders(&store);
    let builder = Receiver::builder(store).secret(secret(1)).retries([Duration::ZERO; 3]);
    let receiver = builder.on_in_transaction(Route::Otherwise, handler).build().unwrap();
    for number in [1, 2] {
        send(&receiver, now_signed(secret(1), &body(&scan_id(number), "clean", 1))).await;
    }
    eventually("both", || receiver.metrics().handled == 2).await;
    assert_eq!(receiver.metrics().failed, 2);
    let rows = schema.query("SELECT scan_id, count(*) FROM orders GROUP BY 1 ORDER BY 1").await;
    assert_eq!(rows, [(scan_id(1), "1".into()), (scan_id(2), "1".into())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_an_inbox_and_handle_each_event_once() {
    let Some((schema, first)) = in_a_new_schema().await else { return };
    schema.execute("CREATE TABLE handled (scan_id TEXT, sequence BIGINT, begun TIMESTAMPTZ DEFAULT clock_timestamp())").await;
    let second = schema.store().await;
    let receivers = [first, second].map(|store| {
        let handler = store.in_transaction(|transaction, event| {
            Box::pin(async move {
                let sequence = i64::from(event.sequence);
                transaction.execute("INSERT INTO handled VALUES ($1, $2)", &[&event.scan_id, &sequence]).await?;
                Ok(())
            })
        });
        Receiver::builder(store).secret(secret(1)).on_in_transaction(Route::Otherwise, handler).build().unwrap()
    });
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..200 {
        // Every event at both, at the same time.
        for receiver in receivers.clone() {
            senders.spawn(async move {
                let event = body(&scan_id(number / 2), "clean", 1 + u32::from(number % 2 == 1));
                send(&receiver, now_signed(secret(1), &event)).await.short().1.to_owned()
            });
        }
    }
    let mut answers = BTreeMap::new();
    for answer in senders.join_all().await {
        *answers.entry(answer).or_insert(0) += 1;
    }
    let settled = |receiver: &Receiver| receiver.metrics().handled + receiver.metrics().superseded;
    let superseded = answers.get("superseded").copied().unwrap_or(0);
    eventually("all to be settled", || receivers.iter().map(settled).sum::<u64>() + superseded == 200).await;
    assert_eq!(answers.get("accepted").copied().unwrap_or(0) + superseded, 200, "{answers:?}");
    assert!(answers["duplicate"] == 200, "{answers:?}");
    let twice = schema.query("SELECT scan_id, sequence::text FROM handled GROUP BY 1, 2 HAVING count(*) > 1").await;
    assert!(twice.is_empty(), "{twice:?}");
    let backwards =
        "SELECT a.scan_id, '' FROM handled a JOIN handled b USING (scan_id) WHERE a.sequence < b.sequence AND a.begun > b.begun";
    assert!(schema.query(backwards).await.is_empty(), "none after a newer one");
}

#[tokio::test]
async fn a_newer_schema_and_an_absent_server_are_refused() {
    let Some((schema, store)) = in_a_new_schema().await else { return };
    drop(store);
    schema.execute("UPDATE filesafety_schema SET version = 99").await;
    assert!(matches!(PostgresStore::connect(&schema.url).await, Err(StoreError::Corrupt(message)) if message.contains("version 99")));
    let absent = PostgresStore::connect("host=127.0.0.1 port=1 user=nobody connect_timeout=1").await;
    assert!(matches!(absent, Err(StoreError::Unavailable(_))));
    assert!(PostgresStore::connect("no address at all").await.is_err());
}

#[tokio::test]
async fn a_lost_connection_is_asked_for_again() {
    let Some((schema, store)) = in_a_new_schema().await else { return };
    let store: &dyn Store = &store;
    store.add_pending(vec![scan_id(1)], SystemTime::now()).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid)::text, '' FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND application_name = current_setting('application_name')";
    assert!(!schema.query(kill).await.is_empty());
    for _ in 0..50 {
        // At most the first of the pool's connections is found dead by being used.
        if store.is_pending(&scan_id(1)).await.is_ok_and(|there| there) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} never came back", Admission::PendingScans);
}
