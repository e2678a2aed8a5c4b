//! Uniform consensus on a bit by tossing coins, in many instances (Ben-Or).
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness), with probability 1: if every correct process proposes in an instance,
//!   every correct process decides in it.
//!
//! Values are one byte, 0 or 1. Another value is no proposal: it is dropped and counted.
//!
//! # Assumes
//! Perfect links and f < n/2 crashes; no failure detector, and nothing of time. Safety needs no
//! luck. Termination needs a schedule that does not depend on the coins: no deterministic algorithm
//! terminates there (Fischer, Lynch, Paterson), whatever the schedule knows. Over a gap an instance
//! goes on: to whom a stream begins anew, what was said last in each open instance is said again,
//! and the latest 256 decisions. Who missed an older one stays without it.
//!
//! # Messages
//! All carry their instance. `f` is the largest minority, ⌊(n−1)/2⌋.
//!
//! | message | from → to | meaning |
//! |---|---|---|
//! | `Report(round, estimate)` | each → all | what I would decide |
//! | `Proposal(round, estimate, v or ?)` | each → all | more than n/2 reported v; or nothing to that many |
//! | `Decided(v)` | each, once → others | f + 1 proposed v, or somebody says so |
//!
//! # Cost
//! A round is two steps and at most 2n(n−1) messages. Where all propose the same, failure-free,
//! everybody decides at step 2, after n(n−1) reports, n(n−1) proposals and n(n−1) decisions:
//! 3n(n−1) messages. With one process dead 3(n−1)², at step 2; with one that crashes after k of its
//! reports k + 3(n−1)². Where proposals differ the number of rounds is a matter of luck: 2ⁿ at most
//! are expected, and far fewer are needed: 2.6, 3.9, 3.8 and 5.4 on average for n = 3, 4, 5 and 7
//! in the tests, which print the distribution. Memory: O(n) an undecided instance, in whatever
//! round; a decided one leaves a place in a watermark; the latest 256 decisions. Instances far
//! above the oldest undecided one are refused.
//!
//! # Why it holds
//! Two processes that propose v and w in a round have both heard more than n/2 report theirs, thus a
//! process that reported both: v = w. If somebody decides v in a round, f + 1 proposed v there; who else
//! ends the round has heard n − f, thus one of these, and leaves it with v. From then on nobody reports
//! or proposes anything else, nor tosses (UC2). A coin is tossed only where both bits were reported, so
//! proposed by somebody (UC1).
//!
//! Some process goes on: let r be the last round that a correct process reaches. Its report takes every
//! correct process there, n − f of them report, then propose, and whoever hears n − f proposals decides
//! or leaves; a decision reaches everybody, for who learns of it says it to all. And some round is the
//! last: under a schedule that does not depend on the coins, which bit may be proposed in a round
//! follows from earlier tosses; with probability 2⁻ⁿ at least all who toss in it get that bit, and the
//! next round decides (UC4).
//!
//! # Source
//! Ben-Or: *Another Advantage of Free Choice: Completely Asynchronous Agreement Protocols*, PODC 1983,
//! the protocol for crashes; Aguilera, Toueg: *The correctness proof of Ben-Or's randomized consensus
//! algorithm*, 2012. Deviations: who hears of a later round enters it, with the estimate of the process
//! that it hears, instead of playing all rounds between: so it needs no message of rounds that it has
//! not reached or has left, and keeps none. An estimate so taken is one of that round, which is all
//! that the argument asks of it. Proposals carry the estimate for this. Who decides says so to all and
//! stops, instead of playing on.
use crate::said::Said;
use bytes::Bytes;
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    link::{self, To},
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, Observation, Observe, ProcessId,
    instances::{Entry, Instances},
    ports,
    wire::Plain,
};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Instances so far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;
/// Rounds so far above the current one are refused: nobody has ever played so many.
const ROUNDS_AHEAD: u64 = 1 << 32;

/// A message of one instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub instance: u64,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Content {
    /// The sender's estimate, at the beginning of a round.
    Report {
        /// The round, counted from 1.
        round: u64,
        /// What the sender would decide.
        estimate: bool,
    },
    /// What the sender makes of the reports.
    Proposal {
        /// The round, counted from 1.
        round: u64,
        /// What the sender reported in it.
        estimate: bool,
        /// What more than n/2 processes reported; nothing, if the sender heard no such bit.
        proposed: Option<bool>,
    },
    /// The instance is decided.
    Decided {
        /// The decision.
        value: bool,
    },
}

impl Plain for Message {}

/// One instance at one process.
#[derive(Debug)]
struct Instance {
    number: u64,
    round: u64,
    /// What this process would decide, once it has proposed or was taken to a later round.
    estimate: Option<bool>,
    /// Its proposal of the current round, once it has sent it.
    proposed: Option<Content>,
    /// What processes reported in the current round.
    reports: BTreeMap<ProcessId, bool>,
    /// What processes proposed in the current round.
    proposals: BTreeMap<ProcessId, Option<bool>>,
}

/// Randomised uniform consensus on a bit.
pub struct Randomised {
    processes: Membership,
    me: ProcessId,
    instances: Instances<Instance>,
    /// The latest decisions.
    decided: Said<bool>,
}

ports! {
    offers consensus::Port => Propose -> Decide;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;

    /// Starts randomised consensus over perfect links.
    pub fn spawn(host) = Randomised::new(host);
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        let (label, round, said) = match self.content {
            Content::Report { round, estimate } => ("Report", round, Some(estimate)),
            Content::Proposal {
                round, proposed, ..
            } => ("Proposal", round, proposed),
            Content::Decided { value } => ("Decided", 0, Some(value)),
        };
        let said = said.map_or(2, u64::from);
        Observation::internal(label)
            .instance(self.instance)
            .digest(round.wrapping_mul(3).wrapping_add(said))
    }
}

impl Algorithm for Randomised {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, &value, ctx),
            Event::Link(link::Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl Randomised {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Randomised {
            processes: *host.processes(),
            me: host.me(),
            instances: Instances::new(INSTANCES_AHEAD),
            decided: Said::default(),
        }
    }

    /// Upon a stream that begins anew: what was said last in each instance is said again to its
    /// receiver, and the latest decisions.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        for (number, value) in self.decided.iter() {
            let value = *value;
            send(To::One(peer), number, Content::Decided { value }, ctx);
        }
        for number in self.instances.numbers() {
            let instance = self.instances.get(number);
            if let Some(content) = instance.and_then(|instance| instance.last()) {
                send(To::One(peer), number, content, ctx);
            }
        }
    }

    fn upon_propose(&mut self, number: u64, value: &Bytes, ctx: &mut Ctx<Self>) {
        let estimate = match value[..] {
            [0] => false,
            [1] => true,
            _ => return ctx.count("not a bit"),
        };
        let Some((instance, processes)) = self.mention(number, ctx) else {
            return;
        };
        if let Some(bit) = instance.upon_propose(estimate, processes, ctx) {
            self.upon_decided(number, bit, ctx);
        }
    }

    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        let number = message.instance;
        let Some((instance, processes)) = self.mention(number, ctx) else {
            return;
        };
        if let Some(bit) = instance.upon_message(from, message.content, processes, ctx) {
            self.upon_decided(number, bit, ctx);
        }
    }

    /// Whoever learns of a decision says it to all, once, and is done: nobody waits for it then.
    fn upon_decided(&mut self, number: u64, bit: bool, ctx: &mut Ctx<Self>) {
        self.instances.retire(number);
        self.decided.say(number, bit);
        self.decided.end(number, |_| 1);
        let others = To::Some(self.processes.others(self.me));
        send(others, number, Content::Decided { value: bit }, ctx);
        ctx.trigger(Effect::Decide(Decide {
            instance: number,
            value: Bytes::from_static(if bit { &[1] } else { &[0] }),
        }));
    }

    /// The instance, made at its first mention, and Π, which it is lent; `None` if it was decided.
    fn mention(
        &mut self,
        number: u64,
        ctx: &mut Ctx<Self>,
    ) -> Option<(&mut Instance, &Membership)> {
        let create = || Instance::beginning(number, 1, None);
        match self.instances.at(number, create) {
            Entry::Live(instance) => Some((instance, &self.processes)),
            Entry::Retired => None,
            Entry::TooFar => {
                ctx.count("instance too far ahead");
                None
            }
        }
    }
}

/// What happens within one instance. Where a bit is decided, the handlers return it.
impl Instance {
    /// The beginning of a round.
    fn beginning(number: u64, round: u64, estimate: Option<bool>) -> Self {
        Instance {
            number,
            round,
            estimate,
            proposed: None,
            reports: BTreeMap::new(),
            proposals: BTreeMap::new(),
        }
    }

    /// What it has said last: a proposal tells what was reported, too.
    fn last(&self) -> Option<Content> {
        let (round, estimate) = (self.round, self.estimate?);
        let report = Content::Report { round, estimate };
        Some(self.proposed.unwrap_or(report))
    }

    /// The first proposal is the estimate, unless a later round came first, with another's.
    fn upon_propose(
        &mut self,
        estimate: bool,
        processes: &Membership,
        ctx: &mut Ctx<Randomised>,
    ) -> Option<bool> {
        if self.estimate.is_some() {
            return None;
        }
        self.estimate = Some(estimate);
        self.report(estimate, ctx);
        self.upon_reports(processes, ctx)
    }

    fn upon_message(
        &mut self,
        from: ProcessId,
        content: Content,
        processes: &Membership,
        ctx: &mut Ctx<Randomised>,
    ) -> Option<bool> {
        match content {
            Content::Report { round, estimate } => {
                self.upon_report(from, round, estimate, processes, ctx)
            }
            Content::Proposal {
                round,
                estimate,
                proposed,
            } => {
                let decided = self.upon_report(from, round, estimate, processes, ctx);
                decided.or_else(|| self.upon_proposal(from, round, proposed, processes, ctx))
            }
            Content::Decided { value } => Some(value),
        }
    }

    /// A report of the current round counts; one of a later round takes this process there; one of
    /// an earlier round is late.
    fn upon_report(
        &mut self,
        from: ProcessId,
        round: u64,
        estimate: bool,
        processes: &Membership,
        ctx: &mut Ctx<Randomised>,
    ) -> Option<bool> {
        if round > self.round.saturating_add(ROUNDS_AHEAD) {
            ctx.count("round too far ahead");
            return None;
        }
        if round > self.round {
            self.enter(round, estimate, ctx);
        }
        if round < self.round {
            return None;
        }
        self.reports.entry(from).or_insert(estimate);
        self.upon_reports(processes, ctx)
    }

    /// Upon n − f reports: propose what more than n/2 processes reported, if there is such a bit.
    fn upon_reports(&mut self, processes: &Membership, ctx: &mut Ctx<Randomised>) -> Option<bool> {
        let estimate = self.estimate?;
        if self.proposed.is_some() || self.reports.len() < enough(processes) {
            return None;
        }
        let ones = self.reports.values().filter(|bit| **bit).count();
        let zeros = self.reports.len() - ones;
        let proposed = match () {
            () if 2 * ones > processes.n() => Some(true),
            () if 2 * zeros > processes.n() => Some(false),
            () => None,
        };
        let content = Content::Proposal {
            round: self.round,
            estimate,
            proposed,
        };
        self.proposed = Some(content);
        send(To::All, self.number, content, ctx);
        self.upon_proposals(processes, ctx)
    }

    fn upon_proposal(
        &mut self,
        from: ProcessId,
        round: u64,
        proposed: Option<bool>,
        processes: &Membership,
        ctx: &mut Ctx<Randomised>,
    ) -> Option<bool> {
        if round != self.round {
            return None;
        }
        self.proposals.entry(from).or_insert(proposed);
        self.upon_proposals(processes, ctx)
    }

    /// Upon n − f proposals: decide the bit that f + 1 propose; adopt one that anybody does; else
    /// toss a coin.
    fn upon_proposals(
        &mut self,
        processes: &Membership,
        ctx: &mut Ctx<Randomised>,
    ) -> Option<bool> {
        if self.proposed.is_none() || self.proposals.len() < enough(processes) {
            return None;
        }
        let bits: Vec<bool> = self.proposals.values().copied().flatten().collect();
        let estimate = match bits.first() {
            Some(bit) if bits.len() > processes.minority() => return Some(*bit),
            Some(bit) => *bit,
            None => ctx.rng().next_u32() & 1 == 1,
        };
        self.enter(self.round.saturating_add(1), estimate, ctx);
        None
    }

    /// A round begins with a report.
    fn enter(&mut self, round: u64, estimate: bool, ctx: &mut Ctx<Randomised>) {
        *self = Instance::beginning(self.number, round, Some(estimate));
        self.report(estimate, ctx);
    }

    fn report(&self, estimate: bool, ctx: &mut Ctx<Randomised>) {
        let round = self.round;
        let content = Content::Report { round, estimate };
        send(To::All, self.number, content, ctx);
    }
}

/// n − f, for the largest f < n/2: as many as certainly answer.
fn enough(processes: &Membership) -> usize {
    processes.n() - processes.minority()
}

fn send(to: To, instance: u64, content: Content, ctx: &mut Ctx<Randomised>) {
    let message = Message { instance, content };
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
