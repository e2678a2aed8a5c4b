//! Lattice agreement by atomic snapshot: a process makes its own proposal known, and decides the join of the
//! known proposals.
//!
//! # Promises
//! - LA1 comparability, LA2 downward validity, LA3 upward validity (safety).
//! - LA4 termination (liveness): wherever operations on the snapshot return.
//!
//! # Assumes
//! Atomic snapshot. Nobody else updates its segments.
//!
//! # Messages
//! None of its own.
//!
//! # Cost
//! An update and a scan. Over snapshots from registers by majorities, if nobody else proposes: 4(2n+1)(n−1)
//! messages and 12 steps; over snapshots by classical quorum access 14(n−1) and 14 (n = 1: none). Memory: the
//! join of the process's own proposals.
//!
//! # Why it holds
//! Scans are ordered, and the contents of a segment grow, and so do the joins of the scanned segments (LA1).
//! A process's own update has returned when its scan begins, which therefore sees the update (LA2): a scan
//! before the update would miss it, and two processes could each decide only their own proposal. Segments
//! hold nothing but joins of proposals (LA3). When a process proposes again, its segment holds the join of
//! all that it has proposed; the argument is the same for all decisions together.
//!
//! # Source
//! Attiya, Herlihy, Rachman: *Atomic Snapshots Using Lattice Agreement*, 1995, and “Tight Bounds on Channel
//! Reliability via Generalized Quorum Systems”, arXiv 2505.02646, section 5. Deviations: a second proposal is
//! refused, unless proposals may be repeated.
#[cfg(any(test, feature = "mutants"))]
mod mutant;

#[cfg(any(test, feature = "mutants"))]
pub use mutant::spawn_mutant;

use bytes::Bytes;
use quorate_abstractions::{
    lattice::Lattice,
    lattice_agreement::{self, Indication, LatticeResponse, Propose, Refusal},
    snapshot::{self, View},
};
use quorate_core::{Algorithm, Ctx, ports, wire::encode};

/// How often a process may propose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Once,
    /// Again after each decision.
    Repeated,
}

/// Lattice agreement.
pub struct LatticeAgreement<L> {
    mode: Mode,
    /// Whether this process has proposed.
    has_proposed: bool,
    /// The join of this process's proposals.
    own: L,
    /// The proposal in flight.
    pending: Option<u64>,
    /// The number of operations on the snapshot begun so far; the last one may be in flight.
    begun: u64,
}

ports! {
    for<L: Lattice>;
    offers lattice_agreement::Port<L> => Propose -> Return;
    uses snapshot: snapshot::Port => Snapshot;

    /// Starts lattice agreement over atomic snapshot.
    pub fn spawn(host, mode: Mode) = LatticeAgreement::new(mode);
}

impl<L: Lattice> Algorithm for LatticeAgreement<L> {
    type Event = Event<L>;
    type Effect = Effect<L>;

    fn upon(&mut self, event: Event<L>, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { operation, value }) => {
                self.upon_propose(operation, &value, ctx);
            }
            Event::Snapshot(snapshot::Indication { operation, outcome }) => {
                if operation != self.begun {
                    return ctx.count("unknown operation");
                }
                match outcome {
                    snapshot::SnapshotResponse::Updated => {
                        self.operate(snapshot::Action::Scan, ctx);
                    }
                    snapshot::SnapshotResponse::Scanned(view) => self.upon_scanned(&view, ctx),
                    // Another user has the snapshot, or it takes no more updates: the proposal is not
                    // decided.
                    snapshot::SnapshotResponse::Refused(_) => ctx.count("refused by the snapshot"),
                }
            }
        }
    }
}

impl<L: Lattice> LatticeAgreement<L> {
    /// The algorithm.
    pub fn new(mode: Mode) -> Self {
        LatticeAgreement {
            mode,
            has_proposed: false,
            own: L::default(),
            pending: None,
            begun: 0,
        }
    }

    /// First makes the proposal known, joined to this process's earlier proposals.
    fn upon_propose(&mut self, operation: u64, value: &L, ctx: &mut Ctx<Self>) {
        let refusal = match self.mode {
            Mode::Once => self.has_proposed.then_some(Refusal::AlreadyProposed),
            Mode::Repeated => self.pending.is_some().then_some(Refusal::Busy),
        };
        if let Some(refusal) = refusal {
            let outcome = LatticeResponse::Refused(refusal);
            return ctx.trigger(Effect::Return(Indication { operation, outcome }));
        }
        self.has_proposed = true;
        self.pending = Some(operation);
        self.own.join(value);
        self.operate(snapshot::Action::Update(encode(&self.own)), ctx);
    }

    fn operate(&mut self, action: snapshot::Action, ctx: &mut Ctx<Self>) {
        self.begun += 1;
        let operation = self.begun;
        ctx.trigger(Effect::Snapshot(snapshot::Request { operation, action }));
    }

    /// Decides the join of the known proposals.
    fn upon_scanned(&mut self, view: &View, ctx: &mut Ctx<Self>) {
        let Some(operation) = self.pending.take() else {
            return ctx.count("unknown operation");
        };
        let mut decided = L::default();
        for segment in view.iter().filter(|segment| segment.sequence > 0) {
            match L::decode(Bytes::clone(&segment.value)) {
                Ok(value) => decided.join(&value),
                Err(_) => ctx.count("undecodable proposal"),
            }
        }
        let outcome = LatticeResponse::Decided(decided);
        ctx.trigger(Effect::Return(Indication { operation, outcome }));
    }
}

#[cfg(test)]
mod tests;
