//! Uniform consensus driven by a leader, in many instances: Paxos over Ω.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it. (It is enough that one correct process proposes.)
//!
//! # Assumes
//! Perfect links, the eventual leader detector Ω, and f < n/2 crashes. Safety needs neither the detector nor
//! timing. No instance is more than 2²⁰ above the lowest undecided one; those beyond are refused. Streams
//! between processes may end and begin anew: what is open between the two is sent again. Of the decided
//! values the last 1,024 are kept for that, so that liveness (UC4) assumes that no process lacks more of them
//! when a stream begins anew: the earlier ones it never decides.
//!
//! # Messages
//! - `Forward(instance, value)`, from a process that proposes → the process that it trusts. Sent again once a
//!   stream between the two has begun anew.
//! - Those of [`ballots`]: `Prepare`, `Promise`, `Nack` once a leader; `Accept`, from the leader → all
//!   others; `Accepted`, from each → all others; `Decided`, to a process that may not know.
//!
//! # Cost
//! Failure-free, all proposing: n − 1 forwarded proposals, n − 1 `Accept`, (n−1)² `Accepted`, together
//! n² − 1 messages; everybody decides at step 2 (who follows, at step 1 if n ≤ 3). With p1 dead and its
//! crash known D steps after the start: n − 1 forwarded in vain, 2n − 3 for the promises of p2, then n − 2
//! forwarded, n − 1 `Accept` and (n−2)(n−1) `Accepted`; p2 leads at step D + 2, everybody has decided
//! at step D + 4. With p1 crashing after k `Accept` of the first step, known D ≥ 2 steps later: the
//! n − 1 forwarded, k `Accept` and k(n−1) `Accepted` of those that have it, the 2n − 3 of p2's promises,
//! together kn + 3n − 4; that is all if k ≥ maj, and everybody has decided at step 2. With k = maj − 1
//! only those k have, and the n − 1 − k others forward again and are told, at step D + 3: 2(n−1−k) more.
//! With fewer nobody has, and p2 decides as if p1 had been dead, at step D + 4: n − 2 forwarded, n − 1
//! `Accept` and (n−2)(n−1) `Accepted` more. Memory: O(n) per undecided instance; decided values as
//! `ballots` says.
//!
//! # Why it holds
//! Safety is that of ballots. Once Ω is stable, its leader is correct. It campaigns until a majority
//! promises, in a ballot higher than all that it hears of; nobody else campaigns any more, and every proposal
//! of a correct process is forwarded to it (UC4).
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998; Guerraoui, Cachin, Rodrigues, section 5.3, in substance.
//! Deviations: a promise covers all instances, so that a stable leader pays for it once; acceptances go
//! to everybody instead of the leader, which saves a step; the process of rank 1 leads at first without
//! asking.
use crate::ballots::{self, Ballots, Candidacy};
use bytes::Bytes;
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    leader::Trust,
    link::{self, To},
};
use quorate_core::{Algorithm, Ctx, Host, ProcessId, message::digest, messages, ports};
use std::collections::{BTreeMap, BTreeSet};

/// At most this many undecided instances have a proposal; more are refused.
const WANTED: usize = 1 << 16;

messages! {
    /// The messages.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// To the trusted process: have this value decided.
        Forward {
            instance: u64;
            value: Bytes
        } => instance(*instance).digest(digest(value)),
        /// A message between leaders and acceptors.
        Ballots(ballots::Message<Bytes>),
    }
}

/// Leader-driven uniform consensus.
pub struct LeaderDriven {
    candidacy: Candidacy,
    ballots: Ballots<Bytes>,
    /// This process's own proposals in undecided instances.
    own: BTreeMap<u64, Bytes>,
    /// The values that a leader is to have decided: own proposals and those forwarded to it.
    wanted: BTreeMap<u64, Bytes>,
    /// The wanted instances in which this leader has not proposed in its present ballot.
    due: BTreeSet<u64>,
}

ports! {
    offers consensus::Port => Propose -> Decide;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status;
    watches detector: Trust => Leader;
    timer Retry;

    /// Starts leader-driven consensus over perfect links and Ω.
    pub fn spawn(host) = LeaderDriven::new(host);
}

impl Algorithm for LeaderDriven {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, value, ctx),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Forward { instance, value } => self.upon_forward(instance, value, ctx),
                Message::Ballots(message) => self.upon_ballots(from, message, ctx),
            },
            Event::Leader(Trust(p)) => self.upon_trust(p, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Retry => self.upon_retry(ctx),
        }
    }
}

impl LeaderDriven {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        LeaderDriven {
            candidacy: Candidacy::new(host.me()),
            ballots: Ballots::new(host.me(), *host.processes()),
            own: BTreeMap::new(),
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The first proposal counts; it goes to each process that is trusted, now and later.
    fn upon_propose(&mut self, instance: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if self.ballots.is_decided(instance) || self.own.contains_key(&instance) {
            return;
        }
        if self.ballots.is_too_far(instance) {
            return ctx.count("instance too far ahead");
        }
        if self.own.len() >= WANTED {
            return ctx.count("too many proposals");
        }
        self.own.insert(instance, value.clone());
        self.want(instance, value.clone(), ctx);
        self.forward(instance, value, ctx);
        self.upon_due(ctx);
    }

    fn upon_forward(&mut self, instance: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        self.want(instance, value, ctx);
        self.upon_due(ctx);
    }

    /// A new leader is asked for everything that is undecided.
    fn upon_trust(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_trust(p, &mut self.ballots);
        self.forward_all(ctx);
        self.upon_outgoing(ctx);
    }

    /// A process that trusts itself and lost to another has waited: it asks again.
    fn upon_retry(&mut self, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_retry(&mut self.ballots);
        self.upon_outgoing(ctx);
    }

    fn forward_all(&self, ctx: &mut Ctx<Self>) {
        let own: Vec<_> = self.own.iter().map(|(i, v)| (*i, v.clone())).collect();
        for (instance, value) in own {
            self.forward(instance, value, ctx);
        }
    }

    /// When a stream has begun anew, what is open between the two processes is sent again.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let (link::Status::Begun { peer } | link::Status::Gap { peer }) = *status else {
            return;
        };
        if matches!(status, link::Status::Begun { .. }) {
            self.ballots.begin_stream(peer);
        } else {
            self.ballots.resume(peer);
        }
        if self.candidacy.other() == Some(peer) {
            self.forward_all(ctx);
        }
        self.upon_outgoing(ctx);
    }

    /// What they hear may elect this process, or depose it, be a decision, or want an answer.
    fn upon_ballots(
        &mut self,
        from: ProcessId,
        message: ballots::Message<Bytes>,
        ctx: &mut Ctx<Self>,
    ) {
        if let Some(reason) = self.ballots.upon(from, message) {
            ctx.count(reason);
        }
        self.upon_elected(ctx);
        self.upon_deposed(ctx);
        self.upon_outgoing(ctx);
        self.upon_decided(ctx);
    }

    /// Upon promises of a majority: this process leads, and everything that is wanted is due.
    fn upon_elected(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(obliged) = self.ballots.elected(|_| true) {
            self.candidacy.upon_lead();
            self.ballots.lead(&obliged, None);
            self.due = self.wanted.keys().copied().collect();
            self.upon_due(ctx);
        }
    }

    /// Upon values that are due, at a leader: it proposes them. Who is alone has decided them, too.
    fn upon_due(&mut self, ctx: &mut Ctx<Self>) {
        if self.ballots.leads() {
            self.propose_due();
            self.upon_outgoing(ctx);
            self.upon_decided(ctx);
        }
    }

    /// Upon a process that trusts itself, and lost to another: it asks again, after a while.
    fn upon_deposed(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(backoff) = self.candidacy.wait(&self.ballots) {
            ctx.after(backoff, Event::Retry);
        }
    }

    /// Upon messages of the ballots: they leave.
    fn upon_outgoing(&mut self, ctx: &mut Ctx<Self>) {
        for (to, message) in self.ballots.take_outgoing() {
            let message = Message::Ballots(message);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    fn upon_decided(&mut self, ctx: &mut Ctx<Self>) {
        for (instance, value) in self.ballots.take_decisions() {
            self.own.remove(&instance);
            self.wanted.remove(&instance);
            self.due.remove(&instance);
            ctx.trigger(Effect::Decide(Decide { instance, value }));
        }
    }

    fn propose_due(&mut self) {
        while let Some(instance) = self.due.pop_first() {
            if let Some(value) = self.wanted.get(&instance)
                && !self.ballots.is_used(instance)
            {
                self.ballots.propose(instance, value.clone());
            }
        }
    }

    /// Keeps the first value wanted in an instance, while it is undecided.
    fn want(&mut self, instance: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if self.ballots.is_decided(instance) {
            return;
        }
        if self.ballots.is_too_far(instance) {
            return ctx.count("instance too far ahead");
        }
        if self.wanted.len() >= WANTED && !self.wanted.contains_key(&instance) {
            return ctx.count("too many proposals");
        }
        self.wanted.entry(instance).or_insert(value);
        self.due.insert(instance);
    }

    fn forward(&self, instance: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        if let Some(p) = self.candidacy.other() {
            let message = Message::Forward { instance, value };
            let to = To::One(p);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }
}

#[cfg(test)]
mod tests;
