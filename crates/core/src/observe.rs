//! What a trace records of an event or an effect.
use crate::{message::MessageId, process::ProcessId};
use std::fmt;

/// Which side of a module an event or effect is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// A request to the module, from the layer above.
    Request,
    /// An indication of the module, to the layer above.
    Indication,
    /// Anything else: towards or from the layers below, or a timer.
    Internal,
}

/// The part of an event that property checkers and diagrams read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Observation {
    /// Request, indication, or internal.
    pub role: Role,
    /// What happened: `"Broadcast"`, `"Deliver"`, `"Propose"`, …
    pub label: &'static str,
    /// The instance of a one-shot abstraction, or the operation on a shared object.
    pub instance: Option<u64>,
    /// The shared object concerned: a digest of its name.
    pub object: Option<u64>,
    /// The message concerned: the first, when it is about several of one origin.
    pub message: Option<MessageId>,
    /// How many messages, consecutive in their origin's sequence, this is about.
    pub count: u64,
    /// The other process concerned.
    pub peer: Option<ProcessId>,
    /// A digest of the content; of several contents, their [`fold`](crate::message::fold) from 0.
    pub digest: u64,
}

impl Observation {
    /// An observation with nothing but a role and a label.
    pub const fn new(role: Role, label: &'static str) -> Self {
        Observation {
            role,
            label,
            instance: None,
            object: None,
            message: None,
            count: 1,
            peer: None,
            digest: 0,
        }
    }

    /// A request from the layer above.
    pub const fn request(label: &'static str) -> Self {
        Self::new(Role::Request, label)
    }

    /// An indication to the layer above.
    pub const fn indication(label: &'static str) -> Self {
        Self::new(Role::Indication, label)
    }

    /// Anything towards or from below.
    pub const fn internal(label: &'static str) -> Self {
        Self::new(Role::Internal, label)
    }

    /// Turns the observation into one seen from another module: a neighbour's requests and indications are
    /// internal to that module.
    #[must_use]
    pub const fn as_internal(mut self) -> Self {
        self.role = Role::Internal;
        self
    }

    /// Adds the instance.
    #[must_use]
    pub const fn instance(mut self, instance: u64) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Adds the digest of the shared object's name.
    #[must_use]
    pub const fn object(mut self, name: u64) -> Self {
        self.object = Some(name);
        self
    }

    /// Adds the message's identifier.
    #[must_use]
    pub const fn message(mut self, id: MessageId) -> Self {
        self.message = Some(id);
        self
    }

    /// Sets the number of consecutive messages.
    #[must_use]
    pub const fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Adds the other process concerned.
    #[must_use]
    pub const fn peer(mut self, p: ProcessId) -> Self {
        self.peer = Some(p);
        self
    }

    /// Adds the digest of the content.
    #[must_use]
    pub const fn digest(mut self, digest: u64) -> Self {
        self.digest = digest;
        self
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label)?;
        if let Some(instance) = self.instance {
            write!(f, " #{instance}")?;
        }
        if let Some(id) = self.message {
            write!(f, " {id}")?;
            if self.count > 1 {
                write!(f, "+{}", self.count - 1)?;
            }
        }
        if let Some(p) = self.peer {
            write!(f, " {p}")?;
        }
        Ok(())
    }
}

/// Gives a trace what it records of an event. Only simulations and diagnostics call it.
pub trait Observe {
    /// The observation of this event.
    fn observe(&self) -> Observation;
}

impl Observe for () {
    fn observe(&self) -> Observation {
        Observation::internal("Unit")
    }
}

/// For algorithms without effects.
impl Observe for std::convert::Infallible {
    fn observe(&self) -> Observation {
        match *self {}
    }
}
