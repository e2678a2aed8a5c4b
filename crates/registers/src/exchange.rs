//! What the registers have in common: the same ports, requests that go to everybody, and answers.
use crate::{
    message::{Content, Message},
    operations::Operations,
};
use quorate_abstractions::{
    Subscribe,
    link::{self, Deliver, Send, To},
    perfect,
    register::{Indication, Request},
};
use quorate_core::{Addr, Algorithm, Context, Host, Layer, Observation, Observe, ProcessId};

/// What a register reacts to.
#[derive(Debug)]
pub enum Event {
    /// A request from above.
    Request(Request),
    /// A request or an answer of another process, or of this one.
    Link(Deliver<Message>),
    /// P reports a crash, where the algorithm stands on P.
    Crash(perfect::Crash),
    /// A stream has ended, or begun anew.
    Status(link::Status),
}

/// What a register triggers.
#[derive(Debug)]
pub enum Effect {
    /// A request to everybody, or an answer.
    Link(Send<Message>),
    /// An indication to the layer above.
    Indication(Indication),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Request(request) => request.observe(),
            Event::Link(indication) => indication.observe(),
            Event::Crash(indication) => indication.observe().as_internal(),
            Event::Status(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Indication(indication) => indication.observe(),
        }
    }
}

/// Sends the request of an operation to everybody, oneself included, and keeps it until it is answered.
pub(crate) fn ask<P>(
    operations: &mut Operations<P>,
    request: u64,
    content: Content,
    ctx: &mut Context<Event, Effect>,
) {
    operations.asks(request, content.clone());
    let (to, message) = (To::All, Message { request, content });
    ctx.trigger(Effect::Link(Send { to, message }));
}

/// Upon a stream that begins anew: its receiver is asked again whatever is still open, and is told to ask
/// again itself, since answers of this process may be lost, which it does not remember.
pub(crate) fn upon_status<P>(
    operations: &Operations<P>,
    status: &link::Status,
    ctx: &mut Context<Event, Effect>,
) {
    if let link::Status::Begun { peer } = *status {
        answer(peer, 0, Content::Resumed, ctx);
        ask_again(operations, peer, ctx);
    }
}

/// Asks a process again whatever is still open, under the same numbers and with the same tags. Whoever is
/// asked twice holds no more than before, and answers.
pub(crate) fn ask_again<P>(
    operations: &Operations<P>,
    peer: ProcessId,
    ctx: &mut Context<Event, Effect>,
) {
    for (request, content) in operations.asked() {
        answer(peer, request, content, ctx);
    }
}

/// Sends to one process: answers a request.
pub(crate) fn answer(
    to: ProcessId,
    request: u64,
    content: Content,
    ctx: &mut Context<Event, Effect>,
) {
    let (to, message) = (To::One(to), Message { request, content });
    ctx.trigger(Effect::Link(Send { to, message }));
}

/// The wiring, for any algorithm with these events and effects.
pub(crate) fn spawn_as<H: Host>(
    host: &H,
    algorithm: impl Algorithm<Event = Event, Effect = Effect>,
    lane: impl Layer<Send<Message>, Deliver<Message>>,
    status: &Subscribe<link::Status>,
    detector: Option<&Subscribe<perfect::Crash>>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Request);
    let below = lane.attach(mailbox.addr().with(Event::Link));
    link::watch_streams(status, mailbox.addr().with(Event::Status));
    if let Some(detector) = detector {
        detector.send(mailbox.addr().with(Event::Crash));
    }
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => below.send(request),
        Effect::Indication(indication) => up.send(indication),
    });
    requests
}

#[cfg(test)]
mod tests;
