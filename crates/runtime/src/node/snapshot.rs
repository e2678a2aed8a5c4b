//! What a node knows of its cluster.
use quorate_abstractions::{
    eventually_perfect::{Allowed, Reach, Timeout},
    leader::Trust,
    link,
    perfect::Crash,
    pressure::{Hindrance, Room},
};
use quorate_core::{Incarnation, Name, ProcessId, ProcessSet};
use std::{collections::BTreeMap, net::SocketAddr};

/// Whether a process may take part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It has been admitted.
    Admitted,
    /// The others know this process under another incarnation: it may not take part.
    Excluded {
        /// Who said so.
        by: ProcessId,
        /// Why.
        reason: String,
    },
}

/// How the way to a peer stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// Nothing was heard yet.
    Unknown,
    /// Data flows between this process and that incarnation.
    Connected {
        /// Which start of the peer.
        incarnation: Incarnation,
    },
    /// What answers at the peer's address cannot be talked to.
    Refused {
        /// Why.
        reason: String,
    },
    /// The peer owed too much for too long: the stream to that incarnation has ended, and another one has
    /// not begun yet.
    Ended {
        /// Which start of the peer.
        incarnation: Incarnation,
    },
    /// Another incarnation than the one that takes part is there.
    Replaced {
        /// The one that takes part.
        known: Incarnation,
        /// The one that is there.
        newcomer: Incarnation,
    },
}

/// A process of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The process.
    pub process: ProcessId,
    /// Where it is.
    pub address: SocketAddr,
    /// How the way to it stands; that to oneself is always unknown.
    pub way: Way,
    /// How long it may be silent before it is suspected; `None`: oneself.
    pub timeout: Option<Timeout>,
}

/// What a node knows of its cluster at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The process.
    pub me: ProcessId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Whether it may take part.
    pub standing: Standing,
    /// All processes, in rank order, oneself included.
    pub peers: Vec<Peer>,
    /// Who is known to reach less than a majority in both directions, oneself included.
    pub cut_off: ProcessSet,
    /// Who is suspected to have crashed, or to be of as little use.
    pub suspected: ProcessSet,
    /// Who is trusted to lead, which is a hint: see [`Node::leader_hint`](super::Node::leader_hint). `None`
    /// while this process is not admitted, or is excluded.
    pub leader: Option<ProcessId>,
    /// Whom the detector trusts, whether this process takes part or not.
    trusted: Option<ProcessId>,
    /// Who has crashed, as the perfect failure detector reports, where the system is
    /// [assumed to be synchronous](super::Builder::assume_synchronous).
    pub crashed: ProcessSet,
    /// The modules whose handles wait for room, each with who slows it.
    pub slowed: BTreeMap<String, Hindrance>,
}

impl Snapshot {
    /// Nothing is known yet.
    pub(crate) fn new(me: ProcessId, incarnation: Incarnation, addresses: &[SocketAddr]) -> Self {
        let peers = addresses.iter().enumerate();
        let peers = peers.filter_map(|(index, address)| {
            Some(Peer {
                process: ProcessId::from_rank(index + 1)?,
                address: *address,
                way: Way::Unknown,
                timeout: None,
            })
        });
        Snapshot {
            me,
            incarnation,
            standing: Standing::Joining,
            peers: peers.collect(),
            cut_off: ProcessSet::EMPTY,
            suspected: ProcessSet::EMPTY,
            leader: None,
            trusted: None,
            crashed: ProcessSet::EMPTY,
            slowed: BTreeMap::new(),
        }
    }

    /// The processes that data flows to and from.
    pub fn connected(&self) -> ProcessSet {
        let connected = |peer: &&Peer| matches!(peer.way, Way::Connected { .. });
        self.peers
            .iter()
            .filter(connected)
            .map(|p| p.process)
            .collect()
    }

    /// Whether this process takes part and reaches a majority in both directions.
    pub fn has_quorum(&self) -> bool {
        // Who is suspected since it is cut off itself answers this process nonetheless.
        let silent = self.suspected.without(self.cut_off);
        let mut present = self.connected().without(silent);
        present.insert(self.me);
        !self.cut_off.contains(self.me)
            && self.standing == Standing::Admitted
            && present.len() > self.peers.len() / 2
    }

    pub(crate) fn upon_status(&mut self, status: link::Status) {
        let (peer, way) = match status {
            link::Status::Connected { peer, incarnation } => (peer, Way::Connected { incarnation }),
            link::Status::Refused { peer, reason } => (peer, Way::Refused { reason }),
            link::Status::Ended { peer } => match self.way(peer) {
                Some(&Way::Connected { incarnation }) => (peer, Way::Ended { incarnation }),
                _ => return,
            },
            link::Status::Begun { peer } => match self.way(peer) {
                Some(&Way::Ended { incarnation }) => (peer, Way::Connected { incarnation }),
                _ => return,
            },
            link::Status::Replaced {
                peer,
                known,
                newcomer,
            } => (peer, Way::Replaced { known, newcomer }),
            link::Status::Admitted => {
                self.standing = Standing::Admitted;
                self.leader = self.trusted;
                return;
            }
            link::Status::Newcomer { .. } | link::Status::Gap { .. } => return,
            link::Status::Excluded { by, reason } => {
                self.standing = Standing::Excluded { by, reason };
                self.leader = None;
                return;
            }
        };
        if let Some(entry) = self.peers.get_mut(peer.index()) {
            entry.way = way;
        }
    }

    fn way(&self, peer: ProcessId) -> Option<&Way> {
        self.peers.get(peer.index()).map(|entry| &entry.way)
    }

    pub(crate) fn upon_reach(&mut self, reach: Reach) {
        self.suspected = reach.suspected;
        self.cut_off = reach.cut_off;
    }

    pub(crate) fn upon_timeout(&mut self, allowed: Allowed) {
        if let Some(entry) = self.peers.get_mut(allowed.process.index()) {
            entry.timeout = Some(allowed.timeout);
        }
    }

    pub(crate) fn upon_room(&mut self, (module, room): (Name, Room)) {
        match room {
            Room::Open => self.slowed.remove(module.as_str()),
            Room::Full(by) => self.slowed.insert(module.to_string(), by),
        };
    }

    pub(crate) fn upon_leader(&mut self, Trust(leader): Trust) {
        self.trusted = Some(leader);
        // Who does not take part knows nothing that others would act on.
        if self.standing == Standing::Admitted {
            self.leader = self.trusted;
        }
    }

    pub(crate) fn upon_crash(&mut self, Crash(process): Crash) {
        self.crashed.insert(process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_while_this_process_does_not_take_part() {
        let me = ProcessId::from_rank(1).unwrap();
        let mut now = Snapshot::new(me, Incarnation(1), &[]);
        now.upon_leader(Trust(me));
        assert_eq!(now.leader, None);
        now.upon_status(link::Status::Admitted);
        assert_eq!(now.leader, Some(me));
        now.upon_status(link::Status::Excluded {
            by: me,
            reason: "another start".to_owned(),
        });
        now.upon_leader(Trust(me));
        assert_eq!(now.leader, None);
    }
}
