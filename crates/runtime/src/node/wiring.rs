//! What a declared module is wired to.
use crate::host::TokioHost;
use quorate_abstractions::{Subscribe, eventually_perfect, leader};
use quorate_broadcast::by_consensus;
use quorate_core::{Host, message::Origin};
use quorate_links::perfect::PerfectLinks;

/// The surroundings of one module: with these, a wiring function starts its algorithms.
#[derive(Clone)]
pub struct Wiring {
    /// The host, at the module's name.
    pub host: TokioHost,
    /// The links, at the module's name.
    pub links: PerfectLinks<TokioHost>,
    /// The failure detector ◇P.
    pub detector: Subscribe<eventually_perfect::Indication>,
    /// The leader detector Ω.
    pub leader: Subscribe<leader::Trust>,
    /// How total order is configured on this node.
    pub total_order: by_consensus::Configuration,
}

impl Wiring {
    /// What messages of this process are identified by.
    pub fn origin(&self) -> Origin {
        Origin {
            process: self.host.me(),
            incarnation: self.host.incarnation(),
        }
    }
}
