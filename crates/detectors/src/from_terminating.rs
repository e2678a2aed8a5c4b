//! The perfect failure detector P, derived from terminating reliable broadcast.
//!
//! The textbook's proof that terminating broadcast is as hard as P, to run: whoever can solve the one
//! has the other. Nobody needs it who has P already.
//!
//! # Promises
//! - PFD1 strong completeness (liveness): a process that crashes is eventually reported to every
//!   correct process.
//! - PFD2 strong accuracy (safety): no process is reported before it crashes, and none twice. This is
//!   exact over a broadcast whose `SenderFaulty` says that the source has crashed, as our TRB3 does and
//!   [a broadcast over P](quorate_abstractions::terminating) must.
//!
//! # Assumes
//! Terminating reliable broadcast, and what that assumes. No time of its own: the interval only paces.
//!
//! # Messages
//! None of its own: every process broadcasts, for ever, a message without content, the next one an
//! interval after it has delivered the last.
//!
//! # Cost
//! At most a broadcast a process and interval: over consensus by hierarchy, n(n²−1) messages an
//! interval. There a crash is reported at most D + n−1 steps after it, P below taking D, if no message
//! of the crashed process was in flight; otherwise that one may be delivered first. Memory O(n).
//!
//! # Why it holds
//! A process that crashes broadcasts a finite number of messages. In the instance after the last that
//! is delivered, every correct process delivers something (TRB4), and not a message (TRB3): the report
//! (PFD1). The report is delivered of nobody who has not crashed (TRB3), and once (PFD2).
//!
//! # What the reduction is worth
//! The textbook's specification asks less of `SenderFaulty`: that no correct source is called so. One
//! that is alive, and will crash, may be. Over such a broadcast this detector may report a crash before
//! it comes, and PFD2 must be read as “no correct process is reported”. Only an object that knows the
//! future does that; over P, or any detector that only knows the past, the two readings are the same.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 6.3. Deviations: the pace; the instances of a process are its broadcasts.
use bytes::Bytes;
use quorate_abstractions::{
    perfect::Crash,
    terminating::{self, Broadcast, Content, Deliver},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, ProcessId, ProcessSet, ports};
use std::time::Duration;

/// How often a process broadcasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    interval: Duration,
}

/// Broadcasts without a pause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the interval between a delivery and the next broadcast must be above 0")]
pub struct NoInterval;

impl Interval {
    /// The next broadcast leaves this long after the delivery of the last.
    ///
    /// # Errors
    /// When that is no time.
    pub fn new(interval: Duration) -> Result<Self, NoInterval> {
        match interval {
            Duration::ZERO => Err(NoInterval),
            interval => Ok(Interval { interval }),
        }
    }
}

impl Default for Interval {
    /// A second: it delays no report over a broadcast that stands on P.
    fn default() -> Self {
        Interval {
            interval: Duration::from_secs(1),
        }
    }
}

/// P, from terminating broadcast.
pub struct FromTerminating {
    me: ProcessId,
    interval: Duration,
    crashed: ProcessSet,
    subscribers: Vec<Addr<Crash>>,
}

ports! {
    serves Crash => Subscribe -> Indicate, Answer;
    uses terminating: terminating::Port => Deliver / Broadcast;
    timer Tick;

    /// Starts the detector of a process, over terminating reliable broadcast.
    pub fn spawn(host, interval: Interval) = FromTerminating::new(host, interval);
}

impl Algorithm for FromTerminating {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        upon_tick(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Deliver(delivery) => self.upon_deliver(&delivery, ctx),
            Event::Tick => upon_tick(ctx),
        }
    }
}

impl FromTerminating {
    /// A detector at `host`, which has reported nobody.
    pub fn new(host: &impl Host, interval: Interval) -> Self {
        FromTerminating {
            me: host.me(),
            interval: interval.interval,
            crashed: ProcessSet::EMPTY,
            subscribers: Vec::new(),
        }
    }

    /// A subscriber that comes late learns of all crashes so far: they are not said again.
    fn upon_subscribe(&mut self, subscriber: Addr<Crash>, ctx: &mut Ctx<Self>) {
        for p in self.crashed.iter() {
            ctx.trigger(Effect::Answer(Crash(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    /// A faulty source is reported; the own message is followed by the next.
    fn upon_deliver(&mut self, delivery: &Deliver, ctx: &mut Ctx<Self>) {
        let p = delivery.source;
        match delivery.outcome {
            Content::SenderFaulty if self.crashed.insert(p) => {
                ctx.trigger(Effect::Indicate(Crash(p), self.subscribers.clone()));
            }
            Content::Message(_) if p == self.me => {
                ctx.after_in_background(self.interval, Event::Tick);
            }
            Content::SenderFaulty | Content::Message(_) => {}
        }
    }
}

/// At the start, and an interval after each delivery of the own message: the next.
fn upon_tick(ctx: &mut Ctx<FromTerminating>) {
    let payload = Bytes::new();
    ctx.trigger(Effect::Broadcast(Broadcast { payload }));
}

#[cfg(test)]
mod tests;
