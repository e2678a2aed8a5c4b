//! Says, as far as the process knows, what keeps it from serving when it has waited for long.
use super::{Role, role_in};
use quorate_core::ProcessId;
use quorate_runtime::node::{ChannelState, NodeStatus, Peer};
use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a process may wait before it says what to look at.
const LONG: Duration = Duration::from_secs(10);

/// What to do when the data is gone.
const ANEW: &str = "stop all replicas, then start all again";

/// What counts as progress of a waiting process: another role, or more bytes of a state.
type Progress = (&'static str, Option<u64>);

/// Since when a process has made no progress. Clones share it.
#[derive(Clone)]
pub struct Waiting(Arc<Mutex<(Progress, Instant)>>);

impl Waiting {
    /// A process that begins to wait.
    pub fn new(now: &NodeStatus) -> Self {
        Waiting(Arc::new(Mutex::new((progress(now), Instant::now()))))
    }

    /// What keeps this process from serving, if it has made no progress for long, or knows that it never
    /// will. Must be called from time to time: progress between two calls counts from the second.
    pub fn words(&self, now: &NodeStatus) -> Option<String> {
        let lasted = self.lasted(now);
        let is_long = lasted >= LONG;
        let seconds = lasted.as_secs();
        match role_in(now) {
            Role::Joining if is_long => Some(joining(now, seconds)),
            Role::Newcomer if is_long => Some(newcomer(now, seconds)),
            Role::Voter => memory(now, &started_again(now)),
            Role::Joining | Role::Newcomer | Role::Excluded(_) => None,
        }
    }

    fn lasted(&self, now: &NodeStatus) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = progress(now);
        if state.0 != progress {
            *state = (progress, Instant::now());
        }
        state.1.elapsed()
    }
}

fn progress(now: &NodeStatus) -> Progress {
    (role_in(now).word(), now.incoming)
}

fn others(now: &NodeStatus) -> impl Iterator<Item = &Peer> {
    now.peers.iter().filter(|peer| peer.process != now.me)
}

fn list(processes: &[ProcessId]) -> String {
    let names: Vec<_> = processes.iter().map(ProcessId::to_string).collect();
    names.join(" ")
}

/// The peers that were started again, and have no seat.
fn started_again(now: &NodeStatus) -> Vec<ProcessId> {
    let again = others(now).filter(|peer| matches!(peer.channel, ChannelState::Replaced { .. }));
    again.map(|peer| peer.process).collect()
}

/// Says so if so many have lost their memory that no majority has it. A process that is cut off may know an
/// old state of things only.
fn memory(now: &NodeStatus, lost: &[ProcessId]) -> Option<String> {
    let n = now.peers.len();
    let kept = n.saturating_sub(lost.len());
    (kept <= n / 2 && !lost.is_empty()).then(|| {
        let lost = list(lost);
        format!(
            "as far as this process knows, {kept} of {n} have their memory, which is no majority (started again \
             without it: {lost}): if so, the data is gone: {ANEW}"
        )
    })
}

/// Explains why this process is not admitted.
fn joining(now: &NodeStatus, seconds: u64) -> String {
    let refused = others(now).filter_map(|peer| match &peer.channel {
        ChannelState::Refused { reason } => Some((peer.process, reason)),
        _ => None,
    });
    let mut words = format!("for {seconds} s");
    for (peer, reason) in refused {
        let _ = write!(words, "; {peer} cannot be talked to: {reason}");
    }
    words.push_str("; are enough peers up and reachable?");
    let is_heard = |peer: &Peer| peer.channel != ChannelState::Unknown;
    if now.met.is_empty() && !others(now).any(is_heard) {
        let (me, rank) = (now.me, now.me.rank());
        let address = now.peers.get(now.me.index()).map(|own| &own.name);
        let address = address.map_or(String::new(), |address| format!(", {address}"));
        let _ = write!(
            words,
            " Nobody has answered: the others answer to entry {rank} of `peers`{address}. If this process is not \
             there, or another one runs as {me} there, this one hears nothing"
        );
    }
    words
}

/// Explains why this process gets neither its seat nor the state.
fn newcomer(now: &NodeStatus, seconds: u64) -> String {
    let mut words =
        format!("for {seconds} s nobody has given the state: a majority that has it must be up");
    let again = started_again(now);
    if !again.is_empty() {
        let _ = write!(words, "; started again, too: {}", list(&again));
    }
    let silent = now.suspected.without(now.cut_off).without(now.leaving);
    let unreached = others(now)
        .filter(|peer| peer.channel == ChannelState::Unknown || silent.contains(peer.process));
    let unreached = unreached.map(|peer| peer.process);
    let unreached: Vec<_> = unreached.filter(|p| !again.contains(p)).collect();
    if !unreached.is_empty() {
        let _ = write!(words, "; not reached: {}", list(&unreached));
    }
    let mut lost = again;
    lost.push(now.me);
    lost.sort_unstable();
    let words_of_memory = memory(now, &lost).unwrap_or_else(|| {
        format!("if more than a minority have lost their memory, the data is gone: {ANEW}")
    });
    let _ = write!(words, "; {words_of_memory}");
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Incarnation, ProcessSet};
    use quorate_runtime::node::Admission as Known;
    use quorate_sim::testing::p;
    use std::net::SocketAddr;

    fn three() -> NodeStatus {
        let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
        NodeStatus::new(p(1), Incarnation(1), &addresses, 2)
    }

    fn replace(now: &mut NodeStatus, rank: usize) {
        now.peers[rank - 1].channel = ChannelState::Replaced {
            known: Incarnation(7),
            newcomer: Incarnation(8),
        };
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_says_after_a_while_what_may_be_wrong() {
        let mut now = three();
        let waiting = Waiting::new(&now);
        pass(9).await;
        assert_eq!(waiting.words(&now), None);
        pass(1).await;
        let words = waiting.words(&now).unwrap();
        assert!(
            words.contains("for 10 s") && words.contains("another one runs as p1"),
            "{words}"
        );
        assert!(words.contains("127.0.0.1:1"), "{words}");
        now.met = ProcessSet::from_iter([p(2)]);
        let reason = "stack \"a\" here, \"b\" there".to_owned();
        now.peers[2].channel = ChannelState::Refused { reason };
        let words = waiting.words(&now).unwrap();
        assert!(words.contains("p3 cannot be talked to: stack"), "{words}");
        assert!(!words.contains("another one"), "somebody answers: {words}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_says_who_may_have_the_state_and_when_nobody_can() {
        let mut now = three();
        (now.admission, now.started_again) = (Known::Newcomer, true);
        let waiting = Waiting::new(&now);
        now.incoming = Some(1);
        pass(9).await;
        assert_eq!(waiting.words(&now), None);
        pass(9).await;
        assert_eq!(waiting.words(&now), None, "some of the state has come");
        pass(1).await;
        now.peers[1].channel = ChannelState::Connected {
            incarnation: Incarnation(7),
        };
        let words = waiting.words(&now).unwrap();
        assert!(words.contains("not reached: p3"), "{words}");
        assert!(words.contains("if more than a minority"), "{words}");
        replace(&mut now, 2);
        let words = waiting.words(&now).unwrap();
        assert!(words.contains("started again, too: p2"), "{words}");
        assert!(words.contains("1 of 3 have their memory"), "{words}");
        assert!(words.contains(ANEW), "{words}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_its_memory_says_when_too_few_others_have_theirs() {
        let mut now = three();
        (now.admission, now.took_part) = (Known::Admitted, true);
        let waiting = Waiting::new(&now);
        replace(&mut now, 2);
        assert_eq!(waiting.words(&now), None);
        replace(&mut now, 3);
        let words = waiting.words(&now).unwrap();
        assert!(words.contains("1 of 3 have their memory"), "{words}");
        assert!(words.contains("without it: p2 p3"), "{words}");
    }
}
