//! Passes payloads on, and makes them visible in the trace.
//!
//! Best-effort broadcast is a function of the wiring, without a state: through this module, its requests and
//! deliveries can be checked like those of any other algorithm. Under the name of an abstraction that
//! promises more than the layer below, it is the simplest mutant.
use bytes::Bytes;
use quorate_abstractions::reliable;
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, MessageId, Observation, Observe, ProcessId,
    message::{Origin, digest},
    ports,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is requested, and what is indicated.
type Port = (Broadcast, Deliver);

/// Requests a broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broadcast(pub Bytes);

/// Indicates a delivery, with what the layer below knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Deliver {
    /// The process that broadcast it, if the layer below tells.
    pub from: Option<ProcessId>,
    /// The origin and the sequence number of the broadcast, if the layer below tells.
    pub id: Option<MessageId>,
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

ports! {
    offers Port => Broadcast -> Deliver;
    uses below: Port => Below;

    /// Starts the module named by `host` over this layer.
    pub(super) fn spawn(host) = Traced;
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

/// Returns the identifiers of this process, one after the other.
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
pub(super) fn over_reliable(reliable: impl Layer<reliable::Port>) -> impl Layer<Port> {
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
