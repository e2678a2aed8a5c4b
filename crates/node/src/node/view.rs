//! What this process knows of the cluster: kept up to date by the link, ◇P and Ω, read by
//! `/status`, `/readyz` and whoever must know whether this process may serve.
use quorate_abstractions::{
    eventually_perfect::Indication as Suspicion, leader::Trust, link::Status,
};
use quorate_core::{Membership, ProcessId, ProcessSet};
use quorate_links::perfect::Admission;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Whether this process takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It has been admitted: it votes and serves.
    Voter,
    /// It may neither vote nor serve, which these words explain. Final.
    Excluded(String),
}

impl Standing {
    /// What becomes of a process in this standing that is told that it may not take part.
    fn exclude(&self, reason: &str) -> Option<Standing> {
        let history = match self {
            Standing::Joining => "restarted without its memory, or shares its id with another",
            Standing::Voter => "was given up by others",
            Standing::Excluded(_) => return None,
        };
        Some(Standing::Excluded(format!(
            "this replica {history}, and may not vote or serve: {reason}"
        )))
    }
}

#[derive(Default)]
struct Peer {
    incarnation: Option<String>,
    connected: bool,
    lost: bool,
    refused: Option<String>,
    replaced: Option<String>,
}

struct State {
    peers: BTreeMap<ProcessId, Peer>,
    suspected: ProcessSet,
    leader: Option<ProcessId>,
}

/// The view. Clones share it.
#[derive(Clone)]
pub struct View {
    me: ProcessId,
    membership: Membership,
    state: Arc<Mutex<State>>,
    standing: Arc<watch::Sender<Standing>>,
}

impl View {
    /// The view of a process that has heard of nobody yet.
    pub fn new(me: ProcessId, membership: Membership) -> Self {
        let peers = membership.others(me).iter();
        let state = State {
            peers: peers.map(|p| (p, Peer::default())).collect(),
            suspected: ProcessSet::EMPTY,
            leader: None,
        };
        View {
            me,
            membership,
            state: Arc::new(Mutex::new(state)),
            standing: Arc::new(watch::Sender::new(Standing::Joining)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process takes part, and every change of it.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The link tells of a peer, or of this process's own standing.
    pub fn upon_status(&self, status: Status) {
        match status {
            Status::Connected { peer, incarnation } => {
                info!(%peer, %incarnation, "connected");
                self.update(peer, |entry| {
                    entry.connected = true;
                    entry.incarnation = Some(incarnation.to_string());
                    entry.refused = None;
                });
            }
            Status::Refused { peer, reason } => {
                let mut known = false;
                self.update(peer, |entry| {
                    known = entry.refused.as_ref() == Some(&reason);
                    entry.refused = Some(reason.clone());
                });
                if !known {
                    warn!(%peer, "refused: {reason}");
                }
            }
            Status::Lost { peer } => {
                warn!(%peer, "lost: it did not acknowledge until the queue to it was full");
                self.update(peer, |entry| {
                    entry.connected = false;
                    entry.lost = true;
                });
            }
            Status::Replaced {
                peer,
                known,
                newcomer,
            } => {
                warn!(%peer, %known, %newcomer, "restarted without its memory: it may not vote");
                self.update(peer, |entry| {
                    entry.connected = false;
                    entry.replaced = Some(newcomer.to_string());
                });
            }
            Status::Admitted => {
                info!("enough others have met this process: it votes and serves");
                self.standing.send_if_modified(|standing| {
                    let joining = *standing == Standing::Joining;
                    if joining {
                        *standing = Standing::Voter;
                    }
                    joining
                });
            }
            Status::Newcomer { by, known } => {
                info!(%by, %known, "an earlier incarnation held this slot: waiting to take its place");
            }
            Status::Excluded { by, reason } => self.upon_excluded(by, &reason),
        }
    }

    fn upon_excluded(&self, by: ProcessId, reason: &str) {
        self.standing.send_if_modified(|standing| {
            let Some(excluded) = standing.exclude(reason) else {
                return false;
            };
            if let Standing::Excluded(words) = &excluded {
                error!(%by, "{words}");
            }
            *standing = excluded;
            true
        });
    }

    fn update(&self, peer: ProcessId, change: impl FnOnce(&mut Peer)) {
        if let Some(entry) = self.state().peers.get_mut(&peer) {
            change(entry);
        }
    }

    /// ◇P suspects a process, or no longer does.
    pub fn upon_suspicion(&self, suspicion: Suspicion) {
        match suspicion {
            Suspicion::Suspect(p) => warn!(peer = %p, "suspected"),
            Suspicion::Restore(p) => info!(peer = %p, "suspected no longer"),
        }
        suspicion.apply(&mut self.state().suspected);
    }

    /// Ω trusts another leader.
    pub fn upon_trust(&self, Trust(leader): Trust) {
        info!(%leader, "trusted to lead");
        self.state().leader = Some(leader);
    }

    /// Whether this process can serve: it votes, and sees a majority. Otherwise why not.
    pub fn ready(&self) -> Result<(), String> {
        match &*self.standing.borrow() {
            Standing::Voter => {}
            Standing::Joining => {
                let needed = Admission::RestartSafe.others(&self.membership);
                return Err(format!(
                    "not admitted yet: {needed} others must have met this process"
                ));
            }
            Standing::Excluded(words) => return Err(words.clone()),
        }
        let state = self.state();
        let alive = |(p, peer): &(&ProcessId, &Peer)| {
            peer.connected && !peer.lost && !state.suspected.contains(**p)
        };
        let seen = 1 + state.peers.iter().filter(alive).count();
        let needed = self.membership.majority();
        if seen >= needed {
            Ok(())
        } else {
            Err(format!("no quorum: {seen} processes seen, {needed} needed"))
        }
    }

    /// The part of `/status` that is about the cluster.
    pub fn to_json(&self) -> Value {
        let ready = self.ready();
        let (standing, excluded) = match &*self.standing.borrow() {
            Standing::Joining => ("joining", None),
            Standing::Voter => ("voter", None),
            Standing::Excluded(words) => ("excluded", Some(words.clone())),
        };
        let state = self.state();
        let peers = state.peers.iter().map(|(p, peer)| {
            json!({
                "process": p.rank(),
                "connected": peer.connected,
                "incarnation": peer.incarnation,
                "suspected": state.suspected.contains(*p),
                "lost": peer.lost,
                "refused": peer.refused,
                "replaced_by": peer.replaced,
            })
        });
        json!({
            "process": self.me.rank(),
            "processes": self.membership.n(),
            "majority": self.membership.majority(),
            "standing": standing,
            "excluded": excluded,
            "ready": ready.is_ok(),
            "not_ready": ready.err(),
            "leader": state.leader.map(ProcessId::rank),
            "suspected": state.suspected.iter().map(ProcessId::rank).collect::<Vec<_>>(),
            "peers": peers.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests;
