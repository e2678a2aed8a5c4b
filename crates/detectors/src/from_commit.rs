//! The perfect failure detector P, derived from non-blocking atomic commit.
//!
//! The textbook's proof that atomic commit takes P, as a program: in a system that can solve the one, each process
//! votes yes in one instance after the other, and an abort means that somebody has crashed. Among many processes
//! this says that somebody has, not who. So each pair of processes has instances of its own, in which somebody is the
//! partner. In the odd ones the process of lower rank votes at once and the other an interval later, in the even
//! ones the other way round: each process always has a vote in an instance that is not decided. A system that
//! already has P does not need it.
//!
//! # Promises
//! - PFD1 strong completeness (liveness): a process that crashes is eventually reported to every
//!   correct process.
//! - PFD2 strong accuracy (safety): no process is reported before it crashes, and none twice.
//!
//! # Assumes
//! Non-blocking atomic commit between the two processes of each pair ([`pair`](quorate_abstractions::pair)), and what
//! that assumes. No assumption about time: the interval only sets the pace.
//!
//! # Messages
//! None of its own: each process votes yes, for ever, in the instances of each pair.
//!
//! # Cost
//! Two instances per pair and interval: over commit by consensus, whose instance costs 4 messages between two
//! processes, 4n(n−1) messages an interval. A crash while no message is in flight is reported when P below reports
//! it. Memory O(n).
//!
//! # Why it holds
//! A process that crashes votes in a finite number of instances. In the next one of the pair the correct partner
//! votes yes, and decides (NBAC2); not to commit, since not both have voted (NBAC3): so it aborts, and reports
//! (PFD1). A process aborts only if somebody voted no, which nobody does, or crashed before (NBAC4); this process
//! has not, so the partner has (PFD2). After the report no instance of the pair begins.
//!
//! # What the reduction is worth
//! With instances of all processes in place of pairs, an abort tells that somebody has crashed, which is enough
//! only where one process at most may crash: then who has crashed is who never answers again. Where more may,
//! atomic commit among all takes less than P. Pairs need commit between two processes of which either may crash;
//! what follows is that this is as hard as P.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 6.6. Deviations: the interval; the pairs.
pub use crate::interval::{Interval, NoInterval};
use quorate_abstractions::{
    atomic_commit::{self, Decide, Outcome, Propose, Vote},
    perfect::Crash,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, ProcessId, ProcessSet, ports};
use std::{collections::BTreeSet, time::Duration};

/// The perfect failure detector P, from atomic commit.
pub struct FromCommit {
    me: ProcessId,
    others: ProcessSet,
    interval: Duration,
    /// The instances in which this process has voted and that are not decided, each with its partner: at most two for
    /// each.
    open: BTreeSet<(ProcessId, u64)>,
    crashed: ProcessSet,
    subscribers: Vec<Addr<Crash>>,
}

ports! {
    serves Crash => Subscribe -> Indicate, Answer;
    uses each commit: atomic_commit::Port => Decide / Propose;
    timer Tick((ProcessId, u64));

    /// Starts the detector of a process, over an atomic commit with each other process. There is none with itself.
    pub fn spawn(host, interval: Interval) = FromCommit::new(host, interval);
}

impl Algorithm for FromCommit {
    type Event = Event;
    type Effect = Effect;

    /// In the first instances nobody waits.
    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        for partner in self.others.iter() {
            for instance in [1, 2] {
                self.vote(partner, instance, ctx);
            }
        }
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Decide(partner, Decide { instance, outcome }) => {
                self.upon_decide(partner, instance, outcome, ctx);
            }
            Event::Tick((partner, instance)) => self.vote(partner, instance, ctx),
        }
    }
}

impl FromCommit {
    /// A detector at `host` that has reported nobody.
    pub fn new(host: &impl Host, interval: Interval) -> Self {
        FromCommit {
            me: host.me(),
            others: host.processes().others(host.me()),
            interval: interval.duration(),
            open: BTreeSet::new(),
            crashed: ProcessSet::EMPTY,
            subscribers: Vec::new(),
        }
    }

    /// A late subscriber learns of all crashes so far, since they are not indicated again.
    fn upon_subscribe(&mut self, subscriber: Addr<Crash>, ctx: &mut Ctx<Self>) {
        for p in self.crashed.iter() {
            ctx.trigger(Effect::Answer(Crash(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    /// Begins the instance with this partner: the first voter votes at once, the second an interval later.
    fn upon_next(&mut self, partner: ProcessId, instance: u64, ctx: &mut Ctx<Self>) {
        let is_odd = instance % 2 == 1;
        if is_odd == (self.me < partner) {
            self.vote(partner, instance, ctx);
        } else {
            ctx.after_in_background(self.interval, Event::Tick((partner, instance)));
        }
    }

    /// Votes yes, unless the partner has crashed.
    fn vote(&mut self, partner: ProcessId, instance: u64, ctx: &mut Ctx<Self>) {
        if !self.crashed.contains(partner) {
            self.open.insert((partner, instance));
            let vote = Vote::Yes;
            ctx.trigger(Effect::Propose(partner, Propose { instance, vote }));
        }
    }

    /// An abort is the crash of the partner; after a commit the next instance of its kind, odd or even, follows.
    fn upon_decide(
        &mut self,
        partner: ProcessId,
        instance: u64,
        outcome: Outcome,
        ctx: &mut Ctx<Self>,
    ) {
        if !self.open.remove(&(partner, instance)) {
            return ctx.count("decision without a vote");
        }
        match outcome {
            Outcome::Abort if self.crashed.insert(partner) => {
                ctx.trigger(Effect::Indicate(Crash(partner), self.subscribers.clone()));
            }
            Outcome::Abort => {}
            Outcome::Commit => self.upon_next(partner, instance + 2, ctx),
        }
    }
}

#[cfg(test)]
mod tests;
