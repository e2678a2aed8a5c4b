//! The eventual leader Ω: the process of lowest rank that is not suspected, not known to be cut off from
//! a majority, and not about to stop.
//!
//! # Promises
//! - ELD1 eventual accuracy (liveness): eventually every correct process trusts some correct process
//!   for ever.
//! - ELD2 eventual agreement (liveness): eventually no two correct processes trust different ones.
//! - A process that is cut off from a majority, or about to stop while a majority stays, does not begin to
//!   trust itself.
//!
//! # Assumes
//! The eventually perfect failure detector ◇P. At least one correct process; if ◇P reports which processes
//! are cut off, a correct majority.
//!
//! # Cost
//! No message: agreement on a new leader takes as long as ◇P takes to notice a crash. Memory O(n).
//!
//! # Why it holds
//! Eventually every correct process suspects exactly the crashed ones. If the correct ones are a majority,
//! none of them is known to be cut off, hence all trust the correct process of lowest rank. A process never
//! suspects itself, so that there is always a process to trust, unless ◇P reports which are cut off.
//!
//! All processes, including the process itself, pass over a process that is about to stop, as soon as they
//! know. It is no correct process, and ◇P names it only while a majority stays, one of whom is trusted
//! instead.
//!
//! The network may stay cut in part. In a star, for example, all but the hub reach one process each, and are
//! cut off: the hub knows this of all, and each process knows it of itself, so that all trust the hub,
//! whatever its rank. If no process is left that could lead, the choice makes no difference to progress, but
//! a campaign would do harm: it would depose a process that leads a majority elsewhere, as soon as the
//! channels heal. So a process then keeps the one that it trusted last.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 2.6, “Monarchical Eventual Leader Detection”. Deviation: processes that are cut off, or about to
//! stop, are passed over.
use quorate_abstractions::{
    Subscribe,
    eventually_perfect::{self, Reach},
    leader::Trust,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet, ports};

/// The eventual leader detector Ω.
pub struct LowestRank {
    processes: Membership,
    me: ProcessId,
    suspected: ProcessSet,
    cut_off: ProcessSet,
    leaving: ProcessSet,
    leader: ProcessId,
    subscribers: Vec<Addr<Trust>>,
}

ports! {
    serves Trust => Subscribe -> Indicate, Answer;
    watches suspicions: eventually_perfect::Indication => Detector;
    watches reach: Reach => Reach;
}

impl Algorithm for LowestRank {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Indicate(Trust(self.leader), Vec::new()));
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Detector(indication) => self.upon_detector(indication, ctx),
            Event::Reach(reach) => self.upon_reach(reach, ctx),
        }
    }
}

impl LowestRank {
    /// A detector at `host` that trusts p1.
    pub fn new(host: &impl Host) -> Self {
        let mut detector = LowestRank {
            processes: *host.processes(),
            me: host.me(),
            suspected: ProcessSet::EMPTY,
            cut_off: ProcessSet::EMPTY,
            leaving: ProcessSet::EMPTY,
            leader: host.me(),
            subscribers: Vec::new(),
        };
        detector.leader = detector.candidate().unwrap_or(detector.me);
        detector
    }

    fn upon_subscribe(&mut self, subscriber: Addr<Trust>, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Answer(Trust(self.leader), subscriber.clone()));
        self.subscribers.push(subscriber);
    }

    fn upon_detector(&mut self, indication: eventually_perfect::Indication, ctx: &mut Ctx<Self>) {
        indication.apply(&mut self.suspected);
        self.upon_change(ctx);
    }

    fn upon_reach(&mut self, reach: Reach, ctx: &mut Ctx<Self>) {
        self.suspected = reach.suspected;
        self.cut_off = reach.cut_off;
        self.leaving = reach.leaving;
        self.upon_change(ctx);
    }

    /// The leader changes when a process of lower rank can lead again, or when the leader itself cannot lead
    /// any more, and another process can.
    fn upon_change(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(candidate) = self.candidate()
            && candidate != self.leader
        {
            self.leader = candidate;
            ctx.trigger(Effect::Indicate(Trust(candidate), self.subscribers.clone()));
        }
    }

    fn candidate(&self) -> Option<ProcessId> {
        let passed_over = self.cut_off.union(self.leaving);
        let could_lead = |p: &ProcessId| {
            !passed_over.contains(*p) && (*p == self.me || !self.suspected.contains(*p))
        };
        self.processes.iter().find(could_lead)
    }
}

/// Starts the leader detector of a process, over ◇P.
pub fn spawn(
    host: &impl Host,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> Subscribe<Trust> {
    spawn_as(host, LowestRank::new(host), detector, &Addr::nowhere())
}

/// Starts the leader detector over a ◇P that knows which processes are cut off.
pub fn spawn_by_reach(host: &impl Host, detector: &Subscribe<Reach>) -> Subscribe<Trust> {
    spawn_as(host, LowestRank::new(host), &Addr::nowhere(), detector)
}

#[cfg(test)]
mod tests;
