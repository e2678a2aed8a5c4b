//! What this process knows of the cluster, as `/status`, `/members`, `/views` and `/readyz` show it: it
//! presents the status of the library's node.
mod role;
mod waiting;

pub use role::Role;

use role::voter;

use super::outcomes::Outcomes;
use futures::{Stream, StreamExt, stream};
use quorate_core::{Membership, ProcessId, ProcessSet};
use quorate_runtime::{
    Node, NodeEvent,
    node::{Admission as Known, ChannelState, NodeStatus, Peer, Protection},
};
use serde_json::{Value, json};
use std::{fmt::Write, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout},
};
use waiting::Waiting;

/// How many changes a watching client may be behind before it misses some.
const CHANGES: usize = 256;

/// How often the replica checks whether something has kept it waiting for long.
const LOOK: Duration = Duration::from_secs(1);

/// What this process knows of the cluster. Clones share it.
#[derive(Clone)]
pub struct View {
    membership: Membership,
    status: watch::Receiver<NodeStatus>,
    role: Arc<watch::Sender<Role>>,
    changes: Arc<broadcast::Sender<Value>>,
    waiting: Waiting,
    outcomes: Outcomes,
}

fn ranks(set: ProcessSet) -> Vec<usize> {
    set.iter().map(ProcessId::rank).collect()
}

/// Whether this process takes part, in the words of the replica.
fn role_in(now: &NodeStatus) -> Role {
    let before = if now.took_part {
        Role::Voter
    } else if now.started_again {
        Role::Newcomer
    } else {
        Role::Joining
    };
    match &now.admission {
        Known::Newcomer => Role::Newcomer,
        Known::Admitted => Role::Voter,
        Known::Excluded { reason, .. } => before.exclude(reason).unwrap_or(before),
        Known::Unreadable => Role::Excluded(
            "this replica cannot read the state that it was given, and may not vote or serve"
                .to_owned(),
        ),
        // In an admission that this program does not know, it may not serve.
        Known::Joining | _ => Role::Joining,
    }
}

/// Whether data flows to a peer, or would flow if the peer owed less.
fn is_connected(peer: &Peer) -> bool {
    matches!(
        peer.channel,
        ChannelState::Connected { .. } | ChannelState::Ended { .. }
    )
}

/// The present epoch, who leads, and who is suspected, as far as this process knows.
fn present(now: &NodeStatus) -> Value {
    let holders = now.peers.iter().map(|peer| {
        json!({
            "seat": peer.process.rank(),
            "incarnation": peer.holder.map(|it| it.to_string()),
            "held_before": peer.held_before,
        })
    });
    json!({
        "epoch": now.epoch,
        "members": holders.collect::<Vec<_>>(),
        "leader": now.leader.map(ProcessId::rank),
        "suspected": ranks(now.suspected),
    })
}

impl View {
    /// The view of the process that this node runs. Must be called within a runtime. Requests to this process
    /// should return within the deadline.
    pub fn of(node: &Node, membership: Membership, deadline: Duration) -> Self {
        let told = stream::unfold(node.events(), |mut events| async {
            let event = events.next().await?;
            let now = events.now().clone();
            Some(((event, now), events))
        });
        View::new(membership, node.status(), told, deadline)
    }

    /// The view of a status that changes, and of a stream of events, each with the status at its time.
    fn new(
        membership: Membership,
        status: watch::Receiver<NodeStatus>,
        told: impl Stream<Item = (NodeEvent, NodeStatus)> + Send + 'static,
        deadline: Duration,
    ) -> Self {
        let (first, presented, waiting) = {
            let now = status.borrow();
            (role_in(&now), present(&now), Waiting::new(&now))
        };
        let view = View {
            membership,
            status,
            role: Arc::new(watch::Sender::new(first)),
            changes: Arc::new(broadcast::Sender::new(CHANGES)),
            waiting,
            outcomes: Outcomes::new(deadline),
        };
        tokio::spawn(view.clone().follow(told, presented));
        view
    }

    /// Tells each change to all that watch, until the node stops.
    async fn follow(
        self,
        told: impl Stream<Item = (NodeEvent, NodeStatus)> + Send,
        mut presented: Value,
    ) {
        let mut told = std::pin::pin!(told);
        while let Some((event, then)) = told.next().await {
            // Read from the watch, not from the event: the role never goes back to one before that which was
            // seen.
            let now = role_in(&self.status.borrow());
            self.role.send_if_modified(|role| {
                let is_news = *role != now;
                *role = now;
                is_news
            });
            if let NodeEvent::Missed { count } = event {
                self.tell(json!({ "missed": count }));
                continue;
            }
            let present = present(&then);
            if present != presented {
                self.tell(present.clone());
                presented = present;
            }
        }
    }

    fn tell(&self, change: Value) {
        // Nobody may be watching.
        let _ = self.changes.send(change);
    }

    fn now(&self) -> NodeStatus {
        // Copied, because the protocol thread cannot change the status while it is borrowed.
        self.status.borrow().clone()
    }

    /// A view that knows nothing but the role, which the test sets.
    #[cfg(test)]
    pub fn told(deadline: Duration) -> (Self, watch::Sender<Role>) {
        let told = watch::Sender::new(Role::Joining);
        let view = View {
            membership: tests::five(),
            status: watch::Sender::new(tests::nothing()).subscribe(),
            role: Arc::new(told.clone()),
            changes: Arc::new(broadcast::Sender::new(CHANGES)),
            waiting: Waiting::new(&tests::nothing()),
            outcomes: Outcomes::new(deadline),
        };
        (view, told)
    }

    /// How many bytes have come of a state that is being transferred to this process; `None` if none is.
    pub fn incoming(&self) -> Option<u64> {
        self.status.borrow().incoming
    }

    /// Whether another incarnation of this process came before: then it has a place in total order only.
    pub fn came_later(&self) -> bool {
        self.status.borrow().started_again
    }

    /// Receives the value of [`present`](Self::present) after each change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Value> {
        self.changes.subscribe()
    }

    /// The present epoch, who leads, and who is suspected, as far as this process knows.
    pub fn present(&self) -> Value {
        present(&self.now())
    }

    /// Every seat, with its address, the incarnation in it, and the role of that.
    pub fn members(&self, addresses: &[String]) -> Value {
        let now = self.now();
        let members = now.peers.iter().zip(addresses).map(|(peer, address)| {
            json!({
                "seat": peer.process.rank(),
                "address": address,
                "incarnation": peer.holder.map(|it| it.to_string()),
                "held_before": peer.held_before,
                "role": role_of(&now, peer),
                "leader": now.leader == Some(peer.process),
            })
        });
        json!({
            "process": now.me.rank(),
            "epoch": now.epoch,
            "members": members.collect::<Vec<_>>(),
        })
    }

    /// Whether this process takes part, and every change of that.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The outcomes of the requests to this process.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether this process is alive in a supervisor's sense: it is not excluded, which only an operator
    /// could undo. The error says why it is not alive.
    pub fn live(&self) -> Result<(), String> {
        match role_in(&self.now()) {
            Role::Excluded(words) => Err(words),
            Role::Joining | Role::Newcomer | Role::Voter => Ok(()),
        }
    }

    /// Whether this process can serve: it takes part, and the last requests to it came back in time. The
    /// error says why it cannot.
    pub fn ready(&self) -> Result<(), String> {
        self.ready_as_of(&self.now())
    }

    fn ready_as_of(&self, now: &NodeStatus) -> Result<(), String> {
        match role_in(now) {
            Role::Voter => {}
            Role::Joining => {
                let (needed, met) = (now.needed, now.met.len());
                let why = format!(
                    "not admitted yet: {needed} others must have met this process, and {met} have{}",
                    unlocated(now)
                );
                return Err(self.with_cause(why, now));
            }
            Role::Newcomer => {
                let why = format!("newcomer: catching up{}", unlocated(now));
                return Err(self.with_cause(why, now));
            }
            Role::Excluded(words) => return Err(words),
        }
        let verdict = self.outcomes.verdict();
        verdict.map_err(|reason| self.with_cause(format!("{reason}; {}", surroundings(now)), now))
    }

    /// Adds to the reason why this process cannot serve what causes it, if that is known or lasts for long.
    fn with_cause(&self, why: String, now: &NodeStatus) -> String {
        match self.waiting.words(now) {
            Some(cause) => format!("{why}; {cause}"),
            None => why,
        }
    }

    /// Says that no majority has its memory any more, if this process takes part and sees that.
    pub fn lost_memory(&self) -> Option<String> {
        let now = self.now();
        let takes_part = role_in(&now) == Role::Voter;
        self.waiting.words(&now).filter(|_| takes_part)
    }

    /// Waits until this process may take part. The error says why it may not.
    pub async fn voter(&self, deadline: Instant) -> Result<(), String> {
        let voter = voter(&self.role(), deadline).await;
        voter.map_err(|why| self.with_cause(why, &self.now()))
    }

    /// Calls `tell` with the cause each time when something keeps this process from serving for long, once
    /// until that is over. Ends when the node stops.
    pub async fn watch_causes(self, tell: impl Fn(&str)) {
        let mut status = self.status.clone();
        let mut told = false;
        loop {
            // Some causes appear without any change, by time alone.
            let changed = timeout(LOOK, status.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            let now = self.now();
            let cause = self
                .waiting
                .words(&now)
                .filter(|_| self.ready_as_of(&now).is_err());
            if let Some(cause) = cause.as_ref().filter(|_| !told) {
                tell(cause);
            }
            told = cause.is_some();
        }
    }

    /// The part of `/status` that is about the cluster.
    pub fn to_json(&self) -> Value {
        let now = self.now();
        let ready = self.ready_as_of(&now);
        let role = role_in(&now);
        let excluded = match &role {
            Role::Excluded(words) => Some(words),
            Role::Joining | Role::Newcomer | Role::Voter => None,
        };
        let peers = now.peers.iter().filter(|peer| peer.process != now.me);
        let peers = peers.map(|peer| peer_to_json(&now, peer));
        let slowed = now.slowed.iter().map(|(module, by)| {
            json!({
                "module": module,
                "by": by.by.rank(),
                "owed": by.owed,
                "announced": by.announced,
            })
        });
        json!({
            "process": now.me.rank(),
            "processes": self.membership.n(),
            "majority": self.membership.majority(),
            "protection": protection(now.protection),
            "role": role.word(),
            "excluded": excluded,
            "ready": ready.is_ok(),
            "not_ready": ready.err(),
            "epoch": now.epoch,
            "leader": now.leader.map(ProcessId::rank),
            "suspected": ranks(now.suspected),
            "cut_off": ranks(now.cut_off),
            "leaving": ranks(now.leaving),
            "peers": peers.collect::<Vec<_>>(),
            "slowed": slowed.collect::<Vec<_>>(),
        })
    }
}

fn peer_to_json(now: &NodeStatus, peer: &Peer) -> Value {
    let timeout = peer.timeout.unwrap_or_default();
    let refused = match &peer.channel {
        ChannelState::Refused { reason } => Some(reason),
        _ => None,
    };
    let replaced = match peer.channel {
        ChannelState::Replaced { newcomer, .. } => Some(newcomer.to_string()),
        _ => None,
    };
    json!({
        "process": peer.process.rank(),
        "name": peer.name.to_string(),
        "address": peer.address.map(|it| it.to_string()),
        "lookup_failure": peer.lookup_failure,
        "connected": is_connected(peer),
        "identity": peer.identity,
        "incarnation": peer.incarnation.map(|it| it.to_string()),
        "suspected": now.suspected.contains(peer.process),
        "timeout_ms": {
            "floor": timeout.floor.as_millis() as u64,
            "excess": timeout.excess.as_millis() as u64,
        },
        "lost": peer.stream_ended,
        "refused": refused,
        "replaced_by": replaced,
    })
}

/// What protects the links, in one word.
fn protection(of: Protection) -> &'static str {
    match of {
        Protection::Sealed => "sealed",
        Protection::Loopback => "loopback",
        _ => "insecure",
    }
}

/// The role of a process, in one word.
fn role_of(now: &NodeStatus, peer: &Peer) -> &'static str {
    if peer.process == now.me {
        return role_in(now).word();
    }
    match &peer.channel {
        ChannelState::Replaced { .. } => "newcomer",
        _ if peer.stream_ended => "lost",
        _ if now.suspected.contains(peer.process) => "suspected",
        ChannelState::Refused { .. } => "refused",
        ChannelState::Connected { .. } => "voter",
        _ => "unknown",
    }
}

/// Names, in words, the peers whose names have not been resolved yet.
fn unlocated(now: &NodeStatus) -> String {
    let peers = now.peers.iter().filter(|peer| peer.process != now.me);
    let names = peers.filter(|peer| peer.address.is_none());
    let names: Vec<_> = names
        .map(|peer| format!("{} ({})", peer.process, peer.name))
        .collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; not found by name: {}", names.join(", ")),
    }
}

/// Says which peers are not reached, and who leads.
fn surroundings(now: &NodeStatus) -> String {
    // A peer that is itself cut off, or about to stop, is suspected although it is heard.
    let silent = now.suspected.without(now.cut_off).without(now.leaving);
    let unreached = now.peers.iter().filter(|peer| peer.process != now.me);
    let unreached = unreached.filter(|p| !is_connected(p) || silent.contains(p.process));
    let unreached: Vec<_> = unreached.map(|peer| peer.process.to_string()).collect();
    let mut words = match unreached.as_slice() {
        [] => "everybody is heard".to_owned(),
        unreached => format!("not reached: {}", unreached.join(" ")),
    };
    if now.cut_off.contains(now.me) {
        words.push_str("; cut off from a majority");
    }
    match now.leader {
        Some(leader) if leader == now.me => words.push_str("; this process is to lead"),
        Some(leader) => {
            let _ = write!(words, "; {leader} is to lead");
        }
        None => {}
    }
    words
}

#[cfg(test)]
mod tests;
