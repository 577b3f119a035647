//! Whose scan starts next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedMutexGuard, oneshot};

/// The two lanes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Somebody waits for the answer.
    Sync,
    Async,
}

/// Hands out the scan threads: callers who wait go first, but while any asynchronous scan waits, at least one start in four is its.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>, Arc<tokio::sync::Mutex<()>>);

struct State {
    free: usize,
    capacity: usize,
    sync_waiting: VecDeque<oneshot::Sender<Turn>>,
    async_waiting: VecDeque<oneshot::Sender<Turn>>,
    sync_starts_in_a_row: u32,
}

/// The right to use one scan thread, or all of them; given back when dropped.
pub(crate) struct Turn {
    turns: Turns,
    armed: bool,
    /// The other threads, where nothing may run beside.
    _others: Vec<Turn>,
    /// Two that wait for all threads would wait for each other.
    _only: Option<OwnedMutexGuard<()>>,
}

const SYNC_STARTS_AT_MOST: u32 = 3;

impl Turns {
    pub(crate) fn new(threads: usize) -> Self {
        Self(
            Arc::new(Mutex::new(State {
                free: threads,
                capacity: threads,
                sync_waiting: VecDeque::new(),
                async_waiting: VecDeque::new(),
                sync_starts_in_a_row: 0,
            })),
            Arc::default(),
        )
    }

    /// Waits for a thread. Dropping the future gives up the place in the queue.
    pub(crate) async fn next(&self, lane: Lane) -> Turn {
        let receiver = {
            let mut state = self.state();
            let (sender, receiver) = oneshot::channel();
            match lane {
                Lane::Sync => state.sync_waiting.push_back(sender),
                Lane::Async => state.async_waiting.push_back(sender),
            }
            receiver
        };
        self.hand_out();
        receiver.await.expect("a queued sender is used before it is dropped: the queue lives as long as `self`")
    }

    /// Waits for all threads: nothing runs beside whoever has this turn. To be asked for with the memory already in hand, or one waits
    /// for the other.
    pub(crate) async fn alone(&self, lane: Lane) -> Turn {
        let only = self.1.clone().lock_owned().await;
        let mut others = Vec::new();
        let capacity = self.state().capacity;
        for _ in 1..capacity {
            others.push(self.next(lane).await);
        }
        let mut turn = self.next(lane).await;
        (turn._others, turn._only) = (others, Some(only));
        turn
    }

    /// How many threads scan at this moment.
    pub(crate) fn running(&self) -> usize {
        let state = self.state();
        state.capacity - state.free
    }

    fn hand_out(&self) {
        loop {
            let (sender, turn) = {
                let mut state = self.state();
                let Some(sender) = state.pick() else { return };
                (sender, Turn { turns: self.clone(), armed: true, _others: Vec::new(), _only: None })
            };
            // The one who waited may be gone; then the turn comes back here.
            if let Err(mut turn) = sender.send(turn) {
                turn.armed = false;
                self.state().free += 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a free thread for the next in turn.
    fn pick(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.sync_waiting.retain(|sender| !sender.is_closed());
        self.async_waiting.retain(|sender| !sender.is_closed());
        if self.free == 0 {
            return None;
        }
        let async_is_due = self.sync_starts_in_a_row >= SYNC_STARTS_AT_MOST && !self.async_waiting.is_empty();
        let sync = if async_is_due { None } else { self.sync_waiting.pop_front() };
        let sender = match sync {
            Some(sender) => {
                self.sync_starts_in_a_row = self.sync_starts_in_a_row.saturating_add(1);
                sender
            }
            None => {
                let sender = self.async_waiting.pop_front()?;
                self.sync_starts_in_a_row = 0;
                sender
            }
        };
        self.free -= 1;
        Some(sender)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.armed {
            self.turns.state().free += 1;
            self.turns.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts `sync` and `async_` waiters behind one held thread, then lets them through one by one.
    async fn order(sync: usize, async_: usize) -> Vec<Lane> {
        let turns = Turns::new(1);
        let held = turns.next(Lane::Async).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for lane in std::iter::repeat_n(Lane::Async, async_).chain(std::iter::repeat_n(Lane::Sync, sync)) {
            let (turns, order) = (turns.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let _turn = turns.next(lane).await;
                order.lock().unwrap().push(lane);
            }));
        }
        let waiting = || {
            let state = turns.state();
            state.sync_waiting.len() + state.async_waiting.len()
        };
        while waiting() < sync + async_ {
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        order.clone()
    }

    #[tokio::test]
    async fn sync_goes_first_but_async_gets_one_start_in_four() {
        use Lane::{Async as A, Sync as S};
        assert_eq!(order(7, 3).await, [S, S, S, A, S, S, S, A, S, A]);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_takes_no_turn() {
        let turns = Turns::new(1);
        let held = turns.next(Lane::Sync).await;
        let gone = tokio::time::timeout(std::time::Duration::ZERO, turns.next(Lane::Sync)).await;
        assert!(gone.is_err());
        drop(held);
        assert_eq!(turns.running(), 0);
        let _turn = turns.next(Lane::Async).await;
        assert_eq!(turns.running(), 1);
    }
}
