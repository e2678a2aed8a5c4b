//! What the registers have in common: the same ports, requests that go to everybody, and answers.
use crate::{
    message::{Content, Message},
    operations::Operations,
};
use quorate_abstractions::{
    link::{self, Send, To},
    perfect,
    register::{self},
};
use quorate_core::{Context, ProcessId, ports};

ports! {
    offers register::Port => Request -> Indication;
    uses lane: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Crash;
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

#[cfg(test)]
mod tests;
