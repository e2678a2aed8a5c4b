//! What the two hierarchical algorithms share: a process climbs through the ranks, one rank per round.
//!
//! In round r the process of rank r leads: it imposes its proposal on the processes that reach the round, and
//! goes on. Every other process waits for the leader's value, which it adopts, or for the report of the
//! leader's crash. A value that comes early waits for its round; one that comes late has no effect, because a
//! later leader may have imposed another since.
use crate::last_messages::LastMessages;
use bytes::{Bytes, BytesMut};
use quorate_abstractions::link::{SendRequest, Status, To};
use quorate_core::{
    Membership, Observation, Observe, ProcessId, ProcessSet,
    instances::{Entry, Instances},
    message::digest,
    wire::{self, Undecodable, Wire},
};
use std::collections::BTreeMap;

/// Instances this far above the oldest unfinished one are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// The only message: the value that the sender imposed in the round that it led, the round of its rank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imposed {
    pub instance: u64,
    pub value: Bytes,
}

impl Wire for Imposed {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_number(self.instance, out);
        out.extend_from_slice(&self.value);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let instance = wire::take_number(&mut bytes)?;
        Ok(Imposed {
            instance,
            value: bytes,
        })
    }
}

impl Observe for Imposed {
    fn observe(&self) -> Observation {
        Observation::internal("Imposed")
            .instance(self.instance)
            .digest(digest(&self.value))
    }
}

/// One instance at one process.
#[derive(Debug)]
pub(crate) struct Climb {
    /// The present round, which the process of that rank leads; n + 1 after the last round.
    round: usize,
    /// The value that this process proposed or, since then, adopted.
    pub(crate) proposal: Option<Bytes>,
    /// What the leaders of rounds not yet over have imposed.
    imposed: BTreeMap<usize, Bytes>,
}

/// The result of a climb.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Reached {
    /// It waits: for its own proposal, a leader's value, or the report of a crash.
    Waits,
    /// This process leads now, and imposes this value; the caller must climb on afterwards.
    Leads(Bytes),
    /// The rounds are over, with this value; `None` if nobody ever proposed here.
    Top(Option<Bytes>),
}

impl Climb {
    fn new() -> Self {
        Climb {
            round: 1,
            proposal: None,
            imposed: BTreeMap::new(),
        }
    }

    /// The present round.
    #[cfg(test)]
    pub(crate) fn round(&self) -> usize {
        self.round
    }

    /// Keeps the first value that `leader` imposed, unless its round is over here.
    pub(crate) fn hear(&mut self, leader: ProcessId, value: Bytes) {
        let round = leader.rank();
        if round >= self.round {
            self.imposed.entry(round).or_insert(value);
        }
    }

    /// Climbs as far as possible. A value that is here takes precedence over the report of its leader's
    /// crash.
    pub(crate) fn climb(
        &mut self,
        me: ProcessId,
        processes: &Membership,
        crashed: ProcessSet,
    ) -> Reached {
        while self.round <= processes.n() {
            if self.round == me.rank() {
                let Some(value) = self.proposal.clone() else {
                    return Reached::Waits;
                };
                self.round += 1;
                return Reached::Leads(value);
            }
            let leader = processes.coordinator(self.round as u64);
            if let Some(value) = self.imposed.remove(&self.round) {
                self.proposal = Some(value);
            } else if !crashed.contains(leader) {
                return Reached::Waits;
            }
            self.round += 1;
        }
        Reached::Top(self.proposal.clone())
    }
}

/// The instances of one process, and the crashes that its detector reported.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) me: ProcessId,
    pub(crate) processes: Membership,
    pub(crate) crashed: ProcessSet,
    pub(crate) instances: Instances<Climb>,
    /// What this process has imposed.
    imposed: LastMessages<Bytes>,
}

impl Hierarchy {
    pub(crate) fn new(me: ProcessId, processes: Membership) -> Self {
        Hierarchy {
            me,
            processes,
            crashed: ProcessSet::EMPTY,
            instances: Instances::new(INSTANCES_AHEAD),
            imposed: LastMessages::default(),
        }
    }

    /// When a stream begins anew, returns the values to be imposed on its receiver again. A value that the
    /// receiver had adopted has no effect.
    pub(crate) fn again(&self, status: &Status) -> Vec<SendRequest<Imposed>> {
        let Status::Begun { peer } = status else {
            return Vec::new();
        };
        let again = |(instance, value): (u64, &Bytes)| SendRequest {
            to: To::One(*peer),
            message: Imposed {
                instance,
                value: value.clone(),
            },
        };
        self.imposed.iter().map(again).collect()
    }

    /// The instance is over here.
    pub(crate) fn retire(&mut self, number: u64) {
        self.instances.retire(number);
        self.imposed.end(number, Bytes::len);
    }

    /// The instance, which is created at its first mention; none if it is over.
    pub(crate) fn at(&mut self, number: u64) -> Entry<'_, Climb> {
        self.instances.at(number, Climb::new)
    }

    /// Makes a running instance climb.
    pub(crate) fn climb(&mut self, number: u64) -> Reached {
        let (me, crashed) = (self.me, self.crashed);
        let Some(instance) = self.instances.get(number) else {
            return Reached::Waits;
        };
        let reached = instance.climb(me, &self.processes, crashed);
        if let Reached::Leads(value) = &reached {
            self.imposed.say(number, value.clone());
        }
        reached
    }
}
