//! Ballots over a sequence of instances: the rules that all leader-driven algorithms share.
//!
//! A *ballot* is a leader's attempt; ballots are ordered by round, then by rank. Whoever *promises* a
//! ballot refuses lower ones, in all instances at once, and says what it accepted before; a leader with
//! the promises of a majority may have values *accepted* in any instance, provided that where some
//! promise reports an accepted value it takes the one of the highest ballot. A value accepted by a
//! majority in one ballot is *decided*.
//!
//! # Why it holds
//! Let v be decided in ballot b. Every later ballot's leader has the promises of a majority, one of
//! whom accepted v in b before it promised (after, it would have refused b). By induction over ballots
//! the highest that any promise reports is a ballot with v, so nothing but v is ever accepted again.
//! The first ballot belongs to the process of rank 1, which needs no promises: no lower one exists.
//!
//! # Memory
//! A decided value is kept until every process is known to have decided, and at most
//! [`KEPT`] of them: beyond, whoever may lack one is sent it over its perfect link, which then owes it.
//! Above an instance that is not decided yet all are kept, for promises to report: at most 2²⁰.
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998; *Paxos Made Simple*, 2001.
mod candidacy;

pub use candidacy::Candidacy;
use quorate_abstractions::link::To;
use quorate_core::{Membership, Observation, Observe, ProcessId, ProcessSet, watermark::Watermark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Decided values that are kept for those not known to have decided.
pub const KEPT: usize = 1024;
/// Instances so far above the decided ones are refused.
const INSTANCES_AHEAD: u64 = 1 << 20;

/// An attempt of one leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Ballot {
    /// The round, counted from 1.
    pub round: u64,
    /// Whose attempt it is.
    pub leader: ProcessId,
}

/// What an acceptor last accepted in an instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acceptance<V> {
    /// The instance.
    pub instance: u64,
    /// In which ballot.
    pub ballot: Ballot,
    /// The value.
    pub value: V,
}

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message<V> {
    /// From a leader to all: promise this ballot, and say what you accepted from this instance on.
    Prepare {
        /// The ballot.
        ballot: Ballot,
        /// The first instance that the leader has not decided.
        from: u64,
    },
    /// To the leader: promised. One message for each value accepted, at least one.
    Promise {
        /// The ballot.
        ballot: Ballot,
        /// Up to this instance the sender has decided.
        decided: u64,
        /// How many messages the promise consists of.
        parts: u64,
        /// One of the values that it accepted beyond.
        accepted: Option<Acceptance<V>>,
    },
    /// To a leader: this higher ballot was promised.
    Refuse {
        /// The ballot promised.
        promised: Ballot,
    },
    /// From a leader, which has accepted it already, to all others: accept this.
    Accept {
        /// What.
        acceptance: Acceptance<V>,
        /// Up to this instance the sender has decided.
        decided: u64,
    },
    /// To all others: accepted.
    Accepted {
        /// What.
        acceptance: Acceptance<V>,
        /// Up to this instance the sender has decided.
        decided: u64,
    },
    /// To one who may not know: this was decided.
    Decided {
        /// The instance.
        instance: u64,
        /// The value.
        value: V,
    },
}

impl<V> Acceptance<V> {
    fn map<U>(self, change: impl FnOnce(V) -> U) -> Acceptance<U> {
        Acceptance {
            instance: self.instance,
            ballot: self.ballot,
            value: change(self.value),
        }
    }
}

impl<V> Message<V> {
    /// The same message with another value in place of the one that it carries, if it carries one.
    pub fn map<U>(self, change: impl FnOnce(V) -> U) -> Message<U> {
        match self {
            Message::Prepare { ballot, from } => Message::Prepare { ballot, from },
            Message::Promise {
                ballot,
                decided,
                parts,
                accepted,
            } => Message::Promise {
                ballot,
                decided,
                parts,
                accepted: accepted.map(|acceptance| acceptance.map(change)),
            },
            Message::Refuse { promised } => Message::Refuse { promised },
            Message::Accept {
                acceptance,
                decided,
            } => Message::Accept {
                acceptance: acceptance.map(change),
                decided,
            },
            Message::Accepted {
                acceptance,
                decided,
            } => Message::Accepted {
                acceptance: acceptance.map(change),
                decided,
            },
            Message::Decided { instance, value } => Message::Decided {
                instance,
                value: change(value),
            },
        }
    }
}

impl<V> Observe for Message<V> {
    fn observe(&self) -> Observation {
        let of = |label, instance| Observation::internal(label).instance(instance);
        match self {
            Message::Prepare { ballot, from } => of("Prepare", *from).digest(ballot.round),
            Message::Promise {
                ballot, accepted, ..
            } => {
                let instance = accepted.as_ref().map_or(0, |accepted| accepted.instance);
                of("Promise", instance).digest(ballot.round)
            }
            Message::Refuse { promised } => Observation::internal("Refuse").digest(promised.round),
            Message::Accept { acceptance, .. } => {
                of("Accept", acceptance.instance).digest(acceptance.ballot.round)
            }
            Message::Accepted { acceptance, .. } => {
                of("Accepted", acceptance.instance).digest(acceptance.ballot.round)
            }
            Message::Decided { instance, .. } => of("Decided", *instance),
        }
    }
}

/// A promise, as far as it has come.
#[derive(Debug)]
struct Promise<V> {
    decided: u64,
    /// Messages that are still to come.
    missing: u64,
    accepted: Vec<Acceptance<V>>,
}

/// What this process is in the present ballot.
#[derive(Debug)]
enum Part<V> {
    /// Somebody else leads, or nobody.
    Follows,
    /// It asks for promises.
    Campaigns {
        ballot: Ballot,
        promises: BTreeMap<ProcessId, Promise<V>>,
    },
    /// It leads, this instance is the next that it has used no value in, and these processes were told
    /// what they lacked when they promised. What was decided later they hear of like everybody.
    Leads {
        ballot: Ballot,
        next: u64,
        told: ProcessSet,
    },
}

/// What was decided, in the order in which it became known.
pub type Decision<V> = (u64, V);

/// Acceptor, learner and leader of one process.
#[derive(Debug)]
pub struct Ballots<V> {
    me: ProcessId,
    processes: Membership,
    /// The highest ballot promised.
    promised: Ballot,
    /// The highest ballot heard of.
    seen: Ballot,
    /// What this process accepted last, in instances that it has not decided.
    accepted: BTreeMap<u64, Acceptance<V>>,
    /// By undecided instance: what each process accepted last there.
    votes: BTreeMap<u64, BTreeMap<ProcessId, Acceptance<V>>>,
    /// Decided values that somebody may still lack.
    decided: BTreeMap<u64, V>,
    known: Watermark,
    /// Up to which instance each process is known to have decided.
    reached: BTreeMap<ProcessId, u64>,
    part: Part<V>,
    /// To be sent.
    outgoing: Vec<(To, Message<V>)>,
    /// Decisions that the owner has not taken yet.
    fresh: Vec<Decision<V>>,
}

impl<V: Clone + PartialEq> Ballots<V> {
    /// At the beginning the process of rank 1 leads.
    pub fn new(me: ProcessId, processes: Membership) -> Self {
        let first = Ballot {
            round: 1,
            leader: processes.coordinator(1),
        };
        let part = if first.leader == me {
            Part::Leads {
                ballot: first,
                next: 1,
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
            known: Watermark::default(),
            reached: processes.iter().map(|p| (p, 0)).collect(),
            part,
            outgoing: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Whether this process leads, as far as it knows.
    pub fn leads(&self) -> bool {
        matches!(self.part, Part::Leads { .. })
    }

    /// Whether it asks for promises.
    pub fn campaigns(&self) -> bool {
        matches!(self.part, Part::Campaigns { .. })
    }

    /// The next instance in which a leader has used no value; nothing if this process does not lead.
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

    /// Whether there is nothing for this leader to propose there: the instance is decided, or has a
    /// value in its ballot.
    pub fn is_used(&self, instance: u64) -> bool {
        let own = self.own_ballot();
        let accepted = self.accepted.get(&instance);
        self.is_decided(instance) || accepted.is_some_and(|a| Some(a.ballot) == own)
    }

    /// How many values it remembers: bounded by what is under way, and [`KEPT`].
    pub fn remembered(&self) -> usize {
        self.accepted.len() + self.votes.len() + self.decided.len()
    }

    /// What is to be sent, in order.
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

    /// Asks everybody for the promise of a ballot above all heard of, and gives its own at once: its
    /// own request may be slower than the answers of the others.
    pub fn campaign(&mut self) {
        let ballot = Ballot {
            round: self.seen.round.saturating_add(1),
            leader: self.me,
        };
        self.seen = ballot;
        self.promised = self.promised.max(ballot);
        self.part = Part::Campaigns {
            ballot,
            promises: BTreeMap::new(),
        };
        let from = self.known.low() + 1;
        self.send(To::All, Message::Prepare { ballot, from });
    }

    /// What the promises of a majority, whose decisions are known here, oblige this leader to propose,
    /// by instance; nothing before there are as many. Any majority will do: a promise with a value
    /// that the owner cannot vouch for is left out, as its sender may have crashed with what it stands
    /// for.
    pub fn elected(&self, vouches: impl Fn(&V) -> bool) -> Option<BTreeMap<u64, V>> {
        let Part::Campaigns { promises, .. } = &self.part else {
            return None;
        };
        // What a promise leaves out because its sender has decided it, the leader must know.
        let is_known = |promise: &&Promise<V>| {
            let mut open = promise
                .accepted
                .iter()
                .filter(|a| !self.is_decided(a.instance));
            promise.missing == 0
                && promise.decided <= self.known.low()
                && open.all(|acceptance| vouches(&acceptance.value))
        };
        let known = promises.values().filter(is_known);
        if known.clone().count() < self.processes.majority() {
            return None;
        }
        let mut highest: BTreeMap<u64, &Acceptance<V>> = BTreeMap::new();
        for acceptance in known.flat_map(|promise| &promise.accepted) {
            let best = highest.entry(acceptance.instance).or_insert(acceptance);
            if acceptance.ballot > best.ballot {
                *best = acceptance;
            }
        }
        let open = highest.into_iter().filter(|(i, _)| !self.is_decided(*i));
        Some(open.map(|(i, best)| (i, best.value.clone())).collect())
    }

    /// The values in undecided instances that the promises so far report.
    pub fn reported(&self) -> impl Iterator<Item = &V> {
        let promises = match &self.part {
            Part::Campaigns { promises, .. } => Some(promises.values()),
            Part::Follows | Part::Leads { .. } => None,
        };
        let accepted = promises
            .into_iter()
            .flatten()
            .flat_map(|promise| &promise.accepted);
        let open = accepted.filter(|acceptance| !self.is_decided(acceptance.instance));
        open.map(|acceptance| &acceptance.value)
    }

    /// Leads from now on: proposes what it is obliged to as [`elected`](Ballots::elected), and `filler`
    /// in the gaps between, if there is one.
    pub fn lead(&mut self, obliged: &BTreeMap<u64, V>, filler: Option<&V>) {
        let Part::Campaigns { ballot, promises } = &self.part else {
            return;
        };
        let ballot = *ballot;
        let promised: Vec<_> = promises
            .iter()
            .map(|(p, said)| (*p, said.decided))
            .collect();
        let last = obliged.keys().next_back().copied().unwrap_or(0);
        let last = last.max(self.known.high());
        self.part = Part::Leads {
            ballot,
            next: last.saturating_add(1),
            told: promised.iter().map(|(p, _)| *p).collect(),
        };
        for (p, decided) in promised {
            self.tell_decided(p, decided.saturating_add(1));
        }
        let gaps = filler.map(|_| self.known.low() + 1..=last);
        let instances: Vec<u64> = match gaps {
            Some(all) => all.collect(),
            None => obliged.keys().copied().collect(),
        };
        for instance in instances {
            if !self.is_decided(instance)
                && let Some(value) = obliged.get(&instance).or(filler)
            {
                self.propose(instance, value.clone());
            }
        }
    }

    /// Has a value accepted, if this process leads. At most one a ballot and instance: the owner sees
    /// to it.
    pub fn propose(&mut self, instance: u64, value: V) {
        let Part::Leads { ballot, next, .. } = &mut self.part else {
            return;
        };
        *next = (*next).max(instance.saturating_add(1));
        let acceptance = Acceptance {
            instance,
            ballot: *ballot,
            value,
        };
        self.accepted.insert(instance, acceptance.clone());
        let others = To::Some(self.processes.others(self.me));
        let accept = Message::Accept {
            acceptance: acceptance.clone(),
            decided: self.known.low(),
        };
        self.send(others, accept);
        self.vote(self.me, acceptance);
    }

    /// Whether an acceptance would be refused at once, so that there is no need to wait for what it
    /// stands for.
    pub fn is_outdated(&self, acceptance: &Acceptance<V>) -> bool {
        acceptance.ballot < self.promised
    }

    /// Handles a message. An `Accept` is handed over once the owner can vouch for its value.
    ///
    /// Gives back the reason for which it was dropped, if it was.
    pub fn upon(&mut self, from: ProcessId, message: Message<V>) -> Option<&'static str> {
        match message {
            Message::Prepare { ballot, from: open } => self.upon_prepare(from, ballot, open),
            Message::Promise {
                ballot,
                decided,
                parts,
                accepted,
            } => self.upon_promise(from, ballot, (decided, parts), accepted),
            Message::Refuse { promised } => self.upon_refuse(promised),
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
        let to = To::One(from);
        if ballot < self.promised {
            let promised = self.promised;
            self.send(to, Message::Refuse { promised });
            return None;
        }
        self.promise(ballot);
        self.reach(from, open.saturating_sub(1));
        self.tell_decided(from, open);
        let decided = self.known.low();
        let report = self.report(ballot);
        let parts = report.len().max(1) as u64;
        let mut report = report.into_iter();
        for _ in 0..parts {
            let promise = Message::Promise {
                ballot,
                decided,
                parts,
                accepted: report.next(),
            };
            self.send(to, promise);
        }
        None
    }

    /// What was accepted in instances above the decided ones. What was decided among them counts as
    /// accepted in the ballot that is being promised: nothing else may be proposed there.
    fn report(&self, ballot: Ballot) -> Vec<Acceptance<V>> {
        let above = self.known.low() + 1;
        let decided = self.decided.range(above..);
        let decided = decided.map(|(instance, value)| Acceptance {
            instance: *instance,
            ballot,
            value: value.clone(),
        });
        self.accepted.values().cloned().chain(decided).collect()
    }

    fn upon_promise(
        &mut self,
        from: ProcessId,
        ballot: Ballot,
        (decided, parts): (u64, u64),
        accepted: Option<Acceptance<V>>,
    ) -> Option<&'static str> {
        self.reach(from, decided);
        match &mut self.part {
            Part::Campaigns {
                ballot: mine,
                promises,
            } if *mine == ballot => {
                let promise = promises.entry(from).or_insert_with(|| Promise {
                    decided,
                    missing: parts,
                    accepted: Vec::new(),
                });
                let most = promise.decided.saturating_add(INSTANCES_AHEAD);
                if accepted.as_ref().is_some_and(|a| a.instance > most) {
                    return Some("instance too far ahead");
                }
                promise.missing = promise.missing.saturating_sub(1);
                promise.accepted.extend(accepted);
                None
            }
            Part::Leads {
                ballot: mine, told, ..
            } if *mine == ballot => {
                if told.insert(from) {
                    self.tell_decided(from, decided.saturating_add(1));
                }
                None
            }
            Part::Follows | Part::Campaigns { .. } | Part::Leads { .. } => Some("late promise"),
        }
    }

    /// A higher ballot was promised: this process's own, if it is lower, has no future.
    fn upon_refuse(&mut self, promised: Ballot) -> Option<&'static str> {
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
            self.send(To::One(from), Message::Refuse { promised });
            return None;
        }
        self.promise(ballot);
        // Where it is decided here, the leader can only propose that: others may still need the vote.
        if !self.is_decided(instance) {
            self.accepted.insert(instance, acceptance.clone());
        }
        let decided = self.known.low();
        let others = To::Some(self.processes.others(self.me));
        let accepted = Message::Accepted {
            acceptance: acceptance.clone(),
            decided,
        };
        self.send(others, accepted);
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

    /// Refuses lower ballots from now on, one's own among them.
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

    /// Upon a majority that accepted a value in one ballot: it is decided.
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
        if let Some(reached) = self.reached.get_mut(&p) {
            *reached = decided.max(*reached);
        }
    }

    /// Drops what everybody has decided; and of what somebody may lack the oldest, beyond the limit,
    /// which is sent to it first.
    fn forget(&mut self) {
        let low = self.reached.values().min().copied().unwrap_or(0);
        self.decided = self.decided.split_off(&(low + 1));
        while self.decided.len() > KEPT {
            // What lies beyond a gap is part of what this process promises.
            let first = self
                .decided
                .first_key_value()
                .map(|(instance, _)| *instance);
            if first.is_none_or(|instance| instance > self.known.low()) {
                return;
            }
            let Some((instance, value)) = self.decided.pop_first() else {
                return;
            };
            let lacks = |(p, reached): (&ProcessId, &u64)| (*reached < instance).then_some(*p);
            let lacking = self.reached.iter().filter_map(lacks).collect();
            self.send(To::Some(lacking), Message::Decided { instance, value });
        }
    }

    /// Sends what is decided here from this instance on to one who may not have decided it.
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
