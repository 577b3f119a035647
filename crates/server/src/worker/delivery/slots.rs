//! Who may start an attempt: bounds of hosts, accounts and lanes, and the circuits. Pure: times are arguments, nothing waits here.
//!
//! A bound of a host or account is a share of the slots that are free at the moment (dynamic thresholds, after Choudhury and Hahne, 1998).
//! A few who want much get much; when many want much each gets little, and some slots always stay free for those who want one. A host that
//! fails or does not answer has a small share: a hundred that hang hold no slot that a thousand others need.
//!
//! Retries, and first attempts that are late, keep a pace besides: as soon as attempts have to wait for this machine's own processors, fewer
//! of those begin, so that what is due now does not queue behind what was due long ago.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use filesafety_model::{AccountId, Timestamp};
use filesafety_store::{Hold, Lane, Line, Turn};

use super::circuit::{Circuit, LONGEST_POSTPONED, Passage};

/// Attempts under way at once.
pub(super) const SLOTS: usize = 512;
/// Of these at most so many of one lane: neither first attempts nor retries can hold the others back.
const OF_LANE: usize = SLOTS / 8 * 7;
/// Of these at most so many of one account.
const OF_ACCOUNT: usize = SLOTS - 16;
/// Slots, of all and of a lane, that only hosts may take whose last attempt succeeded and who answer.
const RESERVE: usize = SLOTS / 4;
/// Part of the reserve is open to hosts of which nothing is known, for one attempt each.
const RESERVE_FOR_FIRST: usize = RESERVE / 2;
/// Most attempts under way at one host, by what is known of it.
const OF_PROVEN: usize = 64;
const OF_UNKNOWN: usize = 8;
const OF_SLOW: usize = 8;
const OF_FAILING: usize = 4;
/// What a host that just succeeded for the first time may have under way; each further success adds one.
const WINDOW: usize = 8;
/// An attempt without an answer for so many times what is usual at its host marks that as slow, within these bounds.
const SLOW_TIMES: u32 = 4;
const SLOW_SOONEST: Duration = Duration::from_millis(100);
const SLOW_LATEST: Duration = Duration::from_secs(1);
/// A line without room has its next turn after so long: an attempt at its own host that ends gives it one sooner.
const ROOM_OF_HOST: Duration = Duration::from_secs(2);
const ROOM_OF_ALL: Duration = Duration::from_millis(250);
/// An attempt that waits so long until its first step tells that the processors do not keep up.
const TOLERATED: Duration = Duration::from_micros(500);
/// A retry that began so short ago is young.
pub(super) const YOUNG: Duration = Duration::from_millis(100);
/// Young retries at once: at the start, and at least, however busy the processors are.
const PACE: usize = 16;
const LEAST_PACE: usize = 4;
/// Attempts without such a wait that let one more retry go.
const PACE_STEPS: usize = 4;
/// A first attempt that was due so long ago is late.
const LATE: Duration = Duration::from_secs(1);
/// Hosts remembered; beyond that, those with nothing to remember are forgotten.
const HOSTS: usize = 10_000;

/// Attempts under way, and what is known of hosts.
#[derive(Debug)]
pub(super) struct Slots {
    hosts: HashMap<String, Host>,
    accounts: HashMap<AccountId, usize>,
    lanes: [usize; Lane::ALL.len()],
    /// When retries began, the oldest first, of those that have not ended.
    young: VecDeque<Instant>,
    /// Retries that may be young, times [`PACE_STEPS`].
    pace: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            accounts: HashMap::new(),
            lanes: [0; Lane::ALL.len()],
            young: VecDeque::new(),
            pace: PACE * PACE_STEPS,
        }
    }
}

/// What is known of a host and port.
#[derive(Debug, Default)]
struct Host {
    circuit: Circuit,
    /// When those under way began.
    started: Vec<Instant>,
    /// Grows with each success, shrinks with each failure; 0: nothing has ended there yet.
    window: usize,
    /// How long attempts that succeeded took of late.
    usual: Duration,
}

/// How an attempt ended, for its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Succeeded,
    Failed,
    /// It never left, for a reason that is not the host's.
    Unsent,
}

/// How much a host is trusted with slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Proven,
    Unknown,
    /// It succeeded last, but has an attempt that waits long.
    Slow,
    Failing,
}

impl Slots {
    /// Decides a line's turn, and takes the slots that it gives away.
    pub(super) fn turn(&mut self, line: &Line, now: Timestamp, instant: Instant) -> Turn {
        let free = self.free();
        let pace = self.pace / PACE_STEPS;
        let under_way = self.lanes[index(line.lane)];
        let lane_room = OF_LANE.saturating_sub(under_way).min(free);
        let pace_room = match line.lane {
            Lane::First => lane_room,
            Lane::Retry => pace.saturating_sub(self.young(instant)),
        };
        if lane_room == 0 || pace_room == 0 {
            return Turn::NoRoom;
        }
        if line.lane == Lane::First && SLOTS - free >= pace && line.due.first().is_some_and(|due| now.since(*due) > LATE) {
            return Turn::Behind { before: now.minus(LATE) };
        }
        let of_account = self.accounts.get(&line.account).copied().unwrap_or(0);
        let host = self.host(&line.host);
        let passage = host.circuit.passage(instant);
        let wanted = match passage {
            Passage::Free => line.due.len(),
            Passage::Probe => 1,
            Passage::Shut { probe_at } => match overdue(line, now) {
                0 => return Turn::Hold { until: postponed(line, now, probe_at.saturating_duration_since(instant)), why: Hold::Circuit },
                overdue => overdue,
            },
        };
        let standing = host.standing(instant);
        let (account_share, reserve) = match standing {
            // What goes to hosts that answer soon gives its slots back soon.
            Standing::Proven => (OF_ACCOUNT, 0),
            // Nothing was held against it yet: what hangs must not keep it from its first attempt.
            Standing::Unknown if host.started.is_empty() => (OF_ACCOUNT, RESERVE_FOR_FIRST),
            // Whatever of its account fails must leave room to what does not, and to other accounts.
            Standing::Unknown | Standing::Slow | Standing::Failing => (free, RESERVE),
        };
        let host_room = host.room(standing, free).min(free.saturating_sub(reserve));
        let account_room = account_share.max(1).saturating_sub(of_account);
        let granted = wanted.min(host_room).min(account_room).min(lane_room.saturating_sub(reserve)).min(pace_room);
        if granted == 0 {
            let wait = if host.is_full(standing, free) { ROOM_OF_HOST } else { ROOM_OF_ALL };
            return Turn::Hold { until: now.plus(wait), why: Hold::Room };
        }
        if passage == Passage::Probe {
            host.circuit.probe(instant);
        }
        host.started.extend(std::iter::repeat_n(instant, granted));
        *self.accounts.entry(line.account).or_default() += granted;
        self.lanes[index(line.lane)] += granted;
        if line.lane == Lane::Retry {
            self.young.extend(std::iter::repeat_n(instant, granted));
        }
        Turn::Take(granted)
    }

    /// An attempt that began at `started` has ended. True when it opened or closed the circuit of its host.
    pub(super) fn end(&mut self, host: &str, account: AccountId, lane: Lane, started: Instant, ended: Ended, now: Instant) -> bool {
        self.give_back(host, account, lane, started);
        let host = self.host(host);
        match ended {
            Ended::Unsent => false,
            Ended::Succeeded => {
                let closes = host.circuit.is_open();
                host.circuit.succeed();
                let took = now.saturating_duration_since(started);
                host.usual = if host.window == 0 { took } else { (host.usual * 7 + took) / 8 };
                host.window = if host.window == 0 || closes { WINDOW } else { host.window.saturating_add(1).min(OF_PROVEN) };
                closes
            }
            Ended::Failed => {
                host.window = (host.window / 2).max(1);
                host.circuit.fail(now)
            }
        }
    }

    /// An attempt took its first step so long after it was let go.
    pub(super) fn feel(&mut self, waited: Duration) {
        self.pace = if waited > TOLERATED {
            self.pace.saturating_sub(PACE_STEPS).max(LEAST_PACE * PACE_STEPS)
        } else {
            (self.pace + 1).min(OF_LANE * PACE_STEPS)
        };
    }

    /// Slots of claims that did not come about.
    pub(super) fn give_back(&mut self, host: &str, account: AccountId, lane: Lane, started: Instant) {
        if let Some(host) = self.hosts.get_mut(host)
            && let Some(place) = host.started.iter().position(|begun| *begun == started)
        {
            host.started.swap_remove(place);
        }
        if let Some(count) = self.accounts.get_mut(&account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.accounts.remove(&account);
            }
        }
        if lane == Lane::Retry
            && let Some(place) = self.young.iter().position(|begun| *begun == started)
        {
            self.young.remove(place);
        }
        let lane = &mut self.lanes[index(lane)];
        *lane = lane.saturating_sub(1);
    }

    /// Retries that began of late. Those that wait for an answer longer cost no processor, and do not count for the pace.
    fn young(&mut self, now: Instant) -> usize {
        while self.young.front().is_some_and(|begun| now.saturating_duration_since(*begun) >= YOUNG) {
            self.young.pop_front();
        }
        self.young.len()
    }

    /// Hosts whose circuit is open.
    pub(super) fn open_circuits(&self) -> usize {
        self.hosts.values().filter(|host| host.circuit.is_open()).count()
    }

    fn free(&self) -> usize {
        SLOTS.saturating_sub(self.lanes.iter().sum())
    }

    fn host(&mut self, name: &str) -> &mut Host {
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(name) {
            self.hosts.retain(|_, host| !host.started.is_empty() || host.circuit.is_open());
            if self.hosts.len() >= HOSTS {
                // So many circuits are open that they have to be learned anew.
                self.hosts.retain(|_, host| !host.started.is_empty());
            }
        }
        self.hosts.entry(name.to_owned()).or_default()
    }
}

impl Host {
    /// How many attempts more it may have under way while so many slots are free.
    fn room(&self, standing: Standing, free: usize) -> usize {
        let (most, share) = match standing {
            Standing::Proven => (self.window, free / 8),
            Standing::Unknown if self.started.is_empty() => (1, 1),
            Standing::Unknown => (OF_UNKNOWN, free / 64),
            Standing::Slow => (OF_SLOW, free / 64),
            Standing::Failing => (OF_FAILING, free / 64),
        };
        most.min(share.max(1)).saturating_sub(self.started.len())
    }

    /// Whether it has to wait for an attempt of its own to end.
    fn is_full(&self, standing: Standing, free: usize) -> bool {
        !self.started.is_empty() && self.room(standing, free) == 0
    }

    fn standing(&self, now: Instant) -> Standing {
        if self.circuit.is_failing() {
            Standing::Failing
        } else if self.window == 0 {
            Standing::Unknown
        } else if self.started.iter().any(|started| now.saturating_duration_since(*started) >= self.patience()) {
            Standing::Slow
        } else {
            Standing::Proven
        }
    }

    /// How long an attempt may go without an answer before it looks like trouble.
    fn patience(&self) -> Duration {
        (self.usual * SLOW_TIMES).clamp(SLOW_SOONEST, SLOW_LATEST)
    }
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::First => 0,
        Lane::Retry => 1,
    }
}

/// How many have been postponed for as long as any may be.
fn overdue(line: &Line, now: Timestamp) -> usize {
    line.due.iter().take_while(|due| now.since(**due) >= LONGEST_POSTPONED).count()
}

/// The next turn of a line whose circuit is open: with the next probe, or once its oldest was postponed for long enough.
fn postponed(line: &Line, now: Timestamp, until_probe: Duration) -> Timestamp {
    let oldest = line.due.first().copied().unwrap_or(now);
    // A turn at the present moment would come back at once.
    oldest.plus(LONGEST_POSTPONED).min(now.plus(until_probe)).max(now.plus(Duration::from_millis(1)))
}
