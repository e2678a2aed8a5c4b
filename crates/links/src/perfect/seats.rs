//! Who holds which seat, and whether this process may take part.
//!
//! What a process knows of that stands here; how it learns and tells it stands in
//! [`handshake`](super::handshake) and [`newcomers`](super::newcomers).
use super::{AdmissionRule, LinkSettings, frame::Voter, hello::Identity};
use quorate_abstractions::lanes::{LaneId, Lanes};
use quorate_core::{Incarnation, Membership, ProcessId, ProcessSet};

/// What became of a claim to a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The seat is none of Π.
    NoMember,
    Known,
    /// A later one is known.
    Late,
    /// Another of the same number is known.
    Conflicting,
    /// It is news of the incarnation that is there, or of an empty seat.
    News,
    /// Another incarnation has the seat now; before there was this one.
    Successor(Incarnation),
}

/// The seats of Π, as one process knows them, and its own.
pub struct Seats {
    identity: Identity,
    processes: Membership,
    admission: AdmissionRule,
    /// By lane, whether newcomers use it. `None`: nobody waits to be adopted who comes after another.
    open_to_newcomers: Option<Vec<bool>>,
    /// By seat, the voter: the first incarnation that became known, or the last that was adopted.
    voters: Vec<Option<Voter>>,
    /// Whether others know an earlier incarnation of this process: it waits to be adopted.
    is_newcomer: bool,
    /// Which others know this process as the voter of its seat.
    admitted_by: ProcessSet,
    /// Whether enough of them do: only then data flows.
    admitted: bool,
    /// Set once and for good: this process may not take part.
    excluded: bool,
}

impl Seats {
    /// Nothing is known but oneself.
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

    /// What this process says of itself.
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

    /// Who holds a seat of Π, as far as is known.
    pub fn voter(&self, p: ProcessId) -> Option<Voter> {
        self.voters[p.index()]
    }

    /// Who holds this process's seat: not always this start of it.
    pub fn own(&self) -> Voter {
        self.voter(self.identity.me).unwrap_or_default()
    }

    /// Whether a message may pass between this process and `p` on the lane: on some newcomers have no
    /// place, since nothing makes up there for what the incarnation before them had promised.
    pub fn is_open_between(&self, p: ProcessId, lane: LaneId) -> bool {
        let came_later = |p| self.voter(p).is_some_and(|voter| voter.number > 0);
        let concerned = self.is_newcomer || came_later(p) || came_later(self.identity.me);
        let open = self.open_to_newcomers.iter().flatten();
        !concerned || open.copied().nth(usize::from(lane.0)).unwrap_or(false)
    }

    /// The first incarnation known of a seat is its voter, until another is adopted; of two that were, the
    /// later counts.
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

    /// An incarnation of the seat has been admitted, so that the one that was known was not, and never will
    /// be.
    pub fn prefer(&mut self, seat: ProcessId, incarnation: Incarnation) {
        self.voters[seat.index()] = Some(Voter {
            incarnation,
            number: 0,
        });
    }

    /// An earlier incarnation of this process is known elsewhere: it holds the seat, until another is
    /// adopted.
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

    /// Whether an earlier incarnation of this process is no end, but a reason to wait.
    pub fn may_wait(&self) -> bool {
        self.open_to_newcomers.is_some() && !self.admitted
    }

    /// `p` knows this process as the voter of its seat.
    pub fn admitted_by(&mut self, p: ProcessId) {
        self.admitted_by.insert(p);
    }

    /// Which others know this process as the voter of its seat, as far as they have told.
    pub fn met(&self) -> ProcessSet {
        self.admitted_by
    }

    /// Another incarnation of `p` is the voter, which is yet to say whom it knows.
    pub fn forget(&mut self, p: ProcessId) {
        self.admitted_by.remove(p);
    }

    /// Whether no other incarnation of this process has been admitted, or ever will be; or whether this
    /// one was adopted.
    pub fn is_admissible(&self) -> bool {
        let own = self.own();
        if own.number > 0 && own.incarnation == self.identity.incarnation {
            return true;
        }
        !self.is_newcomer && self.admitted_by.len() >= self.admission.others(&self.processes)
    }

    /// What this process sends counts from now on.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    /// Whether it counts.
    pub fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// This process may not take part. Says whether that is new.
    pub fn exclude(&mut self) -> bool {
        !std::mem::replace(&mut self.excluded, true)
    }

    /// Whether this process may not take part.
    pub fn is_excluded(&self) -> bool {
        self.excluded
    }
}
