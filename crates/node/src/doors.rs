//! The doors of a node for clients and operators: who comes in, and what he may do.
//!
//! [Users](users) have passwords and rights; [tokens] open the admin port; [TLS](tls) is what either port speaks if it
//! has a certificate. Who has not yet shown who he is stays in a [hall] that is small, so that strangers cost little.
//! All of that can be [read anew](reload) while the node runs.
pub mod hall;
pub mod reload;
pub mod tls;
pub mod tokens;
pub mod users;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The least time between two lines of the log about refused attempts at one door.
const SAID: Duration = Duration::from_secs(1);

/// Counts the attempts to come in that one door has refused, and says when the log is due.
#[derive(Default)]
pub struct Refused {
    count: AtomicU64,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    unsaid: u64,
    said: Option<Instant>,
}

impl Refused {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Counts one. Returns how many there were since the last line of the log, if a line is due: whoever guesses
    /// passwords must not fill the disk.
    pub fn upon_refusal(&self, now: Instant) -> Option<u64> {
        self.count.fetch_add(1, Relaxed);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.unsaid += 1;
        if log.said.is_some_and(|said| now - said < SAID) {
            return None;
        }
        log.said = Some(now);
        Some(std::mem::take(&mut log.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_all_counted_and_said_once_a_second() {
        let refused = Refused::default();
        let begin = Instant::now();
        let said: Vec<_> = (0..=20)
            .filter_map(|tenth| refused.upon_refusal(begin + SAID / 10 * tenth))
            .collect();
        assert_eq!(said, [1, 10, 10]);
        assert_eq!(refused.count(), 21);
    }
}
