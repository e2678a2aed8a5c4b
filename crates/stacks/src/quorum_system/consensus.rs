//! Consensus over a quorum system.
use super::{OPEN_VALUES, QuorumSystem, STORE, Scope, repeating};
use quorate_abstractions::{
    consensus,
    link::{Deliver, Links},
};
use quorate_consensus::{by_quorums, view_synchronizer};
use quorate_core::{Addr, Host};
use quorate_quorums::flooding as flood;

/// What a value takes beside its own bytes where a process says what it has accepted.
const ACCEPTANCE: usize = 64;

impl<H: Host + Clone, L: Links, D: Links> Scope<H, L, D> {
    /// Uniform consensus, in views that each process changes by its own clock. With generalized access it decides
    /// under each pattern where the system says that operations return.
    ///
    /// Over fair-loss lanes what a process has accepted is said in one item, which has room for values of
    /// [`VALUE`](super::VALUE) bytes, of which each process has [`OPEN_VALUES`] open.
    pub fn consensus(
        self,
        system: &QuorumSystem,
        up: Addr<consensus::Decide>,
    ) -> Addr<consensus::Propose> {
        let settings = view_synchronizer::ViewSettings::default();
        let views = view_synchronizer::spawn(&self.host.at("views"), settings);
        let beneath = self.host.at("flooding");
        let (instances, bytes) = OPEN_VALUES;
        let of_one = bytes + instances * ACCEPTANCE;
        let entry = of_one * self.host.processes().n() + STORE;
        let is_generalized = system.is_generalized();
        let (links, datagrams) = (self.links, self.datagrams);
        let flooded = move |up: Addr<Deliver<by_quorums::Message>>| {
            if is_generalized {
                repeating(&beneath, entry, &datagrams, up)
            } else {
                let (lane, status) = (links.lane(), links.status());
                flood::spawn_over_streams(&beneath, lane, &status, up)
            }
        };
        by_quorums::spawn(&self.host, system.quorums.clone(), &views, flooded, up)
    }
}
