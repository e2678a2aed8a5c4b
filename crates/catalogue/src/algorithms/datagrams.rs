//! A broken twin of a perfect link: messages as bare datagrams, which may be lost or come twice.
use crate::site::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::fair_loss::{self, Transmit, datagrams};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, message::digest,
};

/// Indicates that a message has come.
pub(super) struct Deliver {
    from: ProcessId,
    bytes: Bytes,
}

enum Event {
    Send(Message),
    Edge(fair_loss::Indication),
}

enum Effect {
    Transmit(Transmit),
    Deliver(Deliver),
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let content = digest(&self.bytes);
        Observation::indication("Deliver")
            .peer(self.from)
            .digest(content)
    }
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Send(Message { to, bytes, .. }) => {
                Observation::request("Send").peer(*to).digest(digest(bytes))
            }
            Event::Edge(indication) => indication.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Transmit(transmit) => transmit.observe(),
            Effect::Deliver(indication) => indication.observe(),
        }
    }
}

struct Datagrams {
    me: ProcessId,
}

impl Algorithm for Datagrams {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Send(message) => self.upon_send(&message, ctx),
            Event::Edge(fair_loss::Indication::Arrive { bytes, segment }) => {
                for datagram in datagrams(bytes, segment) {
                    Self::upon_datagram(datagram, ctx);
                }
            }
            Event::Edge(fair_loss::Indication::Reopened(_)) => {}
        }
    }
}

impl Datagrams {
    fn upon_send(&self, message: &Message, ctx: &mut Ctx<Self>) {
        let mut datagram = BytesMut::with_capacity(1 + message.bytes.len());
        datagram.put_u8(self.me.rank() as u8);
        datagram.put_slice(&message.bytes);
        ctx.trigger(Effect::Transmit(Transmit {
            to: message.to,
            segment: datagram.len(),
            bytes: datagram.freeze(),
        }));
    }

    fn upon_datagram(mut bytes: Bytes, ctx: &mut Ctx<Self>) {
        let from = bytes.try_get_u8().ok();
        let from = from.and_then(|rank| ProcessId::from_rank(usize::from(rank)));
        match from {
            Some(from) => ctx.trigger(Effect::Deliver(Deliver { from, bytes })),
            None => ctx.count("malformed"),
        }
    }
}

/// Starts it over fair-loss links.
pub(super) fn spawn(
    host: &impl Host,
    edge: impl Layer<Transmit, fair_loss::Indication>,
    up: Addr<Deliver>,
) -> Addr<Message> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Send);
    let edge = edge.attach(mailbox.addr().with(Event::Edge));
    let algorithm = Datagrams { me: host.me() };
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Transmit(transmit) => edge.send(transmit),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}
