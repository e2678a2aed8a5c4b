//! A mutant of a perfect link: messages as bare datagrams, which may be lost or come twice.
use crate::wiring::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::fair_loss::{self, Transmit, datagrams};
use quorate_core::{Algorithm, Ctx, Observation, Observe, ProcessId, message::digest, ports};

/// Indicates that a message has come.
#[derive(Debug)]
pub(super) struct Deliver {
    from: ProcessId,
    bytes: Bytes,
}

fn observe(Message { to, bytes, .. }: &Message) -> Observation {
    Observation::request("Send").peer(*to).digest(digest(bytes))
}

ports! {
    offers (Message, Deliver) => Send -> Deliver, observed observe;
    uses edge: fair_loss::Port => Edge / Transmit;

    /// Starts it over fair-loss links.
    pub(super) fn spawn(host) = Datagrams { me: host.me() };
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let content = digest(&self.bytes);
        Observation::indication("Deliver")
            .peer(self.from)
            .digest(content)
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
