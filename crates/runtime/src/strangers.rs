//! Who speaks in the name of a peer from where that peer is not: most often a second process under one id.
//!
//! The others answer to the address that they know, so that such a process hears nothing, and cannot know why.
//! They can tell, and say it in the log once a minute for each address. It is no proof: where addresses are
//! translated, a peer's own datagrams come from elsewhere.
use quorate_core::{Host, ProcessId, counters::Counter};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::warn;

/// How often it is said of an address.
const AGAIN: Duration = Duration::from_mins(1);

/// Of how many addresses: whoever makes addresses up fills no more than this.
const ADDRESSES: usize = 16;

/// Counts the greetings of such processes, and tells of them.
pub(crate) struct Strangers {
    counter: Counter,
    me: ProcessId,
    /// When it was said of an address last.
    told: Mutex<BTreeMap<SocketAddr, Instant>>,
}

impl Strangers {
    /// Nobody has been heard. Counts under the path of the host.
    pub fn new(host: &impl Host) -> Self {
        Strangers {
            counter: host.counters().counter(host.path(), "strangers"),
            me: host.me(),
            told: Mutex::default(),
        }
    }

    /// Somebody at an address greets as `claimed`, who is to be at another one.
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

    /// Whether nothing was said of this address for a minute, and not of too many others.
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
