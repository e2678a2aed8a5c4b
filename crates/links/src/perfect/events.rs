//! What the perfect link reacts to, and what it triggers.
use super::{TooLong, gauge::Gauge, pressure::Observer};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{self, Transmit},
    heartbeat::{Beat, Heard},
    lanes::LaneId,
    link::{Adopt, SendRequest, Status, To},
    pressure::{Backlog, Room, Wait},
};
use quorate_core::{
    Addr, Context, Name, Observation, Observe, ProcessId, ProcessSet, message::digest,
};

/// What a handler of the link can reach.
pub type Ctx = Context<Event, Effect>;

/// All that a perfect link reacts to.
pub enum Event {
    /// Requests that a message be sent on a lane, which is given by its position in the order of opening,
    /// from 0.
    Send(usize, SendRequest<Bytes>),
    /// The same, on a fair-loss lane.
    SendDatagram(usize, SendRequest<Bytes>),
    Edge(fair_loss::Indication),
    /// Requests a heartbeat to everybody.
    Beat(Beat),
    /// Requests a heartbeat that repeats the last one.
    Repeat,
    /// Subscribes to signs of life.
    Listen(Addr<Heard>),
    /// Subscribes to the state of the peers.
    Watch(Addr<Status>),
    /// Subscribes to the set of peers that have met this process.
    Meet(Addr<ProcessSet>),
    /// Subscribes to messages of this process that are too long.
    WatchLengths(Addr<TooLong>),
    /// Subscribes to whether a module may send, and says which peers it waits for.
    Pressure(Name, Wait, Addr<Room>),
    /// A report of a module's backlog, the messages that its user has not read.
    Backlog(Name, Backlog),
    /// Subscribes to all modules that may not send.
    Observe(Observer),
    /// Requests that an incarnation take another's place in its seat.
    Adopt(Adopt),
    /// Asks to be told when the live peers owe nothing.
    Drain(Addr<()>),
    /// Asks, once, for the gauges of all peers.
    Gauge(Addr<Vec<Gauge>>),
    /// A timer for this peer has fired.
    Timer(ProcessId),
}

/// All that a perfect link triggers.
pub enum Effect {
    /// A message has arrived on a lane.
    Deliver(LaneId, ProcessId, Bytes),
    /// The same, on a fair-loss lane.
    DeliverDatagram(LaneId, ProcessId, Bytes),
    /// To the edge.
    Transmit(Transmit),
    /// A sign of life, for one subscriber.
    Heard(Addr<Heard>, Heard),
    /// The state of a peer, for the subscribers.
    Status(Vec<Addr<Status>>, Status),
    /// The peers that have met this process, for the subscribers.
    Met(Vec<Addr<ProcessSet>>, ProcessSet),
    /// A message that was too long, for the subscribers.
    TooLong(Vec<Addr<TooLong>>, TooLong),
    /// Whether a module may send, for its subscribers.
    Room(Vec<Addr<Room>>, Room),
    /// The same, for the subscribers to all modules.
    RoomOf(Vec<Observer>, Name, Room),
    /// The live peers owe nothing.
    Drained(Addr<()>),
    /// The gauges of all peers, for the process that asked.
    Gauges(Addr<Vec<Gauge>>, Vec<Gauge>),
}

fn sent(name: &'static str, SendRequest { to, message }: &SendRequest<Bytes>) -> Observation {
    let send = Observation::request(name).digest(digest(message));
    match to {
        To::One(p) => send.peer(*p),
        To::Some(_) | To::All => send,
    }
}

fn delivered(name: &'static str, from: ProcessId, message: &Bytes) -> Observation {
    let delivery = Observation::indication(name).peer(from);
    delivery.digest(digest(message))
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Send(_, send) => sent("Send", send),
            Event::SendDatagram(_, send) => sent("SendDatagram", send),
            Event::Edge(indication) => indication.observe(),
            Event::Beat(beat) => beat.observe(),
            Event::Repeat => Observation::internal("Repeat"),
            Event::Listen(_) => Observation::internal("Listen"),
            Event::Watch(_) => Observation::internal("Watch"),
            Event::Meet(_) => Observation::internal("Meet"),
            Event::WatchLengths(_) => Observation::internal("WatchLengths"),
            Event::Pressure(..) => Observation::internal("Pressure"),
            Event::Backlog(_, backlog) => backlog.observe(),
            Event::Observe(_) => Observation::internal("Observe"),
            Event::Adopt(request) => request.observe(),
            Event::Drain(_) => Observation::internal("Drain"),
            Event::Gauge(_) => Observation::internal("Gauge"),
            Event::Timer(p) => Observation::internal("Timer").peer(*p),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Deliver(_, from, bytes) => delivered("Deliver", *from, bytes),
            Effect::DeliverDatagram(_, from, bytes) => delivered("DeliverDatagram", *from, bytes),
            Effect::Transmit(transmit) => transmit.observe(),
            Effect::Heard(_, heard) => heard.observe(),
            Effect::Status(_, status) => status.observe(),
            Effect::Met(_, met) => Observation::internal("Met").count(met.len() as u64),
            Effect::TooLong(..) => Observation::internal("TooLong"),
            Effect::Room(_, room) | Effect::RoomOf(_, _, room) => room.observe(),
            Effect::Drained(_) => Observation::internal("Drained"),
            Effect::Gauges(..) => Observation::internal("Gauges"),
        }
    }
}
