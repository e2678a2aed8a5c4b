//! Processes that send in the name of a peer from another address than the peer's: most often a second
//! process with the same rank.
//!
//! The others answer to the address that they know, so that such a process hears nothing, and cannot know
//! why. The others can notice it, and log it once a minute for each address. It is no proof: behind address
//! translation, a peer's own datagrams come from another address.
use quorate_core::{Host, ProcessId, counters::Counter};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::warn;

/// The least time between two log entries for the same address.
const AGAIN: Duration = Duration::from_mins(1);

/// The most addresses that are remembered, so that invented addresses cannot fill the memory.
const ADDRESSES: usize = 16;

/// Counts and logs the greetings of such processes.
pub(crate) struct Strangers {
    counter: Counter,
    me: ProcessId,
    /// By address, the time of its last log entry.
    told: Mutex<BTreeMap<SocketAddr, Instant>>,
}

impl Strangers {
    /// Begins with nothing heard. Counts under the path of the host.
    pub fn new(host: &impl Host) -> Self {
        Strangers {
            counter: host.counters().counter(host.path(), "strangers"),
            me: host.me(),
            told: Mutex::default(),
        }
    }

    /// A process at the address `at` greets as `claimed`, which the table has at the address `entry`.
    pub fn heard(&self, claimed: ProcessId, at: SocketAddr, entry: SocketAddr) {
        self.counter.add(1);
        if self.is_news(at, Instant::now()) {
            let process = self.me;
            warn!(
                %process,
                "somebody at {at} greets as {claimed}, whose entry in `peers` is {entry}: do two processes run \
                 under that id?"
            );
        }
    }

    /// Whether this address was not logged within the last minute, and there are not too many other
    /// addresses.
    fn is_news(&self, at: SocketAddr, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, said| now.saturating_duration_since(*said) < AGAIN);
        if told.contains_key(&at) || told.len() >= ADDRESSES {
            return false;
        }
        told.insert(at, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{p, protocol};

    #[test]
    fn an_address_is_news_once_a_minute_and_only_so_many_are() {
        let strangers = Strangers::new(protocol(1, 3).host());
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let begin = Instant::now();
        assert!(strangers.is_news(at(1), begin));
        assert!(!strangers.is_news(at(1), begin + AGAIN / 2));
        assert!(strangers.is_news(at(2), begin + AGAIN / 2));
        assert!(strangers.is_news(at(1), begin + AGAIN));
        let later = begin + 3 * AGAIN;
        let told = (1..100).filter(|port| strangers.is_news(at(*port), later));
        assert_eq!(told.count(), ADDRESSES);
        strangers.heard(p(2), at(7), at(8));
        assert_eq!(strangers.counter.get(), 1);
    }
}
