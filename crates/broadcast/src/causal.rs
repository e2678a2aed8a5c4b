//! What the causal broadcasts share: a counter per process, and the messages that others depend on.
mod clock;
mod history;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use clock::Clock;
pub(crate) use history::{History, put_messages, take_messages};
