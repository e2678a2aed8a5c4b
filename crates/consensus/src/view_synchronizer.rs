//! View synchronisation without messages: each process changes views by its own clock, ever more slowly.
//!
//! # Promises
//! - VS-ORD order (safety): each process enters views in ascending order, each at most once: 1, 2, 3 …,
//!   except for those that it skips to catch up.
//! - VS-OVL overlap (liveness): for each duration there is a view from which on all correct processes are
//!   in the same view together for that long.
//!
//! # Assumes
//! Clocks that run at the same speed from some unknown time on; any number of crashes.
//!
//! # Cost
//! No message. Memory O(1).
//!
//! # Why it holds
//! View v lasts v times the unit at every process. So, once clocks run at the same speed, two processes enter
//! each view the same time apart, however long that is, and are in it together for the rest of it, which
//! grows with v. There is no longest view: it would have to be longer than the time between the starts of
//! processes, and longer than what the user does in a view, and nobody knows these. A process that catches
//! up, because its user has heard of a later view, only comes closer to the others: the process that is ahead
//! of all never catches up.
//!
//! The price: after a time t views last √(2t·unit). A user that cannot use a view, because its leader has
//! crashed, waits for so long.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, section on
//! consensus. Deviation: processes catch up. Without that, two processes that start twelve seconds apart are
//! in no view together for the first twenty-four minutes, and are together for long enough only later still.
use quorate_abstractions::view_synchronizer::{CatchUp, Enter, Views};
use quorate_core::{Addr, Algorithm, Ctx, Host, ports};
use std::time::Duration;

/// How long views last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewSettings {
    /// View v lasts v times as long as this.
    pub unit: Duration,
}

impl Default for ViewSettings {
    fn default() -> Self {
        ViewSettings {
            unit: Duration::from_millis(50),
        }
    }
}

/// View synchronisation, at one process.
pub struct ViewSynchronizer {
    settings: ViewSettings,
    /// No view lasts longer than this: only tests set it.
    longest: Duration,
    view: u64,
    subscribers: Vec<Addr<Enter>>,
}

ports! {
    serves Enter => Subscribe -> Indicate, Answer;
    accepts CatchUp => CatchUp;
    timer Timer(u64);
}

impl Algorithm for ViewSynchronizer {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.enter(1, ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => {
                let view = self.view;
                ctx.trigger(Effect::Answer(Enter { view }, subscriber.clone()));
                self.subscribers.push(subscriber);
            }
            Event::CatchUp(CatchUp { view }) if view > self.view => self.enter(view, ctx),
            // The timer of a view that was left early has no effect.
            Event::Timer(view) if view == self.view => self.enter(view.saturating_add(1), ctx),
            Event::CatchUp(_) | Event::Timer(_) => {}
        }
    }
}

impl ViewSynchronizer {
    /// The algorithm, before its first view.
    pub fn new(settings: ViewSettings) -> Self {
        ViewSynchronizer {
            settings,
            longest: Duration::MAX,
            view: 0,
            subscribers: Vec::new(),
        }
    }

    /// Enters this view until it is over.
    fn enter(&mut self, view: u64, ctx: &mut Ctx<Self>) {
        self.view = view;
        let enter = Enter { view };
        ctx.trigger(Effect::Indicate(enter, self.subscribers.clone()));
        ctx.after_in_background(self.lasts(), Event::Timer(view));
    }

    fn lasts(&self) -> Duration {
        let times = u32::try_from(self.view).unwrap_or(u32::MAX);
        let lasts = self.settings.unit.saturating_mul(times);
        lasts.min(self.longest)
    }
}

/// Starts view synchronisation.
pub fn spawn(host: &impl Host, settings: ViewSettings) -> Views {
    let (entered, catch_up) = spawn_as(host, ViewSynchronizer::new(settings));
    Views { entered, catch_up }
}

/// Starts view synchronisation by a clock that runs at the speed of the process's rank, so that processes
/// drift apart. Only for tests and demonstrations.
#[cfg(any(test, feature = "mutants"))]
pub fn spawn_mutant<H: Host>(host: &H, settings: ViewSettings) -> Views {
    let rank = u32::try_from(host.me().rank()).unwrap_or(u32::MAX);
    let unit = settings.unit.saturating_mul(rank);
    spawn(host, ViewSettings { unit })
}

#[cfg(test)]
mod tests;
