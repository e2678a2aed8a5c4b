//! How the registers are connected to their neighbours: the ports that all share, and how requests and
//! answers are sent.
use crate::message::{Content, Message};
use quorate_abstractions::{
    link::{self, SendRequest, To},
    perfect,
    register::{self},
};
use quorate_core::{Context, ports};

ports! {
    offers register::Port => Request -> Indication;
    uses lane: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Crash;
}

/// Sends a request, or the answer to the request of this number.
pub(crate) fn send(to: To, request: u64, content: Content, ctx: &mut Context<Event, Effect>) {
    let message = Message { request, content };
    ctx.trigger(Effect::Link(SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
