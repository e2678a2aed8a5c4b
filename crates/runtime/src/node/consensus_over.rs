//! Consensus over a quorum system that is given.
use super::{Builder, Proposer, agreement::Agreement, codec::Coded, window::Limits};
use crate::error::StartError;
use quorate_abstractions::{consensus, pressure::Wait};
use quorate_core::Addr;
use quorate_stacks::quorum_system::{OPEN_VALUES, QuorumSystem, VALUE};
use std::sync::Arc;

impl Builder {
    /// Declares uniform consensus on values of type `T`, in as many instances as are used, over a quorum system:
    /// where `consensus(name, "by-quorums")` takes majorities. A value has 16 KiB at most, and this process has
    /// 64 undecided proposals of 64 KiB together at a time, if its window is not smaller; so many decisions are
    /// remembered.
    ///
    /// It decides in views that are led by the processes in turn, and last longer the longer the node runs: after
    /// an hour about 20 seconds, after a day a minute and a half. While the leader of a view has crashed, or is
    /// heard by nobody, proposals wait for the next one.
    ///
    /// # Errors
    /// As [`registers_over`](Builder::registers_over).
    pub fn consensus_over<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        system: &QuorumSystem,
    ) -> Result<Proposer<T>, StartError> {
        self.check_system(system)?;
        let (instances, bytes) = OPEN_VALUES;
        let agreement = Arc::new(Agreement::new(Limits {
            messages: self.limits.messages.min(instances),
            bytes: self.limits.bytes.min(bytes),
        }));
        let (decided, chosen) = (agreement.clone(), system.clone());
        let Coded { name, codec } = name.into();
        let algorithms = codec.of(&name, &format!("consensus:by-quorums access:{system}"));
        self.module(&name, &algorithms, move |wiring| {
            let told = decided.clone();
            let up = Addr::new(move |consensus::Decide { instance, value }| {
                told.decided(instance, value);
            });
            wiring.pressure(Wait::for_majority(), decided.pressure());
            decided.open(wiring.scope().consensus(&chosen, up));
        })?;
        self.handles.agreements.push(agreement.clone());
        Ok(Proposer::new(agreement, VALUE, false, codec))
    }
}
