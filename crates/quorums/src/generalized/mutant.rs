//! Generalized quorum access with one wrong rule.
use super::{Clocks, Effect, Event, Generalized, Message};
use quorate_abstractions::{link::Deliver, quorum_access::State};
use quorate_core::{Algorithm, Ctx, ProcessId};

/// The rule of [`Generalized`] that is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// The clock does not rise when an update is applied (G2-E1).
    NoIncrement,
    /// The pushed state is that of the last push, with the clock of this one (G2-E2).
    StateBeforeClock,
    /// A response counts for any call of its kind that is in flight (G2-E3).
    NoIdentifier,
    /// A request is answered, and its update applied, as often as it arrives (G2-E4).
    NoDuplicates,
    /// A set returns when a write quorum has answered (G2-E5).
    SetDoesNotWait,
}

/// The algorithm with one wrong rule.
pub struct Ruled<S: State> {
    rule: Rule,
    access: Generalized<S>,
    /// The state at the last push.
    pushed: S,
}

impl<S: State> Ruled<S> {
    /// The algorithm under this rule.
    pub fn by(rule: Rule, access: Generalized<S>) -> Self {
        let pushed = access.state.clone();
        Ruled {
            rule,
            access,
            pushed,
        }
    }

    /// The algorithm under this rule, where clocks count, as published, and each process has a period of its own.
    pub fn counted(rule: Rule, me: ProcessId, access: Generalized<S>) -> Self {
        let mut ruled = Ruled::by(rule, access);
        let settings = &mut ruled.access.settings;
        settings.clocks = Clocks::Counted;
        settings.period = settings.period / 4 * (1 + me.rank() as u32);
        ruled
    }

    /// Handles a request, and answers it, with the clock that there was before.
    fn upon_set_request(&mut self, event: Event<S>, ctx: &mut Ctx<Self>) {
        let access = &mut self.access;
        let clocks = std::mem::replace(&mut access.settings.clocks, Clocks::Counted);
        let clock = access.clock;
        access.clock = clock.saturating_sub(1);
        access.upon(event, ctx);
        access.clock = clock;
        access.settings.clocks = clocks;
    }
}

impl<S: State> Algorithm for Ruled<S> {
    type Event = Event<S>;
    type Effect = Effect<S>;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.access.upon_start(ctx);
    }

    fn upon(&mut self, mut event: Event<S>, ctx: &mut Ctx<Self>) {
        let access = &mut self.access;
        if self.rule == Rule::StateBeforeClock && matches!(event, Event::Timer) {
            let now = std::mem::replace(&mut access.state, self.pushed.clone());
            self.pushed = now.clone();
            access.upon(event, ctx);
            access.state = now;
            return;
        }
        if let Event::Flooding(Deliver { from, message }) = &mut event {
            match (self.rule, message) {
                (Rule::NoIncrement, Message::SetRequest { .. }) => {
                    return self.upon_set_request(event, ctx);
                }
                (
                    Rule::NoIdentifier,
                    Message::SetResponse { call, .. } | Message::ClockResponse { call, .. },
                ) => {
                    let last = access.pending.last_key_value();
                    *call = last.map_or(*call, |(last, _)| *last);
                }
                (Rule::NoDuplicates, Message::SetRequest { call, .. }) => {
                    let caller = access.callers.entry(*from).or_default();
                    caller.answered.remove(call);
                }
                _ => {}
            }
        }
        access.upon(event, ctx);
        if self.rule == Rule::SetDoesNotWait {
            let sets = access
                .pending
                .iter_mut()
                .filter(|(_, p)| !p.is_get && p.cutoff.is_some());
            let sets: Vec<u64> = sets
                .map(|(call, pending)| {
                    pending.cutoff = Some(0);
                    *call
                })
                .collect();
            for call in sets {
                access.upon_reached(call, ctx);
            }
        }
    }
}
