//! The leader's part: it campaigns, learns its obligations, and proposes.
use super::{Acceptance, Ballot, Ballots, Message, Part, Promise};
use quorate_abstractions::link::To;
use std::collections::BTreeMap;

impl<V: Clone + PartialEq> Ballots<V> {
    /// Asks everybody for the promise of a ballot higher than all known ones, and gives its own promise at
    /// once: its own request may be slower than the answers of the others.
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

    /// The values that this leader is obliged to propose, by instance, according to the promises of a
    /// majority whose decisions are known here; `None` until a majority has promised. Any majority will do: a
    /// promise with a value that the owner cannot vouch for is left out, because its sender may have crashed
    /// with the payloads that the value stands for.
    pub fn elected(&self, vouches: impl Fn(&V) -> bool) -> Option<BTreeMap<u64, V>> {
        let Part::Campaigns { promises, .. } = &self.part else {
            return None;
        };
        // The leader must know the decisions that a promise leaves out because its sender has decided them.
        let is_known = |promise: &&Promise<V>| {
            let accepted = promise.accepted();
            let mut open = accepted.filter(|a| !self.is_decided(a.instance));
            promise.is_whole()
                && promise.decided <= self.known.low()
                && open.all(|acceptance| vouches(&acceptance.value))
        };
        let known = promises.values().filter(is_known);
        if known.clone().count() < self.processes.majority() {
            return None;
        }
        let mut highest: BTreeMap<u64, &Acceptance<V>> = BTreeMap::new();
        for acceptance in known.flat_map(Promise::accepted) {
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
        let accepted = promises.into_iter().flatten().flat_map(Promise::accepted);
        let open = accepted.filter(|acceptance| !self.is_decided(acceptance.instance));
        open.map(|acceptance| &acceptance.value)
    }

    /// Leads from now on: proposes the values that [`elected`](Ballots::elected) obliges it to, and `filler`,
    /// if there is one, in the gaps between them.
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

    /// Has a value accepted, if this process leads. The owner must propose at most one per ballot and
    /// instance.
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
}
