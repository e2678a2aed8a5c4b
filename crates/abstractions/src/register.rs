//! Registers: named variables that all processes share.
//!
//! Of **(1,N) regular** registers, which one process writes and all read:
//! - **ONRR1 termination** (liveness): every operation of a correct process returns.
//! - **ONRR2 validity** (safety): a read returns the last value whose write returned before the read was
//!   invoked, or none if there was no such write, or the value of a write that is concurrent with the
//!   read. A write that never returns stays concurrent for ever.
//!
//! Of **(1,N) atomic** registers: **ONAR1** and **ONAR2**, the same, and
//! - **ONAR3 ordering** (safety): no read returns an older value than a read that returned before it was
//!   invoked.
//!
//! Of **(1,1) atomic** registers, which one process writes and one reads: the same, which says less there. A (1,N)
//! regular register may be one for each of its readers by itself:
//! - **OOAR3 ordering for one reader** (safety): no read returns an older value than a read of the same process that
//!   returned before it was invoked.
//!
//! Of **(N,N) atomic** registers, which every process writes and reads:
//! - **NNAR1 termination** (liveness): every operation of a correct process returns.
//! - **NNAR2 atomicity** (safety): the operations are linearizable; those that never return take effect
//!   once or never.
//!
//! # The contract of the user
//! A register is sequential at each process: until an operation has returned, another on the same
//! register is [refused](Refusal::Busy), without effect. Operations on different registers do not wait for
//! each other. A process numbers its operations, each number once.
use bytes::Bytes;
use quorate_core::{MessageId, Observation, Observe, ProcessId, message::digest};
use serde::{Deserialize, Serialize};

/// Which write of a register a value comes from: writes are ordered by timestamp, then by writer.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Tag {
    /// Counted from 1. It is 0 for the value before any write.
    pub timestamp: u64,
    /// The process that wrote; `None` for the value before any write.
    pub writer: Option<ProcessId>,
}

impl Tag {
    /// The tag of the value before any write.
    pub const INITIAL: Tag = Tag {
        timestamp: 0,
        writer: None,
    };

    /// The write, as an observation carries it.
    pub fn id(self) -> Option<MessageId> {
        let origin = quorate_core::message::Origin {
            process: self.writer?,
            incarnation: quorate_core::Incarnation::default(),
        };
        Some(MessageId {
            origin,
            sequence: self.timestamp,
        })
    }
}

/// An operation on a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read the value.
    Read,
    /// Write this value.
    Write(Bytes),
}

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// Requests an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The name of the register.
    pub register: Bytes,
    /// The user's number for the operation.
    pub operation: u64,
    pub action: Action,
}

/// Indicates what became of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indication {
    /// The name of the register.
    pub register: Bytes,
    pub operation: u64,
    /// How it ended.
    pub outcome: RegisterResponse,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterResponse {
    /// A read returns.
    Read {
        /// Which write the value comes from.
        tag: Tag,
        /// The value; `None` while there was no write.
        value: Option<Bytes>,
    },
    /// A write returns.
    Written {
        /// The write's tag.
        tag: Tag,
    },
    /// The operation was not started, and has no effect.
    Refused(Refusal),
}

/// Why an operation is not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// An operation of this process on the same register is in flight.
    #[error("an operation of this process on the register is in flight")]
    Busy,
    /// Another process is the writer.
    #[error("this process is not the writer of the register")]
    NotWriter,
    /// There are no larger timestamps.
    #[error("the timestamps of the register are used up")]
    Exhausted,
}

/// A digest of an optional value; 0 if there is none.
fn content(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| digest(value))
}

fn tagged(observation: Observation, tag: Tag) -> Observation {
    tag.id().map_or(observation, |id| observation.message(id))
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        let (label, value) = match &self.action {
            Action::Read => ("Read", None),
            Action::Write(value) => ("Write", Some(value)),
        };
        Observation::request(label)
            .instance(self.operation)
            .object(digest(&self.register))
            .digest(content(value))
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        let observation = match &self.outcome {
            RegisterResponse::Read { tag, value } => {
                let observation = Observation::indication("ReadReturn");
                tagged(observation, *tag).digest(content(value.as_ref()))
            }
            RegisterResponse::Written { tag } => {
                tagged(Observation::indication("WriteReturn"), *tag)
            }
            RegisterResponse::Refused(_) => Observation::indication("Refused"),
        };
        observation
            .instance(self.operation)
            .object(digest(&self.register))
    }
}
