//! Measures what Quorate's layers cost on one machine, compared with what they stand on.
//!
//! | module | what it measures |
//! |---|---|
//! | [`cluster`] | nodes on loopback, in this operating-system process |
//! | [`detection`] | how soon a crash is noticed, and the traffic of watching for it |
//! | [`hop`] | a message from one algorithm to another of the same process, beside a channel of Tokio |
//! | [`link`] | a message over the perfect link, one way and to and fro |
//! | [`raw`] | the same over a TCP stream of Tokio with nothing on top: what the link is measured by |
//! | [`strangers`] | who begins handshakes with the nodes meanwhile |
//! | [`total_order`] | a closed loop of messages through total order |
//! | [`rounds`] | cases run one after the other, in rounds, and their ratios |
//! | [`suite`] | all of them, as one table |
//! | [`machine`] | processors, processor time, memory |
//!
//! Everything runs on loopback, for a given time.

pub mod cluster;
pub mod detection;
pub mod hop;
pub mod link;
pub mod machine;
pub mod raw;
pub mod rounds;
pub mod strangers;
pub mod suite;
pub mod total_order;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] quorate_runtime::StartError),
    /// A node stopped.
    #[error(transparent)]
    Node(#[from] quorate_runtime::Error),
    /// The options make no sense.
    #[error("{0}")]
    Unusable(&'static str),
    /// The run gave a wrong result.
    #[error("{0}")]
    Wrong(String),
    /// The run gave no result in time.
    #[error("no result within {0:?}")]
    Stalled(std::time::Duration),
}

/// Locks a mutex, even if a thread has panicked while it held the lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
