//! What a declared module is wired to.
use super::order::Group;
#[cfg(feature = "rounds")]
use super::sight::Sight;
use crate::host::TokioHost;
use quorate_abstractions::{
    Subscribe, eventually_perfect, leader, perfect,
    pressure::{Backlog, Room, Wait},
};
use quorate_core::{Addr, Host, message::Origin};
use quorate_links::perfect::PerfectLinks;
use std::sync::Arc;
#[cfg(feature = "rounds")]
use std::sync::Weak;
use tracing::Span;

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
    /// Whom ◇P suspects, and who is cut off.
    #[cfg(feature = "broadcast")]
    pub(super) reach: Subscribe<eventually_perfect::Reach>,
    /// What the node knows of its cluster.
    #[cfg(feature = "broadcast")]
    pub(super) status: tokio::sync::watch::Receiver<super::NodeStatus>,
    /// The perfect failure detector, if the system is assumed to be synchronous.
    pub perfect: Option<Subscribe<perfect::Crash>>,
    /// How total order is configured on this node.
    #[cfg(feature = "broadcast")]
    pub total_order: quorate_broadcast::by_consensus::OrderSettings,
    /// The span of the module, in that of the node: for what it tells the log.
    pub span: Span,
    /// Where the module reports what the status of the node shows.
    #[cfg(feature = "rounds")]
    pub(super) sight: Weak<Sight>,
    /// The order that this module shares with replicated machines and views, if it shares one.
    pub(super) group: Option<Arc<Group>>,
}

impl Wiring {
    /// Has `up` told whether the module may send, where it waits for others as `wait` says; what comes back
    /// is where it says how far its own user is behind.
    pub fn pressure(&self, wait: Wait, up: Addr<Room>) -> Addr<Backlog> {
        let Some(group) = &self.group else {
            self.links.pressure(wait, up);
            return self.links.backlog();
        };
        self.links.pressure(group.wait(), up);
        group.backlog()
    }

    /// What messages of this process are identified by.
    pub fn origin(&self) -> Origin {
        Origin {
            process: self.host.me(),
            incarnation: self.host.incarnation(),
        }
    }
}
