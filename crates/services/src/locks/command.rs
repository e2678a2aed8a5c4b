//! What is ordered, and what it is answered.
use super::{LONGEST_NAME, LONGEST_VALUE, Refusal, Server};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A command on one lock, or on a value that the lock guards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Asks for a lock. The same request again, by the same owner, is answered as the first one, and is served
    /// by this server from now on.
    Acquire {
        lock: Vec<u8>,
        /// Identifies the request, together with the lock: choose a fresh one for each.
        owner: Vec<u8>,
        /// For how long, in milliseconds, a holder may leave the lock without renewal; 0: for ever. The
        /// machine keeps it for those who watch the clock.
        lease: u64,
        /// Whether it waits if another request holds the lock.
        waits: bool,
        server: Server,
    },
    /// Says that the owner is still there. It counts only if this server serves the request.
    Renew {
        lock: Vec<u8>,
        token: u64,
        server: Server,
    },
    /// The owner has come to this server, which serves the request from now on.
    Attach {
        lock: Vec<u8>,
        token: u64,
        server: Server,
    },
    /// The owner gives the lock back, or does not wait any more.
    Release { lock: Vec<u8>, token: u64 },
    /// The connection of the owner has ended at this server.
    Disconnect { lock: Vec<u8>, server: Server },
    /// Takes the lock over from a request that was not renewed since this place of the order.
    Expire {
        lock: Vec<u8>,
        token: u64,
        renewed: u64,
    },
    /// Reads a guarded value.
    Read {
        lock: Vec<u8>,
        token: u64,
        key: Vec<u8>,
    },
    /// Writes a guarded value; `None` removes it.
    Write {
        lock: Vec<u8>,
        token: u64,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    },
}

impl Command {
    /// Whether a name in it, or a value, is longer than any that is accepted: such a command changes nothing, and
    /// need not be ordered.
    pub fn is_too_long(&self) -> bool {
        let (names, value): ([&[u8]; 2], &[u8]) = match self {
            Command::Acquire { lock, owner, .. } => ([lock, owner], &[]),
            Command::Renew { lock, .. }
            | Command::Attach { lock, .. }
            | Command::Release { lock, .. }
            | Command::Disconnect { lock, .. }
            | Command::Expire { lock, .. } => ([lock, &[]], &[]),
            Command::Read { lock, key, .. } => ([lock, key], &[]),
            Command::Write {
                lock, key, value, ..
            } => ([lock, key], value.as_deref().unwrap_or_default()),
        };
        names.iter().any(|name| name.len() > LONGEST_NAME) || value.len() > LONGEST_VALUE
    }
}

/// The answer to the sender of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The request has its place.
    Queued {
        token: u64,
        /// How many requests come before it; 0: it holds the lock.
        before: usize,
    },
    /// Another request holds the lock, and this one does not wait.
    Busy {
        /// The token of the holder.
        holder: u64,
    },
    /// Whether there was such a request, so that it was renewed or ended.
    Found(bool),
    /// The value that was read.
    Value(Option<Bytes>),
    Written,
    /// The token is not that of the holder: nothing was read or written.
    Fenced {
        /// The token of the holder, if there is one.
        holder: Option<u64>,
    },
    /// Nothing was changed.
    Refused(Refusal),
}
