//! Passes payloads on, and gives what passes a place in the trace.
//!
//! Best-effort broadcast is a function of the wiring, without a state: seen through this, its requests
//! and deliveries can be checked like any other's. Under the name of an abstraction that promises more
//! than the layer below, it is the simplest of broken twins.
use bytes::Bytes;
use quorate_abstractions::reliable;
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, MessageId, Observation, Observe, ProcessId,
    message::{Origin, digest},
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broadcast(pub Bytes);

/// Indicates a delivery, with what the layer below knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Deliver {
    /// Who broadcast it, if told.
    pub from: Option<ProcessId>,
    /// Whose how-manieth broadcast it is, if told.
    pub id: Option<MessageId>,
    /// The payload.
    pub payload: Bytes,
}

impl Observe for Broadcast {
    fn observe(&self) -> Observation {
        Observation::request("Broadcast").digest(digest(&self.0))
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let mut observation = Observation::indication("Deliver").digest(digest(&self.payload));
        observation.message = self.id;
        observation.peer = self.from;
        observation
    }
}

enum Event {
    Broadcast(Broadcast),
    Below(Deliver),
}

enum Effect {
    Below(Broadcast),
    Deliver(Deliver),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Broadcast(request) => request.observe(),
            Event::Below(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Below(request) => request.observe().as_internal(),
            Effect::Deliver(indication) => indication.observe(),
        }
    }
}

struct Traced;

impl Algorithm for Traced {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        ctx.trigger(match event {
            Event::Broadcast(request) => Effect::Below(request),
            Event::Below(indication) => Effect::Deliver(indication),
        });
    }
}

/// Starts the module named by `host` over this layer.
pub(super) fn spawn(
    host: &impl Host,
    below: impl Layer<Broadcast, Deliver>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let below = below.attach(mailbox.addr().with(Event::Below));
    host.start(mailbox, Traced, move |effect| match effect {
        Effect::Below(request) => below.send(request),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}

/// Gives one identifier of this process after the other.
pub(super) fn numbered<H: Host>(host: &H) -> impl Fn() -> MessageId + use<H> {
    let (count, origin) = (
        AtomicU64::new(1),
        Origin {
            process: host.me(),
            incarnation: host.incarnation(),
        },
    );
    move || MessageId {
        origin,
        sequence: count.fetch_add(1, Relaxed),
    }
}

/// A reliable broadcast, as a layer for this module.
pub(super) fn over_reliable(
    reliable: impl Layer<reliable::Broadcast, reliable::Deliver>,
) -> impl Layer<Broadcast, Deliver> {
    move |up: Addr<Deliver>| {
        let delivered = |reliable::Deliver { id, payload }| Deliver {
            from: None,
            id: Some(id),
            payload,
        };
        let requests = reliable.attach(up.with(delivered));
        requests.with(|Broadcast(payload)| reliable::Broadcast { payload })
    }
}
