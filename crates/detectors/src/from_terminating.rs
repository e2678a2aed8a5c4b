//! The perfect failure detector P, derived from terminating reliable broadcast.
//!
//! The textbook's proof that terminating broadcast is as hard as P, as a program: a system that can solve the
//! one has the other. A system that already has P does not need it.
//!
//! # Promises
//! - PFD1 strong completeness (liveness): a process that crashes is eventually reported to every
//!   correct process.
//! - PFD2 strong accuracy (safety): no process is reported before it crashes, and none twice. This is
//!   exact over a broadcast whose `SenderFaulty` says that the source has crashed, as our TRB3 does and
//!   [a broadcast over P](quorate_abstractions::terminating) must.
//!
//! # Assumes
//! Terminating reliable broadcast, and what that assumes. No assumption about time: the interval only sets
//! the pace.
//!
//! # Messages
//! None of its own: every process broadcasts, for ever, messages without content, each one interval after it
//! has delivered the last.
//!
//! # Cost
//! At most one broadcast per process and interval: over consensus by hierarchy, n(n²−1) messages an interval.
//! There a crash is reported at most D + n−1 steps after it, if P below takes D and no message of the crashed
//! process was in flight; otherwise that message may be delivered first. Memory O(n).
//!
//! # Why it holds
//! A process that crashes broadcasts a finite number of messages. In the instance after the last delivered
//! one, every correct process delivers something (TRB4), and not a message (TRB3): so it delivers the report
//! (PFD1). Only a process that has crashed is reported (TRB3), and only once (PFD2).
//!
//! # What the reduction is worth
//! The textbook's specification asks less of `SenderFaulty`: no correct source is called faulty. A source
//! that is alive, and will crash, may be. Over such a broadcast this detector may report a crash before it
//! happens, and PFD2 must be read as “no correct process is reported”. Only an object that knows the future
//! does that; over P, or any detector that only knows the past, the two readings are the same.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, section
//! 6.3. Deviations: the interval; the instances of a process are its broadcasts.
pub use crate::interval::{Interval, NoInterval};
use bytes::Bytes;
use quorate_abstractions::{
    perfect::Crash,
    terminating::{self, Broadcast, Content, Deliver},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, ProcessId, ProcessSet, ports};
use std::time::Duration;

/// The perfect failure detector P, from terminating broadcast.
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
    /// A detector at `host` that has reported nobody.
    pub fn new(host: &impl Host, interval: Interval) -> Self {
        FromTerminating {
            me: host.me(),
            interval: interval.duration(),
            crashed: ProcessSet::EMPTY,
            subscribers: Vec::new(),
        }
    }

    /// A late subscriber learns of all crashes so far, since they are not indicated again.
    fn upon_subscribe(&mut self, subscriber: Addr<Crash>, ctx: &mut Ctx<Self>) {
        for p in self.crashed.iter() {
            ctx.trigger(Effect::Answer(Crash(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    /// A faulty source is reported; after an own message the next one follows.
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

/// At the start, and an interval after each delivery of an own message, broadcasts the next.
fn upon_tick(ctx: &mut Ctx<FromTerminating>) {
    let payload = Bytes::new();
    ctx.trigger(Effect::Broadcast(Broadcast { payload }));
}

#[cfg(test)]
mod tests;
