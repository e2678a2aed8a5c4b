//! View synchronisation without messages: each process changes views by its own clock, ever more slowly.
//!
//! # Promises
//! - VS-ORD order (safety): each process enters the views 1, 2, 3 … in this order, each once.
//! - VS-OVL overlap (liveness): for each duration there is a view from which on all correct processes are
//!   in the same view together for that long; with [`Configuration::longest`], for each duration that is
//!   shorter than the longest view less what the processes started apart.
//!
//! # Assumes
//! Clocks that run alike from some unknown time on; any number of crashes.
//!
//! # Cost
//! No message. Memory O(1).
//!
//! # Why it holds
//! View v lasts v times the unit at every process, so that from when clocks run alike, two processes enter
//! each view the same time apart, however far that is, and are in it together for the rest of it, which
//! grows with v.
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, section on
//! consensus. Deviation: views need not grow for ever.
use quorate_abstractions::{Subscribe, view_synchronizer::Enter};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe};
use std::time::Duration;

/// How long views last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// View v lasts v times as long as this.
    pub unit: Duration,
    /// No view lasts longer.
    pub longest: Duration,
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            unit: Duration::from_millis(50),
            longest: Duration::from_secs(2),
        }
    }
}

/// View synchronisation, at one process.
pub struct ViewSynchronizer {
    configuration: Configuration,
    view: u64,
    subscribers: Vec<Addr<Enter>>,
}

/// What the algorithm reacts to.
pub enum Event {
    /// Someone wants to know which view this process is in.
    Subscribe(Addr<Enter>),
    /// The view is over.
    Timer,
}

/// What the algorithm triggers.
pub enum Effect {
    /// All subscribers are told.
    Indicate(Enter, Vec<Addr<Enter>>),
    /// A new subscriber is told what the others know.
    Answer(Enter, Addr<Enter>),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        Observation::internal(match self {
            Event::Subscribe(_) => "Subscribe",
            Event::Timer => "Timer",
        })
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Indicate(enter, _) => enter.observe(),
            Effect::Answer(enter, _) => enter.observe().as_internal(),
        }
    }
}

impl Algorithm for ViewSynchronizer {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.enter(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => {
                let view = self.view;
                ctx.trigger(Effect::Answer(Enter { view }, subscriber.clone()));
                self.subscribers.push(subscriber);
            }
            Event::Timer => self.enter(ctx),
        }
    }
}

impl ViewSynchronizer {
    /// The algorithm, before its first view.
    pub fn new(configuration: Configuration) -> Self {
        ViewSynchronizer {
            configuration,
            view: 0,
            subscribers: Vec::new(),
        }
    }

    /// The next view, until it is over.
    fn enter(&mut self, ctx: &mut Ctx<Self>) {
        self.view += 1;
        let enter = Enter { view: self.view };
        ctx.trigger(Effect::Indicate(enter, self.subscribers.clone()));
        ctx.after_in_background(self.lasts(), Event::Timer);
    }

    fn lasts(&self) -> Duration {
        let Configuration { unit, longest } = self.configuration;
        let times = u32::try_from(self.view).unwrap_or(u32::MAX);
        unit.saturating_mul(times).min(longest)
    }
}

/// Starts view synchronisation.
pub fn spawn<H: Host>(host: &H, configuration: Configuration) -> Subscribe<Enter> {
    let mailbox = host.mailbox();
    let subscribe = mailbox.addr().with(Event::Subscribe);
    let algorithm = ViewSynchronizer::new(configuration);
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Answer(enter, subscriber) => subscriber.send(enter),
        Effect::Indicate(enter, subscribers) => {
            for subscriber in &subscribers {
                subscriber.send(enter);
            }
        }
    });
    subscribe
}

/// Starts view synchronisation by a clock that runs at the speed of the process's rank, so that processes
/// drift apart. Only tests and demonstrations run it.
pub fn spawn_broken<H: Host>(host: &H, configuration: Configuration) -> Subscribe<Enter> {
    let rank = u32::try_from(host.me().rank()).unwrap_or(u32::MAX);
    let unit = configuration.unit.saturating_mul(rank);
    let longest = configuration.longest.saturating_mul(rank);
    spawn(host, Configuration { unit, longest })
}

#[cfg(test)]
mod tests;
