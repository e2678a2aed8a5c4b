//! Two-phase commit: a coordinator collects the votes and sends the outcome. It blocks when the coordinator
//! crashes.
//!
//! # Promises
//! - NBAC1 uniform agreement, NBAC3 commit validity, NBAC4 abort validity, NBAC5 integrity (safety).
//! - Not NBAC2: if any process crashes, others that voted yes may wait for ever. Failure-free, every process
//!   that votes decides once all have voted, or once the coordinator and a process that votes no have voted.
//!
//! # Assumes
//! Perfect links, and no detector. Safety survives any number of crashes, progress none: after a crash of the
//! coordinator, processes that voted yes lack the outcome; after another crash, the coordinator lacks a vote,
//! unless somebody votes no. A gap does not stop an instance: the coordinator asks again for the votes that
//! it lacks, and a process that has voted votes again, to learn an outcome that is among the latest 4,096. A
//! process that missed an older one never gets it.
//!
//! # Messages
//! - `Prepare(instance)`, coordinator → everybody: what is your vote?
//! - `Voted(instance, vote)`, everybody → coordinator, once it was asked and has a vote.
//! - `Decided(instance, outcome)`, coordinator → everybody.
//! - `Again(instance, vote)`, in place of `Voted`, after a gap, from a process that does not know the
//!   outcome, and may not have been asked.
//! - `Resumed`, between the coordinator and another process, after a gap: send again what is open.
//!
//! The coordinator is p1, in every instance.
//!
//! # Cost
//! Failure-free 3(n−1) messages; the coordinator decides at step 2, the others at step 3 (n = 1: 0).
//! The coordinator crashing after k sends of its question: 2k messages, and nobody else decides.
//! Memory: O(1) per undecided instance, O(n) at the coordinator; the decided ones as a watermark. The
//! coordinator remembers the latest 4,096 outcomes. A blocked instance stays: once 2¹⁶ instances are above
//! the oldest, further ones are refused.
//!
//! # Why it holds
//! One process determines the outcome of an instance, once (NBAC1, NBAC5): commit with a yes of everybody
//! (NBAC3), abort with a no (NBAC4). A process that votes no need not wait: with its no there is no commit.
//!
//! # Source
//! Gray: *Notes on Data Base Operating Systems*, 1978. Deviations: crash-stop, so that nothing is logged; the
//! coordinator votes as well, in a message to itself; it waits for a vote as long as necessary, where a
//! database would give up and abort: without a detector that abort could have no reason. The remedy for
//! blocking is [`non_blocking`](crate::non_blocking).
use quorate_abstractions::{
    atomic_commit::{self, Decide, Outcome, Propose, Vote},
    link::{self, To},
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    messages, ports,
};
use std::collections::BTreeMap;

/// Instances this far above the oldest undecided one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;
/// The coordinator remembers this many outcomes, for processes that missed them in a gap.
const OUTCOMES: usize = 1 << 12;

messages! {
    /// The messages.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Message {
        /// The coordinator asks for the vote in this instance.
        Prepare {
            instance: u64
        } => instance(*instance),
        /// The vote of the sender.
        Voted {
            instance: u64,
            vote: Vote
        } => instance(*instance).digest(u64::from(*vote == Vote::Yes)),
        /// The vote of the sender, after a gap: the sender does not know the outcome, and may not have been
        /// asked.
        Again {
            instance: u64,
            vote: Vote
        } => instance(*instance).digest(u64::from(*vote == Vote::Yes)),
        /// The outcome.
        Decided {
            instance: u64,
            outcome: Outcome
        } => instance(*instance).digest(u64::from(*outcome == Outcome::Commit)),
        /// A stream to the receiver has begun anew: earlier messages to it may be lost.
        Resumed,
    }
}

/// One instance at one process.
#[derive(Default, Debug)]
struct Poll {
    /// The vote of this process.
    vote: Option<Vote>,
    /// Whether the coordinator has asked for the vote.
    asked: bool,
    /// At the coordinator: processes that have voted yes.
    yes: ProcessSet,
    /// At the coordinator: whether the outcome was sent.
    told: bool,
}

/// Two-phase commit.
pub struct TwoPhase {
    me: ProcessId,
    processes: Membership,
    instances: Instances<Poll>,
    /// At the coordinator: the latest outcomes.
    outcomes: BTreeMap<u64, Outcome>,
    /// Whether a gap has taken messages of the coordinator to this process: questions may be missing.
    has_missed: bool,
}

ports! {
    offers atomic_commit::Port => Propose -> Decide;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;

    /// Starts two-phase commit over perfect links.
    pub fn spawn(host) = TwoPhase::new(host);
}

impl Algorithm for TwoPhase {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let link::Deliver { from, message } = match event {
            Event::Propose(Propose { instance, vote }) => {
                return self.upon_propose(instance, vote, ctx);
            }
            Event::Status(status) => return self.upon_status(&status, ctx),
            Event::Link(delivery) => delivery,
        };
        match message {
            Message::Voted { .. } | Message::Again { .. } if self.me != self.coordinator() => {
                ctx.count("vote for the coordinator");
            }
            Message::Voted { instance, vote } => self.upon_voted(from, instance, vote, ctx),
            Message::Again { instance, vote } => self.upon_vote_again(from, instance, vote, ctx),
            Message::Prepare { .. } | Message::Decided { .. } if from != self.coordinator() => {
                ctx.count("not the coordinator");
            }
            Message::Prepare { instance } => self.upon_prepare(instance, ctx),
            Message::Resumed => {
                self.has_missed |= from == self.coordinator();
                self.say_again(from, ctx);
            }
            Message::Decided { instance, outcome } => self.upon_decided(instance, outcome, ctx),
        }
    }
}

impl TwoPhase {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        TwoPhase {
            me: host.me(),
            processes: *host.processes(),
            instances: Instances::new(INSTANCES_AHEAD),
            outcomes: BTreeMap::new(),
            has_missed: false,
        }
    }

    /// The coordinator of every instance: p1.
    fn coordinator(&self) -> ProcessId {
        self.processes.coordinator(1)
    }

    /// The instance, which is created at its first mention; `None` if it is over or too far ahead.
    fn live(&mut self, instance: u64, ctx: &mut Ctx<Self>) -> Option<&mut Poll> {
        match self.instances.at(instance, Poll::default) {
            Entry::Live(poll) => Some(poll),
            Entry::Retired => None,
            Entry::TooFar => {
                ctx.count("instance too far ahead");
                None
            }
        }
    }

    /// The first vote counts. The coordinator's own vote begins the first phase.
    fn upon_propose(&mut self, instance: u64, vote: Vote, ctx: &mut Ctx<Self>) {
        let Some(poll) = self.live(instance, ctx).filter(|poll| poll.vote.is_none()) else {
            return;
        };
        poll.vote = Some(vote);
        if self.me == self.coordinator() {
            send(To::All, Message::Prepare { instance }, ctx);
        }
        self.upon_answer(instance, ctx);
    }

    /// If the instance is over here though the coordinator still asks, this process has voted no.
    fn upon_prepare(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        if self.instances.is_retired(instance) {
            let answer = Message::Voted {
                instance,
                vote: Vote::No,
            };
            return send(To::One(self.coordinator()), answer, ctx);
        }
        if let Some(poll) = self.live(instance, ctx) {
            poll.asked = true;
            self.upon_answer(instance, ctx);
        }
    }

    /// Once there is a question and a vote, answers. A process that votes no knows the outcome, asked or not.
    fn upon_answer(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        let (coordinator, has_missed) = (self.coordinator(), self.has_missed);
        let Some(poll) = self.instances.get(instance) else {
            return;
        };
        let vote = poll.vote;
        match vote {
            Some(vote) if poll.asked => {
                send(To::One(coordinator), Message::Voted { instance, vote }, ctx);
            }
            Some(vote) if has_missed => {
                send(To::One(coordinator), Message::Again { instance, vote }, ctx);
            }
            Some(_) | None => {}
        }
        if vote == Some(Vote::No) && self.me != coordinator {
            self.upon_decided(instance, Outcome::Abort, ctx);
        }
    }

    /// When a stream to or from the coordinator begins anew, both ends send again what is open.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        if let link::Status::Begun { peer } = *status
            && [self.me, peer].contains(&self.coordinator())
        {
            send(To::One(peer), Message::Resumed, ctx);
            self.say_again(peer, ctx);
        }
    }

    /// The coordinator asks a process again for the votes that it lacks; a process that has voted votes again
    /// in each instance of which it does not know the outcome.
    fn say_again(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        let coordinator = self.coordinator();
        for instance in self.instances.numbers() {
            let Some(poll) = self.instances.get(instance) else {
                continue;
            };
            if self.me == coordinator {
                if poll.vote.is_some() && !poll.told && !poll.yes.contains(peer) {
                    send(To::One(peer), Message::Prepare { instance }, ctx);
                }
            } else if peer == coordinator
                && let Some(vote) = poll.vote
            {
                send(To::One(peer), Message::Again { instance, vote }, ctx);
            }
        }
    }

    /// A process that votes again has not learned the outcome, if there is one.
    fn upon_vote_again(&mut self, from: ProcessId, instance: u64, vote: Vote, ctx: &mut Ctx<Self>) {
        if let Some(outcome) = self.outcomes.get(&instance).copied() {
            send(To::One(from), Message::Decided { instance, outcome }, ctx);
        } else {
            self.upon_voted(from, instance, vote, ctx);
        }
    }

    /// Remembers an outcome that was sent, while it is among the latest.
    fn remember(&mut self, instance: u64, outcome: Outcome) {
        self.outcomes.insert(instance, outcome);
        if self.outcomes.len() > OUTCOMES {
            self.outcomes.pop_first();
        }
    }

    /// Sends the outcome at the first no, or at the last yes.
    fn upon_voted(&mut self, from: ProcessId, instance: u64, vote: Vote, ctx: &mut Ctx<Self>) {
        let all = self.processes.set();
        let Some(poll) = self.live(instance, ctx).filter(|poll| !poll.told) else {
            return;
        };
        if vote == Vote::Yes {
            poll.yes.insert(from);
        }
        let outcome = match vote {
            Vote::No => Outcome::Abort,
            Vote::Yes if poll.yes == all => Outcome::Commit,
            Vote::Yes => return,
        };
        poll.told = true;
        self.remember(instance, outcome);
        send(To::All, Message::Decided { instance, outcome }, ctx);
    }

    fn upon_decided(&mut self, instance: u64, outcome: Outcome, ctx: &mut Ctx<Self>) {
        if self.live(instance, ctx).is_some() {
            self.instances.retire(instance);
            ctx.trigger(Effect::Decide(Decide { instance, outcome }));
        }
    }
}

fn send(to: To, message: Message, ctx: &mut Ctx<TwoPhase>) {
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
