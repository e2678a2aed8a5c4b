//! Algorithms of a line or two, to test how the host and the edges treat them.
use crate::{
    host::{Identity, TokioHost},
    thread::{Ending, OnPanic, Protocol, ProtocolThread},
};
use quorate_core::{
    Addr, Algorithm, Context, Ctx, Host, Incarnation, Membership, Observation, Observe, ProcessId,
    TimerId,
};
pub(crate) use quorate_sim::testing::p;
use std::{
    sync::{
        Arc, Barrier,
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

mod agreements;
mod broadcasts;
mod codecs;
mod custom;
mod detectors;
mod edges;
mod events;
mod gauges;
mod host;
mod leaving;
mod links;
mod locks;
mod memory;
mod names;
pub(crate) mod node;
mod ordered_registers;
mod point_to_point;
mod pressure;
mod quorum_system;
mod readers;
mod refusals;
mod replicated;
mod rounds;
#[cfg(feature = "sealed")]
mod sealed;
mod sharing;
mod terminating;
mod views;

/// The longest time that a test waits for an event.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn protocol(me: usize, n: usize) -> Protocol {
    let mut protocol = Protocol::new(Identity {
        me: p(me),
        incarnation: Incarnation(me as u64),
        processes: Membership::of_size(n).unwrap(),
        seed: 7,
    })
    .unwrap();
    protocol.on_panic(OnPanic::End);
    protocol
}

/// A message that is a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub u64);

impl Observe for Tag {
    fn observe(&self) -> Observation {
        Observation::internal("Tag")
    }
}

/// Handles each event and each pause with a closure.
pub(crate) struct Scripted<E, I>(pub E, pub I);

impl<E, I> Algorithm for Scripted<E, I>
where
    E: FnMut(Tag, &mut Context<Tag, Tag>) + Send + 'static,
    I: FnMut(&mut Context<Tag, Tag>) + Send + 'static,
{
    type Event = Tag;
    type Effect = Tag;

    fn upon(&mut self, event: Tag, ctx: &mut Ctx<Self>) {
        (self.0)(event, ctx);
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        (self.1)(ctx);
    }
}

/// Starts an algorithm that is one closure.
pub(crate) fn start(
    host: &TokioHost,
    name: &str,
    upon: impl FnMut(Tag, &mut Context<Tag, Tag>) + Send + 'static,
    route: impl FnMut(Tag) + Send + 'static,
) -> Addr<Tag> {
    let host = host.at(name);
    let mailbox = host.mailbox();
    let addr = mailbox.addr();
    host.start(mailbox, Scripted(upon, |_: &mut _| ()), route);
    addr
}
