//! What a group agrees on: the next view, and what its members deliver before it; and the result so far.
use crate::messages::{Counts, Data, put_messages, take_messages};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    consensus::{Decide, Propose},
    group_membership::View,
};
use quorate_core::{
    Incarnation, Membership, Observation, Observe, ProcessId, ProcessSet,
    wire::{self, Undecodable, Wire},
};
use std::collections::BTreeMap;

/// The value that is proposed and decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The members of the next view.
    pub members: ProcessSet,
    /// The members that flushed as copies of members, each with its start.
    pub newcomers: Vec<(ProcessId, Incarnation)>,
    /// By member of the present view: the number of its messages that some members of the next have
    /// delivered.
    pub counts: Counts,
    /// Those of these messages that others may lack.
    pub messages: Vec<Data>,
}

impl Decision {
    /// Whether this start of the process is a newcomer.
    pub fn lets_in(&self, process: ProcessId, start: Incarnation) -> bool {
        self.newcomers.contains(&(process, start))
    }

    /// The newcomers.
    pub fn newcomers(&self) -> ProcessSet {
        self.newcomers.iter().map(|(process, _)| *process).collect()
    }

    /// The number of a member's messages that some members of the next view have delivered.
    pub fn count(&self, member: ProcessId) -> u64 {
        let counts = self.counts.iter().filter(|(of, _)| *of == member);
        counts.map(|(_, count)| *count).max().unwrap_or(0)
    }
}

impl Wire for Decision {
    fn encode(&self, out: &mut BytesMut) {
        let members: Vec<_> = self.members.iter().collect();
        wire::put_head(&(members, &self.newcomers, &self.counts), out);
        put_messages(&self.messages, out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (members, newcomers, counts): (Vec<ProcessId>, _, _) = wire::take_head(&mut bytes)?;
        Ok(Decision {
            members: members.into_iter().collect(),
            newcomers,
            counts,
            messages: take_messages(bytes)?,
        })
    }
}

/// The latest view, and for each member whose start is not the first, that start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    pub(super) view: View,
    pub(super) starts: BTreeMap<ProcessId, Incarnation>,
}

impl Agreed {
    /// View 0, with the first starts of everybody.
    pub fn first(processes: &Membership) -> Self {
        let members = processes.set();
        Agreed {
            view: View { id: 0, members },
            starts: BTreeMap::new(),
        }
    }

    /// Goes on to the next view.
    pub(super) fn advance(&mut self, decided: &Decision) {
        self.view = View {
            id: self.view.id + 1,
            members: decided.members,
        };
        self.starts.retain(|p, _| decided.members.contains(*p));
        self.starts.extend(decided.newcomers.iter().copied());
    }

    /// Takes the next [proposal](put_proposal) of an order: the first proposal for the next view is decided.
    ///
    /// # Errors
    /// When the bytes are no proposal.
    pub fn order(&mut self, mut proposal: Bytes) -> Result<Option<Decide>, Undecodable> {
        let instance = wire::take_number(&mut proposal)?;
        let value = proposal;
        let decided = Decision::decode(value.clone())?;
        if instance != self.view.id + 1 {
            return Ok(None);
        }
        self.advance(&decided);
        Ok(Some(Decide { instance, value }))
    }
}

/// A proposal, as an order carries it.
pub fn put_proposal(proposal: &Propose) -> Bytes {
    let mut out = BytesMut::with_capacity(proposal.value.len() + 10);
    wire::put_number(proposal.instance, &mut out);
    out.extend_from_slice(&proposal.value);
    out.freeze()
}

impl Wire for Agreed {
    fn encode(&self, out: &mut BytesMut) {
        let members: Vec<_> = self.view.members.iter().collect();
        wire::put_head(&(self.view.id, members, &self.starts), out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (id, members, starts): (u64, Vec<ProcessId>, _) = wire::take_head(&mut bytes)?;
        if !bytes.is_empty() {
            return Err(Undecodable);
        }
        let members = members.into_iter().collect();
        let view = View { id, members };
        Ok(Agreed { view, starts })
    }
}

/// What an order that carries proposals tells the views: a decision, or, if this process is given a state
/// that covers decisions, their result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ordered {
    /// The next decision.
    Decide(Decide),
    /// The view that the group has reached meanwhile.
    Restored(Agreed),
}

impl Observe for Ordered {
    fn observe(&self) -> Observation {
        match self {
            Ordered::Decide(decision) => decision.observe(),
            Ordered::Restored(agreed) => {
                Observation::indication("Restored").instance(agreed.view.id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_sim::testing::p;

    fn decision(ranks: &[usize], newcomers: &[(usize, u64)]) -> Decision {
        let newcomers = newcomers.iter();
        Decision {
            members: ranks.iter().map(|rank| p(*rank)).collect(),
            newcomers: newcomers
                .map(|(rank, start)| (p(*rank), Incarnation(*start)))
                .collect(),
            counts: vec![(p(1), 3), (p(2), 1)],
            messages: Vec::new(),
        }
    }

    fn proposal(instance: u64, decision: &Decision) -> Bytes {
        let value = wire::encode(decision);
        put_proposal(&Propose { instance, value })
    }

    #[test]
    fn a_decision_survives_the_wire_and_a_part_of_one_is_none() {
        let decision = decision(&[1, 3], &[(3, 1 << 50)]);
        let bytes = wire::encode(&decision);
        assert_eq!(Decision::decode(bytes.clone()), Ok(decision));
        let cut = bytes.slice(..bytes.len() - 1);
        assert_eq!(Decision::decode(cut), Err(Undecodable));
    }

    #[test]
    fn the_first_proposal_for_the_next_view_is_decided_with_the_starts_it_lets_in() {
        let processes = Membership::of_size(3).unwrap();
        let mut agreed = Agreed::first(&processes);
        let one = decision(&[1, 2], &[]);
        let other = proposal(1, &decision(&[2, 3], &[]));
        assert_eq!(agreed.order(proposal(2, &one)), Ok(None));
        let nonsense = Bytes::from_static(&[1, 250]);
        assert_eq!(agreed.order(nonsense), Err(Undecodable));
        let decided = agreed.order(proposal(1, &one)).unwrap().unwrap();
        assert_eq!((decided.instance, decided.value), (1, wire::encode(&one)));
        assert_eq!(agreed.order(other), Ok(None), "view 1 is decided");
        let joins = decision(&[1, 2, 3], &[(3, 9)]);
        assert!(agreed.order(proposal(2, &joins)).unwrap().is_some());
        assert!(joins.lets_in(p(3), Incarnation(9)) && !joins.lets_in(p(3), Incarnation(8)));
        assert_eq!(agreed.starts, BTreeMap::from([(p(3), Incarnation(9))]));
        let bytes = wire::encode(&agreed);
        assert_eq!(Agreed::decode(bytes), Ok(agreed.clone()));
        let left = agreed.order(proposal(3, &decision(&[1, 2], &[])));
        assert!(left.unwrap().is_some());
        assert!(agreed.starts.is_empty(), "it has left");
    }
}
