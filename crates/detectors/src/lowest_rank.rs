//! The eventual leader Ω: the process of lowest rank that is not suspected.
//!
//! # Promises
//! - ELD1 eventual accuracy (liveness): eventually every correct process trusts some correct process
//!   for ever.
//! - ELD2 eventual agreement (liveness): eventually no two correct processes trust different ones.
//!
//! # Assumes
//! The eventually perfect failure detector ◇P. At least one correct process.
//!
//! # Cost
//! No message: agreement on a new leader takes as long as ◇P takes to notice a crash. Memory O(n).
//!
//! # Why it holds
//! Eventually every correct process suspects exactly the crashed ones, hence trusts the correct
//! process of lowest rank. A process never suspects itself, so that somebody is always trusted.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 2.6, “Monarchical Eventual Leader Detection”.
use quorate_abstractions::{Subscribe, eventually_perfect, leader::Trust};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Membership, Observation, Observe, ProcessId, ProcessSet,
};

/// Ω.
pub struct LowestRank {
    processes: Membership,
    me: ProcessId,
    suspected: ProcessSet,
    leader: ProcessId,
    subscribers: Vec<Addr<Trust>>,
}

/// What the detector reacts to.
pub enum Event {
    /// Someone wants to know whom this process trusts.
    Subscribe(Addr<Trust>),
    /// ◇P changed its mind.
    Detector(eventually_perfect::Indication),
}

/// What the detector triggers.
pub enum Effect {
    /// Every subscriber is told.
    Indicate(Trust, Vec<Addr<Trust>>),
    /// A new subscriber is told what the others know.
    Answer(Trust, Addr<Trust>),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Subscribe(_) => Observation::internal("Subscribe"),
            Event::Detector(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Indicate(trust, _) => trust.observe(),
            Effect::Answer(trust, _) => trust.observe().as_internal(),
        }
    }
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
        }
    }
}

impl LowestRank {
    /// A detector at `host`, which trusts p1.
    pub fn new(host: &impl Host) -> Self {
        let mut detector = LowestRank {
            processes: *host.processes(),
            me: host.me(),
            suspected: ProcessSet::EMPTY,
            leader: host.me(),
            subscribers: Vec::new(),
        };
        detector.leader = detector.candidate();
        detector
    }

    fn upon_subscribe(&mut self, subscriber: Addr<Trust>, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Answer(Trust(self.leader), subscriber.clone()));
        self.subscribers.push(subscriber);
    }

    /// The leader changes when a lower rank is restored, or the leader itself is suspected.
    fn upon_detector(&mut self, indication: eventually_perfect::Indication, ctx: &mut Ctx<Self>) {
        indication.apply(&mut self.suspected);
        let candidate = self.candidate();
        if candidate != self.leader {
            self.leader = candidate;
            ctx.trigger(Effect::Indicate(Trust(candidate), self.subscribers.clone()));
        }
    }

    fn candidate(&self) -> ProcessId {
        let unsuspected = |p: &ProcessId| *p == self.me || !self.suspected.contains(*p);
        self.processes.iter().find(unsuspected).unwrap_or(self.me)
    }
}

/// Starts the leader detector of a process, over ◇P.
pub fn spawn<H: Host>(
    host: &H,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> Subscribe<Trust> {
    start(host, LowestRank::new(host), detector)
}

fn start<H: Host>(
    host: &H,
    algorithm: impl Algorithm<Event = Event, Effect = Effect>,
    detector: &Subscribe<eventually_perfect::Indication>,
) -> Subscribe<Trust> {
    let mailbox = host.mailbox();
    detector.send(mailbox.addr().with(Event::Detector));
    let subscribe = mailbox.addr().with(Event::Subscribe);
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Answer(trust, subscriber) => subscriber.send(trust),
        Effect::Indicate(trust, subscribers) => {
            for subscriber in &subscribers {
                subscriber.send(trust);
            }
        }
    });
    subscribe
}

#[cfg(test)]
mod tests;
