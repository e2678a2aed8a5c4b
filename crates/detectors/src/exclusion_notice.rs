//! A process that was reported as crashed but lives is told so.
//!
//! P errs if the system is not as synchronous as was assumed: a process that was only slow, or cut off, is
//! excluded for ever, and the algorithms above no longer keep their promises with it. It cannot know this by
//! itself. The processes that exclude it tell it, so that it can stop, which makes the report true.
//!
//! # Promises
//! - If a correct process reports a correct process as crashed, the reported process is eventually told
//!   (liveness).
//! - A process that is told was reported by the process that tells it (safety).
//!
//! # Assumes
//! Perfect links: a notice waits in them until the channel carries it, or its stream ends. They report when a
//! process is connected, and when a stream begins anew.
//!
//! # Messages
//! `Notice`, from a process that reports another as crashed → the reported process.
//!
//! # Cost
//! One message per report, and one more each time that a reported process is connected or a stream to it
//! begins anew. To a process that has really crashed it is sent in vain. Memory O(n).
//!
//! # Why it holds
//! Each report is followed by a notice, over a link that delivers what a correct process sends to a
//! correct one, and nothing else, unless the stream ends; then the next one carries a notice, too.
//!
//! A start that comes after another was not itself reported. It is excluded, or is adopted into the seat; if
//! it was adopted, the links carry nothing to it on this lane, so that it is not told of reports about the
//! start before it. A start that was admitted without being known to come later is told: a process that
//! reports its seat has verified an earlier start there, and does not go on with this one.
//!
//! # Source
//! The remark on wrong detectors in Chandra, Toueg: *Unreliable Failure Detectors for Reliable Distributed
//! Systems*, 1996, section 10: a process that learns that it is suspected crashes.
use quorate_abstractions::{link, link::To, perfect};
use quorate_core::{
    Algorithm, Ctx, Observation, Observe, ProcessId, ProcessSet, ports, wire::Plain,
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
    /// The process that reports it.
    pub by: ProcessId,
}

impl Observe for Reported {
    fn observe(&self) -> Observation {
        Observation::indication("Reported").peer(self.by)
    }
}

/// Notices to those that were reported as crashed.
#[derive(Default)]
pub struct ExclusionNotice {
    reported: ProcessSet,
}

ports! {
    indicates Reported => Reported;
    uses lane: link::Port<Notice> => Link;
    watches status: link::Status => Status;
    watches detector: perfect::Crash => Crash;

    /// Tells every process that P reports as crashed, over a lane, and indicates to `up` when others tell
    /// this process.
    pub fn spawn(host) = ExclusionNotice::default();
}

impl Algorithm for ExclusionNotice {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Link(link::Deliver { from, .. }) => {
                ctx.trigger(Effect::Reported(Reported { by: from }));
            }
            Event::Status(link::Status::Connected { peer, .. } | link::Status::Begun { peer }) => {
                self.upon_reached(peer, ctx);
            }
            Event::Status(
                link::Status::Refused { .. }
                | link::Status::Ended { .. }
                | link::Status::Gap { .. }
                | link::Status::Replaced { .. }
                | link::Status::Admitted
                | link::Status::Newcomer { .. }
                | link::Status::Excluded { .. },
            ) => {}
        }
    }
}

impl ExclusionNotice {
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.reported.insert(p);
        Self::notify(p, ctx);
    }

    /// Sends the notice again: the earlier one may be lost.
    fn upon_reached(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if self.reported.contains(p) {
            Self::notify(p, ctx);
        }
    }

    fn notify(p: ProcessId, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Link(link::SendRequest {
            to: To::One(p),
            message: Notice,
        }));
    }
}

#[cfg(test)]
mod tests;
