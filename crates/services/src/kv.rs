//! A replicated key-value store: the string commands of Redis over total order.
//!
//! Clients' commands travel in batches: the payload of one message is one or more encoded
//! [`Command`]s, applied one after the other. Reads travel like writes, so every command takes
//! effect at its place in the total order: the store is linearizable.
//!
//! A payload that a peer has garbled cannot make replicas differ: if it does not decode, it does not decode
//! anywhere, so all replicas skip all of it.
mod command;
mod store;

pub use command::{Command, MAXIMUM_ARGUMENTS, MAXIMUM_BYTES, SetCondition, SetReply, VERSION};
pub use store::{Reply, Store, parse_integer};

use bytes::Bytes;
use quorate_core::wire::Undecodable;

/// One replica of the store: a function of what was delivered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    store: Store,
    applied: u64,
}

impl Service {
    /// Applies the next batch of the total order. If `wanted`, the sender waits for the replies here, and
    /// they are returned, one for each command; otherwise none are made.
    ///
    /// # Errors
    /// When the payload is not a batch of commands. Then none of it is applied.
    pub fn apply(&mut self, payload: Bytes, wanted: bool) -> Result<Vec<Reply>, Undecodable> {
        let commands = Command::decode_batch(payload)?;
        self.applied += commands.len() as u64;
        let mut replies = Vec::with_capacity(if wanted { commands.len() } else { 0 });
        for command in &commands {
            if wanted {
                replies.push(self.store.apply(command));
            } else if !command.is_read_only() {
                self.store.apply(command);
            }
        }
        Ok(replies)
    }

    /// A service that has applied `applied` commands, with an empty store, for a state transfer.
    pub(crate) fn restoring(applied: u64) -> Self {
        Service {
            store: Store::default(),
            applied,
        }
    }

    /// The store, for a state transfer that restores it.
    pub(crate) fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The store as of the last delivery.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How many commands were applied, reads included.
    pub fn applied(&self) -> u64 {
        self.applied
    }
}

#[cfg(test)]
mod tests;
