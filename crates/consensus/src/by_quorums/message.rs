//! The messages of consensus by quorums.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    message::digest,
    messages,
    wire::{Undecodable, Wire, put_batch, put_head, take_batch, take_head},
};

/// The last value that a process accepted in an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptance {
    pub instance: u64,
    pub view: u64,
    pub value: Bytes,
}

impl Wire for Acceptance {
    fn encode(&self, out: &mut BytesMut) {
        put_head(&(self.instance, self.view), out);
        out.extend_from_slice(&self.value);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let (instance, view) = take_head(&mut bytes)?;
        Ok(Acceptance {
            instance,
            view,
            value: bytes,
        })
    }
}

/// The last values that a process accepted in several instances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptances(pub Vec<Acceptance>);

/// The instance and view of each, then the values.
impl Wire for Acceptances {
    fn encode(&self, out: &mut BytesMut) {
        let places: Vec<(u64, u64)> = self.0.iter().map(|a| (a.instance, a.view)).collect();
        put_head(&places, out);
        put_batch(self.0.iter().map(|a| &a.value), out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let places: Vec<(u64, u64)> = take_head(&mut bytes)?;
        let values = take_batch(bytes)?;
        if values.len() != places.len() {
            return Err(Undecodable);
        }
        let acceptances = places.into_iter().zip(values);
        let acceptances = acceptances.map(|((instance, view), value)| Acceptance {
            instance,
            view,
            value,
        });
        Ok(Acceptances(acceptances.collect()))
    }
}

messages! {
    /// A message.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// To the leader of a view, which the sender has entered (1B).
        State {
            view: u64,
            /// The sender has decided the instances up to this one.
            decided: u64,
            /// Ranges of further decided instances: first and last, ascending.
            decided_above: Vec<(u64, u64)>;
            /// What the sender accepted in other instances; in the rest, it accepted nothing.
            accepted: Acceptances
        } => instance(*view),
        /// To all, from the leader of the view: accept this (2A).
        Proposal {;
            proposal: Acceptance
        } => instance(proposal.instance).digest(digest(&proposal.value)),
        /// To all: the sender has accepted this (2B).
        Accepted {;
            acceptance: Acceptance
        } => instance(acceptance.instance).digest(digest(&acceptance.value)),
        /// To all: this is decided.
        Decided {
            instance: u64;
            /// The decision.
            value: Bytes
        } => instance(*instance).digest(digest(value)),
    }
}
