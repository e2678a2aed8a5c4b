//! Perfect point-to-point links between the processes of a cluster, in lanes.
//!
//! - **PL1 reliable delivery** (liveness): what a correct process sends to a correct process is
//!   delivered.
//! - **PL2 no duplication** (safety): no message is delivered more than once.
//! - **PL3 no creation** (safety): what is delivered from p was sent by p.
//!
//! Between two incarnations of two processes a lane is a sequence of *streams* in each direction, and the
//! properties hold within a stream. A stream ends when its receiver owes too much for too long; both ends
//! learn of it by the link's [`Status`], and what was lost with it is lost. A link is not first-in
//! first-out, as far as layers above may know.
//!
//! All algorithms of a process share one link. A *lane* is one module instance's channel over it,
//! named by a path; every process opens the same lanes, before the link starts.
use crate::Subscribe;
use quorate_core::{
    Addr, Incarnation, Layer, Observation, Observe, ProcessId, ProcessSet, wire::Wire,
};

/// To whom a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// One process, possibly oneself.
    One(ProcessId),
    /// These processes, in rank order.
    Some(ProcessSet),
    /// Every process of Π, oneself included, in rank order.
    All,
}

/// What is requested, and what is indicated.
pub type Port<M> = (SendRequest<M>, Deliver<M>);

/// Requests that `message` be delivered to every process named by `to`. To oneself one sends like to
/// anybody.
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
    /// The same links, one step further down the path that names lanes.
    #[must_use]
    fn at(&self, segment: &str) -> Self;

    /// Opens the lane named by the path. Opening one twice is an error that the link reports when it
    /// starts. A message that is longer than the link carries, once encoded, goes to nobody; the link tells those
    /// who run it.
    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>>;

    /// How the peers stand, and this process: the present state first, then every change.
    fn status(&self) -> Subscribe<Status>;

    /// The lane named by the path, as a layer to build on.
    fn lane(&self) -> Lane<Self> {
        Lane(self.clone())
    }
}

/// A lane that is still to be opened.
#[derive(Clone)]
pub struct Lane<L>(L);

impl<L: Links, M: Wire> Layer<Port<M>> for Lane<L> {
    fn attach(self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        self.0.open(up)
    }
}

/// What a link tells of the state of its peers, and of its own admission.
///
/// `Ended`, `Begun` and `Gap` happen, and are no state: who watches late is not told of them. They concern
/// oneself, too, if a process sends more to itself than is kept before it is admitted: `Ended` then, `Gap`
/// and `Begun` at its admission, behind what was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// Data flows between this process and `peer`.
    Connected {
        /// The other process.
        peer: ProcessId,
        /// Which start of it.
        incarnation: Incarnation,
    },
    /// The peer, or what answers at its address, cannot be talked to.
    Refused {
        /// The other process.
        peer: ProcessId,
        /// Why, in words that name the difference.
        reason: String,
    },
    /// The stream to the peer has ended, since the peer owed too much for too long: of what was sent to it
    /// and not received, nothing arrives any more, nor does what is sent before the next one has
    /// [begun](Status::Begun). Both processes remain what they are. Where another incarnation takes the
    /// peer's seat meanwhile, `Begun` does not come: everything to that one is new.
    Ended {
        /// The other process.
        peer: ProcessId,
    },
    /// A stream to the peer has begun anew, after one that [ended](Status::Ended): what is sent from now on
    /// arrives. What is still open towards it has to be said again.
    Begun {
        /// The other process.
        peer: ProcessId,
    },
    /// The peer's stream to this process has ended and another begins: something that it sent before is
    /// missing here for ever. Said before anything of the new stream is delivered; the stream may not have
    /// [begun](Status::Begun) at the peer yet, so that an answer to what is asked now may be lost, too.
    Gap {
        /// The other process.
        peer: ProcessId,
    },
    /// Another incarnation of the peer is alive: the one known so far has crashed.
    Replaced {
        /// The other process.
        peer: ProcessId,
        /// The incarnation that votes in this seat.
        known: Incarnation,
        /// The one that is there now.
        newcomer: Incarnation,
    },
    /// Enough others know this process: what it sends counts.
    Admitted,
    /// The others know this seat under an earlier incarnation. This one may take part once they
    /// [adopt](Adopt) it: then it is admitted. Said once, and only where the link waits for that.
    Newcomer {
        /// Who said so.
        by: ProcessId,
        /// The incarnation that they know: this one, if they had adopted it before it heard of them.
        known: Incarnation,
    },
    /// This process may not take part: others know this seat under another incarnation, or have
    /// lost this one.
    Excluded {
        /// Who said so.
        by: ProcessId,
        /// Why, in words.
        reason: String,
    },
}

impl Status {
    /// The peer with which a stream has begun anew, in whichever direction: what it asked, or was asked,
    /// or answered, may be lost.
    pub fn interrupted(&self) -> Option<ProcessId> {
        match self {
            Status::Begun { peer } | Status::Gap { peer } => Some(*peer),
            _ => None,
        }
    }
}

/// Has `up` told of the streams that end and begin anew, and of nothing else that a link tells.
pub fn watch_streams(status: &Subscribe<Status>, up: Addr<Status>) {
    status.send(Addr::new(move |news| {
        if let Status::Ended { .. } | Status::Begun { .. } | Status::Gap { .. } = news {
            up.send(news);
        }
    }));
}

/// Requests that an incarnation take the place of another in its seat, as a group that agrees on it has
/// decided: from now on this link talks to it, and tells the others that it does.
///
/// A seat's incarnations are counted: the first to become known is number 0, and each that is adopted is
/// one more. Of two numbers the higher counts, whoever says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adopt {
    pub seat: ProcessId,
    /// The incarnation that is in it from now on.
    pub incarnation: Incarnation,
    /// How many incarnations were in it before.
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
