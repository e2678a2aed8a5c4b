//! Consensus by quorums with one wrong rule, for checkers to catch.
use super::{ByQuorums, Effect, Event, INSTANCES_AHEAD, Instance, Message, start};
use bytes::Bytes;
use quorate_abstractions::{
    consensus::{Decide, Propose},
    flooding,
    link::Deliver,
    view_synchronizer::Views,
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer,
    instances::{Entry, Instances},
};
use quorate_quorums::Quorums;
use std::collections::BTreeMap;

/// Starts the mutant in which everybody leads every view. Only for tests and demonstrations.
pub fn spawn_mutant<H: Host>(
    host: &H,
    quorums: Quorums,
    views: &Views,
    flooding: impl Layer<flooding::Port<Message>>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let mut algorithm = ByQuorums::new(host, quorums);
    algorithm.leads = |_, _, _| true;
    start(host, algorithm, views, flooding, up)
}

/// The rule of [`ByQuorums`] that is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// Messages of a view that this process has not entered are dropped (G7-E1).
    EarlyIsDropped,
    /// A decision is a phase of a view, and ends with it (G7-E2).
    DecisionIsForgotten,
    /// A proposal of a view that this process has left is accepted (G7-E3).
    LateIsAccepted,
}

/// The algorithm with one wrong rule.
pub struct Ruled {
    rule: Rule,
    consensus: ByQuorums,
    /// This process's own proposals.
    own: BTreeMap<u64, Bytes>,
}

impl Ruled {
    /// The algorithm under this rule.
    pub fn by(rule: Rule, consensus: ByQuorums) -> Self {
        let own = BTreeMap::new();
        Ruled {
            rule,
            consensus,
            own,
        }
    }

    /// Begins all instances anew in which a decision was made, with the proposals of this process.
    fn forget_decisions(&mut self) {
        let instances = &mut self.consensus.instances;
        if !self.own.keys().any(|number| instances.is_retired(*number)) {
            return;
        }
        *instances = Instances::new(INSTANCES_AHEAD);
        for (number, value) in &self.own {
            if let Entry::Live(instance) = instances.at(*number, Instance::default) {
                instance.own = Some(value.clone());
            }
        }
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let present = self.consensus.view;
        match (&event, self.rule) {
            (Event::Propose(Propose { instance, value }), _) => {
                self.own.entry(*instance).or_insert_with(|| value.clone());
            }
            (
                Event::Flooding(Deliver {
                    message: Message::State { view, .. },
                    ..
                }),
                Rule::EarlyIsDropped,
            ) if *view > present => return,
            (Event::Enter(_), Rule::DecisionIsForgotten) => self.forget_decisions(),
            (
                Event::Flooding(Deliver {
                    message: Message::Proposal { proposal },
                    ..
                }),
                Rule::LateIsAccepted,
            ) if proposal.view < present => {
                self.consensus.view = proposal.view;
                self.consensus.upon(event, ctx);
                self.consensus.view = present;
                return;
            }
            _ => {}
        }
        self.consensus.upon(event, ctx);
    }
}
