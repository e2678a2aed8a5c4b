//! Whoever is reported as crashed and lives is told so.
//!
//! P errs where the system is not as synchronous as was assumed: a process that was only slow, or cut
//! off, is excluded for ever, and the algorithms above no longer keep their promises with it. It
//! cannot know by itself; here those that exclude it tell it, so that it can stop, which makes the
//! report true.
//!
//! # Promises
//! - If a correct process reports a correct process as crashed, that one is eventually told (liveness).
//! - Who is told was reported by the process that tells it (safety).
//!
//! # Assumes
//! Perfect links: a notice waits in them until the channel carries it.
//!
//! # Messages
//! `Notice`, from who reports a process as crashed → that process.
//!
//! # Cost
//! One message a report, and no memory. To who has crashed indeed it is sent in vain.
//!
//! # Why it holds
//! Each report is followed by a notice, over a link that delivers what a correct process sends to a
//! correct one, and nothing else.
//!
//! # Source
//! The remark on detectors that are wrong in Chandra, Toueg: *Unreliable Failure Detectors for Reliable
//! Distributed Systems*, 1996, section 10: a process that learns that it is suspected crashes.
use quorate_abstractions::{Subscribe, link, link::To, perfect};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, wire::Plain,
};
use serde::{Deserialize, Serialize};

/// The only message: its sender has reported its receiver as crashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice;

impl Plain for Notice {}

impl Observe for Notice {
    fn observe(&self) -> Observation {
        Observation::internal("Notice")
    }
}

/// Indicates that this process was reported as crashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reported {
    /// Who reports it.
    pub by: ProcessId,
}

impl Observe for Reported {
    fn observe(&self) -> Observation {
        Observation::indication("Reported").peer(self.by)
    }
}

/// Notices to those that were reported as crashed.
#[derive(Default)]
pub struct ExclusionNotice;

/// What the algorithm reacts to.
#[derive(Debug)]
pub enum Event {
    /// P reports a crash.
    Crash(perfect::Crash),
    /// A notice.
    Link(link::Deliver<Notice>),
}

/// What the algorithm triggers.
#[derive(Debug)]
pub enum Effect {
    /// A notice.
    Link(link::Send<Notice>),
    /// An indication to the layer above.
    Reported(Reported),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Crash(indication) => indication.observe().as_internal(),
            Event::Link(indication) => indication.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Reported(indication) => indication.observe(),
        }
    }
}

impl Algorithm for ExclusionNotice {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        ctx.trigger(match event {
            Event::Crash(perfect::Crash(p)) => Effect::Link(link::Send {
                to: To::One(p),
                message: Notice,
            }),
            Event::Link(link::Deliver { from, .. }) => Effect::Reported(Reported { by: from }),
        });
    }
}

/// Has everybody whom P reports as crashed told so over a lane, and indicates to `up` when others
/// say so of this process.
pub fn spawn<H: Host>(
    host: &H,
    lane: impl Layer<link::Send<Notice>, link::Deliver<Notice>>,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Reported>,
) {
    let mailbox = host.mailbox();
    let below = lane.attach(mailbox.addr().with(Event::Link));
    detector.send(mailbox.addr().with(Event::Crash));
    host.start(mailbox, ExclusionNotice, move |effect| match effect {
        Effect::Link(request) => below.send(request),
        Effect::Reported(indication) => up.send(indication),
    });
}

#[cfg(test)]
mod tests;
