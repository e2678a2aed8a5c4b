//! The textbook's perfect link over a stubborn one: number, acknowledge, deliver once.
//!
//! # Promises
//! - **PL1 reliable delivery** (liveness): what a correct process sends to a correct process is
//!   delivered.
//! - **PL2 no duplication** (safety): no message is delivered more than once.
//! - **PL3 no creation** (safety): what is delivered from p was sent by p.
//!
//! # Assumes
//! Crash-stop processes that never come back, any number of crashes; a stubborn link with cancel
//! ([`stubborn`]), and so messages that fit into one datagram. P, if it is given, reports the processes for
//! which nothing need be kept any more; ◇P would not do, because a process that it suspects may be alive.
//! Where processes restart, or messages are long, [`perfect`](crate::perfect) is the link to use.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | DATA(s, m) | p → q | the s-th message of p to q, again and again until it is acknowledged |
//! | ACK(s) | q → p | DATA(s, …) has arrived: sent once for each copy that arrives |
//!
//! # Cost
//! One step; 1 DATA and 1 ACK a message while nothing is lost and the round trip is shorter than the
//! first pause of the stubborn link. Memory a peer: what is sent and not acknowledged, of which 1,024
//! consecutive numbers are in flight and the others wait; what is delivered, as a watermark with at
//! most half as many gaps. What is sent to a crashed process is kept until P reports the crash.
//!
//! # Why it holds
//! *PL1.* A message waits, is in flight, or is acknowledged, and it is acknowledged only once it has
//! been delivered. The stubborn link brings the lowest number in flight across infinitely often, and
//! each time an acknowledgement leaves, so that fair loss lets one through: the window moves on.
//! *PL2.* A number is delivered when it enters the watermark, which is once. *PL3.* By SL2.
//! *The window.* Whatever p counts as acknowledged, q has delivered: what p releases is never beyond
//! the window of q.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues, *Introduction to Reliable and Secure Distributed Programming*, 2.4.4
//! "Eliminate Duplicates". Deviations: messages are told apart by number, not content, or a second
//! equal one would be lost; acknowledgements end retransmission, which otherwise goes on for ever and
//! keeps every message; duplicates are acknowledged again, because an acknowledgement can be lost; a
//! window, so that the delivered set is small. An acknowledgement is a stubborn message that is
//! cancelled at once: it is transmitted once.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use quorate_abstractions::{fair_loss, link::{Deliver, SendRequest}};
//! use quorate_core::{Addr, Host, Layer};
//! use quorate_links::{eliminate_duplicates, stubborn::{self, Pauses}};
//!
//! fn wire<E>(host: &impl Host, edge: E, up: Addr<Deliver<Bytes>>) -> Addr<SendRequest<Bytes>>
//! where
//!     E: Layer<fair_loss::Port>,
//! {
//!     let stubborn = |up| stubborn::spawn(host, Pauses::default(), edge, up);
//!     eliminate_duplicates::spawn(host, stubborn, None, up)
//! }
//! ```
use crate::stubborn::{self, Request};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    Subscribe,
    link::{Deliver, SendRequest, To},
    perfect::Crash,
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, Observation, Observe, ProcessId,
    message::digest,
    watermark::Watermark,
    wire::{self, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many consecutive numbers may be in flight to a peer.
const WINDOW: u64 = 1024;

/// The stubborn link's identifier of every acknowledgement. Data have the numbers from 1.
const ACKNOWLEDGEMENT: u64 = 0;

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The message of this number.
    Data(u64, Bytes),
    /// The message of this number has arrived.
    Acknowledge(u64),
}

#[derive(Serialize, Deserialize)]
enum Head {
    Data(u64),
    Acknowledge(u64),
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Data(sequence, payload) => {
                wire::put_head(&Head::Data(*sequence), out);
                out.extend_from_slice(payload);
            }
            Message::Acknowledge(sequence) => wire::put_head(&Head::Acknowledge(*sequence), out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        match wire::take_head(&mut bytes)? {
            Head::Data(sequence) => Ok(Message::Data(sequence, bytes)),
            Head::Acknowledge(sequence) if bytes.is_empty() => Ok(Message::Acknowledge(sequence)),
            Head::Acknowledge(_) => Err(Undecodable),
        }
    }
}

/// The state of one peer.
#[derive(Default)]
struct Peer {
    /// The number of the last message that was released.
    last: u64,
    /// The numbers that the peer has acknowledged.
    acknowledged: Watermark,
    /// Messages that wait for room in the window.
    waiting: VecDeque<Bytes>,
    /// The numbers of the peer's messages that were delivered.
    delivered: Watermark,
    /// Whether P has reported the peer's crash.
    crashed: bool,
}

impl Peer {
    /// Whether the peer is sure to accept one more message.
    fn has_room(&self) -> bool {
        self.last < self.acknowledged.low() + WINDOW
    }

    /// The numbers of the messages in flight.
    fn in_flight(&self) -> impl Iterator<Item = u64> {
        let numbers = self.acknowledged.low() + 1..=self.last;
        numbers.filter(|sequence| !self.acknowledged.contains(*sequence))
    }
}

/// All that the algorithm reacts to.
pub enum Event {
    /// From above.
    Send(SendRequest<Bytes>),
    /// From the stubborn link.
    Arrive(stubborn::Deliver),
    /// From P.
    Crash(Crash),
}

/// All that the algorithm triggers.
pub enum Effect {
    /// To the layer above.
    Deliver(Deliver<Bytes>),
    /// To a peer, until it is cancelled.
    Send(ProcessId, u64, Bytes),
    /// To a peer, transmitted once.
    Acknowledge(ProcessId, u64),
    /// The stubborn link need not send this to the peer any more.
    Cancel(ProcessId, u64),
}

/// The link of one process.
pub struct EliminateDuplicates {
    me: ProcessId,
    processes: Membership,
    /// Indexed by seat. The entry of this process is not used.
    peers: Vec<Peer>,
}

impl Algorithm for EliminateDuplicates {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Send(send) => self.upon_send(&send, ctx),
            Event::Arrive(arrived) => self.upon_arrive(arrived, ctx),
            Event::Crash(Crash(p)) => self.upon_crash(p, ctx),
        }
    }
}

impl EliminateDuplicates {
    /// The link of `me` to the other `processes`.
    pub fn new(me: ProcessId, processes: Membership) -> Self {
        EliminateDuplicates {
            me,
            processes,
            peers: processes.iter().map(|_| Peer::default()).collect(),
        }
    }

    /// Numbers the message for each receiver. A message to oneself is delivered at once.
    fn upon_send(&mut self, SendRequest { to, message }: &SendRequest<Bytes>, ctx: &mut Ctx<Self>) {
        let receivers = match to {
            To::One(p) => [*p].into_iter().collect(),
            To::Some(set) => *set,
            To::All => self.processes.set(),
        };
        for q in receivers.iter() {
            if q == self.me {
                let (from, message) = (q, message.clone());
                ctx.trigger(Effect::Deliver(Deliver { from, message }));
            } else if !self.processes.contains(q) {
                ctx.count("no member");
            } else if !self.peers[q.index()].crashed {
                self.peers[q.index()].waiting.push_back(message.clone());
                self.upon_room(q, ctx);
            }
        }
    }

    /// Sends waiting messages while the window has room.
    fn upon_room(&mut self, q: ProcessId, ctx: &mut Ctx<Self>) {
        let peer = &mut self.peers[q.index()];
        while peer.has_room()
            && let Some(message) = peer.waiting.pop_front()
        {
            peer.last += 1;
            ctx.trigger(Effect::Send(q, peer.last, message));
        }
    }

    fn upon_arrive(&mut self, arrived: stubborn::Deliver, ctx: &mut Ctx<Self>) {
        let from = arrived.from;
        if from == self.me || !self.processes.contains(from) {
            return ctx.count("no member");
        }
        match Message::decode(arrived.bytes) {
            Ok(Message::Data(sequence, message)) => self.upon_data(from, sequence, message, ctx),
            Ok(Message::Acknowledge(sequence)) => self.upon_acknowledge(from, sequence, ctx),
            Err(Undecodable) => ctx.count("undecodable"),
        }
    }

    /// PL2: delivers a new message. Duplicates are acknowledged, too, because an acknowledgement may have
    /// been lost.
    fn upon_data(&mut self, from: ProcessId, sequence: u64, message: Bytes, ctx: &mut Ctx<Self>) {
        let delivered = &mut self.peers[from.index()].delivered;
        if sequence == 0 || sequence > delivered.low() + WINDOW {
            return ctx.count("beyond the window");
        }
        ctx.trigger(Effect::Acknowledge(from, sequence));
        if delivered.insert(sequence) {
            ctx.trigger(Effect::Deliver(Deliver { from, message }));
        } else {
            ctx.count("duplicate");
        }
    }

    /// The message has been delivered, and need not be sent again.
    fn upon_acknowledge(&mut self, from: ProcessId, sequence: u64, ctx: &mut Ctx<Self>) {
        let peer = &mut self.peers[from.index()];
        if sequence > peer.last {
            return ctx.count("acknowledges what was never sent");
        }
        if peer.crashed || !peer.acknowledged.insert(sequence) {
            return ctx.count("acknowledged before");
        }
        ctx.trigger(Effect::Cancel(from, sequence));
        self.upon_room(from, ctx);
    }

    /// A crashed process needs no messages: P never errs.
    fn upon_crash(&mut self, q: ProcessId, ctx: &mut Ctx<Self>) {
        if q == self.me || !self.processes.contains(q) {
            return ctx.count("no member");
        }
        let peer = &mut self.peers[q.index()];
        if std::mem::replace(&mut peer.crashed, true) {
            return;
        }
        for sequence in peer.in_flight() {
            ctx.trigger(Effect::Cancel(q, sequence));
        }
        peer.waiting = VecDeque::new();
    }
}

/// The link over a stubborn link. With `detector`, which must be P, messages to crashed processes are
/// forgotten.
pub fn spawn(
    host: &impl Host,
    stubborn: impl Layer<stubborn::Port>,
    detector: Option<&Subscribe<Crash>>,
    up: Addr<Deliver<Bytes>>,
) -> Addr<SendRequest<Bytes>> {
    let host = host.at("eliminate-duplicates");
    let link = EliminateDuplicates::new(host.me(), *host.processes());
    spawn_as(&host, link, stubborn, detector, up)
}

fn spawn_as<A: Algorithm<Event = Event, Effect = Effect>>(
    host: &impl Host,
    algorithm: A,
    stubborn: impl Layer<stubborn::Port>,
    detector: Option<&Subscribe<Crash>>,
    up: Addr<Deliver<Bytes>>,
) -> Addr<SendRequest<Bytes>> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Send);
    let stubborn = stubborn.attach(mailbox.addr().with(Event::Arrive));
    if let Some(detector) = detector {
        detector.send(mailbox.addr().with(Event::Crash));
    }
    host.start(mailbox, algorithm, move |effect| {
        route(effect, &stubborn, &up);
    });
    requests
}

/// Sends an effect to its layer.
fn route(effect: Effect, stubborn: &Addr<Request>, up: &Addr<Deliver<Bytes>>) {
    let send = |to, id, message: Message| {
        let bytes = wire::encode(&message);
        stubborn.send(Request::Send { to, id, bytes });
    };
    match effect {
        Effect::Deliver(deliver) => up.send(deliver),
        Effect::Send(to, sequence, payload) => send(to, sequence, Message::Data(sequence, payload)),
        Effect::Acknowledge(to, sequence) => {
            send(to, ACKNOWLEDGEMENT, Message::Acknowledge(sequence));
            stubborn.send(Request::Cancel {
                to,
                id: ACKNOWLEDGEMENT,
            });
        }
        Effect::Cancel(to, id) => stubborn.send(Request::Cancel { to, id }),
    }
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Send(SendRequest { to, message }) => {
                let send = Observation::request("Send").digest(digest(message));
                match to {
                    To::One(p) => send.peer(*p),
                    To::Some(_) | To::All => send,
                }
            }
            Event::Arrive(stubborn::Deliver { from, bytes, .. }) => Observation::internal("Arrive")
                .peer(*from)
                .digest(digest(bytes)),
            Event::Crash(Crash(p)) => Observation::internal("Crash").peer(*p),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Deliver(Deliver { from, message }) => Observation::indication("Deliver")
                .peer(*from)
                .digest(digest(message)),
            Effect::Send(to, sequence, _) => {
                Observation::internal("Send").peer(*to).instance(*sequence)
            }
            Effect::Acknowledge(to, sequence) => Observation::internal("Acknowledge")
                .peer(*to)
                .instance(*sequence),
            Effect::Cancel(to, sequence) => Observation::internal("Cancel")
                .peer(*to)
                .instance(*sequence),
        }
    }
}

#[cfg(test)]
mod tests;
