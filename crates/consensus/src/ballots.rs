//! Ballots over a sequence of instances: the rules that all leader-driven algorithms share.
//!
//! A *ballot* is a leader's attempt; ballots are ordered by round, then by rank. A process that *promises* a
//! ballot refuses lower ones, in all instances at once, and says what it accepted before. A leader with the
//! promises of a majority may have values *accepted* in any instance; if some promise reports an accepted
//! value there, it must take the one of the highest ballot. A value accepted by a majority in one ballot is
//! *decided*.
//!
//! # Why it holds
//! Let v be decided in ballot b. Every later ballot's leader has the promises of a majority, one of whom
//! accepted v in b before it promised (after that it would have refused b). By induction over ballots, the
//! highest accepted ballot that any promise reports has the value v, so nothing but v is ever accepted again.
//! The first ballot belongs to the process of rank 1, which needs no promises: no lower one exists.
//!
//! # Streams
//! Messages to a process may be lost when the stream to it ends; the process and the sender learn of that.
//! Both then [send again](Ballots::resume) what is open between them: a candidate without the other's
//! complete promise campaigns in a higher ballot; a leader repeats its proposals that are not decided, and
//! its request for a promise, which it no longer counts; an acceptor repeats what it has accepted; and both
//! repeat the decisions that the other may lack. No candidate asks for a ballot twice. If the rest of a
//! promise is lost, its received parts are dropped with their stream. Once the next stream to the candidate
//! has [begun](Ballots::begin_stream), and not earlier, a process that has promised states its whole promise
//! again, with its present contents. It may do so on the stream on which it stated the promise first, and
//! decisions in between may have changed what it reports. So the statements (*sayings*) of a promise are
//! numbered. A part counts only with other parts of the same saying; a part of a later saying ends the
//! earlier saying, unless that is complete. Otherwise parts of two reports could pass for one, which might
//! lack an accepted value.
//!
//! # Memory
//! A decided value is kept until every process is known to have decided, and at most [`KEPT`] of them. A
//! dropped value is sent to every process that may lack it, and then waits in the link; or, with
//! [`dropping`](Ballots::dropping), such a process is [behind](Ballots::is_behind), and has to get the effect
//! of the decisions in another way. Above an instance that is not decided yet all values are kept, for
//! promises to report: at most 2²⁰.
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998; *Paxos Made Simple*, 2001.
mod behind;
mod candidacy;
mod leading;
mod message;
mod promises;
mod streams;
mod succession;

pub use candidacy::Candidacy;
pub use message::{Acceptance, Ballot, Message};
use promises::Promise;
use quorate_abstractions::link::To;
use quorate_core::{Membership, ProcessId, ProcessSet, watermark::Watermark};
use std::collections::BTreeMap;

/// At most this many decided values are kept for processes not known to have decided.
pub const KEPT: usize = 1024;
/// Instances this far above the decided ones are refused.
const INSTANCES_AHEAD: u64 = 1 << 20;
/// The highest number in a message: a process that counts on from there never reaches the end.
const MOST: u64 = 1 << 48;

/// The role of this process in the present ballot.
#[derive(Debug)]
enum Part<V> {
    /// Another process leads, or none.
    Follows,
    /// It asks for promises.
    Campaigns {
        ballot: Ballot,
        promises: BTreeMap<ProcessId, Promise<V>>,
    },
    /// It leads. `next` is the first instance in which it has used no value. The processes in `told` were
    /// told what they lacked when they promised; they learn later decisions like everybody else.
    Leads {
        ballot: Ballot,
        next: u64,
        told: ProcessSet,
    },
}

/// A decided instance and its value.
pub type Decision<V> = (u64, V);

/// The acceptor, learner and leader of one process.
#[derive(Debug)]
pub struct Ballots<V> {
    me: ProcessId,
    processes: Membership,
    /// The highest ballot promised.
    promised: Ballot,
    /// The highest ballot that this process knows of.
    seen: Ballot,
    /// What this process accepted last, in instances that it has not decided.
    accepted: BTreeMap<u64, Acceptance<V>>,
    /// By undecided instance: the last acceptance of each process.
    votes: BTreeMap<u64, BTreeMap<ProcessId, Acceptance<V>>>,
    /// Decided values that some process may still lack.
    decided: BTreeMap<u64, V>,
    known: Watermark,
    /// By rank: the instance up to which each process is known to have decided. Every event reads all of it.
    reached: Vec<(ProcessId, u64)>,
    part: Part<V>,
    /// The highest ballot in which this process has reported what it accepted.
    reported: Ballot,
    /// How often this process has stated promises.
    sayings: u64,
    /// Whether acceptances go to the leader alone.
    to_leader: bool,
    /// Whether decisions beyond the limit are sent, before they are dropped, to processes that may lack them.
    owes: bool,
    /// How many decided values are kept.
    kept: usize,
    /// Messages to be sent.
    outgoing: Vec<(To, Message<V>)>,
    /// Decisions that the owner has not taken yet.
    fresh: Vec<Decision<V>>,
}

impl<V: Clone + PartialEq> Ballots<V> {
    /// At the beginning the process of rank 1 leads.
    pub fn new(me: ProcessId, processes: Membership) -> Self {
        Self::from(me, processes, processes.coordinator(1), 0)
    }

    /// A sequence whose instances up to `decided` are decided, though their values are not known here;
    /// `leader` has the first ballot.
    pub fn from(me: ProcessId, processes: Membership, leader: ProcessId, decided: u64) -> Self {
        let first = Ballot { round: 1, leader };
        let part = if leader == me {
            Part::Leads {
                ballot: first,
                next: decided.saturating_add(1),
                told: processes.set(),
            }
        } else {
            Part::Follows
        };
        Ballots {
            me,
            processes,
            promised: first,
            seen: first,
            accepted: BTreeMap::new(),
            votes: BTreeMap::new(),
            decided: BTreeMap::new(),
            known: Watermark::up_to(decided),
            reached: processes.iter().map(|p| (p, decided)).collect(),
            part,
            reported: first,
            sayings: 0,
            to_leader: false,
            owes: true,
            kept: KEPT,
            outgoing: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Whether this process leads, as far as it knows.
    pub fn leads(&self) -> bool {
        matches!(self.part, Part::Leads { .. })
    }

    /// Whether this process asks for promises.
    pub fn campaigns(&self) -> bool {
        matches!(self.part, Part::Campaigns { .. })
    }

    /// The next instance in which this leader has used no value; `None` if this process does not lead.
    pub fn next_instance(&self) -> Option<u64> {
        match self.part {
            Part::Leads { next, .. } => Some(next),
            Part::Follows | Part::Campaigns { .. } => None,
        }
    }

    /// Every instance up to this one is decided here.
    pub fn low(&self) -> u64 {
        self.known.low()
    }

    /// Whether the instance is decided here.
    pub fn is_decided(&self, instance: u64) -> bool {
        self.known.contains(instance)
    }

    /// Whether this leader has nothing to propose there: the instance is decided, or has a value in the
    /// leader's ballot.
    pub fn is_used(&self, instance: u64) -> bool {
        let own = self.own_ballot();
        let accepted = self.accepted.get(&instance);
        self.is_decided(instance) || accepted.is_some_and(|a| Some(a.ballot) == own)
    }

    /// The number of remembered values: bounded by what is in flight, and [`KEPT`].
    pub fn remembered(&self) -> usize {
        self.accepted.len() + self.votes.len() + self.decided.len()
    }

    /// Takes the messages to be sent, in order.
    pub fn take_outgoing(&mut self) -> Vec<(To, Message<V>)> {
        std::mem::take(&mut self.outgoing)
    }

    /// The decisions since the last call. Instances come in any order, each once.
    pub fn take_decisions(&mut self) -> Vec<Decision<V>> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether the instance lies so far above the decided ones that it is refused.
    pub fn is_too_far(&self, instance: u64) -> bool {
        instance > self.known.low().saturating_add(INSTANCES_AHEAD)
    }

    /// Whether an acceptance would be refused at once, so that its value need not be waited for.
    pub fn is_outdated(&self, acceptance: &Acceptance<V>) -> bool {
        acceptance.ballot < self.promised
    }

    /// Handles a message. An `Accept` must be handed over only once the owner can vouch for its value.
    ///
    /// Returns the reason for which the message was dropped, if it was.
    pub fn upon(&mut self, from: ProcessId, message: Message<V>) -> Option<&'static str> {
        if message.highest() > MOST {
            return Some("number too high");
        }
        match message {
            Message::Prepare { ballot, from: open } => self.upon_prepare(from, ballot, open),
            Message::Promise {
                ballot,
                saying,
                decided,
                part,
                parts,
                accepted,
            } => self.upon_promise(from, ballot, saying, (decided, part, parts), accepted),
            Message::Nack { promised } => self.upon_nack(promised),
            Message::Accept {
                acceptance,
                decided,
            } => self.upon_accept(from, acceptance, decided),
            Message::Accepted {
                acceptance,
                decided,
            } => self.upon_accepted(from, acceptance, decided),
            Message::Decided { instance, value } => self.upon_decided(instance, value),
        }
    }

    fn upon_prepare(&mut self, from: ProcessId, ballot: Ballot, open: u64) -> Option<&'static str> {
        if ballot.leader != from {
            return Some("another's ballot");
        }
        self.seen = self.seen.max(ballot);
        if ballot < self.promised {
            let promised = self.promised;
            self.send(To::One(from), Message::Nack { promised });
            return None;
        }
        if ballot <= self.reported {
            return Some("ballot asked for twice");
        }
        self.reported = ballot;
        self.promise(ballot);
        self.reach(from, open.saturating_sub(1));
        self.tell_decided(from, open);
        self.say_promise(from, ballot);
        None
    }

    /// A higher ballot was promised: this process's own ballot, if it is lower, can no longer succeed.
    fn upon_nack(&mut self, promised: Ballot) -> Option<&'static str> {
        self.seen = self.seen.max(promised);
        if self.own_ballot().is_some_and(|own| own < promised) {
            self.part = Part::Follows;
        }
        None
    }

    fn upon_accept(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<V>,
        decided: u64,
    ) -> Option<&'static str> {
        self.reach(from, decided);
        let Acceptance {
            instance, ballot, ..
        } = acceptance;
        if ballot.leader != from {
            return Some("another's ballot");
        }
        if self.is_too_far(instance) {
            return Some("instance too far ahead");
        }
        self.seen = self.seen.max(ballot);
        if ballot < self.promised {
            let promised = self.promised;
            self.send(To::One(from), Message::Nack { promised });
            return None;
        }
        self.promise(ballot);
        // If the instance is decided here, the leader can only propose that value: others may still need the
        // vote.
        if !self.is_decided(instance) {
            self.accepted.insert(instance, acceptance.clone());
        }
        let decided = self.known.low();
        let whom = if self.to_leader {
            To::One(from)
        } else {
            To::Some(self.processes.others(self.me))
        };
        let accepted = Message::Accepted {
            acceptance: acceptance.clone(),
            decided,
        };
        self.send(whom, accepted);
        self.vote(from, acceptance.clone());
        self.vote(self.me, acceptance);
        None
    }

    fn upon_accepted(
        &mut self,
        from: ProcessId,
        acceptance: Acceptance<V>,
        decided: u64,
    ) -> Option<&'static str> {
        self.reach(from, decided);
        if self.is_too_far(acceptance.instance) {
            return Some("instance too far ahead");
        }
        self.seen = self.seen.max(acceptance.ballot);
        self.vote(from, acceptance);
        None
    }

    fn upon_decided(&mut self, instance: u64, value: V) -> Option<&'static str> {
        if self.is_too_far(instance) {
            return Some("instance too far ahead");
        }
        self.decide(instance, value);
        None
    }

    /// Refuses lower ballots from now on, including this process's own.
    fn promise(&mut self, ballot: Ballot) {
        self.promised = self.promised.max(ballot);
        if self.own_ballot().is_some_and(|own| own < ballot) {
            self.part = Part::Follows;
        }
    }

    fn own_ballot(&self) -> Option<Ballot> {
        match self.part {
            Part::Follows => None,
            Part::Campaigns { ballot, .. } | Part::Leads { ballot, .. } => Some(ballot),
        }
    }

    /// When a majority has accepted a value in one ballot, it is decided.
    fn vote(&mut self, from: ProcessId, acceptance: Acceptance<V>) {
        let instance = acceptance.instance;
        if self.is_decided(instance) {
            return;
        }
        let votes = self.votes.entry(instance).or_default();
        let ballot = acceptance.ballot;
        let latest = votes.get(&from).is_none_or(|last| last.ballot <= ballot);
        if !latest {
            return;
        }
        let value = acceptance.value.clone();
        votes.insert(from, acceptance);
        let agreeing = votes.values().filter(|vote| vote.ballot == ballot).count();
        if agreeing >= self.processes.majority() {
            self.decide(instance, value);
        }
    }

    fn decide(&mut self, instance: u64, value: V) {
        if !self.known.insert(instance) {
            return;
        }
        self.votes.remove(&instance);
        self.accepted.remove(&instance);
        self.decided.insert(instance, value.clone());
        self.fresh.push((instance, value));
        self.reach(self.me, self.known.low());
        self.forget();
    }

    fn reach(&mut self, p: ProcessId, decided: u64) {
        if let Some((_, reached)) = self.reached.get_mut(p.index()) {
            *reached = decided.max(*reached);
        }
    }

    /// Drops the values that everybody has decided, and the oldest others beyond the limit.
    fn forget(&mut self) {
        let low = self.reached_by_all();
        self.decided = self.decided.split_off(&(low + 1));
        while self.decided.len() > self.kept {
            // Values beyond a gap are part of what this process promises.
            let first = self.decided.first_key_value();
            if first.is_none_or(|(instance, _)| *instance > self.known.low()) {
                return;
            }
            let Some((instance, value)) = self.decided.pop_first() else {
                return;
            };
            if self.owes {
                let lacks = |(p, reached): &(ProcessId, u64)| (*reached < instance).then_some(*p);
                let lacking = self.reached.iter().filter_map(lacks).collect();
                self.send(To::Some(lacking), Message::Decided { instance, value });
            }
        }
    }

    /// Sends the decisions from this instance on to a process that may lack them.
    fn tell_decided(&mut self, p: ProcessId, from: u64) {
        if p == self.me {
            return;
        }
        let decided: Vec<_> = self.decided.range(from..).collect();
        let messages: Vec<_> = decided
            .into_iter()
            .map(|(instance, value)| Message::Decided {
                instance: *instance,
                value: value.clone(),
            })
            .collect();
        for message in messages {
            self.send(To::One(p), message);
        }
    }

    fn send(&mut self, to: To, message: Message<V>) {
        self.outgoing.push((to, message));
    }
}

#[cfg(test)]
mod tests;
