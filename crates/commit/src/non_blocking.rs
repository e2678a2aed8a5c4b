//! Non-blocking atomic commit: the votes go to everybody, and consensus turns what each process saw into one
//! outcome.
//!
//! # Promises
//! - NBAC1 uniform agreement, NBAC3 commit validity, NBAC4 abort validity, NBAC5 integrity (safety).
//! - NBAC2 termination (liveness): if every correct process votes, every correct process decides.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, the perfect failure detector P, uniform consensus; any number of
//! crashes that the consensus below survives. With a detector that errs, an abort may have no reason. A gap
//! does not stop an instance: when a stream begins anew, this process sends its receiver again its votes in
//! open instances.
//!
//! # Messages
//! `Voted(instance, vote)`, from every process → everybody.
//!
//! # Cost
//! Over uniform hierarchical consensus. Failure-free 2n(n−1) messages, n + 1 steps (n = 1: none). With
//! one process dead, reported D ≥ 1 steps after the start: 2(n−1)² messages, D + n − 1 steps (n = 2:
//! D). p1 crashing after k sends of its vote: k + 2(n−1)² messages. Memory: O(n) per undecided instance; the
//! decided ones as a watermark.
//!
//! # Why it holds
//! A process proposes commit only if it has a yes of everybody (NBAC3), and abort only if it has a no, or the
//! report of a crash, which is true (NBAC4); consensus decides one of the proposals, once (NBAC1, NBAC5).
//! From every process comes its vote or the report of its crash, so every correct process proposes, and
//! consensus ends (NBAC2). A process that has decided need not send its vote again: consensus owes its
//! decision to those that lack the vote.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 6.6, “Consensus-Based Non-Blocking Atomic Commit”. Deviations: a process proposes once, not at
//! every further vote or crash; votes are an enumeration, not numbers to multiply; the first vote of a
//! process counts, and it sends no second; crashes count in instances that begin later; many instances, of
//! which the decided ones are pruned. A single no would suffice to propose an abort. The algorithm does not
//! use this: a process that decided before it has voted would leave others without its vote.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{self, Decide, Outcome, Propose, Vote},
    best_effort, consensus,
    link::{self, To},
    perfect,
};
use quorate_core::{
    Algorithm, Ctx, Host, Observation, Observe, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    ports,
    wire::Plain,
};
use serde::{Deserialize, Serialize};

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// The only message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Voted {
    pub instance: u64,
    /// The sender's vote.
    pub vote: Vote,
}

impl Plain for Voted {}

impl Observe for Voted {
    fn observe(&self) -> Observation {
        Observation::internal("Voted")
            .instance(self.instance)
            .digest(u64::from(self.vote == Vote::Yes))
    }
}

/// One instance at one process.
#[derive(Default, Debug)]
struct Poll {
    /// This process's vote.
    vote: Option<Vote>,
    /// Processes that have voted.
    voters: ProcessSet,
    /// Processes that have voted yes.
    yes: ProcessSet,
    /// Whether this process has proposed an outcome.
    has_proposed: bool,
}

/// Non-blocking atomic commit.
pub struct NonBlocking {
    /// Π.
    processes: ProcessSet,
    /// Processes that the detector has not reported as crashed.
    correct: ProcessSet,
    instances: Instances<Poll>,
}

ports! {
    offers atomic_commit::Port => Propose -> Decide;
    uses lane: link::Port<Voted> => BestEffort as best_effort::Port<Voted>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    uses consensus: consensus::Port => Consensus;
    watches detector: perfect::Crash => Crash;

    /// Starts non-blocking atomic commit over the best-effort broadcast of a lane, P and uniform consensus.
    pub fn spawn(host) = NonBlocking::new(host);
}

impl Algorithm for NonBlocking {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, vote }) => self.upon_propose(instance, vote, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_voted(from, message, ctx);
            }
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Consensus(consensus::Decide { instance, value }) => {
                self.upon_decided(instance, &value, ctx);
            }
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl NonBlocking {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        NonBlocking {
            processes: host.processes().set(),
            correct: host.processes().set(),
            instances: Instances::new(INSTANCES_AHEAD),
        }
    }

    /// The first vote in an instance is sent to everybody, a second one to nobody: links do not keep order,
    /// and others could take either for the first.
    fn upon_propose(&mut self, instance: u64, vote: Vote, ctx: &mut Ctx<Self>) {
        match self.instances.at(instance, Poll::default) {
            Entry::Live(poll) if poll.vote.is_some() => {}
            Entry::Live(poll) => {
                poll.vote = Some(vote);
                let vote = Voted { instance, vote };
                ctx.trigger(Effect::BestEffort(best_effort::Broadcast(vote)));
            }
            Entry::Retired => {}
            Entry::TooFar => ctx.count("instance too far ahead"),
        }
    }

    /// The first vote of a process counts. A vote for a decided instance is ignored.
    fn upon_voted(&mut self, from: ProcessId, voted: Voted, ctx: &mut Ctx<Self>) {
        match self.instances.at(voted.instance, Poll::default) {
            Entry::Live(poll) => {
                if poll.voters.insert(from) && voted.vote == Vote::Yes {
                    poll.yes.insert(from);
                }
            }
            Entry::Retired => return,
            Entry::TooFar => return ctx.count("instance too far ahead"),
        }
        self.upon_all_known(voted.instance, ctx);
    }

    /// When a stream begins anew, sends its receiver again the votes in open instances.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        for instance in self.instances.numbers() {
            let poll = self.instances.get(instance);
            if let Some(vote) = poll.and_then(|poll| poll.vote) {
                let (to, message) = (To::One(peer), Voted { instance, vote });
                ctx.trigger(Effect::Link(link::SendRequest { to, message }));
            }
        }
    }

    /// A crash affects every instance, including those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.correct.remove(p);
        for instance in self.instances.numbers() {
            self.upon_all_known(instance, ctx);
        }
    }

    /// Once each process has voted or was reported as crashed, proposes the outcome that follows, once.
    fn upon_all_known(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        let (processes, correct) = (self.processes, self.correct);
        let Some(poll) = self.instances.get(instance) else {
            return;
        };
        if poll.has_proposed || !correct.is_subset(poll.voters) {
            return;
        }
        poll.has_proposed = true;
        let outcome = if poll.yes == processes && correct == processes {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        let value = value_of(outcome);
        ctx.trigger(Effect::Consensus(consensus::Propose { instance, value }));
    }

    fn upon_decided(&mut self, instance: u64, value: &Bytes, ctx: &mut Ctx<Self>) {
        let Some(outcome) = outcome_of(value) else {
            return ctx.count("undecodable outcome");
        };
        self.instances.retire(instance);
        ctx.trigger(Effect::Decide(Decide { instance, outcome }));
    }
}

/// An outcome as a value for consensus.
fn value_of(outcome: Outcome) -> Bytes {
    match outcome {
        Outcome::Abort => Bytes::from_static(&[0]),
        Outcome::Commit => Bytes::from_static(&[1]),
    }
}

fn outcome_of(value: &Bytes) -> Option<Outcome> {
    match **value {
        [0] => Some(Outcome::Abort),
        [1] => Some(Outcome::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
