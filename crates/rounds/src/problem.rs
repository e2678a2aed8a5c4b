//! What an algorithm of rounds solves once an instance, where rounds are made of messages and clocks: how an
//! instance begins, and how its messages are written.
use crate::{
    algorithm::RoundAlgorithm, early_stopping::EarlyStopping, flood_set::FloodSet,
    properties::Delivery,
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{
    Membership, Observation, ProcessId,
    message::{digest, fold},
    wire::{self, Undecodable},
};
use std::collections::BTreeSet;

/// What its processes send to each other.
pub type Message<P> = <<P as Problem>::Rounds as RoundAlgorithm>::Message;
/// What its users are told.
pub type Output<P> = <<P as Problem>::Rounds as RoundAlgorithm>::Output;

/// A problem that an algorithm of rounds solves, in many instances.
pub trait Problem: Sized + Send + 'static {
    /// What a user gives when an instance begins.
    type Request: Send + 'static;
    /// The algorithm, at one process in one instance.
    type Rounds: RoundAlgorithm<Message: Send, Output: Send> + Send + 'static;

    /// After how many rounds an instance is over at the latest.
    fn rounds(&self) -> u64;

    /// Begins an instance upon a request.
    fn begin(&self, request: Self::Request) -> Self::Rounds;

    /// Begins an instance without a request, since another process has begun it, which said this. `None` if
    /// nothing can be begun with it.
    fn join(&self, heard: &[Message<Self>]) -> Option<Self::Rounds>;

    /// Appends the encoding of a message.
    fn write(message: &Message<Self>, out: &mut BytesMut);

    /// Decodes a message.
    ///
    /// # Errors
    /// When the bytes are no message that a process may send.
    fn read(&self, bytes: Bytes) -> Result<Message<Self>, Undecodable>;

    /// What a trace records of a request.
    fn observe_request(request: &Self::Request) -> Observation;

    /// What a trace records of an output.
    fn observe_output(output: &Output<Self>) -> Observation;
}

/// Uniform consensus by [`FloodSet`], on values that are bytes: the least is decided.
///
/// A process that another one calls proposes the least value that the other has said. So every process
/// proposes what some process has proposed, and no instance ends without a decision.
#[derive(Clone, Copy, Debug)]
pub struct Consensus {
    f: usize,
    n: usize,
}

impl Consensus {
    /// Among these processes, of which at most `f` crash.
    pub fn new(f: usize, processes: &Membership) -> Self {
        let n = processes.n();
        Consensus { f, n }
    }
}

impl Problem for Consensus {
    type Request = Bytes;
    type Rounds = FloodSet<Bytes>;

    fn rounds(&self) -> u64 {
        self.f as u64 + 1
    }

    fn begin(&self, proposal: Bytes) -> FloodSet<Bytes> {
        FloodSet::new(self.f, proposal)
    }

    fn join(&self, heard: &[BTreeSet<Bytes>]) -> Option<FloodSet<Bytes>> {
        let least = heard.iter().flatten().min()?;
        Some(FloodSet::new(self.f, least.clone()))
    }

    fn write(values: &BTreeSet<Bytes>, out: &mut BytesMut) {
        wire::put_batch(values, out);
    }

    /// There are no more values than processes.
    fn read(&self, bytes: Bytes) -> Result<BTreeSet<Bytes>, Undecodable> {
        let values: BTreeSet<_> = wire::take_batch(bytes)?.into_iter().collect();
        let fit = (1..=self.n).contains(&values.len());
        fit.then_some(values).ok_or(Undecodable)
    }

    fn observe_request(proposal: &Bytes) -> Observation {
        Observation::request("Propose").digest(digest(proposal))
    }

    fn observe_output(decision: &Bytes) -> Observation {
        Observation::indication("Decide").digest(digest(decision))
    }
}

/// The terminating broadcasts of one source by [`EarlyStopping`], of messages that are bytes.
///
/// A request is the message at the source, and nothing at another process: that one expects it. A source that
/// others call before it broadcasts has no message in that instance, so that all deliver that it is faulty.
#[derive(Clone, Copy, Debug)]
pub struct Broadcasts {
    f: usize,
    processes: Membership,
    me: ProcessId,
    source: ProcessId,
}

impl Broadcasts {
    /// Those of `source`, at `me`, where at most `f` processes fail.
    pub fn new(f: usize, processes: &Membership, me: ProcessId, source: ProcessId) -> Self {
        Broadcasts {
            f,
            processes: *processes,
            me,
            source,
        }
    }
}

/// The first byte of a message that says `?`. Nothing follows.
const UNKNOWN: u8 = 0;
/// The first byte of the verdict that the source is faulty. Nothing follows.
const FAULTY: u8 = 1;
/// The first byte of the source's message, which follows.
const SAID: u8 = 2;

impl Problem for Broadcasts {
    type Request = Option<Bytes>;
    type Rounds = EarlyStopping<Bytes>;

    fn rounds(&self) -> u64 {
        self.f as u64 + 1
    }

    fn begin(&self, message: Option<Bytes>) -> EarlyStopping<Bytes> {
        EarlyStopping::new(self.f, &self.processes, self.me, self.source, message)
    }

    fn join(&self, _: &[Option<Delivery<Bytes>>]) -> Option<EarlyStopping<Bytes>> {
        Some(self.begin(None))
    }

    fn write(said: &Option<Delivery<Bytes>>, out: &mut BytesMut) {
        match said {
            None => out.put_u8(UNKNOWN),
            Some(Delivery::SenderFaulty) => out.put_u8(FAULTY),
            Some(Delivery::Message(message)) => {
                out.put_u8(SAID);
                out.extend_from_slice(message);
            }
        }
    }

    fn read(&self, bytes: Bytes) -> Result<Option<Delivery<Bytes>>, Undecodable> {
        match bytes[..] {
            [UNKNOWN] => Ok(None),
            [FAULTY] => Ok(Some(Delivery::SenderFaulty)),
            [SAID, ..] => Ok(Some(Delivery::Message(bytes.slice(1..)))),
            _ => Err(Undecodable),
        }
    }

    fn observe_request(message: &Option<Bytes>) -> Observation {
        match message {
            Some(message) => Observation::request("Broadcast").digest(digest(message)),
            None => Observation::request("Expect"),
        }
    }

    fn observe_output(delivery: &Delivery<Bytes>) -> Observation {
        match delivery {
            Delivery::Message(message) => {
                Observation::indication("Deliver").digest(digest(message))
            }
            Delivery::SenderFaulty => Observation::indication("SenderFaulty").digest(fold(0, 0)),
        }
    }
}
