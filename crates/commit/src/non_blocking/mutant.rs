//! Non-blocking atomic commit under a published rule.
use super::{Effect, Event, NonBlocking, outcome_of};
use quorate_abstractions::{
    atomic_commit::{Decide, Propose},
    best_effort, consensus,
};
use quorate_core::{Algorithm, Ctx};

/// The rule of [`NonBlocking`] that is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// The rule to propose fires again at every later vote or crash (D5-E1).
    ProposesAgain,
    /// A process may vote again, and its last vote counts (D5-E3).
    LastVoteCounts,
    /// A crash affects only the instances that have begun (D5-E4).
    CrashesAreForgotten,
}

/// The algorithm under a rule.
pub struct Ruled(Rule, NonBlocking);

impl Ruled {
    /// The algorithm under this rule.
    pub fn by(rule: Rule, commit: NonBlocking) -> Self {
        Ruled(rule, commit)
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let polls = &mut self.1.instances;
        match (self.0, &event) {
            (Rule::ProposesAgain, Event::BestEffort(_) | Event::Crash(_)) => {
                for instance in polls.numbers() {
                    if let Some(poll) = polls.get(instance) {
                        poll.has_proposed = false;
                    }
                }
            }
            // As published, a decided instance is treated like an open one.
            (Rule::ProposesAgain, Event::Consensus(consensus::Decide { instance, value })) => {
                let instance = *instance;
                return match outcome_of(value) {
                    Some(outcome) => ctx.trigger(Effect::Decide(Decide { instance, outcome })),
                    None => ctx.count("undecodable outcome"),
                };
            }
            (Rule::LastVoteCounts, Event::Propose(Propose { instance, .. })) => {
                if let Some(poll) = polls.get(*instance) {
                    poll.vote = None;
                }
            }
            (Rule::LastVoteCounts, Event::BestEffort(best_effort::Deliver { from, message })) => {
                if let Some(poll) = polls.get(message.instance) {
                    poll.voters.remove(*from);
                    poll.yes.remove(*from);
                }
            }
            (Rule::CrashesAreForgotten, Event::Crash(_)) if polls.is_empty() => return,
            _ => {}
        }
        self.1.upon(event, ctx);
    }
}
