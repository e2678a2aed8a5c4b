//! Fair-loss links: each message is one datagram, which names its sender.
//!
//! # Promises
//! - FLL1 fair loss (liveness): what a correct process sends to a correct one infinitely often is delivered there
//!   infinitely often.
//! - FLL2 finite duplication (liveness): what is sent finitely often is delivered finitely often.
//! - FLL3 no creation (safety): what is delivered from a process was sent by it.
//!
//! # Assumes
//! Any model; an edge of the host ([`fair_loss`]) with the same promises for datagrams. A message and one byte fit
//! into one datagram. Whoever can send datagrams to this process can name any sender of Π.
//!
//! # Messages
//! Each message of the user, with the rank of its sender in front.
//!
//! # Cost
//! 1 datagram and 1 step, if it is not lost. Memory: none.
//!
//! # Why it holds
//! A message is one datagram, and a datagram that arrives is one delivery, so that the promises are those of the
//! edge.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*, 2.4.2: there fair-loss
//! links are given, and have no algorithm. Deviations: none; the edge says less of a datagram than the
//! specification, since it does not know from whom it is.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::fair_loss::{self, Transmit, datagrams};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, Observation, Observe, ProcessId, message::digest, ports,
};

/// What is requested, and what is indicated.
pub type Port = (SendRequest, Deliver);

/// Requests that a message be sent once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendRequest {
    /// The receiver.
    pub to: ProcessId,
    /// The message.
    pub bytes: Bytes,
}

/// Indicates that a message has come, maybe not for the first time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// The sender that the datagram names.
    pub from: ProcessId,
    /// The message.
    pub bytes: Bytes,
}

impl Observe for SendRequest {
    fn observe(&self) -> Observation {
        let content = digest(&self.bytes);
        Observation::request("Send").peer(self.to).digest(content)
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let content = digest(&self.bytes);
        Observation::indication("Deliver")
            .peer(self.from)
            .digest(content)
    }
}

/// Fair-loss links.
pub struct FairLoss {
    me: ProcessId,
    processes: Membership,
}

ports! {
    offers Port => Send -> Deliver;
    uses edge: fair_loss::Port => Edge / Transmit;

    /// Starts fair-loss links over an edge.
    pub fn spawn(host) = FairLoss::new(host);
}

impl Algorithm for FairLoss {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Send(message) => self.upon_send(&message, ctx),
            Event::Edge(fair_loss::Indication::Arrive { bytes, segment }) => {
                for datagram in datagrams(bytes, segment) {
                    self.upon_datagram(datagram, ctx);
                }
            }
            Event::Edge(fair_loss::Indication::Reopened(_)) => {}
        }
    }
}

impl FairLoss {
    /// The links of the process at `host`.
    pub fn new(host: &impl Host) -> Self {
        FairLoss {
            me: host.me(),
            processes: *host.processes(),
        }
    }

    fn upon_send(&self, SendRequest { to, bytes }: &SendRequest, ctx: &mut Ctx<Self>) {
        let mut datagram = BytesMut::with_capacity(1 + bytes.len());
        datagram.put_u8(self.me.rank() as u8);
        datagram.put_slice(bytes);
        ctx.trigger(Effect::Transmit(Transmit {
            to: *to,
            segment: datagram.len(),
            bytes: datagram.freeze(),
        }));
    }

    fn upon_datagram(&self, mut bytes: Bytes, ctx: &mut Ctx<Self>) {
        let from = bytes.try_get_u8().ok();
        let from = from.and_then(|rank| ProcessId::from_rank(usize::from(rank)));
        match from {
            Some(from) if self.processes.contains(from) => {
                ctx.trigger(Effect::Deliver(Deliver { from, bytes }));
            }
            Some(_) => ctx.count("unknown process"),
            None => ctx.count("malformed"),
        }
    }
}

#[cfg(test)]
mod tests;
