//! A store for tests: nothing in it survives the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    Acceptance, Admission, Claim, Claimed, Claims, Counts, DeadLetter, EventKey, NewEvent, Outcome, Settled, Store, StoreError,
    StoreFuture, StoreId,
};

/// Keeps everything in memory. **For tests**: an event that was acknowledged is gone with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    id: StoreId,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    events: BTreeMap<EventKey, Entry>,
    /// With the time of the last change, and whether it is done.
    pending: BTreeMap<String, (SystemTime, bool)>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    new: NewEvent,
    received_at: SystemTime,
    state: EntryState,
    attempts: u32,
    fence: i64,
    error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    Waiting { due: SystemTime },
    Claimed { until: SystemTime },
    Handled,
    Superseded,
    Dead { at: SystemTime },
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn run<'a, T: Send + 'a>(&self, work: impl FnOnce(&mut State) -> T) -> StoreFuture<'a, T> {
        let mut state: MutexGuard<'_, State> = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = if state.closed { Err(StoreError::unavailable("the store is closed")) } else { Ok(work(&mut state)) };
        Box::pin(std::future::ready(result))
    }
}

impl Store for MemoryStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    fn recover(&self, now: SystemTime) -> StoreFuture<'_, ()> {
        self.run(|state| {
            for entry in state.events.values_mut() {
                if matches!(entry.state, EntryState::Claimed { .. }) {
                    entry.state = EntryState::Waiting { due: now };
                }
            }
        })
    }

    fn accept(&self, event: NewEvent, admission: Admission, now: SystemTime) -> StoreFuture<'_, Acceptance> {
        self.run(|state| {
            if state.events.contains_key(&event.key) {
                return Acceptance::Duplicate;
            }
            if admission == Admission::PendingScans && !state.pending.contains_key(&event.key.scan_id) {
                return Acceptance::UnknownScan;
            }
            let superseded = state.newest_handled(&event.key.scan_id).is_some_and(|newest| newest > event.key.sequence);
            let entry_state = if superseded { EntryState::Superseded } else { EntryState::Waiting { due: now } };
            let key = event.key.clone();
            let entry = Entry { new: event, received_at: now, state: entry_state, attempts: 0, fence: 0, error: String::new() };
            state.events.insert(key, entry);
            if superseded { Acceptance::Superseded } else { Acceptance::Stored }
        })
    }

    fn claim(&self, most: usize, now: SystemTime, until: SystemTime) -> StoreFuture<'_, Claims> {
        self.run(|state| state.claim(most, now, until))
    }

    fn settle(&self, claim: Claim, outcome: Outcome, now: SystemTime) -> StoreFuture<'_, Settled> {
        self.run(|state| {
            let Some(entry) = state.events.get_mut(&claim.key) else { return Settled::Lost };
            if entry.fence != claim.fence || !matches!(entry.state, EntryState::Claimed { .. }) {
                return Settled::Lost;
            }
            match outcome {
                Outcome::Handled => {
                    entry.state = EntryState::Handled;
                    if let Some(pending) = state.pending.get_mut(&claim.key.scan_id) {
                        *pending = (now, true);
                    }
                }
                Outcome::Retry { at, error } => (entry.state, entry.error) = (EntryState::Waiting { due: at }, error),
                Outcome::Dead { error } => (entry.state, entry.error) = (EntryState::Dead { at: now }, error),
            }
            Settled::Written
        })
    }

    fn add_pending(&self, scan_ids: Vec<String>, now: SystemTime) -> StoreFuture<'_, ()> {
        self.run(|state| {
            for scan_id in scan_ids {
                state.pending.entry(scan_id).or_insert((now, false));
            }
        })
    }

    fn is_pending(&self, scan_id: &str) -> StoreFuture<'_, bool> {
        self.run(|state| state.pending.contains_key(scan_id))
    }

    fn dead_letters(&self, after: Option<EventKey>, most: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.run(|state| {
            let behind = state.events.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            behind.filter_map(|(_, entry)| entry.dead_letter()).take(most).collect()
        })
    }

    fn replay(&self, key: EventKey, now: SystemTime) -> StoreFuture<'_, bool> {
        self.run(|state| {
            let dead = state.events.get_mut(&key).filter(|entry| matches!(entry.state, EntryState::Dead { .. }));
            dead.map(|entry| (entry.state, entry.attempts) = (EntryState::Waiting { due: now }, 0)).is_some()
        })
    }

    fn counts(&self) -> StoreFuture<'_, Counts> {
        self.run(|state| {
            let mut counts = Counts::default();
            for entry in state.events.values() {
                match entry.state {
                    EntryState::Waiting { .. } | EntryState::Claimed { .. } => counts.waiting += 1,
                    EntryState::Dead { .. } => counts.dead += 1,
                    EntryState::Handled | EntryState::Superseded => {}
                }
            }
            counts.pending = state.pending.values().filter(|(_, done)| !done).map(|_| 1).sum();
            counts
        })
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.run(|state| {
            let held = state.pending.len();
            state.pending.retain(|_, (changed, _)| *changed >= before);
            u64::try_from(held - state.pending.len()).unwrap_or(u64::MAX)
        })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.run(|state| state.closed = true)
    }
}

impl State {
    fn newest_handled(&self, scan_id: &str) -> Option<u32> {
        let of_scan = self.events.iter().filter(|(key, entry)| key.scan_id == scan_id && entry.state == EntryState::Handled);
        of_scan.map(|(key, _)| key.sequence).max()
    }

    fn claim(&mut self, most: usize, now: SystemTime, until: SystemTime) -> Claims {
        let mut claims = Claims::default();
        let mut due: Vec<(SystemTime, EventKey)> =
            self.events.iter().filter_map(|(key, entry)| Some((entry.due().filter(|due| *due <= now)?, key.clone()))).collect();
        due.sort_by(|(a_due, a), (b_due, b)| (a_due, a.sequence, a).cmp(&(b_due, b.sequence, b)));
        let out = self.events.iter().filter(|(_, entry)| matches!(entry.state, EntryState::Claimed { until } if until > now));
        let mut taken: BTreeSet<String> = out.map(|(key, _)| key.scan_id.clone()).collect();
        let lowest = |key: &EventKey| due.iter().all(|(_, other)| other.scan_id != key.scan_id || other.sequence >= key.sequence);
        for (_, key) in due.iter().filter(|(_, key)| lowest(key)) {
            if claims.events.len() == most {
                break;
            }
            let superseded = self.newest_handled(&key.scan_id).is_some_and(|newest| newest > key.sequence);
            let Some(entry) = self.events.get_mut(key) else { continue };
            if superseded {
                entry.state = EntryState::Superseded;
                claims.superseded += 1;
            } else if taken.insert(key.scan_id.clone()) {
                claims.events.push(entry.claim(until));
            }
        }
        claims.next_due = self.events.values().filter_map(Entry::due).min();
        claims
    }
}

impl Entry {
    fn due(&self) -> Option<SystemTime> {
        match self.state {
            EntryState::Waiting { due } => Some(due),
            EntryState::Claimed { until } => Some(until),
            EntryState::Handled | EntryState::Superseded | EntryState::Dead { .. } => None,
        }
    }

    fn claim(&mut self, until: SystemTime) -> Claimed {
        self.state = EntryState::Claimed { until };
        self.attempts += 1;
        self.fence += 1;
        Claimed {
            claim: Claim { key: self.new.key.clone(), fence: self.fence },
            attempt: self.attempts,
            received_at: self.received_at,
            headers: self.new.headers.clone(),
            body: self.new.body.clone(),
        }
    }

    fn dead_letter(&self) -> Option<DeadLetter> {
        let EntryState::Dead { at } = self.state else { return None };
        Some(DeadLetter {
            key: self.new.key.clone(),
            verdict: self.new.verdict,
            attempts: self.attempts,
            error: self.error.clone(),
            received_at: self.received_at,
            died_at: at,
            body: self.new.body.clone(),
        })
    }
}
