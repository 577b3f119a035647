//! Names to addresses by the operating system, whose call blocks: for half a minute where name servers are silent.
//!
//! Lookups run on threads of their own, so that silent name servers take nothing from uploads. A name is looked up once at a time,
//! however many wait for it. What lasts long moves from the places of quick lookups to those of slow ones, and a name that was slow
//! begins there the next time: names without an answer hold up only each other.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, oneshot, watch};

/// Lookups at once of names that are answered soon.
const QUICK_PLACES: usize = 256;
/// Lookups at once of names that are not: more than attempts are ever under way, each with a thread that sleeps.
const SLOW_PLACES: usize = 1024;
/// A lookup that lasts longer is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// More slow names are not remembered.
const MAX_SLOW_NAMES: usize = 10_000;
/// The system's resolver needs little of it.
const STACK: usize = 512 << 10;

type Look = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;
/// Shared by all who waited for it.
type Answer = Arc<io::Result<Vec<IpAddr>>>;

/// Looks names up; clones share their places.
#[derive(Clone)]
pub(super) struct Names(Arc<Inner>);

struct Inner {
    look: Box<Look>,
    quick: Semaphore,
    slow: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lookups under way, and where their answers will be.
    running: HashMap<Arc<str>, watch::Receiver<Option<Answer>>>,
    /// Names whose last lookup was slow.
    slow: HashSet<Arc<str>>,
}

impl Names {
    /// By the operating system's own rules.
    pub(super) fn system() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// By a call that may block.
    pub(super) fn by(look: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            look: Box::new(look),
            quick: Semaphore::new(QUICK_PLACES),
            slow: Semaphore::new(SLOW_PLACES),
            state: Mutex::default(),
        }))
    }

    /// All addresses of the name, in the order of preference; at least one. A literal stands for itself.
    ///
    /// # Errors
    /// What the resolver says. Who gives up waiting leaves the lookup to those who wait on.
    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let mut answers = self.subscribe(name);
        let answer = answers.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        match answer.as_deref() {
            None => Err(io::Error::other("the lookup ended without an answer")),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            Some(Ok(addresses)) if addresses.is_empty() => Err(io::Error::other("it has no address")),
            Some(Ok(addresses)) => Ok(addresses.clone()),
        }
    }

    /// To the lookup that is under way, or to a new one.
    fn subscribe(&self, name: &str) -> watch::Receiver<Option<Answer>> {
        let mut state = self.0.state();
        if let Some(answers) = state.running.get(name) {
            return answers.clone();
        }
        let name: Arc<str> = name.into();
        let (sender, answers) = watch::channel(None);
        state.running.insert(name.clone(), answers.clone());
        tokio::spawn(self.clone().run(name, sender));
        answers
    }

    async fn run(self, name: Arc<str>, answers: watch::Sender<Option<Answer>>) {
        let answer = Arc::new(self.look_up(&name).await);
        self.0.state().running.remove(&name);
        answers.send_replace(Some(answer));
    }

    async fn look_up(&self, name: &Arc<str>) -> io::Result<Vec<IpAddr>> {
        let was_slow = self.0.state().slow.contains(name);
        let places = if was_slow { &self.0.slow } else { &self.0.quick };
        let mut place = places.acquire().await.map_err(io::Error::other)?;
        let mut answer = self.start(name)?;
        let ended = || io::Error::other("the lookup ended without an answer");
        if let Ok(answer) = tokio::time::timeout(SLOW_AFTER, &mut answer).await {
            self.0.state().slow.remove(name);
            return answer.map_err(|_| ended())?;
        }
        self.0.note_slow(name);
        if !was_slow && let Ok(other) = self.0.slow.try_acquire() {
            place = other;
        }
        let answer = answer.await.map_err(|_| ended())?;
        drop(place);
        answer
    }

    fn start(&self, name: &Arc<str>) -> io::Result<oneshot::Receiver<io::Result<Vec<IpAddr>>>> {
        let (sender, answer) = oneshot::channel();
        let (inner, name) = (self.0.clone(), name.clone());
        let look = move || {
            // Nobody may wait for it any more.
            let _ = sender.send((inner.look)(&name));
        };
        std::thread::Builder::new().name("name-lookup".to_owned()).stack_size(STACK).spawn(look)?;
        Ok(answer)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_slow(&self, name: &Arc<str>) {
        let mut state = self.state();
        if state.slow.len() >= MAX_SLOW_NAMES {
            state.slow.clear();
        }
        state.slow.insert(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Answers names that begin with `good`; the others never, until the sender is dropped.
    fn silent_for_bad() -> (Names, std::sync::mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (receiver, calls) = (Arc::new(Mutex::new(receiver)), Arc::new(AtomicUsize::new(0)));
        let count = calls.clone();
        let names = Names::by(move |name| {
            count.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("good") {
                return Ok(vec![GOOD]);
            }
            let _ = receiver.lock().unwrap().recv();
            Err(io::Error::other("silence"))
        });
        (names, sender, calls)
    }

    async fn within(time: Duration, names: &Names, name: &str) -> Option<io::Result<Vec<IpAddr>>> {
        tokio::time::timeout(time, names.resolve(name)).await.ok()
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time() {
        let (names, sender, calls) = silent_for_bad();
        let many: Vec<_> = (0..50)
            .map(|_| {
                tokio::spawn({
                    let names = names.clone();
                    async move { names.resolve("bad.example").await }
                })
            })
            .collect();
        assert!(within(Duration::from_millis(50), &names, "bad.example").await.is_none());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        drop(sender);
        for one in many {
            assert_eq!(one.await.unwrap().unwrap_err().to_string(), "silence");
        }
        assert_eq!(names.resolve("good.example").await.unwrap(), [GOOD]);
        assert_eq!((names.resolve("::1").await.unwrap(), calls.load(Ordering::SeqCst)), (vec!["::1".parse().unwrap()], 2), "a literal");
    }

    #[tokio::test]
    async fn names_without_an_answer_hold_up_only_each_other() {
        let (names, sender, calls) = silent_for_bad();
        let bad: Vec<_> = (0..QUICK_PLACES)
            .map(|number| {
                tokio::spawn({
                    let names = names.clone();
                    async move { names.resolve(&format!("bad{number}")).await }
                })
            })
            .collect();
        while calls.load(Ordering::SeqCst) < QUICK_PLACES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let soon = SLOW_AFTER + Duration::from_secs(20);
        assert!(within(soon, &names, "good1").await.is_some_and(|answer| answer.is_ok()), "once the others count as slow");
        while names.0.state().slow.len() < QUICK_PLACES {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((names.0.quick.available_permits(), names.0.slow.available_permits()), (QUICK_PLACES, SLOW_PLACES - QUICK_PLACES));
        // A name that was slow begins among the slow.
        assert!(within(Duration::from_millis(50), &names, "bad0").await.is_none());
        drop(sender);
        for one in bad {
            assert!(one.await.unwrap().is_err());
        }
        assert_eq!((names.0.quick.available_permits(), names.0.slow.available_permits()), (QUICK_PLACES, SLOW_PLACES));
    }

    #[tokio::test]
    async fn what_answers_soon_again_is_no_longer_slow() {
        let names = Names::by(|_| Ok(vec![GOOD]));
        names.0.note_slow(&"good".into());
        assert!(names.resolve("good").await.is_ok());
        assert!(names.0.state().slow.is_empty());
        let nothing = Names::by(|_| Ok(Vec::new()));
        assert_eq!(nothing.resolve("good").await.unwrap_err().to_string(), "it has no address");
    }
}
