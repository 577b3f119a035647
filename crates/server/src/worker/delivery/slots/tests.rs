use std::collections::VecDeque;

use filesafety_model::AccountId;

use super::*;

fn account(number: u8) -> AccountId {
    AccountId::new(Timestamp::from_millis(0), [number; 10])
}

fn line(host: &str, lane: Lane, due: &[u64]) -> Line {
    let due = due.iter().map(|second| Timestamp::from_millis(0).plus(Duration::from_secs(*second))).collect();
    Line { host: host.to_owned(), account: account(0), lane, due }
}

/// Two clocks that go together.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    millis: u64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), millis: 0 }
    }

    fn wall(self) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_millis(self.millis))
    }

    fn instant(self) -> Instant {
        self.start + Duration::from_millis(self.millis)
    }
}

fn taken(turn: Turn) -> usize {
    match turn {
        Turn::Take(count) => count,
        Turn::Hold { .. } | Turn::Behind { .. } | Turn::NoRoom => 0,
    }
}

#[test]
fn what_is_late_yields_where_the_processors_do_not_keep_up() {
    let (mut slots, mut clock) = (Slots::default(), Clock::new());
    clock.millis = 10_000;
    for _ in 0..1000 {
        slots.feel(Duration::from_millis(2));
    }
    let (wall, instant) = (clock.wall(), clock.instant());
    let retries: usize = (0..100).map(|host| taken(slots.turn(&line(&format!("r{host}"), Lane::Retry, &[0]), wall, instant))).sum();
    assert_eq!(retries, LEAST_PACE);
    assert_eq!(slots.turn(&line("r", Lane::Retry, &[0]), wall, instant), Turn::NoRoom);
    let before = Timestamp::from_millis(0).plus(Duration::from_secs(9));
    assert_eq!(slots.turn(&line("late", Lane::First, &[0]), wall, instant), Turn::Behind { before });
    assert_eq!(slots.turn(&line("new", Lane::First, &[10]), wall, instant), Turn::Take(1));
    // Those that hang do not hold up the others.
    clock.millis += 100;
    assert_eq!(taken(slots.turn(&line("other", Lane::Retry, &[0]), clock.wall(), clock.instant())), 1);
    // The reserve is no part of the pace: a host that fails has its retry.
    let mut one = Slots::default();
    one.end("f", account(0), Lane::First, instant, Ended::Failed, instant);
    assert_eq!(taken(one.turn(&line("f", Lane::Retry, &[0]), wall, instant)), 1);
    // Once they do, retries fill their lane again.
    for _ in 0..OF_LANE * PACE_STEPS {
        slots.feel(Duration::from_micros(100));
    }
    assert_eq!(taken(slots.turn(&line("r", Lane::Retry, &[0]), wall, instant)), 1);
    assert_eq!(slots.turn(&line("late", Lane::First, &[0]), wall, instant), Turn::Take(1));
}

/// A host with a queue, in a world where time is counted.
struct Receiver {
    name: String,
    account: AccountId,
    lane: Lane,
    /// How long it takes to answer.
    answer: u64,
    good: bool,
    queue: VecDeque<u64>,
    waits: Vec<u64>,
    next_turn: u64,
}

impl Receiver {
    fn new(number: usize, answer: u64, good: bool) -> Self {
        let (name, queue, waits) = (format!("h{number}:443"), VecDeque::new(), Vec::new());
        Self { name, account: account(0), lane: Lane::First, answer, good, queue, waits, next_turn: 0 }
    }
}

/// Runs receivers for so long; each gets a delivery every `every` ms. Returns the most attempts that were under way.
fn run(slots: &mut Slots, receivers: &mut [Receiver], every: u64, millis: u64) -> usize {
    const TICK: u64 = 10;
    let mut clock = Clock::new();
    let mut under_way: Vec<(u64, usize, u64)> = Vec::new();
    let mut most = 0;
    while clock.millis < millis {
        let now = clock.millis;
        for (index, receiver) in receivers.iter_mut().enumerate() {
            if (now + index as u64 * TICK).is_multiple_of(every) {
                receiver.queue.push_back(now);
                receiver.next_turn = receiver.next_turn.min(now);
            }
        }
        under_way.retain(|&(until, index, began)| {
            let receiver = &mut receivers[index];
            if until > now {
                return true;
            }
            let ended = if receiver.good { Ended::Succeeded } else { Ended::Failed };
            let began = clock.start + Duration::from_millis(began);
            slots.end(&receiver.name, receiver.account, receiver.lane, began, ended, clock.instant());
            receiver.next_turn = now;
            false
        });
        for (index, receiver) in receivers.iter_mut().enumerate() {
            if receiver.queue.is_empty() || receiver.next_turn > now {
                continue;
            }
            let due = receiver.queue.iter().take(Line::HEAD).map(|at| Timestamp::from_millis(i64::try_from(*at).unwrap())).collect();
            let shown = Line { host: receiver.name.clone(), account: receiver.account, lane: receiver.lane, due };
            match slots.turn(&shown, clock.wall(), clock.instant()) {
                Turn::Take(count) => {
                    for due in receiver.queue.drain(..count) {
                        receiver.waits.push(now - due);
                        under_way.push((now + receiver.answer, index, now));
                    }
                }
                Turn::Hold { until, .. } => receiver.next_turn = u64::try_from(until.as_millis()).unwrap(),
                Turn::Behind { .. } | Turn::NoRoom => {}
            }
        }
        most = most.max(under_way.len());
        assert!(under_way.len() <= SLOTS);
        clock.millis += TICK;
    }
    for (_, index, began) in under_way {
        let receiver = &receivers[index];
        let ended = if receiver.good { Ended::Succeeded } else { Ended::Failed };
        let began = clock.start + Duration::from_millis(began);
        slots.end(&receiver.name, receiver.account, receiver.lane, began, ended, clock.instant());
    }
    most
}

fn worst(receivers: &[Receiver]) -> u64 {
    receivers.iter().flat_map(|receiver| receiver.waits.iter().copied()).max().unwrap_or(u64::MAX)
}

#[test]
fn a_hundred_hosts_that_hang_hold_back_none_of_nine_hundred() {
    let mut slots = Slots::default();
    let mut receivers: Vec<_> =
        (0..1000).map(|n| if n % 10 == 0 { Receiver::new(n, 10_000, false) } else { Receiver::new(n, 20, true) }).collect();
    run(&mut slots, &mut receivers, 1000, 60_000);
    receivers.retain(|receiver| receiver.good);
    assert_eq!(worst(&receivers), 0, "none waits for a slot");
    assert!(receivers.iter().all(|receiver| receiver.waits.len() >= 59));
}

#[test]
fn hosts_that_hang_all_of_a_sudden_leave_room() {
    let mut slots = Slots::default();
    let mut receivers: Vec<_> = (0..1000).map(|n| Receiver::new(n, 20, true)).collect();
    run(&mut slots, &mut receivers, 1000, 5_000);
    for receiver in receivers.iter_mut().step_by(5) {
        (receiver.good, receiver.answer) = (false, 10_000);
    }
    for receiver in &mut receivers {
        receiver.queue.clear();
        receiver.waits.clear();
        receiver.next_turn = 0;
    }
    run(&mut slots, &mut receivers, 200, 30_000);
    receivers.retain(|receiver| receiver.good);
    assert!(worst(&receivers) <= 500, "{} ms", worst(&receivers));
}

#[test]
fn thousands_of_dead_hosts_leave_the_reserve_to_the_others() {
    let mut slots = Slots::default();
    let mut receivers = vec![Receiver::new(0, 20, true)];
    run(&mut slots, &mut receivers, 100, 1_000);
    receivers.extend((1..5000).map(|n| Receiver::new(n, 10_000, false)));
    receivers[0].waits.clear();
    let most = run(&mut slots, &mut receivers, 1000, 40_000);
    assert!(most <= SLOTS - RESERVE + OF_PROVEN, "{most}");
    receivers.truncate(1);
    assert!(worst(&receivers) <= 10, "{} ms", worst(&receivers));
}

#[test]
fn a_single_host_gets_much_and_grows() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    let full = line("a:443", Lane::First, &[0; 32]);
    let begun = clock.instant();
    assert_eq!([0; 2].map(|_| taken(slots.turn(&full, clock.wall(), begun))), [1, OF_UNKNOWN - 2], "one, then a share of what is free");
    assert!(matches!(slots.turn(&full, clock.wall(), begun), Turn::Hold { why: Hold::Room, .. }));
    for _ in 0..200 {
        slots.end("a:443", account(0), Lane::First, begun, Ended::Succeeded, begun);
        slots.turn(&full, clock.wall(), begun);
    }
    let under_way = slots.hosts["a:443"].started.len();
    assert!((50..=OF_PROVEN).contains(&under_way), "{under_way}");
}

#[test]
fn one_failure_makes_a_host_small_and_one_success_trusted() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    let (now, wall) = (clock.instant(), clock.wall());
    let full = line("a:443", Lane::First, &[0; 32]);
    slots.turn(&line("a:443", Lane::First, &[0]), wall, now);
    slots.end("a:443", account(0), Lane::First, now, Ended::Failed, now);
    assert_eq!(taken(slots.turn(&full, wall, now)), OF_FAILING);
    for _ in 0..OF_FAILING {
        slots.end("a:443", account(0), Lane::First, now, Ended::Succeeded, now);
    }
    assert!(taken(slots.turn(&full, wall, now)) > OF_FAILING);
}

#[test]
fn lanes_and_accounts_leave_each_other_room() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    let (now, wall) = (clock.instant(), clock.wall());
    let mut retries = 0;
    for number in 0..2000 {
        retries += taken(slots.turn(&line(&format!("h{number}:443"), Lane::Retry, &[0]), wall, now));
    }
    assert!(retries <= SLOTS - RESERVE_FOR_FIRST, "{retries}");
    let other = Line { account: account(1), ..line("new:443", Lane::First, &[0]) };
    assert_eq!(taken(slots.turn(&other, wall, now)), 1);
    let mut many = 0;
    for number in 0..2000u32 {
        let shown = Line { account: account((number % 250) as u8), ..line(&format!("h{number}:443"), Lane::Retry, &[0]) };
        many += taken(slots.turn(&shown, wall, now));
    }
    assert!(retries + many <= OF_LANE - RESERVE_FOR_FIRST, "{}", retries + many);
    assert!(taken(slots.turn(&Line { account: account(251), ..line("newer:443", Lane::First, &[0]) }, wall, now)) == 1);
}

#[test]
fn a_host_of_which_nothing_is_known_passes_those_that_hang() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    for round in 0..600 {
        slots.turn(&line(&format!("h{}:443", round % 60), Lane::First, &[0; 32]), clock.wall(), clock.instant());
    }
    for number in 0..20 {
        let mut fresh = line(&format!("fresh{number}:443"), Lane::First, &[0]);
        assert_eq!(taken(slots.turn(&fresh, clock.wall(), clock.instant())), 1);
        fresh.lane = Lane::Retry;
        assert_eq!(taken(slots.turn(&fresh, clock.wall(), clock.instant())), 0, "its second waits for what becomes of the first");
    }
}

#[test]
fn an_open_circuit_postpones_by_at_most_a_minute() {
    let (mut slots, mut clock) = (Slots::default(), Clock::new());
    let host = "down:443";
    for second in 0..25 {
        clock.millis = second * 4_000;
        let begun = clock.instant();
        assert_eq!(taken(slots.turn(&line(host, Lane::First, &[second * 4]), clock.wall(), begun)), 1);
        slots.end(host, account(0), Lane::First, begun, Ended::Failed, begun);
        if slots.open_circuits() == 1 {
            break;
        }
    }
    assert_eq!(slots.open_circuits(), 1);
    let opened = clock.millis / 1000;
    let mut left = Vec::new();
    let mut due: VecDeque<u64> = (0..50).map(|n| opened + n).collect();
    let mut turn_at = clock.wall();
    for second in opened..opened + 130 {
        clock.millis = second * 1000;
        let ripe: Vec<u64> = due.iter().copied().filter(|due| *due <= second).take(Line::HEAD).collect();
        if ripe.is_empty() || clock.wall() < turn_at {
            continue;
        }
        match slots.turn(&line(host, Lane::First, &ripe), clock.wall(), clock.instant()) {
            Turn::Take(count) => {
                for due in due.drain(..count) {
                    left.push((second - opened, second - due));
                    slots.end(host, account(0), Lane::First, clock.instant(), Ended::Failed, clock.instant());
                }
            }
            Turn::Hold { until, why } => {
                assert!(why == Hold::Circuit && until > clock.wall() && until <= clock.wall().plus(Duration::from_secs(10)), "{until}");
                turn_at = until;
            }
            Turn::Behind { .. } | Turn::NoRoom => panic!("there is room"),
        }
    }
    assert!(due.is_empty() && left.iter().all(|(_, postponed)| *postponed <= 61), "{left:?}");
    let early: Vec<u64> = left.iter().map(|(second, _)| *second).take_while(|second| *second < 60).collect();
    assert_eq!(early, [10, 20, 30, 40, 50], "a probe every ten seconds");
    slots.end(host, account(0), Lane::First, clock.instant(), Ended::Succeeded, clock.instant());
    assert_eq!(slots.open_circuits(), 0);
    assert!(taken(slots.turn(&line(host, Lane::First, &[0; 32]), clock.wall(), clock.instant())) >= WINDOW, "all may go again");
}

#[test]
fn what_never_left_says_nothing_of_its_host() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    for _ in 0..100 {
        slots.turn(&line("a:443", Lane::First, &[0]), clock.wall(), clock.instant());
        slots.end("a:443", account(0), Lane::First, clock.instant(), Ended::Unsent, clock.instant());
    }
    assert!(!slots.hosts["a:443"].circuit.is_failing() && slots.accounts.is_empty() && slots.lanes == [0, 0]);
}

#[test]
fn hosts_are_forgotten_when_they_are_too_many() {
    let (mut slots, clock) = (Slots::default(), Clock::new());
    for number in 0..3 * HOSTS {
        let name = format!("h{number}:443");
        slots.turn(&line(&name, Lane::First, &[0]), clock.wall(), clock.instant());
        slots.end(&name, account(0), Lane::First, clock.instant(), Ended::Succeeded, clock.instant());
    }
    assert!(slots.hosts.len() <= HOSTS);
    for host in slots.hosts.values_mut() {
        let start = clock.instant();
        for number in 0..30 {
            host.circuit.fail(start + Duration::from_secs(10 * number));
        }
        assert!(host.circuit.is_open());
    }
    for number in 0..HOSTS {
        slots.host(&format!("new{number}:443"));
    }
    assert!(slots.hosts.len() <= HOSTS, "whatever their circuits");
}
