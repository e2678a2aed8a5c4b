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
//! Perfect links and f < n/2 crashes; no failure detector, and nothing of time. Safety does not depend on the
//! coins. Termination needs a schedule that does not depend on the coins; no deterministic algorithm
//! terminates there (Fischer, Lynch, Paterson). A gap does not stop an instance: when a stream begins anew, a
//! process sends its receiver again what it sent last in each open instance, and the latest 256 decisions. A
//! process that missed an older one never gets it.
//!
//! # Messages
//! All carry their instance. `f` is the largest minority, ⌊(n−1)/2⌋.
//!
//! | message | from → to | meaning |
//! |---|---|---|
//! | `Report(round, estimate)` | each → all | what I would decide |
//! | `Proposal(round, estimate, v or ?)` | each → all | more than n/2 reported v; `?`: no bit had that many |
//! | `Decided(v)` | each, once → others | f + 1 proposed v, or another process says so |
//!
//! # Cost
//! A round is two steps and at most 2n(n−1) messages. Where all propose the same, failure-free,
//! everybody decides at step 2, after n(n−1) reports, n(n−1) proposals and n(n−1) decisions:
//! 3n(n−1) messages. With one process dead 3(n−1)², at step 2; with one that crashes after k of its reports,
//! k + 3(n−1)² messages. If proposals differ, the number of rounds depends on the coins: at most 2ⁿ are
//! expected, and far fewer are needed: 2.6, 3.9, 3.8 and 5.4 on average for n = 3, 4, 5 and 7 in the tests,
//! which print the distribution. Memory: O(n) per undecided instance, in any round; the decided ones as a
//! watermark; the latest 256 decisions. Instances far above the oldest undecided one are refused.
//!
//! # Why it holds
//! Two processes that propose v and w in a round have both heard more than n/2 report them, and so a process
//! that reported both: v = w. If a process decides v in a round, f + 1 proposed v there; any other process
//! that ends the round has heard n − f proposals, among them one of these, and leaves the round with v. From
//! then on nobody reports or proposes anything else, nor tosses a coin (UC2). A coin is tossed only if both
//! bits were reported, so that each was proposed by some process (UC1).
//!
//! Some process goes on: let r be the last round that a correct process reaches. Its report takes every
//! correct process there; n − f of them report, then propose, and a process that hears n − f proposals
//! decides or leaves the round. A decision reaches everybody, because a process that learns it sends it to
//! all. Some round is the last: under a schedule that does not depend on the coins, earlier tosses determine
//! which bit may be proposed in a round; with probability 2⁻ⁿ at least, all that toss in it get that bit, and
//! the next round decides (UC4).
//!
//! # Source
//! Ben-Or: *Another Advantage of Free Choice: Completely Asynchronous Agreement Protocols*, PODC 1983,
//! the protocol for crashes; Aguilera, Toueg: *The correctness proof of Ben-Or's randomized consensus
//! algorithm*, 2012. Deviations: a process that hears of a later round enters it, with the estimate of the
//! process that it hears, instead of playing all rounds between. So it needs no message of rounds that it has
//! not reached or has left, and keeps none. Such an estimate is an estimate of that round, which is all that
//! the argument requires. Proposals carry the estimate for this. A process that decides sends the decision to
//! all and stops, instead of playing on.
use crate::last_messages::LastMessages;
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

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;
/// Rounds this far above the current one are refused: no run ever has so many.
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
        /// The bit that the sender would decide.
        estimate: bool,
    },
    /// The sender's conclusion from the reports.
    Proposal {
        /// The round, counted from 1.
        round: u64,
        /// The sender's own report of the round.
        estimate: bool,
        /// The bit that more than n/2 processes reported; `None` if the sender heard no such bit.
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
    /// The bit that this process would decide; `None` until it has proposed or was taken to a later round.
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
    decided: LastMessages<bool>,
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
            decided: LastMessages::default(),
        }
    }

    /// When a stream begins anew, sends its receiver again what was sent last in each instance, and the
    /// latest decisions.
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

    /// A process that learns of a decision sends it to all, once, and is done: nobody waits for it then.
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

    /// The instance, which is created at its first mention, with Π for its handlers; `None` if it was
    /// decided.
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

/// The handlers of one instance. If a bit is decided, they return it.
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

    /// The last message that it sent; a proposal also contains the report.
    fn last(&self) -> Option<Content> {
        let (round, estimate) = (self.round, self.estimate?);
        let report = Content::Report { round, estimate };
        Some(self.proposed.unwrap_or(report))
    }

    /// The first proposal becomes the estimate, unless a later round came first, with the estimate of another
    /// process.
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

    /// A report of the current round counts; one of a later round takes this process there; one of an earlier
    /// round is dropped.
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

    /// After n − f reports, proposes the bit that more than n/2 processes reported, if there is one.
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

    /// After n − f proposals, decides the bit that f + 1 propose; otherwise adopts a bit that any process
    /// proposes; otherwise tosses a coin.
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

/// n − f, for the largest f < n/2: the number of processes that certainly answer.
fn enough(processes: &Membership) -> usize {
    processes.n() - processes.minority()
}

fn send(to: To, instance: u64, content: Content, ctx: &mut Ctx<Randomised>) {
    let message = Message { instance, content };
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
