//! Uniform consensus by a rotating coordinator, in many instances.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.
//!
//! # Assumes
//! Perfect links, regular reliable broadcast that tolerates any crash, the eventually perfect failure
//! detector ◇P, and f < n/2 crashes. Safety needs neither the detector nor timing. A gap does not stop an
//! instance: when a stream begins anew, a process sends its receiver again what it sent last in each open
//! instance, and the latest 256 decisions, or 4 MiB of them, in case the broadcast did not bring them. A
//! process that missed an older one never gets it.
//!
//! # Messages
//! All carry their instance and round; `c` is the coordinator of the round.
//!
//! | message | from → to | meaning |
//! |---|---|---|
//! | `Estimate(value, adopted)` | each → c | what I would decide, and the round in which I adopted it |
//! | `Propose(value)` | c → all | adopt this |
//! | `Ack` | each → c | adopted |
//! | `Nack` | each → c | I suspect you, and have left the round |
//! | `Abort` | c → all | a process sent a nack: leave the round |
//! | decision, by reliable broadcast | c → all | a majority adopted this |
//! | `Left` | each → one, after a gap | I have left every earlier round |
//! | `Decided(value)` | each → one, after a gap | a majority adopted this, in any round |
//!
//! # Cost
//! Failure-free and without suspicion: 3(n−1) messages and n(n−1) of the eager broadcast; the coordinator
//! decides at step 3, the others at step 4. With p1 dead: 5n−7+(n−1)², round 2. With p1 crashing after k < n
//! of its proposals k more, at step D+5, or D+7 if it has sent all of them: a process that got one
//! acknowledges it, and one that did not sends a nack. Memory: O(n) per undecided instance; the decided ones
//! as a watermark; the latest decisions.
//!
//! # Why it holds
//! A decided value was adopted by a majority in some round r. Every later coordinator hears a
//! majority of estimates, hence one of those, and takes the estimate with the latest adoption: by
//! induction over rounds the same value (UC2). An estimate is a proposal or a coordinator's choice among
//! estimates (UC1). Once ◇P is accurate, a correct coordinator is reached to which nobody sends a nack, and a
//! process that waits in a round is released by its coordinator's decision or abort, or by suspecting it
//! (UC4). Messages of the present round that a gap may have taken are sent again. About earlier rounds a
//! process says that it has left them, which is as good as the lost `Nack` or `Abort`: a coordinator may give
//! up at any time.
//!
//! # Source
//! Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed Systems*, JACM 1996,
//! section 6.2. Deviations: a process that has adopted waits for the outcome instead of entering the next
//! round, so that quiet runs cost one round; hence `Abort`. Messages of rounds not yet reached are kept, and
//! those of rounds left are dropped. A decided instance is pruned at once: the reliable broadcast owes the
//! decision to every process that lacks it. Values are acknowledged unread: the layer above must ensure that
//! the payloads they stand for are available, and proposes only what uniform broadcast delivered.
mod message;

use crate::last_messages::LastMessages;
use bytes::{Bytes, BytesMut};
pub use message::{Content, Message};
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    eventually_perfect,
    link::{self, To},
    reliable,
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    message::LAST_NUMBER,
    ports, wire,
};
use std::collections::BTreeMap;

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;
/// Rounds this far above the current one are refused.
const ROUNDS_AHEAD: u64 = 1 << 10;

/// One instance at one process.
#[derive(Debug)]
struct Instance {
    number: u64,
    round: u64,
    /// The value that this process would decide; `None` until it has proposed or adopted one.
    estimate: Option<Bytes>,
    /// The round in which the estimate was adopted; 0 if it is the process's own proposal.
    adopted: u64,
    /// Whether the estimate was sent to the coordinator of the current round.
    estimated: bool,
    /// Whether the coordinator's value was adopted in the current round.
    acked: bool,
    /// What this process knows as the current round's coordinator.
    lead: Lead,
    /// Messages of rounds that are not reached yet, by round.
    future: BTreeMap<u64, Vec<(ProcessId, Content)>>,
    /// By process, as reported after gaps: it has left every round before this one.
    left: BTreeMap<ProcessId, u64>,
}

/// What the coordinator of the current round knows.
#[derive(Debug, Default)]
struct Lead {
    estimates: BTreeMap<ProcessId, (u64, Bytes)>,
    proposed: Option<Bytes>,
    acks: ProcessSet,
    /// Whether the coordinator has decided or aborted, and so has finished the round.
    closed: bool,
}

/// What all instances of a process share.
#[derive(Debug)]
struct Process {
    me: ProcessId,
    membership: Membership,
    suspected: ProcessSet,
}

/// Rotating-coordinator uniform consensus.
pub struct Rotating {
    process: Process,
    instances: Instances<Instance>,
    /// The latest decisions.
    decided: LastMessages<Bytes>,
}

ports! {
    offers consensus::Port => Propose -> Decide;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;
    uses reliable: reliable::Port => Reliable;
    watches detector: eventually_perfect::Indication => Detector;

    /// Starts rotating-coordinator consensus over perfect links, reliable broadcast and ◇P.
    pub fn spawn(host) = Rotating::new(host);
}

impl Algorithm for Rotating {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, value, ctx),
            Event::Link(link::Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Reliable(delivery) => self.upon_decided(delivery.payload, ctx),
            Event::Detector(indication) => self.upon_detector(indication, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

/// How instances begin, end and are found.
impl Rotating {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Rotating {
            process: Process {
                me: host.me(),
                membership: *host.processes(),
                suspected: ProcessSet::EMPTY,
            },
            instances: Instances::new(INSTANCES_AHEAD),
            decided: LastMessages::default(),
        }
    }

    /// When a stream begins anew, sends its receiver again what this process sent last in each instance, and
    /// the latest decisions.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        for (number, value) in self.decided.iter() {
            let value = value.clone();
            send(To::One(peer), number, 1, Content::Decided { value }, ctx);
        }
        for number in self.instances.numbers() {
            if let Some(instance) = self.instances.get(number) {
                instance.upon_stream(peer, &self.process, ctx);
            }
        }
    }

    fn upon_propose(&mut self, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if let Some((instance, process)) = self.mention(number, ctx) {
            instance.upon_propose(value, process, ctx);
        }
    }

    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        let (number, round) = (message.instance, message.round);
        let content = match message.content {
            Content::Decided { value } => return self.upon_decision(number, value, ctx),
            content => content,
        };
        if let Some((instance, process)) = self.mention(number, ctx) {
            instance.upon_message(from, round, content, process, ctx);
        }
    }

    /// A decision ends the instance; the reliable broadcast brings it to everybody.
    fn upon_decided(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let mut value = payload;
        let Ok(number) = wire::take_number(&mut value) else {
            return ctx.count("undecodable decision");
        };
        self.upon_decision(number, value, ctx);
    }

    fn upon_decision(&mut self, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if number > LAST_NUMBER {
            return ctx.count("instance too far ahead");
        }
        if self.instances.is_retired(number) {
            return;
        }
        self.instances.retire(number);
        self.decided.say(number, detached(&value));
        self.decided.end(number, Bytes::len);
        ctx.trigger(Effect::Decide(Decide {
            instance: number,
            value,
        }));
    }

    /// A suspicion affects every instance whose coordinator is suspected.
    fn upon_detector(&mut self, indication: eventually_perfect::Indication, ctx: &mut Ctx<Self>) {
        indication.apply(&mut self.process.suspected);
        if let eventually_perfect::Indication::Suspect(_) = indication {
            for number in self.instances.numbers() {
                if let Some(instance) = self.instances.get(number) {
                    instance.upon_suspected_coordinator(&self.process, ctx);
                }
            }
        }
    }

    /// The instance, which is created at its first mention, and what it shares; `None` if it was decided.
    fn mention(&mut self, number: u64, ctx: &mut Ctx<Self>) -> Option<(&mut Instance, &Process)> {
        match self.instances.at(number, || Instance::new(number)) {
            Entry::Live(instance) => Some((instance, &self.process)),
            Entry::Retired => None,
            Entry::TooFar => {
                ctx.count("instance too far ahead");
                None
            }
        }
    }
}

/// The handlers of one instance.
impl Instance {
    fn new(number: u64) -> Self {
        Instance {
            number,
            round: 1,
            estimate: None,
            adopted: 0,
            estimated: false,
            acked: false,
            lead: Lead::default(),
            future: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// Sends another process again what this process sent it last: that it has left the earlier rounds, since
    /// it may have said so as their coordinator or to their coordinator; and its message of the current
    /// round.
    fn upon_stream(&self, q: ProcessId, process: &Process, ctx: &mut Ctx<Rotating>) {
        let coordinator = self.coordinator(process);
        if self.round > 1 {
            self.send(To::One(q), Content::Left, ctx);
        }
        if q == coordinator && self.acked {
            self.send(To::One(q), Content::Ack, ctx);
        } else if q == coordinator
            && self.estimated
            && let Some(value) = self.estimate.clone()
        {
            let adopted = self.adopted;
            self.send(To::One(q), Content::Estimate { adopted, value }, ctx);
        }
        if process.me == coordinator
            && !self.lead.closed
            && let Some(value) = self.lead.proposed.clone()
        {
            self.send(To::One(q), Content::Propose { value }, ctx);
        }
    }

    /// The first proposal becomes the estimate, unless a coordinator's value was adopted already.
    fn upon_propose(&mut self, value: Bytes, process: &Process, ctx: &mut Ctx<Rotating>) {
        self.estimate.get_or_insert(value);
        self.upon_estimate_due(process, ctx);
    }

    /// Messages of the current round take effect, those of later ones wait, those of earlier ones
    /// are dropped: nothing may be acknowledged in a round that was left.
    fn upon_message(
        &mut self,
        from: ProcessId,
        round: u64,
        content: Content,
        process: &Process,
        ctx: &mut Ctx<Rotating>,
    ) {
        if content == Content::Left {
            self.upon_left(from, round, process, ctx);
        } else if round == self.round {
            self.upon_current(from, content, process, ctx);
        } else if self.is_too_far(round) {
            ctx.count("round too far ahead");
        } else if round > self.round {
            self.upon_early(from, round, content, ctx);
        }
    }

    fn upon_early(
        &mut self,
        from: ProcessId,
        round: u64,
        content: Content,
        ctx: &mut Ctx<Rotating>,
    ) {
        let waiting = self.future.entry(round).or_default();
        let kind = std::mem::discriminant(&content);
        if waiting
            .iter()
            .any(|(q, c)| *q == from && std::mem::discriminant(c) == kind)
        {
            return ctx.count("repeated message");
        }
        waiting.push((from, content));
    }

    fn upon_current(
        &mut self,
        from: ProcessId,
        content: Content,
        process: &Process,
        ctx: &mut Ctx<Rotating>,
    ) {
        let coordinator = self.coordinator(process);
        let leads = coordinator == process.me;
        match content {
            Content::Estimate { adopted, value } if leads => {
                let estimates = &mut self.lead.estimates;
                estimates.entry(from).or_insert((adopted, value));
                self.upon_estimates(process, ctx);
            }
            Content::Ack if leads => {
                self.lead.acks.insert(from);
                self.upon_acks(process, ctx);
            }
            Content::Nack if leads => self.upon_nack(process, ctx),
            Content::Propose { value } if from == coordinator => {
                self.upon_coordinator(value, process, ctx);
            }
            Content::Abort if from == coordinator => self.upon_abort(process, ctx),
            Content::Left | Content::Decided { .. } => {}
            _ => ctx.count("not the coordinator"),
        }
    }

    /// After a majority of estimates, proposes the one that was adopted last.
    fn upon_estimates(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        let majority = process.membership.majority();
        let lead = &mut self.lead;
        if lead.proposed.is_some() || lead.closed || lead.estimates.len() < majority {
            return;
        }
        let Some(value) = latest(&lead.estimates) else {
            return;
        };
        lead.proposed = Some(value.clone());
        self.send(To::All, Content::Propose { value }, ctx);
    }

    /// The coordinator's value is adopted, once a round.
    fn upon_coordinator(&mut self, value: Bytes, process: &Process, ctx: &mut Ctx<Rotating>) {
        if self.acked {
            return ctx.count("repeated message");
        }
        self.estimate = Some(value);
        self.adopted = self.round;
        self.estimated = true;
        self.acked = true;
        self.send(To::One(self.coordinator(process)), Content::Ack, ctx);
        self.upon_suspected_coordinator(process, ctx);
    }

    /// Upon a majority of acknowledgements: the value is decided.
    fn upon_acks(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        let lead = &mut self.lead;
        if lead.closed || lead.acks.len() < process.membership.majority() {
            return;
        }
        let Some(value) = lead.proposed.clone() else {
            return;
        };
        lead.closed = true;
        ctx.trigger(Effect::Reliable(reliable::Broadcast {
            payload: decision(self.number, &value),
        }));
    }

    /// One nack ends the round, and everybody is told: the processes that have adopted wait for the outcome.
    fn upon_nack(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        if self.lead.closed {
            return;
        }
        self.lead.closed = true;
        let others = process.membership.others(process.me);
        self.send(To::Some(others), Content::Abort, ctx);
        self.enter_next_round(process, ctx);
    }

    fn upon_abort(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        self.enter_next_round(process, ctx);
    }

    /// After a gap, a process says which rounds it has left, because what it sent when it left them may be
    /// lost.
    fn upon_left(
        &mut self,
        from: ProcessId,
        round: u64,
        process: &Process,
        ctx: &mut Ctx<Rotating>,
    ) {
        if self.is_too_far(round) {
            return ctx.count("round too far ahead");
        }
        let left = self.left.entry(from).or_default();
        *left = (*left).max(round);
        self.upon_round_left(process, ctx);
    }

    /// Leaves a round that its coordinator is known to have left. Aborts a round that this process
    /// coordinates and another process has left, as after a nack.
    fn upon_round_left(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        let coordinator = self.coordinator(process);
        let has_left =
            |from: &ProcessId| self.left.get(from).is_some_and(|left| *left > self.round);
        if coordinator == process.me {
            if self.left.keys().any(has_left) {
                self.upon_nack(process, ctx);
            }
        } else if has_left(&coordinator) {
            self.enter_next_round(process, ctx);
        }
    }

    /// Once there is an estimate, sends it to the coordinator, once per round.
    fn upon_estimate_due(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        let Some(value) = self.estimate.clone() else {
            return;
        };
        if !self.estimated {
            self.estimated = true;
            let (to, adopted) = (To::One(self.coordinator(process)), self.adopted);
            self.send(to, Content::Estimate { adopted, value }, ctx);
        }
        self.upon_suspected_coordinator(process, ctx);
    }

    /// When the coordinator is suspected, leaves its round, and tells it so unless it was sent an
    /// acknowledgement.
    fn upon_suspected_coordinator(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        let coordinator = self.coordinator(process);
        let is_stuck = coordinator != process.me && process.suspected.contains(coordinator);
        if !is_stuck || self.estimate.is_none() {
            return;
        }
        if !self.acked {
            self.send(To::One(coordinator), Content::Nack, ctx);
        }
        self.enter_next_round(process, ctx);
    }

    /// The next round begins with the estimate, and with what came early for it.
    fn enter_next_round(&mut self, process: &Process, ctx: &mut Ctx<Rotating>) {
        self.round += 1;
        self.estimated = false;
        self.acked = false;
        self.lead = Lead::default();
        let entered = self.round;
        let early = self.future.remove(&entered).unwrap_or_default();
        self.upon_estimate_due(process, ctx);
        for (from, content) in early {
            self.upon_message(from, entered, content, process, ctx);
        }
        self.upon_round_left(process, ctx);
    }

    fn coordinator(&self, process: &Process) -> ProcessId {
        process.membership.coordinator(self.round)
    }

    fn is_too_far(&self, round: u64) -> bool {
        round > self.round.saturating_add(ROUNDS_AHEAD)
    }

    /// Sends this in the current round.
    fn send(&self, to: To, content: Content, ctx: &mut Ctx<Rotating>) {
        send(to, self.number, self.round, content, ctx);
    }
}

fn send(to: To, instance: u64, round: u64, content: Content, ctx: &mut Ctx<Rotating>) {
    let message = Message {
        instance,
        round,
        content,
    };
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

/// The estimate of the latest adoption; of several, that of the lowest rank.
fn latest(estimates: &BTreeMap<ProcessId, (u64, Bytes)>) -> Option<Bytes> {
    let best = estimates.values().rev().max_by_key(|(adopted, _)| *adopted);
    best.map(|(_, value)| value.clone())
}

/// A copy of the value, without the buffer that it arrived in, which may be large.
fn detached(value: &Bytes) -> Bytes {
    Bytes::copy_from_slice(value)
}

/// The payload of the reliable broadcast: the instance, then the value.
fn decision(instance: u64, value: &Bytes) -> Bytes {
    let mut payload = BytesMut::with_capacity(value.len() + 10);
    wire::put_number(instance, &mut payload);
    payload.extend_from_slice(value);
    payload.freeze()
}

#[cfg(test)]
mod tests;
