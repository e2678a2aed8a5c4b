//! Listeners accept the connections of clients and of HTTP, and know how many descriptors there are for them.
//!
//! Each connection takes a descriptor, and the peers need some. So clients get only those that are left of
//! the process's limit when all others have theirs.
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tracing::warn;

/// The most HTTP connections at a time.
pub const HTTP: usize = 32;

/// The most clients at a time that are being told that there is no room for them.
pub const REFUSED: usize = 16;

/// The most clients at a time who have not yet shown who they are.
pub const STRANGERS: usize = 64;

/// The most HTTP connections at a time on which nobody has yet shown a token or a certificate, where that is asked for.
pub const HTTP_STRANGERS: usize = 16;

/// How many descriptors the process itself needs: listeners, the log, files, the runtime.
const OWN: usize = 32;

/// How many descriptors a peer may need while old connections to it end and new ones begin.
const PEER: usize = 4;

/// The first pause after a connection could not be accepted. Each pause after it is twice as long,
const PAUSE: Duration = Duration::from_millis(10);

/// up to this limit.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The least time between two lines of the log that say that connections cannot be accepted.
const SAID: Duration = Duration::from_mins(1);

/// A listener that goes on after failures, and does not fill the log with them.
pub struct Listener {
    socket: TcpListener,
    /// Who connects, in words for the log.
    whom: &'static str,
    failures: Failures,
}

impl Listener {
    /// Wraps a listener of Tokio.
    pub fn new(listener: TcpListener, whom: &'static str) -> Self {
        Listener {
            socket: listener,
            whom,
            failures: Failures::default(),
        }
    }

    /// Returns the next connection. While none can be accepted, most likely for want of descriptors, it
    /// pauses, so that descriptors in use can be closed.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
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

/// The failures to accept, and what the log has said of them.
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

    /// Counts a failure. Returns the number of failures since the last line of the log, if a new line is due.
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

/// The number of clients for which there are descriptors, at most `wanted`, in a group of `n`, beside those for strangers
/// if a port `asks` who comes. Raises the limit of the process as far as it may, and says in the log if that is not
/// enough.
pub fn room_for_clients(wanted: usize, n: usize, asks: bool) -> usize {
    let kept = kept(n, asks);
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

/// The number of descriptors that are kept for others than clients.
fn kept(n: usize, asks: bool) -> usize {
    let strangers = if asks { STRANGERS + HTTP_STRANGERS } else { 0 };
    OWN + HTTP + REFUSED + strangers + PEER * n
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
        assert_eq!((kept(5, false), kept(5, true)), (100, 180));
        assert_eq!(room(1000, 1_000_000, 100), 1000);
        assert_eq!(room(1000, u64::MAX, 100), 1000);
        assert_eq!(room(1000, 256, 100), 156);
        assert_eq!(room(1000, 64, 100), 1, "somebody has to be told");
    }
}
