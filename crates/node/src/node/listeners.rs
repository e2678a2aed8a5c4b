//! Listeners: where connections of clients and of HTTP come in, and how many descriptors there are for them.
//!
//! Whoever comes in takes a descriptor, and the peers need theirs: so clients are given only what is left
//! of the process's limit when the others have been given theirs.
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tracing::warn;

/// The most HTTP connections at a time.
pub const HTTP: usize = 32;

/// The most clients at a time that are told that there is no room for them.
pub const REFUSED: usize = 16;

/// What the process itself needs: listeners, the log, files, the runtime.
const OWN: usize = 32;

/// What a peer may need while old connections to it end and new ones begin.
const PEER: usize = 4;

/// The first pause after a connection could not be accepted; each that follows is twice as long,
const PAUSE: Duration = Duration::from_millis(10);

/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The log says no more often than this that connections cannot be accepted.
const SAID: Duration = Duration::from_mins(1);

/// A listener whose failures are not the end, and do not fill the log.
pub struct Listener {
    listener: TcpListener,
    /// Who comes in, for the log.
    whom: &'static str,
    failures: Failures,
}

impl Listener {
    /// The listener of such a listener.
    pub fn new(listener: TcpListener, whom: &'static str) -> Self {
        Listener {
            listener,
            whom,
            failures: Failures::default(),
        }
    }

    /// The next connection. While none can be accepted, for want of descriptors most likely, those in use
    /// are given time to be returned.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.failures.upon_success();
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) => {
                    if let Some(times) = self.failures.upon_failure(Instant::now()) {
                        let whom = self.whom;
                        warn!(%error, times, "cannot accept {whom}; said once a minute");
                    }
                    sleep(self.failures.pause()).await;
                }
            }
        }
    }
}

/// What has failed, and what was said of it.
#[derive(Default)]
struct Failures {
    row: u32,
    unsaid: u64,
    said: Option<Instant>,
}

impl Failures {
    fn upon_success(&mut self) {
        self.row = 0;
    }

    /// How many there were since that was said last, if it is time to say it.
    fn upon_failure(&mut self, now: Instant) -> Option<u64> {
        self.row = self.row.saturating_add(1);
        self.unsaid += 1;
        if self.said.is_some_and(|said| now - said < SAID) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    fn pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.row.saturating_sub(1));
        PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
    }
}

/// For how many clients there are descriptors, of so many that are wanted, in a group of `n`. Raises the
/// limit of the process as far as it may, and says so in the log where that is not enough.
pub fn room_for_clients(wanted: usize, n: usize) -> usize {
    let kept = kept(n);
    let needed = wanted.saturating_add(kept) as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return wanted;
    };
    let raised = needed.min(hard).max(soft);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(_) => soft,
    };
    let room = room(wanted, limit, kept);
    if room < wanted {
        warn!(
            "this process may open {limit} descriptors, of which {kept} are kept for peers and HTTP: \
             {room} clients are served at a time, not {wanted}"
        );
    }
    room
}

/// How many descriptors are kept for others than clients.
fn kept(n: usize) -> usize {
    OWN + HTTP + REFUSED + PEER * n
}

fn room(wanted: usize, limit: u64, kept: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    wanted.min(limit.saturating_sub(kept)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_said_once_a_minute_and_pauses_grow() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        let begin = now;
        let mut said = Vec::new();
        while now - begin < 2 * SAID + LONGEST_PAUSE {
            said.extend(failures.upon_failure(now));
            assert!(failures.pause() >= PAUSE && failures.pause() <= LONGEST_PAUSE);
            now += failures.pause();
        }
        assert_eq!(said.len(), 3);
        assert_eq!(said[0], 1);
        // Seven pauses are shorter than a second.
        assert!(
            said[1..].iter().all(|times| (60..=67).contains(times)),
            "{said:?}"
        );
        failures.upon_success();
        assert_eq!(failures.upon_failure(now), None);
        assert_eq!(failures.pause(), PAUSE);
    }

    #[test]
    fn clients_are_given_what_the_others_leave() {
        assert_eq!(kept(5), 100);
        assert_eq!(room(1000, 1_000_000, 100), 1000);
        assert_eq!(room(1000, u64::MAX, 100), 1000);
        assert_eq!(room(1000, 256, 100), 156);
        assert_eq!(room(1000, 64, 100), 1, "somebody has to be told");
    }
}
