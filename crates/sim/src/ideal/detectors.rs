//! Oracles: failure detectors and a leader that use the world's own knowledge.
use crate::{
    chance,
    state::{Account, Action, Core, Life, Shared, What},
    world::World,
};
use quorate_abstractions::{Subscribe, eventually_perfect, leader::Trust, perfect};
use quorate_core::{
    Addr, Algorithm, Context, Host, Membership, Observation, Observe, ProcessId, ProcessSet,
    Random, Time,
};
use rand::SeedableRng;
use std::{sync::Arc, time::Duration};

/// A false suspicion: the suspecting process, the suspected one, the beginning and the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lie {
    by: ProcessId,
    of: ProcessId,
    from: Time,
    to: Time,
}

/// An oracle reports every crash, some time after it, and false suspicions, which end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oracle {
    delay: Duration,
    lies: Vec<Lie>,
}

impl Oracle {
    /// Accurate: every crash is reported `delay` after it.
    pub fn accurate(delay: Duration) -> Self {
        Oracle {
            delay,
            lies: Vec::new(),
        }
    }

    /// Adds a false suspicion of `of` by `by` for a while.
    #[must_use]
    pub fn suspecting(mut self, by: ProcessId, of: ProcessId, from: Time, to: Time) -> Self {
        if by != of {
            self.lies.push(Lie { by, of, from, to });
        }
        self
    }

    /// Adds `count` false suspicions, drawn from `seed`, which are all over by the time `until`.
    #[must_use]
    pub fn erratic(mut self, processes: &Membership, seed: u64, count: usize, until: Time) -> Self {
        let mut rng = Random::seed_from_u64(seed);
        let n = processes.n() as u64;
        for _ in 0..count {
            let mut anyone = || ProcessId::from_rank(chance::below(&mut rng, n) as usize + 1);
            let (Some(by), Some(of)) = (anyone(), anyone()) else {
                continue;
            };
            let mut moment = || chance::below(&mut rng, until.as_nanos().max(1));
            let (one, other) = (moment(), moment());
            let from = Time::from_nanos(one.min(other));
            let to = Time::from_nanos(one.max(other) + 1);
            self = self.suspecting(by, of, from, to);
        }
        self
    }
}

/// Decides, while the world runs, which processes ◇P falsely suspects at one process: an adversary that has
/// seen everything so far ([`World::directed`]).
///
/// It may do so as long as it likes, but not for ever: ◇P promises to be accurate in the end, so a director
/// must finally restore the processes that it had suspected. Crashes are reported in any case.
#[derive(Clone)]
pub struct Director {
    shared: Arc<Shared>,
    by: ProcessId,
    oracle: Addr<Event<eventually_perfect::Indication>>,
}

impl Director {
    /// Makes ◇P suspect `of` after this time. No process suspects itself.
    pub fn suspect(&self, of: ProcessId, after: Duration) {
        if of != self.by {
            self.direct(after, Account::Suspect(of), Event::Suspect(of));
        }
    }

    /// Makes ◇P restore `of` after this time, unless `of` has crashed.
    pub fn restore(&self, of: ProcessId, after: Duration) {
        self.direct(after, Account::Restore(of), Event::Restore(of));
    }

    fn direct(
        &self,
        after: Duration,
        account: Account,
        event: Event<eventually_perfect::Indication>,
    ) {
        let oracle = self.oracle.clone();
        let call = Box::new(move || oracle.send(event));
        let mut core = self.shared.lock();
        let at = core.now + after;
        core.enter(at, What::Action(Action::Call(self.by, account, call)));
    }
}

/// The events that the world sends to an oracle.
enum Event<I> {
    Subscribe(Addr<I>),
    Crashed(ProcessId),
    Suspect(ProcessId),
    Restore(ProcessId),
}

struct Indicate<I>(I, Vec<Addr<I>>);

impl<I> Observe for Event<I> {
    fn observe(&self) -> Observation {
        match self {
            Event::Subscribe(_) => Observation::internal("Subscribe"),
            Event::Crashed(p) => Observation::internal("Crashed").peer(*p),
            Event::Suspect(p) => Observation::internal("Lie").peer(*p),
            Event::Restore(p) => Observation::internal("Truth").peer(*p),
        }
    }
}

impl<I: Observe> Observe for Indicate<I> {
    fn observe(&self) -> Observation {
        self.0.observe()
    }
}

/// The indications that a detector derives from the set of suspected processes.
trait Opinion: Send + 'static {
    type Indication: Observe + Clone + Send + 'static;
    /// The indications to a new subscriber.
    fn current(&self, suspected: ProcessSet) -> Vec<Self::Indication>;
    /// The indication to subscribers when `p` was added to the set, or removed.
    fn change(&mut self, suspected: ProcessSet, p: ProcessId) -> Option<Self::Indication>;
}

struct OracleActor<O: Opinion> {
    opinion: O,
    suspected: ProcessSet,
    crashed: ProcessSet,
    subscribers: Vec<Addr<O::Indication>>,
}

impl<O: Opinion> Algorithm for OracleActor<O> {
    type Event = Event<O::Indication>;
    type Effect = Indicate<O::Indication>;

    fn upon(&mut self, event: Self::Event, ctx: &mut Context<Self::Event, Self::Effect>) {
        let (p, changed) = match event {
            Event::Subscribe(up) => {
                for indication in self.opinion.current(self.suspected) {
                    ctx.trigger(Indicate(indication, vec![up.clone()]));
                }
                return self.subscribers.push(up);
            }
            Event::Crashed(p) => {
                self.crashed.insert(p);
                (p, self.suspected.insert(p))
            }
            Event::Suspect(p) => (p, self.suspected.insert(p)),
            // If the process has crashed meanwhile, the suspicion stays.
            Event::Restore(p) => (p, !self.crashed.contains(p) && self.suspected.remove(p)),
        };
        if changed && let Some(indication) = self.opinion.change(self.suspected, p) {
            ctx.trigger(Indicate(indication, self.subscribers.clone()));
        }
    }
}

struct Perfect;

impl Opinion for Perfect {
    type Indication = perfect::Crash;

    fn current(&self, suspected: ProcessSet) -> Vec<perfect::Crash> {
        suspected.iter().map(perfect::Crash).collect()
    }

    fn change(&mut self, _: ProcessSet, p: ProcessId) -> Option<perfect::Crash> {
        Some(perfect::Crash(p))
    }
}

struct EventuallyPerfect;

impl Opinion for EventuallyPerfect {
    type Indication = eventually_perfect::Indication;

    fn current(&self, suspected: ProcessSet) -> Vec<Self::Indication> {
        let suspected = suspected.iter();
        suspected.map(Self::Indication::Suspect).collect()
    }

    fn change(&mut self, suspected: ProcessSet, p: ProcessId) -> Option<Self::Indication> {
        Some(if suspected.contains(p) {
            Self::Indication::Suspect(p)
        } else {
            Self::Indication::Restore(p)
        })
    }
}

struct Leader {
    me: ProcessId,
    processes: Membership,
    trusted: ProcessId,
}

impl Opinion for Leader {
    type Indication = Trust;

    fn current(&self, _: ProcessSet) -> Vec<Trust> {
        vec![Trust(self.trusted)]
    }

    fn change(&mut self, suspected: ProcessSet, _: ProcessId) -> Option<Trust> {
        let mut trustworthy = self.processes.set().without(suspected).iter();
        let leader = trustworthy.next().unwrap_or(self.me);
        let changed = leader != self.trusted;
        self.trusted = leader;
        changed.then_some(Trust(leader))
    }
}

impl World {
    /// P at `p`: every crash is reported `delay` after it, and nothing else is.
    pub fn perfect(&self, p: ProcessId, delay: Duration) -> Subscribe<perfect::Crash> {
        self.oracle(p, "perfect", Perfect, &Oracle::accurate(delay))
    }

    /// ◇P at `p`.
    pub fn eventually_perfect(
        &self,
        p: ProcessId,
        oracle: &Oracle,
    ) -> Subscribe<eventually_perfect::Indication> {
        self.oracle(p, "eventually-perfect", EventuallyPerfect, oracle)
    }

    /// ◇P at `p`, which reports every crash `delay` after it, and errs as the director decides.
    pub fn directed(
        &self,
        p: ProcessId,
        delay: Duration,
    ) -> (Subscribe<eventually_perfect::Indication>, Director) {
        let oracle = Oracle::accurate(delay);
        let addr = self.start_oracle(p, "eventually-perfect", EventuallyPerfect, &oracle);
        let director = Director {
            shared: self.shared.clone(),
            by: p,
            oracle: addr.clone(),
        };
        (addr.with(Event::Subscribe), director)
    }

    /// Ω at `p`: it trusts the process of lowest rank that the oracle does not suspect.
    pub fn leader(&self, p: ProcessId, oracle: &Oracle) -> Subscribe<Trust> {
        let processes = *self.membership();
        let leader = Leader {
            me: p,
            processes,
            trusted: processes.coordinator(1),
        };
        self.oracle(p, "leader", leader, oracle)
    }

    fn oracle<O: Opinion>(
        &self,
        p: ProcessId,
        name: &str,
        opinion: O,
        oracle: &Oracle,
    ) -> Subscribe<O::Indication> {
        let addr = self.start_oracle(p, name, opinion, oracle);
        addr.with(Event::Subscribe)
    }

    fn start_oracle<O: Opinion>(
        &self,
        p: ProcessId,
        name: &str,
        opinion: O,
        oracle: &Oracle,
    ) -> Addr<Event<O::Indication>> {
        let host = self.host(p).at("oracle").at(name);
        let mailbox = host.mailbox();
        let addr = mailbox.addr();
        let algorithm = OracleActor {
            opinion,
            suspected: ProcessSet::EMPTY,
            crashed: ProcessSet::EMPTY,
            subscribers: Vec::new(),
        };
        host.start(mailbox, algorithm, |Indicate(indication, subscribers)| {
            for subscriber in subscribers {
                subscriber.send(indication.clone());
            }
        });
        for lie in oracle.lies.iter().filter(|lie| lie.by == p) {
            let (begin, end) = (addr.clone(), addr.clone());
            let of = lie.of;
            let suspect = Box::new(move || begin.send(Event::Suspect(of)));
            let restore = Box::new(move || end.send(Event::Restore(of)));
            self.plan(lie.from, Action::Call(p, Account::Suspect(of), suspect));
            self.plan(lie.to, Action::Call(p, Account::Restore(of), restore));
        }
        self.watch_crashes(p, oracle.delay, addr.with(Event::Crashed));
        addr
    }

    /// Has every crash of another process reported to `addr`, on behalf of `p`.
    fn watch_crashes(&self, p: ProcessId, delay: Duration, addr: Addr<ProcessId>) {
        let report = move |core: &mut Core, q: ProcessId| {
            let addr = addr.clone();
            let report = Action::Call(p, Account::Report(q), Box::new(move || addr.send(q)));
            if p != q {
                core.enter(core.now + delay, What::Action(report));
            }
        };
        let mut core = self.shared.lock();
        for q in self.membership().iter() {
            if core.life(q) == Life::Crashed {
                report(&mut core, q);
            }
        }
        core.watchers.push(Box::new(report));
    }
}
