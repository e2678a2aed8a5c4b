//! Readiness by outcome: whether the requests to this replica return in time.
//!
//! Which peers a process hears says little about whether it can serve: channels fail in one direction, a
//! leader may be busy, a quorum may be there and not answer. What counts is the outcome of the last requests.
//! While no client asks for anything, the replica sends a probe: a request that changes nothing.
//!
//! - A replica is ready if its last command, or probe, came back within the deadline.
//! - The replica checks once an interval. If a request has come back in time since the last check, the check
//!   is a success, even if a probe is late. If none has, and a request has been in flight for longer than the
//!   deadline, it is a failure. If nothing is in flight, a probe begins.
//! - Three failures in a row change the verdict, and one success changes it back.
//!
//! A probe that hangs is in flight, so that there is never more than one.
use super::view::Role;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{info, warn};

/// The time between two checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many failures in a row change the verdict.
const FAILURES: u32 = 3;

struct State {
    ready: bool,
    /// The number of consecutive failures.
    failures: u32,
    /// Whether a request came back in time since the last check.
    succeeded: bool,
    /// When a request last came back in time, or when checking began.
    since: Instant,
}

/// The outcomes of the requests to this replica. Clones share them.
#[derive(Clone)]
pub struct Outcomes {
    deadline: Duration,
    state: Arc<Mutex<State>>,
}

/// What serves requests: the replica or the registers.
pub trait Server {
    /// How long the oldest request in flight has been in flight; `None` if none is.
    fn oldest(&self) -> Option<Duration>;

    /// Sends a probe: a request that changes nothing.
    fn probe(&self);
}

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// Nothing is in flight, so that a probe is needed.
    Idle,
    /// A request came back in time, or still may.
    Fine,
    /// A request is late, and none came back in time.
    Failure,
}

impl Outcomes {
    /// Outcomes of a replica to which no request has come back yet.
    pub fn new(deadline: Duration) -> Self {
        let state = State {
            ready: false,
            failures: 0,
            succeeded: false,
            since: Instant::now(),
        };
        Outcomes {
            deadline,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a request came back after this time. A late one is not a success; it was counted as a
    /// failure before.
    pub fn upon_return(&self, lasted: Duration) {
        if lasted > self.deadline {
            return;
        }
        let mut state = self.state();
        state.succeeded = true;
        state.failures = 0;
        state.since = Instant::now();
        if !state.ready {
            state.ready = true;
            info!("ready: what is asked for comes back in time");
        }
    }

    /// Ready, or why not.
    pub fn verdict(&self) -> Result<(), String> {
        let state = self.state();
        if state.ready {
            return Ok(());
        }
        let seconds = state.since.elapsed().as_secs();
        Err(format!(
            "no quorum: nothing that was asked for has come back in time for {seconds} s"
        ))
    }

    fn look(&self, oldest: Option<Duration>) -> Look {
        let mut state = self.state();
        let succeeded = std::mem::take(&mut state.succeeded);
        match oldest {
            None => Look::Idle,
            Some(lasted) if succeeded || lasted <= self.deadline => Look::Fine,
            Some(_) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures == FAILURES && state.ready {
                    state.ready = false;
                    warn!("not ready: what is asked for does not come back in time");
                }
                Look::Failure
            }
        }
    }

    /// Checks once an interval, as long as this process takes part.
    pub async fn watch(&self, server: &impl Server, mut role: watch::Receiver<Role>) {
        if role.wait_for(|s| *s == Role::Voter).await.is_err() {
            return;
        }
        self.state().since = Instant::now();
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if *role.borrow() != Role::Voter {
                return;
            }
            if self.look(server.oldest()) == Look::Idle {
                server.probe();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use tokio::time::sleep;

    const DEADLINE: Duration = Duration::from_secs(2);
    const LATE: Option<Duration> = Some(Duration::from_millis(2001));

    fn ready() -> Outcomes {
        let outcomes = Outcomes::new(DEADLINE);
        assert!(outcomes.verdict().is_err(), "nothing has come back yet");
        outcomes.upon_return(DEADLINE);
        assert_eq!(outcomes.look(None), Look::Idle);
        assert_eq!(outcomes.verdict(), Ok(()));
        outcomes
    }

    #[tokio::test]
    async fn three_failures_in_a_row_change_the_verdict_and_one_success_changes_it_back() {
        let outcomes = ready();
        for _ in 0..2 {
            assert_eq!(outcomes.look(LATE), Look::Failure);
            assert_eq!(outcomes.verdict(), Ok(()));
        }
        outcomes.upon_return(DEADLINE);
        assert_eq!(outcomes.look(LATE), Look::Fine, "late beside a success");
        for _ in 0..3 {
            assert_eq!(outcomes.verdict(), Ok(()));
            assert_eq!(outcomes.look(LATE), Look::Failure);
        }
        let words = outcomes.verdict().unwrap_err();
        assert!(words.starts_with("no quorum: nothing"), "{words}");
        outcomes.upon_return(Duration::from_millis(2001));
        assert!(outcomes.verdict().is_err(), "what is late is no success");
        outcomes.upon_return(Duration::ZERO);
        assert_eq!(outcomes.verdict(), Ok(()));
    }

    #[tokio::test]
    async fn what_is_not_late_yet_is_no_failure() {
        let outcomes = ready();
        for _ in 0..10 {
            assert_eq!(outcomes.look(Some(DEADLINE)), Look::Fine);
        }
        assert_eq!(outcomes.verdict(), Ok(()));
    }

    /// A store whose probes come back, or hang.
    struct Store {
        outcomes: Outcomes,
        answers: bool,
        probes: AtomicU64,
        hanging: Mutex<Option<Instant>>,
    }

    impl Server for Store {
        fn oldest(&self) -> Option<Duration> {
            self.hanging.lock().unwrap().map(|since| since.elapsed())
        }

        fn probe(&self) {
            self.probes.fetch_add(1, Relaxed);
            if self.answers {
                self.outcomes.upon_return(Duration::ZERO);
            } else {
                *self.hanging.lock().unwrap() = Some(Instant::now());
            }
        }
    }

    /// Runs a store that answers, or does not, for so many seconds of virtual time. Returns the number of
    /// probes and the verdict.
    async fn idle(seconds: u32, answers: bool) -> (u64, bool) {
        let outcomes = ready();
        let store = Arc::new(Store {
            outcomes: outcomes.clone(),
            answers,
            probes: AtomicU64::new(0),
            hanging: Mutex::default(),
        });
        let role = watch::Sender::new(Role::Voter);
        let (watched, asked, looker) = (role.subscribe(), store.clone(), outcomes.clone());
        tokio::spawn(async move { looker.watch(&*asked, watched).await });
        sleep(INTERVAL * seconds).await;
        (store.probes.load(Relaxed), outcomes.verdict().is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_asks_once_a_second() {
        let (probes, ready) = idle(60, true).await;
        assert!((59..=61).contains(&probes), "{probes}");
        assert!(ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_the_only_one_and_changes_the_verdict_within_seconds() {
        assert_eq!(idle(3, false).await, (1, true));
        assert_eq!(idle(7, false).await, (1, false));
        assert_eq!(idle(60, false).await, (1, false));
    }
}
