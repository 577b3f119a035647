//! What was uploaded, and what became of it: one row each.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use filesafety::receiver::rusqlite::{self, Connection, OptionalExtension as _, Row};

/// The table of uploads, in the database that the receiver writes to as well.
#[derive(Clone)]
pub(crate) struct Avatars(Arc<Mutex<Connection>>);

/// One upload.
#[derive(Clone, Debug)]
pub(crate) struct Avatar {
    /// 32 hex digits; also the name of its file.
    pub(crate) id: String,
    /// As the browser called it.
    pub(crate) name: String,
    pub(crate) state: State,
    /// Why it is where it is.
    pub(crate) note: String,
}

/// What may be done with an upload. Only what is `Published` is ever served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Checking,
    Published,
    Quarantined,
    Review,
    Rejected,
    Unjudged,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [Self::Checking, Self::Published, Self::Quarantined, Self::Review, Self::Rejected, Self::Unjudged];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Published => "published",
            Self::Quarantined => "quarantined",
            Self::Review => "review",
            Self::Rejected => "rejected",
            Self::Unjudged => "unjudged",
        }
    }
}

impl Avatars {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let conn = Connection::open(path)?;
        conn.busy_timeout(Duration::from_secs(10))?;
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS avatars (
                 id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', submission INTEGER NOT NULL
             ) STRICT",
        )?;
        Ok(Self(Arc::new(Mutex::new(conn))))
    }

    /// A new upload, about to be submitted for the first time.
    pub(crate) async fn add(&self, id: String, name: String) -> Result<()> {
        self.with(move |conn| {
            conn.execute("INSERT INTO avatars (id, name, state, submission) VALUES (?1, ?2, 'checking', 1)", (id, name)).map(drop)
        })
        .await
    }

    pub(crate) async fn remove(&self, id: String) -> Result<()> {
        self.with(move |conn| conn.execute("DELETE FROM avatars WHERE id = ?1", [id]).map(drop)).await
    }

    pub(crate) async fn find(&self, id: String) -> Result<Option<Avatar>> {
        self.with(move |conn| conn.query_row("SELECT id, name, state, note FROM avatars WHERE id = ?1", [id], Avatar::of).optional()).await
    }

    /// The newest hundred, newest first.
    pub(crate) async fn newest(&self) -> Result<Vec<Avatar>> {
        self.with(|conn| {
            let mut rows = conn.prepare_cached("SELECT id, name, state, note FROM avatars ORDER BY rowid DESC LIMIT 100")?;
            rows.query_map([], Avatar::of)?.collect()
        })
        .await
    }

    /// What waits for a verdict, with the number of its submission.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(String, u32)>> {
        self.with(|conn| {
            let mut rows = conn.prepare("SELECT id, submission FROM avatars WHERE state = 'checking'")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
    }

    /// Makes `submission` the one that counts, where it is that already or the one before is. `false`: the verdict is in, or another
    /// submission counts.
    pub(crate) async fn resubmit(&self, id: String, submission: u32) -> Result<bool> {
        let sql = "UPDATE avatars SET submission = ?2 WHERE id = ?1 AND submission IN (?2, ?2 - 1) AND state = 'checking'";
        self.with(move |conn| Ok(conn.execute(sql, (id, submission))? == 1)).await
    }

    /// What a person decided about an upload that waits for it. `false`: it does not.
    pub(crate) async fn review(&self, id: String, state: State) -> Result<bool> {
        let sql = "UPDATE avatars SET state = ?2, note = 'by a person' WHERE id = ?1 AND state = 'review'";
        self.with(move |conn| Ok(conn.execute(sql, (id, state.as_str()))? == 1)).await
    }

    pub(crate) async fn give_up(&self, id: String, submission: u32, note: String) -> Result<()> {
        self.with(move |conn| judge(conn, &id, submission, State::Unjudged, &note)).await
    }

    async fn with<T: Send + 'static>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) -> Result<T> {
        let conn = self.0.clone();
        Ok(tokio::task::spawn_blocking(move || query(&conn.lock().unwrap_or_else(PoisonError::into_inner))).await??)
    }
}

/// What a verdict makes of the submission that it is about. Another submission may count by now, and a person's word stands.
pub(crate) fn judge(conn: &Connection, id: &str, submission: u32, state: State, note: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE avatars SET state = ?3, note = ?4 WHERE id = ?1 AND submission = ?2 AND state <> 'rejected'";
    conn.execute(sql, (id, submission, state.as_str(), note)).map(drop)
}

impl Avatar {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let state: String = row.get(2)?;
        // A state of a later version is shown as what needs a person.
        let state = State::ALL.into_iter().find(|known| known.as_str() == state).unwrap_or(State::Review);
        Ok(Self { id: row.get(0)?, name: row.get(1)?, state, note: row.get(3)? })
    }
}
