//! Uniform reliable broadcast by majority acknowledgement.
//!
//! # Promises
//! - URB1 validity (liveness): a correct process delivers its own broadcasts.
//! - URB2 no duplication (safety). URB3 no creation (safety).
//! - URB4 uniform agreement (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//!
//! # Assumes
//! Perfect links; f < n/2 crashes; no failure detector. No origin is more than 2²⁰ broadcasts ahead
//! of what a correct process has delivered of it: what lies beyond is refused, and links are
//! bounded too. Over a gap both ends say again what they hold and have not delivered, so that URB1
//! holds over any gaps; URB4 holds unless gaps keep a message from a process on all its ways until
//! all others have delivered it, for what is delivered is forgotten. The users are told of the gap.
//!
//! # Messages
//! - `Data(id, payload)`: from the origin → everybody; from everybody else, at the first sight of
//!   the payload → those not known to hold it. It also says that the sender holds the payload.
//! - `Ack(id)`, instead of `Data`, → those known to hold the payload.
//!
//! # Cost
//! Failure-free n(n−1) messages, 2 steps (1 at the receivers if n ≤ 3); with a dead process (n−1)²,
//! 2 steps; the sender crashing after k ≥ 1 sends, k + (n−1)². Memory: what is not yet delivered, and
//! the delivered identifiers as watermarks.
//!
//! # Why it holds
//! A process delivers only once a majority is known to hold the message and to have relayed it.
//! Some member of that majority is correct; its relay reaches every correct process, each of which
//! relays in turn, so that every correct process hears of a majority (the correct ones) and delivers.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.4, “Majority-Ack Uniform Reliable Broadcast”. Deviations: messages are known by
//! identifier, not content; nothing is relayed twice; a relay to a process that is known to hold the
//! payload carries the identifier alone, which is why the algorithm stands on links and not on
//! best-effort broadcast.
use crate::data::{Data, Numbering};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    Subscribe,
    link::{self, To},
    uniform::{Broadcast, Deliver},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, MessageId, Observation, Observe, ProcessId, ProcessSet,
    message::{Origin, digest},
    watermark::WatermarkSet,
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The payload of a broadcast.
    Data {
        /// Whose how-manieth broadcast it is.
        id: MessageId,
        /// The payload.
        payload: Bytes,
    },
    /// The sender holds the payload of this broadcast.
    Ack {
        /// Which.
        id: MessageId,
    },
    /// The same as `Data`, from who does not know whether the receiver holds the payload, for a gap may
    /// have taken either message: it is answered by an `Ack`.
    Again {
        /// Which.
        id: MessageId,
        /// The payload.
        payload: Bytes,
    },
    /// A stream to the receiver has begun anew: acknowledgements of the sender's may be lost, which it may
    /// not remember. The receiver asks for those that it lacks.
    Resumed,
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(MessageId),
    Ack(MessageId),
    Again(MessageId),
    Resumed,
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data { id, payload } => {
                wire::put_head(&Head::Data(*id), out);
                out.extend_from_slice(payload);
            }
            Message::Ack { id } => wire::put_head(&Head::Ack(*id), out),
            Message::Again { id, payload } => {
                wire::put_head(&Head::Again(*id), out);
                out.extend_from_slice(payload);
            }
            Message::Resumed => wire::put_head(&Head::Resumed, out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        match wire::take_head(&mut bytes)? {
            Head::Data(id) => Ok(Message::Data { id, payload: bytes }),
            Head::Again(id) => Ok(Message::Again { id, payload: bytes }),
            Head::Ack(id) if bytes.is_empty() => Ok(Message::Ack { id }),
            Head::Resumed if bytes.is_empty() => Ok(Message::Resumed),
            Head::Ack(_) | Head::Resumed => Err(Undecodable),
        }
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        match self {
            Message::Data { id, payload } => Observation::internal("Data")
                .message(*id)
                .digest(digest(payload)),
            Message::Ack { id } => Observation::internal("Ack").message(*id),
            Message::Again { id, payload } => Observation::internal("Again")
                .message(*id)
                .digest(digest(payload)),
            Message::Resumed => Observation::internal("Resumed"),
        }
    }
}

/// What is known of a message that is not delivered yet.
#[derive(Default)]
struct Pending {
    /// The payload, once it has come.
    payload: Option<Bytes>,
    /// Who is known to hold it.
    ack: ProcessSet,
}

/// Majority-ack uniform reliable broadcast.
pub struct MajorityAck {
    numbering: Numbering,
    /// How many must hold a message before it is delivered.
    quorum: usize,
    pending: BTreeMap<MessageId, Pending>,
    delivered: WatermarkSet,
}

/// What the algorithm reacts to.
#[derive(Debug)]
pub enum Event {
    /// A request from above.
    Broadcast(Broadcast),
    /// A message from below.
    Link(link::Deliver<Message>),
    /// A stream has ended, or begun anew.
    Status(link::Status),
}

/// What the algorithm triggers.
#[derive(Debug)]
pub enum Effect {
    /// A request to the layer below.
    Link(link::Send<Message>),
    /// An indication to the layer above.
    Deliver(Deliver),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Broadcast(request) => request.observe(),
            Event::Link(indication) => indication.observe(),
            Event::Status(indication) => indication.observe().as_internal(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Link(request) => request.observe(),
            Effect::Deliver(indication) => indication.observe(),
        }
    }
}

impl Algorithm for MajorityAck {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Data { id, payload } => self.upon_data(from, id, payload, ctx),
                Message::Ack { id } => self.upon_ack(from, id, ctx),
                Message::Again { id, payload } => self.upon_again(from, id, payload, ctx),
                Message::Resumed => self.say_again(from, ctx),
            },
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl MajorityAck {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Self::with_quorum(host, host.processes().majority())
    }

    fn with_quorum(host: &impl Host, quorum: usize) -> Self {
        MajorityAck {
            numbering: Numbering::new(host),
            quorum,
            pending: BTreeMap::new(),
            delivered: WatermarkSet::default(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let Data { id, payload } = self.numbering.number(payload);
        ctx.trigger(Effect::Link(link::Send {
            to: To::All,
            message: Message::Data { id, payload },
        }));
    }

    /// The first copy is kept and relayed; each tells that its sender holds the payload.
    fn upon_data(&mut self, from: ProcessId, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let Some(pending) = self.mention(id, ctx) else {
            return;
        };
        pending.ack.insert(from);
        if pending.payload.is_none() {
            pending.payload = Some(payload.clone());
            self.relay(id, payload, ctx);
        }
        self.upon_deliverable(id, ctx);
    }

    /// Who asks learns that this process holds the payload, as it does from now on at the latest.
    fn upon_again(&mut self, from: ProcessId, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        self.upon_data(from, id, payload, ctx);
        if self.pending.contains_key(&id) || self.delivered.contains(id) {
            say(from, Message::Ack { id }, ctx);
        }
    }

    /// Upon a stream that begins anew: both ends say again what is pending.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        if let link::Status::Begun { peer } = *status {
            say(peer, Message::Resumed, ctx);
            self.say_again(peer, ctx);
        }
    }

    /// What is pending here is said again, in case that it was lost, and the acknowledgement asked for, in
    /// case that that was.
    fn say_again(&self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        for (id, pending) in &self.pending {
            if let Some(payload) = pending.payload.clone() {
                say(peer, Message::Again { id: *id, payload }, ctx);
            }
        }
    }

    fn upon_ack(&mut self, from: ProcessId, id: MessageId, ctx: &mut Ctx<Self>) {
        let Some(pending) = self.mention(id, ctx) else {
            return;
        };
        pending.ack.insert(from);
        self.upon_deliverable(id, ctx);
    }

    /// Upon a message that is held here and known to be held by a majority: deliver it.
    fn upon_deliverable(&mut self, id: MessageId, ctx: &mut Ctx<Self>) {
        if !self.can_deliver(id) {
            return;
        }
        if let Some(Pending {
            payload: Some(payload),
            ..
        }) = self.pending.remove(&id)
        {
            self.delivered.insert(id);
            ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        }
    }

    fn can_deliver(&self, id: MessageId) -> bool {
        self.pending
            .get(&id)
            .is_some_and(|pending| pending.payload.is_some() && pending.ack.len() >= self.quorum)
    }

    /// Tells everybody that the payload is held here: with the payload, unless they hold it too. The
    /// origin's first sending was its relay.
    fn relay(&mut self, id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        let (me, others) = (self.numbering.me(), self.numbering.others());
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        pending.ack.insert(me);
        if self.numbering.is_mine(id) {
            return;
        }
        let mut holders = pending.ack;
        holders.insert(id.origin.process);
        holders.remove(me);
        let send = |to, message| {
            Effect::Link(link::Send {
                to: To::Some(to),
                message,
            })
        };
        let ignorant = others.without(holders);
        if !ignorant.is_empty() {
            ctx.trigger(send(ignorant, Message::Data { id, payload }));
        }
        ctx.trigger(send(holders, Message::Ack { id }));
    }

    /// What is given up is not pending any more: nobody will say it again.
    fn forget_given_up(&mut self, origin: Origin) {
        let low = self.delivered.low(origin);
        let id = |sequence| MessageId { origin, sequence };
        while let Some((&given_up, _)) = self.pending.range(id(0)..=id(low)).next() {
            self.pending.remove(&given_up);
        }
    }

    /// The entry of a message that may still be delivered, made at its first mention.
    fn mention(&mut self, id: MessageId, ctx: &mut Ctx<Self>) -> Option<&mut Pending> {
        if self.delivered.contains(id) {
            return None;
        }
        if let Err(reason) = self.numbering.check(id, &mut self.delivered) {
            ctx.count(reason);
            return None;
        }
        self.forget_given_up(id.origin);
        Some(self.pending.entry(id).or_default())
    }
}

fn say(to: ProcessId, message: Message, ctx: &mut Ctx<MajorityAck>) {
    let to = To::One(to);
    ctx.trigger(Effect::Link(link::Send { to, message }));
}

/// Starts majority-ack uniform reliable broadcast over perfect links.
pub fn spawn<H: Host>(
    host: &H,
    link: impl Layer<link::Send<Message>, link::Deliver<Message>>,
    status: &Subscribe<link::Status>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    spawn_as(host, MajorityAck::new(host), link, status, up)
}

/// Starts a broken twin that delivers once `quorum` processes hold a message. Nothing but tests and
/// demonstrations of the checkers may use it.
pub fn spawn_broken<H: Host>(
    host: &H,
    quorum: usize,
    link: impl Layer<link::Send<Message>, link::Deliver<Message>>,
    status: &Subscribe<link::Status>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    spawn_as(
        host,
        MajorityAck::with_quorum(host, quorum),
        link,
        status,
        up,
    )
}

fn spawn_as<H: Host>(
    host: &H,
    algorithm: MajorityAck,
    link: impl Layer<link::Send<Message>, link::Deliver<Message>>,
    status: &Subscribe<link::Status>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let link = link.attach(mailbox.addr().with(Event::Link));
    link::watch_streams(status, mailbox.addr().with(Event::Status));
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}

#[cfg(test)]
mod tests;
