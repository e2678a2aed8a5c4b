//! The modules that can be declared on a node.
use super::{
    Broadcaster, Builder, Deliveries, Wiring,
    flow::Flow,
    handles::{Codec, Outlet},
};
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    best_effort::{Broadcast, Deliver},
    link::Links,
    total_order, uniform,
};
use quorate_broadcast::best_effort;
use quorate_catalogue::stack;
use quorate_core::{
    Addr, Host, Incarnation, Layer, ProcessId,
    message::Origin,
    wire::{Undecodable, put_number, take_number},
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the layers between a handle and the link add to a message, at most.
pub(super) const HEADS: usize = 1024;

type Wire = Box<dyn FnOnce(Wiring) + Send>;

/// A module that was declared.
pub(super) struct Module {
    pub(super) algorithms: String,
    pub(super) wire: Wire,
}

/// Puts a message's incarnation and number in front of it, for a broadcast that has none.
fn put_id(me: Origin, sequence: u64, payload: &Bytes) -> Bytes {
    let mut message = BytesMut::with_capacity(payload.len() + 20);
    put_number(me.incarnation.0, &mut message);
    put_number(sequence, &mut message);
    message.extend_from_slice(payload);
    message.freeze()
}

/// Takes off what [`put_id`] put on.
fn take_id(from: ProcessId, message: &mut Bytes) -> Result<(Origin, u64), Undecodable> {
    let origin = Origin {
        process: from,
        incarnation: Incarnation(take_number(message)?),
    };
    Ok((origin, take_number(message)?))
}

/// What is declared.
impl Builder {
    /// Declares a module by its wiring: `wire` is called when the node starts. `algorithms` names
    /// what it is made of; processes whose modules differ do not talk to each other.
    ///
    /// Everything that is declared goes through here; algorithms of an application do, too.
    ///
    /// # Errors
    /// When the name is used already, or is no segment of a path.
    pub fn module(
        &mut self,
        name: &str,
        algorithms: &str,
        wire: impl FnOnce(Wiring) + Send + 'static,
    ) -> Result<(), Error> {
        if name.is_empty() || name.contains('/') {
            return Err(Error::BadName(name.to_owned()));
        }
        if self.modules.contains_key(name) {
            return Err(Error::UsedTwice(name.to_owned()));
        }
        let module = Module {
            algorithms: algorithms.to_owned(),
            wire: Box::new(wire),
        };
        self.modules.insert(name.to_owned(), module);
        Ok(())
    }

    /// Declares uniform total-order broadcast of messages of type `T`: every process delivers the
    /// same messages in the same order.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn total_order<T>(&mut self, name: &str) -> Result<(Broadcaster<T>, Deliveries<T>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.total_order_with(name, Codec::typed())
    }

    /// As [`total_order`](Builder::total_order), of bytes as they are. Delivered messages share the
    /// buffers that they were received in: copy what is kept for long.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn total_order_bytes(
        &mut self,
        name: &str,
    ) -> Result<(Broadcaster<Bytes>, Deliveries<Bytes>), Error> {
        self.total_order_with(name, Codec::raw())
    }

    /// Declares uniform total-order broadcast without handles: `up` is called on the protocol
    /// thread, in order, with every batch. What is sent to the address given before the node has
    /// started, or after it has stopped, is dropped. There is no window: the caller limits what is
    /// under way.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn total_order_addr(
        &mut self,
        name: &str,
        up: Addr<total_order::Deliver>,
    ) -> Result<Addr<total_order::Broadcast>, Error> {
        let door = Door::default();
        let opened = door.clone();
        self.module(name, stack::TOTAL_ORDER, move |wiring| {
            opened.open(wire_total_order(&wiring, up));
        })?;
        Ok(door.addr())
    }

    fn total_order_with<T>(
        &mut self,
        name: &str,
        codec: Codec<T>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), Error> {
        let (flow, outlet, handles) = self.prepare(codec);
        let (inlet, keep) = (outlet.clone(), flow.clone());
        self.module(name, stack::TOTAL_ORDER, move |wiring| {
            let (own, me) = (flow.clone(), wiring.origin());
            let up = Addr::new(move |delivery: total_order::Deliver| {
                if delivery.origin == me {
                    own.delivered(delivery.first, delivery.payloads.len() as u64);
                }
                inlet.deliver(delivery.origin, delivery.first, delivery.payloads);
            });
            let door = wire_total_order(&wiring, up);
            flow.open(me, door.with(|payload| total_order::Broadcast { payload }));
        })?;
        self.keep(keep, outlet);
        Ok(handles)
    }

    /// Declares uniform reliable broadcast of messages of type `T`: what one process delivers, even
    /// one that crashes, every correct process delivers. No order.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn uniform<T>(&mut self, name: &str) -> Result<(Broadcaster<T>, Deliveries<T>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let (flow, outlet, handles) = self.prepare(Codec::typed());
        let (inlet, keep) = (outlet.clone(), flow.clone());
        self.module(name, "uniform:majority-ack", move |wiring| {
            let (own, me) = (flow.clone(), wiring.origin());
            let up = Addr::new(move |uniform::Deliver { id, payload }| {
                if id.origin == me {
                    own.delivered(id.sequence, 1);
                }
                inlet.deliver(id.origin, id.sequence, vec![payload]);
            });
            let door = stack::uniform(&wiring.host, &wiring.links, up);
            flow.open(me, door.with(|payload| uniform::Broadcast { payload }));
        })?;
        self.keep(keep, outlet);
        Ok(handles)
    }

    /// Declares best-effort broadcast of messages of type `T`: when the broadcasting process
    /// crashes, some processes may have delivered and others never will. In each process's own order.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn best_effort<T>(&mut self, name: &str) -> Result<(Broadcaster<T>, Deliveries<T>), Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let (flow, outlet, handles) = self.prepare(Codec::typed());
        let (inlet, keep) = (outlet.clone(), flow.clone());
        self.module(name, "best-effort", move |wiring| {
            let (own, me) = (flow.clone(), wiring.origin());
            let undecodable = wiring
                .host
                .counters()
                .counter(wiring.host.path(), "undecodable");
            let up = Addr::new(move |Deliver { from, mut message }| {
                let Ok((origin, sequence)) = take_id(from, &mut message) else {
                    return undecodable.add(1);
                };
                if origin == me {
                    own.delivered(sequence, 1);
                }
                inlet.deliver(origin, sequence, vec![message]);
            });
            let door = best_effort::over(wiring.links.lane()).attach(up);
            let requests = AtomicU64::new(0);
            flow.open(
                me,
                door.with(move |payload: Bytes| {
                    // One at a time: the flow numbers its requests under a lock.
                    let sequence = requests.fetch_add(1, Relaxed) + 1;
                    Broadcast(put_id(me, sequence, &payload))
                }),
            );
        })?;
        self.keep(keep, outlet);
        Ok(handles)
    }

    fn prepare<T>(&self, codec: Codec<T>) -> (Arc<Flow>, Outlet, (Broadcaster<T>, Deliveries<T>)) {
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        let flow = Arc::new(Flow::new(self.window, limit));
        let (outlet, deliveries) = Outlet::new(self.backlog, codec);
        let broadcaster = Broadcaster::new(flow.clone(), codec);
        (flow, outlet, (broadcaster, deliveries))
    }

    fn keep(&mut self, flow: Arc<Flow>, outlet: Outlet) {
        self.handles.flows.push(flow);
        self.handles.outlets.push(outlet);
    }
}

fn wire_total_order(
    wiring: &Wiring,
    up: Addr<total_order::Deliver>,
) -> Addr<total_order::Broadcast> {
    let Wiring {
        host,
        links,
        detector,
        total_order,
        ..
    } = wiring;
    stack::total_order(host, links, detector, *total_order, up)
}

/// An address that is not known yet.
struct Door<T>(Arc<OnceLock<Addr<T>>>);

impl<T> Default for Door<T> {
    fn default() -> Self {
        Door(Arc::default())
    }
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Door(self.0.clone())
    }
}

impl<T: 'static> Door<T> {
    fn open(&self, addr: Addr<T>) {
        // Wired once, by the builder that made the door.
        let _ = self.0.set(addr);
    }

    fn addr(self) -> Addr<T> {
        Addr::new(move |value| {
            if let Some(addr) = self.0.get() {
                addr.send(value);
            }
        })
    }
}
