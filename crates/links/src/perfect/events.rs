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
    /// Requests that a message be sent on the lane that was opened as the given one, from 0.
    Send(usize, SendRequest<Bytes>),
    /// The same, on a fair-loss lane.
    SendDatagram(usize, SendRequest<Bytes>),
    Edge(fair_loss::Indication),
    /// Requests a heartbeat to everybody.
    Beat(Beat),
    /// Requests one that says what the last one said.
    Repeat,
    /// Who wants to know of signs of life.
    Listen(Addr<Heard>),
    /// Who wants to know how the peers stand.
    Watch(Addr<Status>),
    /// Who wants to know which others have met this process.
    Meet(Addr<ProcessSet>),
    /// Who wants to know what this process has sent that is too long.
    WatchLengths(Addr<TooLong>),
    /// Who wants to know whether a module may send, and for whom it waits.
    Pressure(Name, Wait, Addr<Room>),
    /// How far a module's user is behind.
    Backlog(Name, Backlog),
    /// Who wants to know of all modules that may not send.
    Observe(Observer),
    /// Requests that an incarnation take another's place in its seat.
    Adopt(Adopt),
    /// Who wants to know when nothing is owed to the peers that are alive.
    Drain(Addr<()>),
    /// Who wants to know, once, how the exchange with each peer goes.
    Gauge(Addr<Vec<Gauge>>),
    /// Something is due for this peer.
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
    /// A sign of life, for one who listens.
    Heard(Addr<Heard>, Heard),
    /// Whether a peer is connected, for those who watch.
    Status(Vec<Addr<Status>>, Status),
    /// Which others have met this process, for those who want to know.
    Met(Vec<Addr<ProcessSet>>, ProcessSet),
    /// A message was too long, for those who want to know.
    TooLong(Vec<Addr<TooLong>>, TooLong),
    /// Whether a module may send, for those who asked.
    Room(Vec<Addr<Room>>, Room),
    /// The same, for those who want to know of all modules.
    RoomOf(Vec<Observer>, Name, Room),
    /// Nothing is owed to the peers that are alive.
    Drained(Addr<()>),
    /// How the exchange with each peer goes, for who asked.
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
