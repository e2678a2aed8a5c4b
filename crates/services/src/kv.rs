//! A replicated key-value store: the string commands of Redis over total order.
//!
//! Clients' commands travel in batches: the payload of one message is one or more encoded
//! [`Command`]s, applied one after the other. Reads travel like writes, so every command takes
//! effect at its place in the total order: the store is linearizable.
//!
//! What a peer may have garbled cannot make replicas differ: a payload that does not decode is the
//! same payload everywhere, so all of it is skipped, and counted, everywhere.
mod command;
mod store;

pub use command::{Command, MAXIMUM_ARGUMENTS, MAXIMUM_BYTES};
pub use store::{Reply, Store};

use crate::log::Log;
use bytes::Bytes;
use quorate_core::MessageId;

/// One replica of the store: a function of what was delivered.
#[derive(Default)]
pub struct Service {
    store: Store,
    log: Log,
    applied: u64,
    undecodable: u64,
}

impl Service {
    /// Applies the next message of the total order. `wanted`: its sender waits for the replies here,
    /// so they are returned, one a command; otherwise none is made.
    pub fn deliver(&mut self, id: MessageId, payload: &Bytes, wanted: bool) -> Vec<Reply> {
        self.log.append(id, payload);
        let Ok(commands) = Command::decode_batch(payload.clone()) else {
            self.undecodable += 1;
            return Vec::new();
        };
        self.applied += commands.len() as u64;
        let mut replies = Vec::with_capacity(if wanted { commands.len() } else { 0 });
        for command in &commands {
            if wanted {
                replies.push(self.store.apply(command));
            } else if !command.is_read_only() {
                self.store.apply(command);
            }
        }
        replies
    }

    /// The store as of the last delivery.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What was delivered.
    pub fn log(&self) -> Log {
        self.log
    }

    /// How many commands were applied, reads included.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// How many payloads were skipped because they are no batch of commands.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

#[cfg(test)]
mod tests;
