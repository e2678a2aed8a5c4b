//! Group membership under a published rule.
use super::{Effect, Event, Group, decode};
use quorate_abstractions::{
    consensus::Decide,
    group_membership::{Indication, View},
    perfect,
};
use quorate_core::{Algorithm, Ctx, ProcessSet};

/// The rule in force: this algorithm's, or one as published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// A crash counts only if all processes that are not reported are members.
    UnreportedAreMembers,
    /// All processes that are not reported are proposed, members or not.
    UnreportedAreProposed,
    /// A decision is installed when it comes.
    AsTheyCome,
    /// A view is not checked again when it is installed.
    ViewsAreUpToDate,
}

/// The algorithm under a rule, and all processes.
pub struct Ruled(Rule, Group, ProcessSet);

impl Ruled {
    /// The algorithm of these processes under this rule.
    pub fn by(rule: Rule, everybody: ProcessSet, group: Group) -> Self {
        Ruled(rule, group, everybody)
    }

    /// Installs what was decided: when it comes, or in its turn.
    fn upon_decide(&mut self, decision: &Decide, ctx: &mut Ctx<Self>) {
        let Ok(members) = decode(decision.value.clone()) else {
            return ctx.count("undecodable decision");
        };
        if self.0 == Rule::AsTheyCome {
            return self.install(decision.instance, members, ctx);
        }
        self.1.decisions.insert(decision.instance, members);
        while let Some(members) = self.1.decisions.remove(&(self.1.view.id + 1)) {
            self.install(self.1.view.id + 1, members, ctx);
        }
    }

    /// Installs the view; if it is out of date, proposes again.
    fn install(&mut self, id: u64, members: ProcessSet, ctx: &mut Ctx<Self>) {
        let Ruled(rule, group, everybody) = self;
        if !group.proposed && id == group.view.id + 1 {
            group.propose(members, ctx);
        }
        group.view = View { id, members };
        group.proposed = false;
        ctx.trigger(Effect::Indicate(Indication::View(group.view)));
        if *rule == Rule::AsTheyCome {
            group.upon_outdated(ctx);
        } else if members.without(group.crashed) != members {
            group.propose(everybody.without(group.crashed), ctx);
        }
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.1.upon_start(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Ruled(rule, group, everybody) = self;
        match (&*rule, &event) {
            (Rule::UnreportedAreMembers, Event::Crash(perfect::Crash(q))) => {
                let mut unreported = everybody.without(group.crashed);
                unreported.remove(*q);
                if unreported.is_subset(group.view.members) {
                    return group.upon(event, ctx);
                }
                group.crashed.insert(*q);
            }
            (Rule::UnreportedAreProposed, Event::Crash(perfect::Crash(q))) => {
                group.crashed.insert(*q);
                if group.view.members.contains(*q) && !group.proposed {
                    let unreported = everybody.without(group.crashed);
                    group.propose(unreported, ctx);
                }
            }
            (Rule::AsTheyCome | Rule::UnreportedAreProposed, Event::Decide(decision)) => {
                self.upon_decide(decision, ctx);
            }
            (Rule::ViewsAreUpToDate, Event::Decide(_)) => {
                let crashed = std::mem::take(&mut group.crashed);
                group.upon(event, ctx);
                group.crashed = crashed;
            }
            _ => group.upon(event, ctx),
        }
    }
}
