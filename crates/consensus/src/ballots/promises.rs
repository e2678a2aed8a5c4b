//! Promises: how an acceptor states what it accepted, and how a candidate assembles the parts it receives.
use super::{Acceptance, Ballot, Ballots, INSTANCES_AHEAD, Message, Part};
use quorate_abstractions::link::To;
use quorate_core::ProcessId;
use std::collections::BTreeMap;

/// A promise whose parts are being received.
#[derive(Debug)]
pub(super) struct Promise<V> {
    /// The number of the sender's saying that the parts belong to.
    pub(super) saying: u64,
    pub(super) decided: u64,
    /// The number of messages it consists of.
    pub(super) parts: u64,
    /// The parts that are here, by their place, each with the acceptance that it reports.
    pub(super) here: BTreeMap<u64, Option<Acceptance<V>>>,
}

impl<V> Promise<V> {
    pub(super) fn is_whole(&self) -> bool {
        self.here.len() as u64 >= self.parts
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = &Acceptance<V>> {
        self.here.values().flatten()
    }
}

impl<V: Clone + PartialEq> Ballots<V> {
    /// Sends the promise, with all that is accepted at present.
    pub(super) fn say_promise(&mut self, to: ProcessId, ballot: Ballot) {
        self.sayings += 1;
        let saying = self.sayings;
        let decided = self.known.low();
        let report = self.report(ballot);
        let parts = report.len().max(1) as u64;
        let mut report = report.into_iter();
        for part in 0..parts {
            let promise = Message::Promise {
                ballot,
                saying,
                decided,
                part,
                parts,
                accepted: report.next(),
            };
            self.send(To::One(to), promise);
        }
    }

    /// The acceptances in instances above the decided ones. A decided instance among them counts as accepted
    /// in the ballot that is being promised: nothing else may be proposed there.
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

    pub(super) fn upon_promise(
        &mut self,
        from: ProcessId,
        ballot: Ballot,
        saying: u64,
        (decided, part, parts): (u64, u64, u64),
        accepted: Option<Acceptance<V>>,
    ) -> Option<&'static str> {
        self.reach(from, decided);
        if part >= parts {
            return Some("part of no promise");
        }
        match &mut self.part {
            Part::Campaigns {
                ballot: mine,
                promises,
            } if *mine == ballot => {
                let most = decided.saturating_add(INSTANCES_AHEAD);
                if accepted.as_ref().is_some_and(|a| a.instance > most) {
                    return Some("instance too far ahead");
                }
                let nothing = || Promise {
                    saying,
                    decided,
                    parts,
                    here: BTreeMap::new(),
                };
                let promise = promises.entry(from).or_insert_with(nothing);
                if promise.is_whole() {
                    return Some("promise said again");
                }
                // A later saying replaces the parts of an earlier one: they never mix.
                if promise.saying < saying {
                    *promise = nothing();
                }
                if (promise.saying, promise.decided, promise.parts) != (saying, decided, parts) {
                    return Some("part of another promise");
                }
                promise.here.insert(part, accepted);
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
}
