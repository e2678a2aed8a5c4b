//! Two-phase commit: a coordinator collects the votes, or the reports of crashes, and sends the outcome. It
//! blocks when the coordinator crashes after the votes.
//!
//! # Promises
//! - NBAC1 uniform agreement, NBAC3 commit validity, NBAC4 abort validity, NBAC5 integrity (safety).
//! - NBAC2-C termination with a coordinator (liveness): if every correct process votes, and the coordinator is
//!   correct, every correct process decides.
//! - Not NBAC2: if the coordinator crashes, processes that have sent it a yes may wait for ever. Those that
//!   have not sent one abort when the crash is reported.
//!
//! # Assumes
//! Perfect links and the perfect failure detector P; any number of crashes. Without a detector it is still
//! safe, but the first crash before a vote blocks the others, unless somebody votes no; with a detector that
//! errs, an abort may have no reason. A gap does not stop an instance: the coordinator asks again for the votes
//! that it lacks, and a process that has voted votes again, to learn an outcome that is among the latest 4,096.
//! A process that missed an older one never gets it.
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
//! Failure-free 3(n−1) messages; the coordinator decides at step 2, the others at step 3 (n = 1: 0). With
//! a process other than the coordinator dead, reported D ≥ 1 steps after the start: 3n−4 messages, D + 1 steps.
//! The coordinator crashing after k sends of its question: 2k messages; the k processes that it has asked wait
//! for ever, the others decide at step D. Memory: O(1) per undecided instance, O(n) at the coordinator; the
//! decided ones as a watermark. The coordinator remembers the latest 4,096 outcomes. A blocked instance stays:
//! once 2¹⁶ instances are above the oldest, further ones are refused.
//!
//! # Why it holds
//! One process determines the outcome of an instance, once (NBAC1, NBAC5): commit with a yes of everybody
//! (NBAC3), abort with a no, or with a crash before the yes, which has happened if it is reported (NBAC4). A
//! process that votes no need not wait: with its no there is no commit. Nor need a process whose yes has not
//! left when the coordinator has crashed: the coordinator never had it, and cannot have committed. While
//! the coordinator lives, from every process comes its vote or the report of its crash, so that every instance
//! has an outcome (NBAC2-C).
//!
//! # Source
//! Gray: *Notes on Data Base Operating Systems*, 1978. Deviations: crash-stop, so that nothing is logged; the
//! coordinator votes as well, in a message to itself; it waits for a vote until it arrives or P reports the
//! crash of the voter, where a database would give up after a while: that abort could have no reason. The
//! remedy for blocking is [`non_blocking`](crate::non_blocking).
use quorate_abstractions::{
    atomic_commit::{self, Decide, Outcome, Propose, Vote},
    link::{self, To},
    perfect,
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
    /// Whether this process has sent the coordinator its vote.
    has_answered: bool,
    /// At the coordinator: processes that have voted yes.
    yes: ProcessSet,
    /// At the coordinator: whether the outcome was sent.
    told: bool,
}

/// Two-phase commit.
pub struct TwoPhase {
    me: ProcessId,
    processes: Membership,
    /// Processes that the detector has reported.
    crashed: ProcessSet,
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
    watches detector: perfect::Crash => Crash;

    /// Starts two-phase commit over perfect links and P.
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
            Event::Crash(perfect::Crash(p)) => return self.upon_crash(p, ctx),
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
            crashed: ProcessSet::EMPTY,
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
        self.upon_crashed(instance, ctx);
        self.upon_answer(instance, ctx);
    }

    /// A crash affects every instance, including those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        for instance in self.instances.numbers() {
            self.upon_crashed(instance, ctx);
        }
    }

    /// The coordinator aborts an instance in which a process has crashed without a yes. Another process aborts
    /// if the coordinator has crashed without its vote. Before this process has voted, neither does.
    fn upon_crashed(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        let (coordinator, crashed) = (self.coordinator(), self.crashed);
        let Some(poll) = self.instances.get(instance).filter(|it| it.vote.is_some()) else {
            return;
        };
        if self.me == coordinator {
            if !poll.told && !crashed.is_subset(poll.yes) {
                self.tell(instance, Outcome::Abort, ctx);
            }
        } else if crashed.contains(coordinator) && !poll.has_answered {
            self.upon_decided(instance, Outcome::Abort, ctx);
        }
    }

    /// If the instance is over here though the coordinator still asks, its outcome is to abort: this process
    /// has voted no, or the outcome has overtaken the question.
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
                poll.has_answered = true;
                send(To::One(coordinator), Message::Voted { instance, vote }, ctx);
            }
            Some(vote) if has_missed => {
                poll.has_answered = true;
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
                poll.has_answered = true;
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
        self.tell(instance, outcome, ctx);
    }

    /// Sends the outcome to everybody, once.
    fn tell(&mut self, instance: u64, outcome: Outcome, ctx: &mut Ctx<Self>) {
        if let Some(poll) = self.instances.get(instance) {
            poll.told = true;
        }
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
