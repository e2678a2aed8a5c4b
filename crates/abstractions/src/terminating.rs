//! Terminating reliable broadcast: every process that waits for a source's next message gets it, or learns
//! that the source is faulty.
//!
//! - **TRB1 validity** (liveness): a correct source that broadcasts m delivers m as its message of that
//!   number; every other correct process does, by TRB4.
//! - **TRB2 uniform agreement** (safety): no two processes deliver differently in an instance.
//! - **TRB3 integrity** (safety): a process delivers at most once in an instance. It delivers either the
//!   source's broadcast in that instance, or the report that the source is faulty, which is then true.
//! - **TRB4 termination** (liveness): if the source broadcasts its message of that number or crashes,
//!   every correct process delivers in that instance.
//!
//! An instance is a source and a number: a source's broadcasts are numbered 1, 2, … in the order in which
//! they were requested. Every process expects the messages of every source one after the other. The report
//! that a source is faulty is the last delivery of that source.
use bytes::Bytes;
use quorate_core::{
    Observation, Observe, ProcessId,
    message::{digest, fold},
};

/// What is requested, and what is indicated.
pub type Port = (Broadcast, Deliver);

/// Requests a broadcast: the next message of this process as a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// The payload, opaque.
    pub payload: Bytes,
}

/// The outcome of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The source's message.
    Message(Bytes),
    /// The source is faulty. No payload can be mistaken for this outcome.
    SenderFaulty,
}

/// Indicates the outcome of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    pub source: ProcessId,
    /// The sequence number of the message, counted from 1.
    pub number: u64,
    pub outcome: Content,
}

impl Observe for Broadcast {
    fn observe(&self) -> Observation {
        Observation::request("Broadcast").digest(digest(&self.payload))
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        let (label, content) = match &self.outcome {
            Content::Message(payload) => ("Deliver", digest(payload)),
            Content::SenderFaulty => ("SenderFaulty", fold(0, 0)),
        };
        Observation::indication(label)
            .peer(self.source)
            .instance(self.number)
            .digest(content)
    }
}
