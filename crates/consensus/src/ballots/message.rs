//! What leaders and acceptors say to each other.
use quorate_core::{
    Observation, Observe, ProcessId,
    wire::{self, Bytes, BytesMut, Undecodable, Wire},
};
use serde::{Deserialize, Serialize};

/// An attempt of one leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Ballot {
    /// The round, counted from 1.
    pub round: u64,
    /// The process that attempts to lead.
    pub leader: ProcessId,
}

/// What an acceptor last accepted in an instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acceptance<V> {
    pub instance: u64,
    pub ballot: Ballot,
    pub value: V,
}

/// The messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message<V> {
    /// From a leader to all: promise this ballot, and report what you accepted from this instance on.
    Prepare {
        ballot: Ballot,
        /// The first instance that the leader has not decided.
        from: u64,
    },
    /// To the leader: promised. One message for each accepted value, at least one. They are all sent at once,
    /// and all again, with the contents of that time, when a stream to the leader has begun.
    Promise {
        ballot: Ballot,
        /// The number of the sender's saying: only parts of the same saying make a promise.
        saying: u64,
        /// The sender has decided the instances up to this one.
        decided: u64,
        /// The place of this message among those of the promise, counted from 0.
        part: u64,
        /// How many messages the promise consists of.
        parts: u64,
        /// One of the values that the sender accepted in later instances.
        accepted: Option<Acceptance<V>>,
    },
    /// To a leader: this higher ballot was promised.
    Nack { promised: Ballot },
    /// From a leader, which has accepted it already, to all others: accept this.
    Accept {
        acceptance: Acceptance<V>,
        /// The sender has decided the instances up to this one.
        decided: u64,
    },
    /// To all others: accepted.
    Accepted {
        acceptance: Acceptance<V>,
        /// The sender has decided the instances up to this one.
        decided: u64,
    },
    /// To a process that may not know: this was decided.
    Decided { instance: u64, value: V },
}

impl<V> Acceptance<V> {
    fn map<U>(self, change: impl FnOnce(V) -> U) -> Acceptance<U> {
        Acceptance {
            instance: self.instance,
            ballot: self.ballot,
            value: change(self.value),
        }
    }
}

impl<V> Message<V> {
    /// The highest number in the message.
    pub(super) fn highest(&self) -> u64 {
        let of = |a: &Acceptance<V>| a.instance.max(a.ballot.round);
        match self {
            Message::Prepare { ballot, from } => ballot.round.max(*from),
            Message::Promise {
                ballot,
                saying,
                decided,
                parts,
                accepted,
                ..
            } => {
                let accepted = accepted.as_ref().map_or(0, of);
                let numbers = [ballot.round, *saying, *decided, *parts, accepted];
                numbers.into_iter().fold(0, u64::max)
            }
            Message::Nack { promised } => promised.round,
            Message::Accept {
                acceptance,
                decided,
            }
            | Message::Accepted {
                acceptance,
                decided,
            } => of(acceptance).max(*decided),
            Message::Decided { instance, .. } => *instance,
        }
    }

    /// The value that the message carries, if any.
    pub fn value(&self) -> Option<&V> {
        match self {
            Message::Promise { accepted, .. } => accepted.as_ref().map(|a| &a.value),
            Message::Accept { acceptance, .. } | Message::Accepted { acceptance, .. } => {
                Some(&acceptance.value)
            }
            Message::Decided { value, .. } => Some(value),
            Message::Prepare { .. } | Message::Nack { .. } => None,
        }
    }

    /// The same message with a changed value, if it carries one.
    pub fn map<U>(self, change: impl FnOnce(V) -> U) -> Message<U> {
        match self {
            Message::Prepare { ballot, from } => Message::Prepare { ballot, from },
            Message::Promise {
                ballot,
                saying,
                decided,
                part,
                parts,
                accepted,
            } => Message::Promise {
                ballot,
                saying,
                decided,
                part,
                parts,
                accepted: accepted.map(|acceptance| acceptance.map(change)),
            },
            Message::Nack { promised } => Message::Nack { promised },
            Message::Accept {
                acceptance,
                decided,
            } => Message::Accept {
                acceptance: acceptance.map(change),
                decided,
            },
            Message::Accepted {
                acceptance,
                decided,
            } => Message::Accepted {
                acceptance: acceptance.map(change),
                decided,
            },
            Message::Decided { instance, value } => Message::Decided {
                instance,
                value: change(value),
            },
        }
    }
}

/// The value stands unencoded after the rest.
impl Wire for Message<Bytes> {
    fn encode(&self, out: &mut BytesMut) {
        let mut tail = Bytes::new();
        let head = self.clone().map(|value| tail = value);
        wire::put_head(&head, out);
        out.extend_from_slice(&tail);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let head: Message<()> = wire::take_head(&mut bytes)?;
        let message = head.map(|()| std::mem::take(&mut bytes));
        bytes.is_empty().then_some(message).ok_or(Undecodable)
    }
}

impl<V> Observe for Message<V> {
    fn observe(&self) -> Observation {
        let of = |label, instance| Observation::internal(label).instance(instance);
        match self {
            Message::Prepare { ballot, from } => of("Prepare", *from).digest(ballot.round),
            Message::Promise {
                ballot, accepted, ..
            } => {
                let instance = accepted.as_ref().map_or(0, |accepted| accepted.instance);
                of("Promise", instance).digest(ballot.round)
            }
            Message::Nack { promised } => Observation::internal("Nack").digest(promised.round),
            Message::Accept { acceptance, .. } => {
                of("Accept", acceptance.instance).digest(acceptance.ballot.round)
            }
            Message::Accepted { acceptance, .. } => {
                of("Accepted", acceptance.instance).digest(acceptance.ballot.round)
            }
            Message::Decided { instance, .. } => of("Decided", *instance),
        }
    }
}
