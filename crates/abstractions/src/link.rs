//! Perfect point-to-point links between the processes of a cluster, in lanes.
//!
//! - **PL1 reliable delivery** (liveness): what a correct process sends to a correct process is
//!   delivered.
//! - **PL2 no duplication** (safety): no message is delivered more than once.
//! - **PL3 no creation** (safety): what is delivered from p was sent by p.
//!
//! Between two incarnations of two processes a lane is a sequence of *streams* in each direction, and the
//! properties hold within a stream. A stream ends when its receiver owes too much for too long. Both ends
//! learn of it by the link's [`Status`], and messages lost with it stay lost. Layers above must not assume
//! that a link is first-in first-out.
//!
//! All algorithms of a process share one link. A *lane* is one module instance's channel over it,
//! named by a path; every process opens the same lanes, before the link starts.
use crate::Subscribe;
use quorate_core::{
    Addr, Incarnation, Layer, Observation, Observe, ProcessId, ProcessSet, wire::Wire,
};

/// The receivers of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// One process, possibly this one.
    One(ProcessId),
    /// These processes, in rank order.
    Some(ProcessSet),
    /// Every process of Π, this one included, in rank order.
    All,
}

/// What is requested, and what is indicated.
pub type Port<M> = (SendRequest<M>, Deliver<M>);

/// Requests that `message` be delivered to every process named by `to`. A process may send to itself like to
/// any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendRequest<M> {
    /// The receivers.
    pub to: To,
    /// The message: encoded once, however many receivers there are.
    pub message: M,
}

/// Indicates that `message`, sent by `from`, has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver<M> {
    /// The sender.
    pub from: ProcessId,
    pub message: M,
}

impl<M: Observe> Observe for SendRequest<M> {
    fn observe(&self) -> Observation {
        let mut observation = self.message.observe();
        if let To::One(p) = self.to {
            observation.peer = Some(p);
        }
        observation
    }
}

impl<M: Observe> Observe for Deliver<M> {
    fn observe(&self) -> Observation {
        self.message.observe().peer(self.from)
    }
}

/// Something that supplies perfect links: the real one, or a simulated ideal.
pub trait Links: Clone + Send + 'static {
    /// The same links, with one more segment in the path that names lanes.
    #[must_use]
    fn at(&self, segment: &str) -> Self;

    /// Opens the lane named by the path. Opening a lane twice is an error that the link reports when it
    /// starts. A message whose encoding is longer than the link carries goes to no receiver; the link reports
    /// it to its owner.
    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>>;

    /// The state of the peers and of this process: the present state first, then every change.
    fn status(&self) -> Subscribe<Status>;

    /// The lane named by the path, as a layer to build on.
    fn lane(&self) -> Lane<Self> {
        Lane(self.clone())
    }
}

/// A lane that is not open yet.
#[derive(Clone)]
pub struct Lane<L>(L);

impl<L: Links, M: Wire> Layer<Port<M>> for Lane<L> {
    fn attach(self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        self.0.open(up)
    }
}

/// What a link reports of the state of its peers, and of its own admission.
///
/// `Ended`, `Begun` and `Gap` are events, not states: a late subscriber is not told of them. They may also
/// concern this process itself, if it sends more to itself than the link keeps before it is admitted: then it
/// gets `Ended` at once, and `Gap` and `Begun` at its admission, after the messages that were kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// Data flows between this process and `peer`.
    Connected {
        /// The other process.
        peer: ProcessId,
        /// The peer's incarnation.
        incarnation: Incarnation,
    },
    /// The peer, or the process that answers at its address, is incompatible.
    Refused {
        /// The other process.
        peer: ProcessId,
        /// The reason, in words that name the difference.
        reason: String,
    },
    /// The stream to the peer has ended, since the peer owed too much for too long. Messages that were sent
    /// to it and not received will not arrive, nor will those sent before the next stream has
    /// [begun](Status::Begun). Both processes stay the same incarnations. If another incarnation takes the
    /// peer's seat meanwhile, `Begun` does not come, because everything sent to that incarnation is new.
    Ended {
        /// The other process.
        peer: ProcessId,
    },
    /// A new stream to the peer has begun, after one that [ended](Status::Ended): messages sent from now on
    /// arrive. Requests to the peer that are still open must be sent again.
    Begun {
        /// The other process.
        peer: ProcessId,
    },
    /// The peer's stream to this process has ended and another begins: some messages that the peer sent
    /// before are lost for ever. This is indicated before any message of the new stream is delivered. The
    /// stream may not have [begun](Status::Begun) at the peer yet, so that an answer to a request sent now
    /// may be lost, too.
    Gap {
        /// The other process.
        peer: ProcessId,
    },
    /// Another incarnation of the peer is alive: the previously known incarnation has crashed.
    Replaced {
        /// The other process.
        peer: ProcessId,
        /// The incarnation that votes in this seat.
        known: Incarnation,
        /// The incarnation that is running now.
        newcomer: Incarnation,
    },
    /// Enough other processes know this process: its messages count from now on.
    Admitted,
    /// The others know an earlier incarnation in this seat. This incarnation is admitted, and may take part,
    /// once they [adopt](Adopt) it. Indicated once, and only if the link waits for adoption.
    Newcomer {
        /// The process that said so.
        by: ProcessId,
        /// The incarnation that they know. It is this one if they adopted it before it heard from them.
        known: Incarnation,
    },
    /// This process may not take part: others know this seat under another incarnation, or have
    /// lost this one.
    Excluded {
        /// The process that said so.
        by: ProcessId,
        /// The reason, in words.
        reason: String,
    },
}

impl Status {
    /// The peer whose stream in either direction has begun anew: requests and answers between the two may be
    /// lost.
    pub fn interrupted(&self) -> Option<ProcessId> {
        match self {
            Status::Begun { peer } | Status::Gap { peer } => Some(*peer),
            _ => None,
        }
    }
}

/// Tells `up` of the streams that end and begin anew, and of no other status.
pub fn watch_streams(status: &Subscribe<Status>, up: Addr<Status>) {
    status.send(Addr::new(move |news| {
        if let Status::Ended { .. } | Status::Begun { .. } | Status::Gap { .. } = news {
            up.send(news);
        }
    }));
}

/// Requests that an incarnation take the place of another in its seat, as the group that agrees on it has
/// decided. From now on this link talks to that incarnation, and tells the others so.
///
/// The incarnations of a seat are counted: the first to become known is number 0, and each adopted one is one
/// more. Of two numbers the higher counts, no matter which process reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adopt {
    pub seat: ProcessId,
    /// The incarnation that holds the seat from now on.
    pub incarnation: Incarnation,
    /// How many incarnations held the seat before.
    pub number: u64,
}

impl Observe for Adopt {
    fn observe(&self) -> Observation {
        Observation::request("Adopt")
            .peer(self.seat)
            .instance(self.number)
    }
}

impl Observe for Status {
    fn observe(&self) -> Observation {
        match self {
            Status::Connected { peer, .. } => Observation::indication("Connected").peer(*peer),
            Status::Refused { peer, .. } => Observation::indication("Refused").peer(*peer),
            Status::Ended { peer } => Observation::indication("Ended").peer(*peer),
            Status::Begun { peer } => Observation::indication("Begun").peer(*peer),
            Status::Gap { peer } => Observation::indication("Gap").peer(*peer),
            Status::Replaced { peer, .. } => Observation::indication("Replaced").peer(*peer),
            Status::Admitted => Observation::indication("Admitted"),
            Status::Newcomer { by, .. } => Observation::indication("Newcomer").peer(*by),
            Status::Excluded { by, .. } => Observation::indication("Excluded").peer(*by),
        }
    }
}
