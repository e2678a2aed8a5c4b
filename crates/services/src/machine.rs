//! All that a replica keeps, as one state machine: the key-value store, one-shot decisions, and the
//! running hash of what was delivered.
//!
//! A message of the total order is for one of them: its payload begins with a number that says for which.
//!
//! For a state transfer, the state is read in chunks from a [`View`], which is taken in an instant and read
//! at leisure, and [`Restoring`] restores it from them. So no replica ever holds all of the state as bytes.
mod item;
mod restoring;
mod view;

pub use restoring::Restoring;
pub use view::{CHUNK, View};

use crate::{
    kv::{Reply, Service},
    log::Log,
    once::{Decisions, ProposalResult},
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{
    ProcessId,
    wire::{Undecodable, put_number, take_number},
};

/// The number at the beginning of a payload of commands of the store.
const COMMANDS: u64 = 1;

/// The number at the beginning of a payload that is a proposal.
const PROPOSAL: u64 = 2;

/// The answer to the sender of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A reply for each command.
    Replies(Vec<Reply>),
    /// The outcome of the proposal.
    Decision(ProposalResult),
    /// The payload was for none of them.
    Nothing,
}

/// One replica's state: a function of what was delivered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    log: Log,
    kv: Service,
    decisions: Decisions,
    undecodable: u64,
}

/// The beginning of a payload of commands. The encoded commands are appended to it.
pub fn commands() -> BytesMut {
    let mut payload = BytesMut::new();
    put_number(COMMANDS, &mut payload);
    payload
}

/// The payload of a proposal.
pub fn proposal(instance: u64, value: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(value.len() + 11);
    put_number(PROPOSAL, &mut payload);
    put_number(instance, &mut payload);
    payload.put_slice(value);
    payload.freeze()
}

impl Machine {
    /// Applies the next message of the total order. If `wanted`, the sender waits for the answer here;
    /// otherwise replies are not made.
    pub fn deliver(&mut self, origin: ProcessId, payload: Bytes, wanted: bool) -> Answer {
        self.log.append(origin, &payload);
        self.apply(payload, wanted).unwrap_or_else(|_| {
            self.undecodable += 1;
            Answer::Nothing
        })
    }

    fn apply(&mut self, mut payload: Bytes, wanted: bool) -> Result<Answer, Undecodable> {
        match take_number(&mut payload)? {
            COMMANDS => Ok(Answer::Replies(self.kv.apply(payload, wanted)?)),
            PROPOSAL => {
                let instance = take_number(&mut payload)?;
                Ok(Answer::Decision(self.decisions.propose(instance, &payload)))
            }
            _ => Err(Undecodable),
        }
    }

    /// A view of the state as it is now, to be read in chunks, whatever is delivered meanwhile. Taking it
    /// costs O(log n), and a reference to each of the few decisions.
    pub fn view(&self) -> View {
        View::of(self)
    }

    /// The running hash of what was delivered.
    pub fn log(&self) -> Log {
        self.log
    }

    /// The key-value store.
    pub fn kv(&self) -> &Service {
        &self.kv
    }

    /// The decisions.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// How many payloads were skipped because they are for none of the services or do not decode.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

#[cfg(test)]
mod tests;
