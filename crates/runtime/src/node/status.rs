//! What a node knows of its cluster.
//!
//! Each `upon_…` takes in one piece of news, and says what has happened by it: nothing changes that is not
//! told, and nothing is told twice.
#[cfg(feature = "broadcast")]
mod group;

use super::event::NodeEvent;
use crate::peers::PeerAddress;
use quorate_abstractions::{
    eventually_perfect::{Allowed, Reach, Timeout},
    leader::Trust,
    link,
    perfect::Crash,
    pressure::{Hindrance, Room},
};
use quorate_core::{Incarnation, Name, ProcessId, ProcessSet, message::Origin};
#[cfg(feature = "rounds")]
use quorate_rounds::synchroniser::Omission;
use std::{collections::BTreeMap, mem, net::SocketAddr};

/// Whether a process may take part.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Admission {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It was started again, and waits for its seat and the state of the others.
    Newcomer,
    /// It takes part.
    Admitted,
    /// The others know this process under another incarnation, or have excluded it: it may not take part.
    /// This is final.
    Excluded {
        /// The process that said so.
        by: ProcessId,
        reason: String,
    },
    /// It was given a state that it cannot read, and stops. This is final.
    Unreadable,
}

/// What protects the links of a node from those who are no members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Protection {
    /// They are [sealed](super::Builder::sealed).
    Sealed,
    /// Nothing, but only processes of this machine can reach them.
    Loopback,
    /// Nothing: see [`insecure`](super::Builder::insecure).
    Insecure,
}

/// The state of the channel to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChannelState {
    /// No news yet, or none since the seat has another holder.
    Unknown,
    /// Data flows between this process and this incarnation of the peer.
    Connected {
        /// The incarnation of the peer with which data flows.
        incarnation: Incarnation,
    },
    /// The process at the peer's address cannot talk to this one.
    Refused { reason: String },
    /// The peer did not acknowledge too many bytes for too long: the stream to this incarnation has ended,
    /// and another one has not begun yet.
    Ended {
        /// The incarnation of the peer to which the stream led.
        incarnation: Incarnation,
    },
    /// The peer was started again, and the new incarnation does not take part.
    Replaced {
        /// The incarnation that takes part.
        known: Incarnation,
        /// The new incarnation.
        newcomer: Incarnation,
    },
}

/// A process of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Peer {
    pub process: ProcessId,
    /// The peer's entry in the list of peers.
    pub name: PeerAddress,
    /// The present address; `None` for a name that could not be resolved yet, and for this process itself
    /// if it is named.
    pub address: Option<SocketAddr>,
    /// The error of the last lookup of the peer's name; `None` if that succeeded, or if there is no name.
    pub lookup_failure: Option<String>,
    /// The state of the channel to the peer; always unknown for this process itself.
    pub channel: ChannelState,
    /// The incarnation with which data flowed last; `None` if there was none yet, or for this process
    /// itself.
    pub incarnation: Option<Incarnation>,
    /// Whether the stream to the peer has ended and another one has not begun yet, independent of `way`.
    pub stream_ended: bool,
    /// How long the peer may be silent before it is suspected; `None` for this process itself.
    pub timeout: Option<Timeout>,
    /// The incarnation that has the peer's seat, as far as is known.
    pub holder: Option<Incarnation>,
    /// The number of earlier holders of that seat, according to the group's order.
    pub held_before: u64,
    /// The fingerprint of the identity that the peer has proven in the session in use; `None` if there is no session,
    /// or if the links are not sealed.
    pub identity: Option<String>,
}

/// What a node knows of its cluster at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NodeStatus {
    pub me: ProcessId,
    /// The incarnation of this process.
    pub incarnation: Incarnation,
    pub protection: Protection,
    pub admission: Admission,
    /// Whether this process ran before with another incarnation. Then it takes part only in modules that
    /// stand on the group's order, even after it is admitted.
    pub started_again: bool,
    /// Whether this process takes part, or did so earlier.
    pub took_part: bool,
    /// The other processes that have met this one, as far as they have said so.
    pub met: ProcessSet,
    /// The number of others that must have met this process before it takes part, unless it was started
    /// again.
    pub needed: usize,
    /// All processes, in rank order, oneself included.
    pub peers: Vec<Peer>,
    /// The number of replacements of one incarnation of a process by another in the group's order; 0 if
    /// there is no such order.
    pub epoch: u64,
    /// The bytes that have arrived of an incoming state that is not complete; `None` if no state is
    /// arriving.
    pub incoming: Option<u64>,
    /// The processes, this one included, that are known to communicate in both directions with less than a
    /// majority.
    pub cut_off: ProcessSet,
    /// The processes that are suspected: they may have crashed, or are cut off from a majority.
    pub suspected: ProcessSet,
    /// The processes, this one included, that have announced that they are about to stop, are still heard,
    /// and leave a majority behind. Peers that are about to stop are suspected, too.
    pub leaving: ProcessSet,
    /// The process that is trusted to lead. This is a hint: see
    /// [`Node::leader_hint`](super::Node::leader_hint). `None` while this process does not take part.
    pub leader: Option<ProcessId>,
    /// The process that the leader detector trusts, even if this process does not take part.
    trusted: Option<ProcessId>,
    /// The processes that have crashed according to the perfect failure detector, if the system is [assumed
    /// to be synchronous](super::Builder::assume_synchronous).
    pub crashed: ProcessSet,
    /// The modules whose handles wait for room, each with the process that slows it and the reason.
    pub slowed: BTreeMap<String, Hindrance>,
    /// How many messages of each process came after the end of their round, in modules that run in synchronous
    /// rounds. Processes without any are left out.
    pub omissions: BTreeMap<ProcessId, u64>,
    /// The holders of seats that are not the first ones, each with the number of holders before it.
    newcomers: Vec<(Origin, u64)>,
}

/// Questions about the status.
impl NodeStatus {
    /// The status before any news. `needed` is the number of others that must meet this process before it
    /// takes part.
    pub fn new(
        me: ProcessId,
        incarnation: Incarnation,
        names: &[PeerAddress],
        needed: usize,
    ) -> Self {
        let peers = names.iter().enumerate();
        let peers = peers.filter_map(|(index, name)| {
            let process = ProcessId::from_rank(index + 1)?;
            Some(Peer {
                process,
                name: name.clone(),
                address: name.fixed(),
                lookup_failure: None,
                channel: ChannelState::Unknown,
                incarnation: None,
                stream_ended: false,
                timeout: None,
                holder: (process == me).then_some(incarnation),
                held_before: 0,
                identity: None,
            })
        });
        NodeStatus {
            me,
            incarnation,
            protection: Protection::Loopback,
            admission: Admission::Joining,
            started_again: false,
            took_part: false,
            met: ProcessSet::EMPTY,
            needed,
            peers: peers.collect(),
            epoch: 0,
            incoming: None,
            cut_off: ProcessSet::EMPTY,
            suspected: ProcessSet::EMPTY,
            leaving: ProcessSet::EMPTY,
            leader: None,
            trusted: None,
            crashed: ProcessSet::EMPTY,
            slowed: BTreeMap::new(),
            omissions: BTreeMap::new(),
            newcomers: Vec::new(),
        }
    }

    /// The processes with which data flows in both directions.
    pub fn connected(&self) -> ProcessSet {
        let connected = |peer: &&Peer| matches!(peer.channel, ChannelState::Connected { .. });
        self.peers
            .iter()
            .filter(connected)
            .map(|p| p.process)
            .collect()
    }

    /// Whether this process takes part and reaches a majority in both directions.
    pub fn has_quorum(&self) -> bool {
        // A process that is suspected only because it is cut off can still answer this process.
        let silent = self.suspected.without(self.cut_off);
        let mut present = self.connected().without(silent);
        present.insert(self.me);
        !self.cut_off.contains(self.me)
            && self.admission == Admission::Admitted
            && present.len() > self.peers.len() / 2
    }

    /// If so many others cannot talk to this process that the rest are too few to admit it: the first of
    /// those others, and its reason.
    pub fn kept_out(&self) -> Option<(ProcessId, &str)> {
        let others = self.peers.iter().filter(|peer| peer.process != self.me);
        let mut refused = others.filter_map(|peer| match &peer.channel {
            // A process that has met this one since then can talk to it.
            ChannelState::Refused { reason } if !self.met.contains(peer.process) => {
                Some((peer.process, reason.as_str()))
            }
            _ => None,
        });
        let left = self.peers.len() - 1 - refused.clone().count();
        let is_out = self.admission == Admission::Joining && left < self.needed;
        refused.next().filter(|_| is_out)
    }

    /// The entry of another process.
    fn other(&mut self, peer: ProcessId) -> Option<&mut Peer> {
        let me = self.me;
        let entry = self.peers.get_mut(peer.index());
        entry.filter(|entry| entry.process != me)
    }
}

/// News from lookups of names.
impl NodeStatus {
    pub(crate) fn upon_located(&mut self, peer: ProcessId, address: SocketAddr) -> Vec<NodeEvent> {
        let Some(entry) = self.other(peer) else {
            return Vec::new();
        };
        entry.lookup_failure = None;
        let before = entry.address.replace(address);
        let is_news = before != Some(address);
        Vec::from_iter(is_news.then_some(NodeEvent::Located { peer, address }))
    }

    pub(crate) fn upon_not_located(&mut self, peer: ProcessId, reason: String) -> Vec<NodeEvent> {
        let Some(entry) = self.other(peer) else {
            return Vec::new();
        };
        // The lookup is repeated: the first failure gives an event, later ones do not, even if the reason
        // differs.
        let before = entry.lookup_failure.replace(reason.clone());
        let is_news = before.is_none();
        Vec::from_iter(is_news.then_some(NodeEvent::NotLocated { peer, reason }))
    }
}

/// News from the layer that seals.
#[cfg(feature = "sealed")]
impl NodeStatus {
    pub(crate) fn upon_session(&mut self, peer: ProcessId, identity: String) -> Vec<NodeEvent> {
        let Some(entry) = self.other(peer) else {
            return Vec::new();
        };
        let before = entry.identity.replace(identity.clone());
        let is_news = before.as_ref() != Some(&identity);
        Vec::from_iter(is_news.then_some(NodeEvent::Proven { peer, identity }))
    }

    pub(crate) fn upon_session_ended(&mut self, peer: ProcessId) -> Vec<NodeEvent> {
        let before = self.other(peer).and_then(|entry| entry.identity.take());
        let ended = before.map(|identity| NodeEvent::NotListed { peer, identity });
        Vec::from_iter(ended)
    }
}

/// News from the links.
impl NodeStatus {
    pub(crate) fn upon_status(&mut self, status: link::Status) -> Vec<NodeEvent> {
        match status {
            link::Status::Connected { peer, incarnation } => self.upon_connected(peer, incarnation),
            link::Status::Refused { peer, reason } => self.upon_refused(peer, reason),
            link::Status::Ended { peer } => self.upon_ended(peer),
            link::Status::Begun { peer } => self.upon_begun(peer),
            link::Status::Gap { peer } => vec![NodeEvent::Gap { peer }],
            link::Status::Replaced {
                peer,
                known,
                newcomer,
            } => self.upon_replaced(peer, known, newcomer),
            link::Status::Admitted => match self.admission {
                Admission::Joining => self.take_part(),
                // A process that was started again has its seat then, but not the state.
                Admission::Newcomer
                | Admission::Admitted
                | Admission::Excluded { .. }
                | Admission::Unreadable => Vec::new(),
            },
            link::Status::Newcomer { by, known } => self.upon_newcomer(by, known),
            link::Status::Excluded { by, reason } => self.upon_excluded(by, reason),
        }
    }

    /// Other processes have met this one.
    pub(crate) fn upon_met(&mut self, met: ProcessSet) -> Vec<NodeEvent> {
        self.met = met;
        Vec::new()
    }

    fn upon_connected(&mut self, peer: ProcessId, incarnation: Incarnation) -> Vec<NodeEvent> {
        let Some(entry) = self.other(peer) else {
            return Vec::new();
        };
        // A new holder of the seat has not inherited the ended stream of the one before.
        entry.stream_ended &= entry.incarnation == Some(incarnation);
        entry.incarnation = Some(incarnation);
        entry.channel = if entry.stream_ended {
            ChannelState::Ended { incarnation }
        } else {
            ChannelState::Connected { incarnation }
        };
        self.note_holders();
        vec![NodeEvent::Connected { peer, incarnation }]
    }

    fn upon_refused(&mut self, peer: ProcessId, reason: String) -> Vec<NodeEvent> {
        // If the sender is no member, the event is given only once.
        if let Some(entry) = self.other(peer) {
            let channel = ChannelState::Refused {
                reason: reason.clone(),
            };
            if entry.channel == channel {
                return Vec::new();
            }
            entry.channel = channel;
        }
        vec![NodeEvent::Refused { peer, reason }]
    }

    fn upon_ended(&mut self, peer: ProcessId) -> Vec<NodeEvent> {
        if let Some(entry) = self.other(peer) {
            entry.stream_ended = true;
            if let ChannelState::Connected { incarnation } = entry.channel {
                entry.channel = ChannelState::Ended { incarnation };
            }
        }
        vec![NodeEvent::StreamEnded { peer }]
    }

    fn upon_begun(&mut self, peer: ProcessId) -> Vec<NodeEvent> {
        if let Some(entry) = self.other(peer) {
            entry.stream_ended = false;
            if let ChannelState::Ended { incarnation } = entry.channel {
                entry.channel = ChannelState::Connected { incarnation };
            }
        }
        vec![NodeEvent::StreamBegun { peer }]
    }

    fn upon_replaced(
        &mut self,
        peer: ProcessId,
        known: Incarnation,
        newcomer: Incarnation,
    ) -> Vec<NodeEvent> {
        let channel = ChannelState::Replaced { known, newcomer };
        match self.other(peer) {
            Some(entry) if entry.channel != channel => entry.channel = channel,
            _ => return Vec::new(),
        }
        vec![NodeEvent::Replaced {
            peer,
            known,
            newcomer,
        }]
    }

    fn upon_newcomer(&mut self, by: ProcessId, known: Incarnation) -> Vec<NodeEvent> {
        self.started_again = true;
        if self.admission != Admission::Joining {
            return Vec::new();
        }
        self.admission = Admission::Newcomer;
        self.note_holders();
        vec![NodeEvent::Newcomer { by, known }]
    }

    fn upon_excluded(&mut self, by: ProcessId, reason: String) -> Vec<NodeEvent> {
        match self.admission {
            Admission::Excluded { .. } | Admission::Unreadable => Vec::new(),
            Admission::Joining | Admission::Newcomer | Admission::Admitted => {
                let known = reason.clone();
                self.admission = Admission::Excluded { by, reason: known };
                self.leader = None;
                vec![NodeEvent::Excluded { by, reason }]
            }
        }
    }

    /// This process takes part from now on, so that the leader that it trusts counts.
    fn take_part(&mut self) -> Vec<NodeEvent> {
        self.admission = Admission::Admitted;
        self.took_part = true;
        self.leader = self.trusted;
        self.note_holders();
        let elected = self.leader.map(|leader| NodeEvent::Elected { leader });
        std::iter::once(NodeEvent::Admitted)
            .chain(elected)
            .collect()
    }

    pub(crate) fn upon_room(&mut self, (module, room): (Name, Room)) -> Vec<NodeEvent> {
        match room {
            Room::Open => {
                let slowed = self.slowed.remove_entry(module.as_str());
                let open = slowed.map(|(module, _)| NodeEvent::SlowedNoLonger { module });
                Vec::from_iter(open)
            }
            Room::Full(by) => {
                let module = module.to_string();
                let before = self.slowed.insert(module.clone(), by);
                // The number of bytes that are owed changes all the time, and is no news.
                if before.is_some_and(|before| before.by == by.by) {
                    return Vec::new();
                }
                vec![NodeEvent::Slowed { module, by }]
            }
        }
    }
}

/// News from the failure detectors.
impl NodeStatus {
    pub(crate) fn upon_reach(&mut self, reach: Reach) -> Vec<NodeEvent> {
        let suspected = mem::replace(&mut self.suspected, reach.suspected);
        let cut_off = mem::replace(&mut self.cut_off, reach.cut_off);
        let leaving = mem::replace(&mut self.leaving, reach.leaving);
        let (now_suspected, now_cut_off) = (reach.suspected, reach.cut_off);
        let mut events = Vec::new();
        // This event comes before the process is suspected for leaving.
        let news = reach.leaving.without(leaving).iter();
        events.extend(news.map(|process| NodeEvent::Leaving { process }));
        let news = now_suspected.without(suspected).iter();
        events.extend(news.map(|peer| NodeEvent::Suspected { peer }));
        let news = suspected.without(now_suspected).iter();
        events.extend(news.map(|peer| NodeEvent::Restored { peer }));
        let news = now_cut_off.without(cut_off).iter();
        events.extend(news.map(|process| NodeEvent::CutOff { process }));
        let news = leaving.without(reach.leaving).iter();
        events.extend(news.map(|process| NodeEvent::LeavingNoLonger { process }));
        let news = cut_off.without(now_cut_off).iter();
        events.extend(news.map(|process| NodeEvent::CutOffNoLonger { process }));
        events
    }

    pub(crate) fn upon_timeout(&mut self, allowed: Allowed) -> Vec<NodeEvent> {
        if let Some(entry) = self.peers.get_mut(allowed.process.index()) {
            entry.timeout = Some(allowed.timeout);
        }
        Vec::new()
    }

    pub(crate) fn upon_leader(&mut self, Trust(leader): Trust) -> Vec<NodeEvent> {
        self.trusted = Some(leader);
        // A process that does not take part must not give a leader on which others would act.
        if self.admission != Admission::Admitted || self.leader == self.trusted {
            return Vec::new();
        }
        self.leader = self.trusted;
        vec![NodeEvent::Elected { leader }]
    }

    pub(crate) fn upon_crash(&mut self, Crash(process): Crash) -> Vec<NodeEvent> {
        let is_news = self.crashed.insert(process);
        Vec::from_iter(is_news.then_some(NodeEvent::Crashed { process }))
    }
}

/// News from rounds.
#[cfg(feature = "rounds")]
impl NodeStatus {
    pub(crate) fn upon_omission(
        &mut self,
        module: String,
        Omission {
            instance,
            round,
            from,
        }: Omission,
    ) -> Vec<NodeEvent> {
        *self.omissions.entry(from).or_default() += 1;
        vec![NodeEvent::Omission {
            module,
            from,
            instance,
            round,
        }]
    }
}

/// Who has the seats.
impl NodeStatus {
    /// Who has the seats: as the order says; or the first ones, which are known by meeting them.
    fn note_holders(&mut self) {
        // The seat of a process that was started again belongs to its earlier start until the order says
        // otherwise.
        let has_own = self.took_part || !self.started_again;
        let own = has_own.then_some(self.incarnation);
        for peer in &mut self.peers {
            let mut newcomers = self.newcomers.iter();
            let newcomer = newcomers.find(|(origin, _)| origin.process == peer.process);
            (peer.holder, peer.held_before) = match newcomer {
                Some((origin, before)) => (Some(origin.incarnation), *before),
                None if peer.process == self.me => (own, 0),
                None => (peer.incarnation, 0),
            };
        }
    }
}

#[cfg(test)]
mod tests;
