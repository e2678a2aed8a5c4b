//! What processes tell each other.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{
    Observation, Observe,
    message::digest,
    wire::{Undecodable, Wire, put_batch, put_head, take_batch, take_head},
};
use serde::{Deserialize, Serialize};

/// What a process accepted last in an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// The instance.
    pub instance: u64,
    /// In which view.
    pub view: u64,
    /// The value.
    pub value: Bytes,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// To the leader of a view, which the sender has entered (1B).
    State {
        /// The view.
        view: u64,
        /// In the instances up to this one the sender has decided.
        decided: u64,
        /// In these, too: first and last, ascending.
        decided_above: Vec<(u64, u64)>,
        /// What it accepted in others; in the rest, nothing.
        accepted: Vec<Acceptance>,
    },
    /// To all, from the leader of the view: accept this (2A).
    Proposal(Acceptance),
    /// To all: the sender has accepted this (2B).
    Accepted(Acceptance),
    /// To all: this is decided.
    Decided {
        /// The instance.
        instance: u64,
        /// The decision.
        value: Bytes,
    },
}

/// A message without its values.
#[derive(Serialize, Deserialize)]
enum Head {
    State {
        view: u64,
        decided: u64,
        decided_above: Vec<(u64, u64)>,
        /// Instance and view of each value.
        accepted: Vec<(u64, u64)>,
    },
    Proposal(u64, u64),
    Accepted(u64, u64),
    Decided(u64),
}

impl Wire for Message {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::State {
                view,
                decided,
                decided_above,
                accepted,
            } => {
                let head = Head::State {
                    view: *view,
                    decided: *decided,
                    decided_above: decided_above.clone(),
                    accepted: accepted.iter().map(|a| (a.instance, a.view)).collect(),
                };
                put_head(&head, out);
                put_batch(accepted.iter().map(|a| &a.value), out);
            }
            Message::Proposal(a) => {
                put_head(&Head::Proposal(a.instance, a.view), out);
                out.put_slice(&a.value);
            }
            Message::Accepted(a) => {
                put_head(&Head::Accepted(a.instance, a.view), out);
                out.put_slice(&a.value);
            }
            Message::Decided { instance, value } => {
                put_head(&Head::Decided(*instance), out);
                out.put_slice(value);
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let acceptance = |instance, view, value| Acceptance {
            instance,
            view,
            value,
        };
        Ok(match take_head(&mut bytes)? {
            Head::State {
                view,
                decided,
                decided_above,
                accepted,
            } => {
                let values = take_batch(bytes)?;
                if values.len() != accepted.len() {
                    return Err(Undecodable);
                }
                let accepted = accepted.into_iter().zip(values);
                Message::State {
                    view,
                    decided,
                    decided_above,
                    accepted: accepted
                        .map(|((instance, view), value)| acceptance(instance, view, value))
                        .collect(),
                }
            }
            Head::Proposal(instance, view) => Message::Proposal(acceptance(instance, view, bytes)),
            Head::Accepted(instance, view) => Message::Accepted(acceptance(instance, view, bytes)),
            Head::Decided(instance) => Message::Decided {
                instance,
                value: bytes,
            },
        })
    }
}

impl Observe for Message {
    fn observe(&self) -> Observation {
        let of = |label, instance, value: &Bytes| {
            Observation::internal(label)
                .instance(instance)
                .digest(digest(value))
        };
        match self {
            Message::State { view, .. } => Observation::internal("State").instance(*view),
            Message::Proposal(a) => of("Proposal", a.instance, &a.value),
            Message::Accepted(a) => of("Accepted", a.instance, &a.value),
            Message::Decided { instance, value } => of("Decided", *instance, value),
        }
    }
}
