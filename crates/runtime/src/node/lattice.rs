//! The handle of lattice agreement: what is decided can be ordered.
use super::{
    Builder, Wiring,
    operations::{Begun, Operations, Sharing},
    pending::Progress,
    segments::{longest_segment, snapshot},
    window::Limits,
};
use crate::error::{Error, MemoryError, StartError};
use quorate_abstractions::{
    lattice::Lattice,
    lattice_agreement::{Indication, LatticeResponse, Propose},
    link::Links,
    pressure::Wait,
};
use quorate_core::{Addr, Host, wire::encode};
use quorate_registers::lattice_agreement::Mode;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What [`Wiring::lattice_agreement`] is made of, top down.
pub(super) const LATTICE_AGREEMENT: &str = "lattice-agreement:repeated snapshot:from-registers \
     register:multi-writer-majority";

/// Proposes values of the join-semilattice `L` to one module of lattice agreement, again and again.
/// Clones share the module.
///
/// This process has one proposal in flight at a time: others wait in line, and the join of all that wait is
/// proposed next, for all of them. A call that is dropped while it waits in line has not proposed, and never will;
/// one that is dropped while its proposal is in flight has, and the line goes on when that is decided. Where there
/// is no majority, proposals wait for it.
pub struct LatticeProposer<L: 'static> {
    pub(super) operations: Arc<Operations<(), L, LatticeResponse<L>>>,
}

impl<L> Clone for LatticeProposer<L> {
    fn clone(&self) -> Self {
        LatticeProposer {
            operations: self.operations.clone(),
        }
    }
}

impl<L> fmt::Debug for LatticeProposer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatticeProposer").finish_non_exhaustive()
    }
}

impl<L: Lattice> LatticeProposer<L> {
    /// Of which a message carries the join of what a process has proposed, as long as this at most.
    pub(super) fn new(limits: Limits, longest: usize) -> Self {
        let join = |value: &mut L, next: L| value.join(&next);
        // What this process has proposed.
        let own = Mutex::new(L::default());
        let admit = move |(): &(), value: &L| {
            let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
            *own = joined(&*own, value, longest)?;
            Ok(())
        };
        let operations = Operations::new(limits, Sharing::joined(join)).admitting(admit);
        LatticeProposer {
            operations: Arc::new(operations),
        }
    }

    /// Proposes a value, and waits for a decision: the join of all that this process has proposed, this
    /// value included, and of some of what the others have. Of any two decisions of any processes, one is
    /// at most the other, and no decision is less than one that was returned before its call.
    ///
    /// To propose the least value, `L::default()`, is to read.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge): a
    /// message carries of each process the join of all that it has proposed, and the limit of such a join is that
    /// of messages by n+1; [`Unencodable`](Error::Unencodable) when the value does not come back from the codec as
    /// it was. [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended before it
    /// began: nothing was proposed. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while the proposal is in
    /// flight: the value may be in what the others decide, at any time, or never.
    pub async fn propose(&self, value: &L) -> Result<L, MemoryError> {
        match self.operations.operate((), 0, value.clone()).await? {
            LatticeResponse::Decided(decision) => Ok(decision),
            // A proposal has begun that the handle knows nothing of.
            LatticeResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// How far the proposals of this process have come.
    pub fn progress(&self) -> Progress {
        self.operations.progress()
    }
}

/// What this process has proposed, with this value, if a message carries it.
fn joined<L: Lattice>(own: &L, value: &L, limit: usize) -> Result<L, MemoryError> {
    let mut joined = own.clone();
    joined.join(value);
    let encoded = encode(&joined);
    let size = encoded.len();
    if size > limit {
        return Err(Error::TooLarge { size, limit }.into());
    }
    match L::decode(encoded) {
        Ok(decoded) if decoded == joined => Ok(joined),
        _ => Err(Error::Unencodable.into()),
    }
}

/// Lattice agreement.
impl Wiring {
    /// Starts lattice agreement here, for as many proposals as are made, over a snapshot of its own.
    pub fn lattice_agreement<L: Lattice>(&self, up: Addr<Indication<L>>) -> Addr<Propose<L>> {
        let (host, links) = (self.host.at("snapshot"), self.links.at("snapshot"));
        let below = move |up| snapshot(&host, &links, up);
        quorate_registers::lattice_agreement::spawn(&self.host, Mode::Repeated, below, up)
    }
}

/// Lattice agreement.
impl Builder {
    /// Declares lattice agreement on values of type `L`, of which processes propose as often as they like:
    /// what is decided grows, the same way for everybody. It needs no consensus: over an atomic snapshot by
    /// majorities, without a leader or a detector. Proposals are decided as long as a majority lives.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn lattice_agreement<L: Lattice>(
        &mut self,
        name: &str,
    ) -> Result<LatticeProposer<L>, StartError> {
        let proposer = LatticeProposer::new(self.limits, longest_segment(self));
        let told = proposer.operations.clone();
        self.module(name, LATTICE_AGREEMENT, move |wiring| {
            let returned = told.clone();
            let up = Addr::new(move |indication: Indication<L>| {
                let Indication { operation, outcome } = indication;
                returned.returned(&(), operation, outcome);
            });
            wiring.pressure(Wait::for_majority(), told.pressure());
            let port = wiring.lattice_agreement(up);
            told.open(port.with(|begun: Begun<(), L>| Propose {
                operation: begun.operation,
                value: begun.action,
            }));
        })?;
        self.handles.agreements.push(proposer.operations.clone());
        Ok(proposer)
    }
}
