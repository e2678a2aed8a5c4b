//! What this process knows of the cluster: kept up to date by the link, ◇P and Ω, read by
//! `/status`, `/readyz` and whoever must know whether this process may serve.
use super::outcomes::Outcomes;
use super::rooms::Rooms;
use quorate_abstractions::{
    eventually_perfect::{Allowed, Indication as Suspicion, Reach, Timeout},
    leader::Trust,
    link::Status,
    reconfigurable::Configuration,
};
use quorate_core::{Incarnation, Membership, ProcessId, ProcessSet, message::Origin};
use quorate_links::perfect::Admission;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout_at},
};
use tracing::{error, info, warn};

/// The most changes that whoever watches may be behind.
const CHANGES: usize = 256;

/// Whether this process takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It has been admitted: it votes and serves.
    Voter,
    /// It was started again, and waits for its slot and for the state of the others.
    Newcomer,
    /// It may neither vote nor serve, which these words explain. Final.
    Excluded(String),
}

impl Standing {
    /// Whether it is known if this process takes part.
    pub fn is_settled(&self) -> bool {
        match self {
            Standing::Joining | Standing::Newcomer => false,
            Standing::Voter | Standing::Excluded(_) => true,
        }
    }

    /// The standing in one word.
    fn word(&self) -> &'static str {
        match self {
            Standing::Joining => "joining",
            Standing::Voter => "voter",
            Standing::Newcomer => "newcomer",
            Standing::Excluded(_) => "excluded",
        }
    }

    /// What becomes of a process in this standing that is told that it may not take part.
    fn exclude(&self, reason: &str) -> Option<Standing> {
        let history = match self {
            Standing::Joining => "restarted without its memory, or shares its id with another",
            Standing::Newcomer => "was started again, and is not taken in",
            Standing::Voter => "was given up by others",
            Standing::Excluded(_) => return None,
        };
        Some(Standing::Excluded(format!(
            "this replica {history}, and may not vote or serve: {reason}"
        )))
    }
}

/// Waits until a process of this standing may take part. Otherwise why it may not.
pub async fn voter(standing: &watch::Receiver<Standing>, deadline: Instant) -> Result<(), String> {
    let mut standing = standing.clone();
    let _ = timeout_at(deadline, standing.wait_for(Standing::is_settled)).await;
    match &*standing.borrow() {
        Standing::Voter => Ok(()),
        Standing::Excluded(words) => Err(words.clone()),
        Standing::Joining => {
            Err("not admitted yet: too few others have met this replica".to_owned())
        }
        Standing::Newcomer => {
            Err("newcomer: this replica was started again and is catching up".to_owned())
        }
    }
}

#[derive(Default)]
struct Peer {
    incarnation: Option<String>,
    connected: bool,
    lost: bool,
    refused: Option<String>,
    replaced: Option<String>,
    /// How long it may be silent before it is suspected.
    timeout: Timeout,
}

struct State {
    peers: BTreeMap<ProcessId, Peer>,
    suspected: ProcessSet,
    cut_off: ProcessSet,
    leader: Option<ProcessId>,
    configuration: Configuration,
    /// Whether another incarnation of this process came before.
    came_later: bool,
}

/// The view. Clones share it.
#[derive(Clone)]
pub struct View {
    me: ProcessId,
    incarnation: Incarnation,
    membership: Membership,
    state: Arc<Mutex<State>>,
    standing: Arc<watch::Sender<Standing>>,
    changes: Arc<broadcast::Sender<Value>>,
    rooms: Rooms,
    outcomes: Outcomes,
}

fn ranks(set: ProcessSet) -> Vec<usize> {
    set.iter().map(ProcessId::rank).collect()
}

impl View {
    /// The view of a process that has heard of nobody yet. What it is asked for is to come back within the
    /// deadline.
    pub fn new(me: Origin, membership: Membership, deadline: Duration) -> Self {
        let Origin {
            process: me,
            incarnation,
        } = me;
        let peers = membership.others(me).iter();
        let state = State {
            peers: peers.map(|p| (p, Peer::default())).collect(),
            suspected: ProcessSet::EMPTY,
            cut_off: ProcessSet::EMPTY,
            leader: None,
            configuration: Configuration {
                number: 0,
                newcomers: Vec::new(),
            },
            came_later: false,
        };
        View {
            me,
            incarnation,
            membership,
            state: Arc::new(Mutex::new(state)),
            standing: Arc::new(watch::Sender::new(Standing::Joining)),
            changes: Arc::new(broadcast::Sender::new(CHANGES)),
            rooms: Rooms::default(),
            outcomes: Outcomes::new(deadline),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another incarnation of this process came before: then it has a place in total order only.
    pub fn came_later(&self) -> bool {
        self.state().came_later
    }

    /// Which modules have room.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What [`present`](Self::present) is after each change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Value> {
        self.changes.subscribe()
    }

    /// Tells whoever watches.
    fn tell(&self) {
        // Nobody may be watching.
        let _ = self.changes.send(self.present());
    }

    /// The present configuration, who leads, and who is suspected, as far as this process knows.
    pub fn present(&self) -> Value {
        let state = self.state();
        let holders = self.membership.iter().map(|p| {
            let (incarnation, before) = self.holder(&state, p);
            json!({ "slot": p.rank(), "incarnation": incarnation, "held_before": before })
        });
        json!({
            "configuration": state.configuration.number,
            "members": holders.collect::<Vec<_>>(),
            "leader": state.leader.map(ProcessId::rank),
            "suspected": ranks(state.suspected),
        })
    }

    /// The incarnation in a slot, as far as it is known, and how many were in it before.
    fn holder(&self, state: &State, slot: ProcessId) -> (Option<String>, u64) {
        let newcomers = &state.configuration.newcomers;
        if let Some((origin, before)) = newcomers.iter().find(|(o, _)| o.process == slot) {
            return (Some(origin.incarnation.to_string()), *before);
        }
        let known = match state.peers.get(&slot) {
            Some(peer) => peer.incarnation.clone(),
            // A newcomer's slot is another's, until a configuration says otherwise.
            None if *self.standing.borrow() == Standing::Newcomer => None,
            None => Some(self.incarnation.to_string()),
        };
        (known, 0)
    }

    /// Every slot, with who is in it and how it does.
    pub fn members(&self, addresses: &[String]) -> Value {
        let state = self.state();
        let members = self.membership.iter().zip(addresses).map(|(p, address)| {
            let (incarnation, before) = self.holder(&state, p);
            json!({
                "slot": p.rank(),
                "address": address,
                "incarnation": incarnation,
                "held_before": before,
                "standing": self.standing_of(&state, p),
                "leader": state.leader == Some(p),
            })
        });
        json!({
            "process": self.me.rank(),
            "configuration": state.configuration.number,
            "members": members.collect::<Vec<_>>(),
        })
    }

    /// How a process does, in one word.
    fn standing_of(&self, state: &State, p: ProcessId) -> &'static str {
        match state.peers.get(&p) {
            None => self.standing.borrow().word(),
            Some(peer) if peer.replaced.is_some() => "newcomer",
            Some(peer) if peer.lost => "lost",
            Some(_) if state.suspected.contains(p) => "suspected",
            Some(peer) if peer.refused.is_some() => "refused",
            Some(peer) if peer.connected => "voter",
            Some(_) => "unknown",
        }
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
                    let incarnation = incarnation.to_string();
                    // Who took the slot over owes nothing of what the one before did.
                    entry.lost &= entry.incarnation.as_ref() == Some(&incarnation);
                    entry.replaced = entry.replaced.take().filter(|known| *known != incarnation);
                    entry.connected = true;
                    entry.incarnation = Some(incarnation);
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
            Status::Ended { peer } => {
                warn!(%peer, "the stream to it has ended: it owed too much for too long");
                self.update(peer, |entry| entry.lost = true);
            }
            Status::Begun { peer } => {
                info!(%peer, "a stream to it has begun anew");
                self.update(peer, |entry| entry.lost = false);
            }
            Status::Gap { peer } => warn!(%peer, "some of what it sent is missing here"),
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
                self.step(&Standing::Joining, Standing::Voter);
            }
            Status::Newcomer { by, known } => {
                info!(%by, %known, "an earlier incarnation held this slot: waiting to take its place");
                self.state().came_later = true;
                self.step(&Standing::Joining, Standing::Newcomer);
            }
            Status::Excluded { by, reason } => self.upon_excluded(by, &reason),
        }
    }

    /// Goes from one standing to another, if it is in that one.
    fn step(&self, from: &Standing, to: Standing) {
        self.standing.send_if_modified(|standing| {
            let there = standing == from;
            if there {
                *standing = to;
            }
            there
        });
    }

    /// This process, a newcomer, has the state of the others.
    pub fn upon_caught_up(&self) {
        self.step(&Standing::Joining, Standing::Voter);
        self.step(&Standing::Newcomer, Standing::Voter);
    }

    /// This process, a newcomer, was given a state that it cannot read.
    pub fn upon_unreadable_state(&self, error: &str) {
        let words = format!(
            "this replica cannot read the state that it was given, and may not vote or serve: {error}"
        );
        error!("{words}");
        self.standing.send_replace(Standing::Excluded(words));
    }

    /// Others hold the slots from now on.
    pub fn upon_configuration(&self, configuration: Configuration) {
        info!(number = configuration.number, newcomers = ?configuration.newcomers, "configuration");
        {
            let mut state = self.state();
            for (origin, _) in &configuration.newcomers {
                // It is in its slot now, and not waiting for it any more.
                if let Some(peer) = state.peers.get_mut(&origin.process) {
                    let newcomer = origin.incarnation.to_string();
                    peer.replaced = peer.replaced.take().filter(|known| *known != newcomer);
                }
            }
            state.configuration = configuration;
        }
        self.tell();
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
        self.tell();
    }

    /// A peer may be silent for so long from now on.
    pub fn upon_timeout(&self, allowed: Allowed) {
        self.update(allowed.process, |entry| entry.timeout = allowed.timeout);
    }

    /// These are known to reach less than a majority.
    pub fn upon_reach(&self, Reach { cut_off, .. }: Reach) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.cut_off, cut_off);
        drop(state);
        for p in cut_off.without(before).iter() {
            warn!(process = %p, "cut off from a majority");
        }
        for p in before.without(cut_off).iter() {
            info!(process = %p, "cut off no longer");
        }
    }

    /// Ω trusts another leader.
    pub fn upon_trust(&self, Trust(leader): Trust) {
        info!(%leader, "trusted to lead");
        self.state().leader = Some(leader);
        self.tell();
    }

    /// What became of what this process was asked for.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether this process lives, as a supervisor has it: it is not excluded, for which there is no cure
    /// but that somebody acts. Otherwise why.
    pub fn live(&self) -> Result<(), String> {
        match &*self.standing.borrow() {
            Standing::Excluded(words) => Err(words.clone()),
            Standing::Joining | Standing::Newcomer | Standing::Voter => Ok(()),
        }
    }

    /// Whether this process can serve: it takes part, and what it was asked for last came back in time.
    /// Otherwise why not.
    pub fn ready(&self) -> Result<(), String> {
        match &*self.standing.borrow() {
            Standing::Voter => {}
            Standing::Joining => {
                let needed = Admission::RestartSafe.others(&self.membership);
                return Err(format!(
                    "not admitted yet: {needed} others must have met this process"
                ));
            }
            Standing::Newcomer => return Err("newcomer: catching up".into()),
            Standing::Excluded(words) => return Err(words.clone()),
        }
        let verdict = self.outcomes.verdict();
        verdict.map_err(|reason| format!("{reason}; {}", self.surroundings()))
    }

    /// Who is not reached, and who leads, in words.
    fn surroundings(&self) -> String {
        let state = self.state();
        // Who is cut off itself is suspected, but heard.
        let silent = state.suspected.without(state.cut_off);
        let unreached = state.peers.iter();
        let unreached = unreached.filter(|(p, peer)| !peer.connected || silent.contains(**p));
        let unreached: Vec<_> = unreached.map(|(p, _)| p.to_string()).collect();
        let mut words = match unreached.as_slice() {
            [] => "everybody is heard".to_owned(),
            unreached => format!("not reached: {}", unreached.join(" ")),
        };
        if state.cut_off.contains(self.me) {
            words.push_str("; cut off from a majority");
        }
        match state.leader {
            Some(leader) if leader == self.me => words.push_str("; this process is to lead"),
            Some(leader) => {
                let _ = write!(words, "; {leader} is to lead");
            }
            None => {}
        }
        words
    }

    /// The part of `/status` that is about the cluster.
    pub fn to_json(&self) -> Value {
        let ready = self.ready();
        let standing = self.standing.borrow().clone();
        let excluded = match &standing {
            Standing::Excluded(words) => Some(words),
            Standing::Joining | Standing::Newcomer | Standing::Voter => None,
        };
        let state = self.state();
        let peers = state.peers.iter().map(|(p, peer)| {
            json!({
                "process": p.rank(),
                "connected": peer.connected,
                "incarnation": peer.incarnation,
                "suspected": state.suspected.contains(*p),
                "timeout_ms": {
                    "floor": peer.timeout.floor.as_millis() as u64,
                    "excess": peer.timeout.excess.as_millis() as u64,
                },
                "lost": peer.lost,
                "refused": peer.refused,
                "replaced_by": peer.replaced,
            })
        });
        json!({
            "process": self.me.rank(),
            "processes": self.membership.n(),
            "majority": self.membership.majority(),
            "standing": standing.word(),
            "excluded": excluded,
            "ready": ready.is_ok(),
            "not_ready": ready.err(),
            "configuration": state.configuration.number,
            "leader": state.leader.map(ProcessId::rank),
            "suspected": ranks(state.suspected),
            "cut_off": ranks(state.cut_off),
            "peers": peers.collect::<Vec<_>>(),
            "slowed": self.rooms.to_json(),
        })
    }
}

#[cfg(test)]
mod tests;
