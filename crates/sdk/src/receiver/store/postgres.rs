//! A store in PostgreSQL: for several processes that receive, and for applications whose data is there.

mod inbox;
mod lists;

use std::{pin::Pin, sync::Arc, time::SystemTime};

pub use deadpool_postgres;
use deadpool_postgres::{Client, Manager, ManagerConfig, Pool, RecyclingMethod, Transaction};
pub use tokio_postgres;
use tokio_postgres::NoTls;

use super::{
    Acceptance, Admission, Claim, Claims, Counts, DeadLetter, EventKey, NewEvent, Outcome, Settled, Store, StoreError, StoreFuture, StoreId,
};
use crate::receiver::{HandlerError, ScanEvent, TransactionHandler};

/// Raised with every change of the tables.
const VERSION: i64 = 1;

/// Connections of [`PostgresStore::connect`].
const CONNECTIONS: usize = 8;

/// As in SQLite: `due_at` is when to hand an event out, while it is claimed when the claim runs out, and NULL when it is to be left alone.
/// The lock keeps processes that start together from making the same tables.
const TABLES: &str = "
SELECT pg_advisory_xact_lock(7310034283826791017);
CREATE TABLE IF NOT EXISTS filesafety_schema (version BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS processed_webhooks (
  scan_id TEXT COLLATE \"C\" NOT NULL,
  event TEXT COLLATE \"C\" NOT NULL,
  sequence BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'handled', 'superseded', 'dead')),
  received_at BIGINT NOT NULL,
  settled_at BIGINT,
  PRIMARY KEY (scan_id, event, sequence)
);
CREATE TABLE IF NOT EXISTS filesafety_inbox (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scan_id TEXT COLLATE \"C\" NOT NULL,
  event TEXT COLLATE \"C\" NOT NULL,
  sequence BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'claimed', 'superseded', 'dead')),
  due_at BIGINT,
  attempts BIGINT NOT NULL DEFAULT 0,
  fence BIGINT NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL,
  webhook_id TEXT,
  webhook_timestamp TEXT,
  webhook_signature TEXT,
  received_at BIGINT NOT NULL,
  settled_at BIGINT,
  error TEXT,
  body BYTEA NOT NULL,
  UNIQUE (scan_id, event, sequence)
);
CREATE INDEX IF NOT EXISTS filesafety_inbox_due ON filesafety_inbox (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS filesafety_inbox_dead ON filesafety_inbox (scan_id, event, sequence) WHERE state = 'dead';
CREATE TABLE IF NOT EXISTS filesafety_pending (
  scan_id TEXT COLLATE \"C\" PRIMARY KEY,
  changed_at BIGINT NOT NULL,
  done BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX IF NOT EXISTS filesafety_pending_open ON filesafety_pending (scan_id) WHERE NOT done;
CREATE INDEX IF NOT EXISTS filesafety_pending_changed ON filesafety_pending (changed_at);
";

/// The receiver's tables in a PostgreSQL database, in the first schema of the search path: `processed_webhooks`, `filesafety_inbox`,
/// `filesafety_pending`, `filesafety_schema`. Other tables are left alone, so it can be the application's own database.
///
/// Several processes may receive into it. What one of them had claimed when it was killed is handled again once the claim has run out:
/// a minute after the time that handlers may take.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    id: StoreId,
    pool: Pool,
}

/// What a handler inside a transaction does, later.
pub type TransactionFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

impl PostgresStore {
    /// Uses the application's own pool, with its TLS and its limits. Makes the tables where they are not there.
    pub async fn open(pool: Pool) -> Result<Self, StoreError> {
        let store = Self { id: StoreId::default(), pool };
        store.prepare().await?;
        Ok(store)
    }

    /// Connects without TLS, by `postgres://…` or `host=… user=…`: for a server on this machine. For another, give a pool to
    /// [`PostgresStore::open`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let config: tokio_postgres::Config = url.parse()?;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build().map_err(StoreError::unavailable)?;
        Self::open(pool).await
    }

    /// A handler whose effect and the event's mark are one commit: after a crash there are both or neither.
    ///
    /// `handler` gets the transaction that marks the event. An `Err` takes back what it wrote; the event is tried again later.
    pub fn in_transaction<F>(&self, handler: F) -> TransactionHandler
    where
        F: for<'a> Fn(&'a Transaction<'_>, Arc<ScanEvent>) -> TransactionFuture<'a> + Send + Sync + 'static,
    {
        let (store, handler) = (self.clone(), Arc::new(handler));
        TransactionHandler::new(self.id.clone(), move |event, claim, now| {
            let (store, handler) = (store.clone(), Arc::clone(&handler));
            Box::pin(async move {
                let mut client = store.client().await?;
                let transaction = begin(&mut client).await?;
                // The mark first: whoever lost the claim must leave no effect.
                let settled = inbox::settle(&transaction, &claim, &Outcome::Handled, now).await?;
                if settled == Settled::Written {
                    handler(&transaction, event).await?;
                    transaction.commit().await?;
                }
                Ok(settled)
            })
        })
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = begin(&mut client).await?;
        transaction.batch_execute(TABLES).await?;
        let row = transaction.query_one("SELECT max(version) FROM filesafety_schema", &[]).await?;
        match row.try_get(0)? {
            None => transaction.execute("INSERT INTO filesafety_schema VALUES ($1)", &[&VERSION]).await.map(drop)?,
            Some(VERSION) => {}
            Some(other) => {
                let known = format!("its tables have version {other}, and this program knows {VERSION}; use the newer one");
                return Err(StoreError::Corrupt(known));
            }
        }
        Ok(transaction.commit().await?)
    }

    async fn client(&self) -> Result<Client, StoreError> {
        self.pool.get().await.map_err(StoreError::unavailable)
    }
}

/// Durable whatever the server's default is.
async fn begin(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("SET LOCAL synchronous_commit = on").await?;
    Ok(transaction)
}

impl Store for PostgresStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn recover(&self, _: SystemTime) -> StoreFuture<'_, ()> {
        // Another process may still handle what is claimed: claims run out by themselves.
        Box::pin(std::future::ready(Ok(())))
    }

    fn accept(&self, event: NewEvent, admission: Admission, now: SystemTime) -> StoreFuture<'_, Acceptance> {
        Box::pin(async move {
            let mut client = self.client().await?;
            let transaction = begin(&mut client).await?;
            let acceptance = inbox::accept(&transaction, &event, admission, now).await?;
            transaction.commit().await?;
            Ok(acceptance)
        })
    }

    fn claim(&self, most: usize, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Claims> {
        Box::pin(async move {
            let mut client = self.client().await?;
            let transaction = begin(&mut client).await?;
            let claims = inbox::claim(&transaction, most, now, until).await?;
            transaction.commit().await?;
            Ok(claims)
        })
    }

    fn settle(&self, claim: Claim, outcome: Outcome, now: SystemTime) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let mut client = self.client().await?;
            let transaction = begin(&mut client).await?;
            let settled = inbox::settle(&transaction, &claim, &outcome, now).await?;
            transaction.commit().await?;
            Ok(settled)
        })
    }

    fn add_pending(&self, scan_ids: Vec<String>, now: SystemTime) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut client = self.client().await?;
            let transaction = begin(&mut client).await?;
            lists::add_pending(&transaction, &scan_ids, now).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn is_pending(&self, scan_id: &str) -> StoreFuture<'_, bool> {
        let scan_id = scan_id.to_owned();
        Box::pin(async move { lists::is_pending(&self.client().await?, &scan_id).await })
    }

    fn dead_letters(&self, after: Option<EventKey>, most: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(async move { lists::dead_letters(&self.client().await?, after, most).await })
    }

    fn replay(&self, key: EventKey, now: SystemTime) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut client = self.client().await?;
            let transaction = begin(&mut client).await?;
            let revived = lists::replay(&transaction, &key, now).await?;
            transaction.commit().await?;
            Ok(revived)
        })
    }

    fn counts(&self) -> StoreFuture<'_, Counts> {
        Box::pin(async move { lists::counts(&self.client().await?).await })
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(async move { lists::sweep(&self.client().await?, before).await })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.pool.close();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Classes of SQLSTATE: bad data, a broken constraint, another schema than expected.
        match error.as_db_error() {
            Some(cause) if ["22", "23", "42"].iter().any(|class| cause.code().code().starts_with(class)) => {
                Self::Corrupt(cause.message().to_owned())
            }
            _ => Self::unavailable(error),
        }
    }
}
