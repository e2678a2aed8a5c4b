//! The handle of lattice agreement, whose decisions are ordered.
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
/// This process has one proposal in flight at a time: others wait in a queue, and the join of all that wait
/// is proposed next, for all of them. A call that is dropped while it waits in the queue has not proposed,
/// and never will. A call that is dropped while its proposal is in flight has proposed, and the queue
/// continues when that proposal is decided. While there is no majority, proposals wait for it.
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
    /// A proposer where the join of this process's proposals has at most `longest` bytes, because a message
    /// carries that join.
    pub(super) fn new(limits: Limits, longest: usize) -> Self {
        let join = |value: &mut L, next: L| value.join(&next);
        // The join of this process's proposals.
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
    /// value included, and of some proposals of other processes. Of any two decisions of any processes, one
    /// is less than or equal to the other, and no decision is less than one that was returned before its
    /// call.
    ///
    /// To propose the least value, `L::default()`, is to read.
    ///
    /// # Errors
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted);
    /// [`TooLarge`](Error::TooLarge): a message carries, for each process, the join of all its proposals,
    /// and such a join has at most the limit of messages divided by n+1;
    /// [`Unencodable`](Error::Unencodable) when the decoded value would differ from the original.
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before the proposal began: nothing was proposed. [`OutcomeUnknown`](Error::OutcomeUnknown) when it
    /// ends while the proposal is in flight: the value may be in the decisions of the others, at any time,
    /// or never.
    pub async fn propose(&self, value: &L) -> Result<L, MemoryError> {
        match self.operations.operate((), 0, value.clone()).await? {
            LatticeResponse::Decided(decision) => Ok(decision),
            // Some other code has begun a proposal that the handle does not know.
            LatticeResponse::Refused(_) => Err(MemoryError::Busy),
        }
    }

    /// Counts of this process's proposals: waiting, in flight, and returned.
    pub fn progress(&self) -> Progress {
        self.operations.progress()
    }
}

/// The join of this process's proposals and this value, if a message can carry it.
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
    /// Declares lattice agreement on values of type `L`. Processes propose as often as they like, and the
    /// decisions grow in the same way at every process. It needs no consensus: it stands on an atomic
    /// snapshot by majorities, and needs no leader and no failure detector. Proposals are decided as long
    /// as a majority is alive.
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
