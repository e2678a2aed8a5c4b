//! The holders of the seats, and whether this process may take part.
//!
//! This module contains what a process knows of that. [`handshake`](super::handshake) and
//! [`newcomers`](super::newcomers) learn it from others and tell it to them.
use super::{AdmissionRule, LinkSettings, frame::Voter, hello::Identity};
use quorate_abstractions::lanes::{LaneId, Lanes};
use quorate_core::{Incarnation, Membership, ProcessId, ProcessSet};

/// The result of a claim to a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The seat is not in Π.
    NoMember,
    Known,
    /// A claim with a higher number is known.
    Late,
    /// Another incarnation with the same number is known.
    Conflicting,
    /// The claim is about the present holder, or about an empty seat.
    News,
    /// Another incarnation holds the seat now; this one held it before.
    Successor(Incarnation),
}

/// The seats of Π and their holders, as one process knows them, and the state of its own seat.
pub struct Seats {
    identity: Identity,
    processes: Membership,
    admission: AdmissionRule,
    /// For each lane, whether newcomers use it. `None` if no incarnation that comes after another waits to be
    /// adopted.
    open_to_newcomers: Option<Vec<bool>>,
    /// For each seat, the voter: the first incarnation that became known, or the last that was adopted.
    voters: Vec<Option<Voter>>,
    /// Whether others know an earlier incarnation of this process: it waits to be adopted.
    is_newcomer: bool,
    /// The processes that know this process as the voter of its seat.
    admitted_by: ProcessSet,
    /// Whether enough of them do. Data flows only then.
    admitted: bool,
    /// Whether this process is excluded, which never changes back.
    excluded: bool,
}

impl Seats {
    /// Only this process is known.
    pub fn new(
        settings: &LinkSettings,
        identity: Identity,
        processes: Membership,
        lanes: &Lanes,
    ) -> Self {
        let mut voters = vec![None; processes.n()];
        voters[identity.me.index()] = Some(Voter {
            incarnation: identity.incarnation,
            number: 0,
        });
        let open_to_newcomers = settings.rejoin.as_deref().map(|path| {
            let is_open = |lane: &str| {
                let rest = lane.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let names = lanes.names().iter();
            names.map(|name| is_open(name.as_str())).collect()
        });
        Seats {
            identity,
            processes,
            admission: settings.admission,
            open_to_newcomers,
            voters,
            is_newcomer: false,
            admitted_by: ProcessSet::EMPTY,
            admitted: false,
            excluded: false,
        }
    }

    /// This process.
    pub fn me(&self) -> ProcessId {
        self.identity.me
    }

    /// What this process says of itself in greetings.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Π.
    pub fn processes(&self) -> &Membership {
        &self.processes
    }

    /// Whether `p` is another process of Π.
    pub fn is_other(&self, p: ProcessId) -> bool {
        self.processes.contains(p) && p != self.identity.me
    }

    /// The holder of a seat of Π, if it is known.
    pub fn voter(&self, p: ProcessId) -> Option<Voter> {
        self.voters[p.index()]
    }

    /// The holder of this process's seat, which is not always this incarnation.
    pub fn own(&self) -> Voter {
        self.voter(self.identity.me).unwrap_or_default()
    }

    /// Whether a message may pass between this process and `p` on the lane. Newcomers have no place on lanes
    /// where nothing makes up for the promises of the incarnation before them.
    pub fn is_open_between(&self, p: ProcessId, lane: LaneId) -> bool {
        let came_later = |p| self.voter(p).is_some_and(|voter| voter.number > 0);
        let concerned = self.is_newcomer || came_later(p) || came_later(self.identity.me);
        let open = self.open_to_newcomers.iter().flatten();
        !concerned || open.copied().nth(usize::from(lane.0)).unwrap_or(false)
    }

    /// The first incarnation known of a seat is its voter, until another is adopted. Of two adopted
    /// incarnations, the later one counts.
    pub fn claim(&mut self, seat: ProcessId, voter: Voter) -> Claim {
        let me = self.identity.me;
        let Some(known) = self.voters.get_mut(seat.index()) else {
            return Claim::NoMember;
        };
        let claim = match known {
            Some(known) if *known == voter => Claim::Known,
            Some(known) if voter.number < known.number => Claim::Late,
            Some(known) if voter.number == known.number => Claim::Conflicting,
            Some(known) if known.incarnation == voter.incarnation && seat != me => Claim::News,
            Some(known) => Claim::Successor(known.incarnation),
            None => Claim::News,
        };
        if matches!(claim, Claim::News | Claim::Successor(_)) {
            *known = Some(voter);
        }
        claim
    }

    /// An incarnation of the seat has been admitted. So the incarnation known before was not admitted, and
    /// never will be.
    pub fn prefer(&mut self, seat: ProcessId, incarnation: Incarnation) {
        self.voters[seat.index()] = Some(Voter {
            incarnation,
            number: 0,
        });
    }

    /// Others know an earlier incarnation of this process: that one holds the seat, until another is adopted.
    pub fn yield_to(&mut self, known: Voter) {
        let own = &mut self.voters[self.identity.me.index()];
        if own.is_none_or(|own| known.number >= own.number) {
            *own = Some(known);
        }
    }

    /// Whether this process was adopted.
    pub fn was_adopted(&self) -> bool {
        self.own().number > 0
    }

    /// Whether this process is known to come after another, and is not adopted.
    pub fn is_newcomer(&self) -> bool {
        self.is_newcomer
    }

    /// Others know an earlier incarnation of this process.
    pub fn come_later(&mut self) {
        self.is_newcomer = true;
    }

    /// This process has been adopted into its seat.
    pub fn take_seat(&mut self) {
        self.is_newcomer = false;
    }

    /// Whether this process, if others know an earlier incarnation of it, waits instead of stopping.
    pub fn may_wait(&self) -> bool {
        self.open_to_newcomers.is_some() && !self.admitted
    }

    /// `p` knows this process as the voter of its seat.
    pub fn admitted_by(&mut self, p: ProcessId) {
        self.admitted_by.insert(p);
    }

    /// The processes that know this process as the voter of its seat, as far as they have told.
    pub fn met(&self) -> ProcessSet {
        self.admitted_by
    }

    /// Another incarnation of `p` is the voter, and has not said yet which incarnation it knows in this
    /// process's seat.
    pub fn forget(&mut self, p: ProcessId) {
        self.admitted_by.remove(p);
    }

    /// Whether enough others know this process that no other incarnation of it has been, or ever will be,
    /// admitted; or whether this one was adopted.
    pub fn is_admissible(&self) -> bool {
        let own = self.own();
        if own.number > 0 && own.incarnation == self.identity.incarnation {
            return true;
        }
        !self.is_newcomer && self.admitted_by.len() >= self.admission.others(&self.processes)
    }

    /// The messages of this process count from now on.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    /// Whether the messages of this process count.
    pub fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// This process may not take part. Returns whether that is new.
    pub fn exclude(&mut self) -> bool {
        !std::mem::replace(&mut self.excluded, true)
    }

    /// Whether this process may not take part.
    pub fn is_excluded(&self) -> bool {
        self.excluded
    }
}
