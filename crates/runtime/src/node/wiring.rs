//! What a declared module is wired to.
use crate::host::TokioHost;
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, atomic_commit, consensus, eventually_perfect, leader, perfect, terminating,
    view_synchrony,
};
use quorate_broadcast::by_consensus;
use quorate_catalogue::{
    agreements::{Commit, Consensus},
    broadcasts::{self, Below, Broadcast, Delivery, NeedsPerfect},
    stack,
    views::{self, Views},
};
use quorate_core::{Addr, Host, message::Origin};
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
    /// The perfect failure detector, if the system is assumed to be synchronous.
    pub perfect: Option<Subscribe<perfect::Crash>>,
    /// How total order is configured on this node.
    pub total_order: by_consensus::Configuration,
}

impl Wiring {
    /// Starts a broadcast of the catalogue here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn broadcast(
        &self,
        broadcast: Broadcast,
        up: Addr<Delivery>,
    ) -> Result<Addr<Bytes>, NeedsPerfect> {
        broadcasts::spawn(broadcast, &self.host, &self.below(), up)
    }

    /// Starts a consensus of the catalogue here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn consensus(
        &self,
        consensus: Consensus,
        up: Addr<consensus::Decide>,
    ) -> Result<Addr<consensus::Propose>, NeedsPerfect> {
        consensus.spawn(&self.host, &self.below(), up)
    }

    /// Starts an atomic commit of the catalogue here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn commit(
        &self,
        commit: Commit,
        up: Addr<atomic_commit::Decide>,
    ) -> Result<Addr<atomic_commit::Propose>, NeedsPerfect> {
        commit.spawn(&self.host, &self.below(), up)
    }

    /// Starts a view synchrony of the catalogue here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn views(
        &self,
        views: Views,
        up: Addr<view_synchrony::Indication>,
    ) -> Result<Addr<view_synchrony::Request>, NeedsPerfect> {
        views::spawn(views, &self.host, &self.below(), up)
    }

    /// Starts terminating broadcast here.
    ///
    /// # Errors
    /// When there is no perfect failure detector.
    pub fn terminating(
        &self,
        up: Addr<terminating::Deliver>,
    ) -> Result<Addr<terminating::Broadcast>, NeedsPerfect> {
        let perfect = self.perfect.as_ref().ok_or(NeedsPerfect("terminating"))?;
        Ok(stack::terminating(&self.host, &self.links, perfect, up))
    }

    fn below(&self) -> Below<PerfectLinks<TokioHost>> {
        Below {
            links: self.links.clone(),
            eventually_perfect: self.detector.clone(),
            leader: self.leader.clone(),
            perfect: self.perfect.clone(),
            total_order: self.total_order,
        }
    }

    /// What messages of this process are identified by.
    pub fn origin(&self) -> Origin {
        Origin {
            process: self.host.me(),
            incarnation: self.host.incarnation(),
        }
    }
}
