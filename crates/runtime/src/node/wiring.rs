//! What a declared module is wired to.
use super::{group::Group, views::Order};
use crate::host::TokioHost;
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, atomic_commit, consensus, eventually_perfect,
    lattice::Lattice,
    lattice_agreement, leader,
    link::Links,
    perfect,
    pressure::{Backlog, Room, Wait},
    register, snapshot, terminating, view_synchrony,
};
use quorate_broadcast::by_consensus;
use quorate_core::{Addr, Host, ProcessId, message::Origin};
use quorate_links::perfect::PerfectLinks;
use quorate_membership::primary::{self, Ordered, put_proposal};
use quorate_registers::{lattice_agreement::Mode, multi_writer, snapshot_from_registers};
use quorate_stacks::{
    agreements::{Commit, Consensus},
    broadcasts::{self, Broadcast, Delivery, Dependencies, NeedsPerfect, TOTAL_ORDER},
    registers::Registers,
    stack,
    views::{self, Views},
};
use std::sync::Arc;
use tracing::Span;

/// What [`Wiring::snapshot`] is made of, top down.
pub(super) const SNAPSHOT: &str = "snapshot:from-registers register:multi-writer-majority";

/// What [`Wiring::lattice_agreement`] is made of, top down.
pub(super) const LATTICE_AGREEMENT: &str = "lattice-agreement:repeated snapshot:from-registers \
     register:multi-writer-majority";

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
    pub(super) reach: Subscribe<eventually_perfect::Reach>,
    /// The perfect failure detector, if the system is assumed to be synchronous.
    pub perfect: Option<Subscribe<perfect::Crash>>,
    /// How total order is configured on this node.
    pub total_order: by_consensus::OrderSettings,
    /// The span of the module, in that of the node: for what it tells the log.
    pub span: Span,
    /// The order that this module shares with replicated machines and views, if it does.
    pub(super) group: Option<Arc<Group>>,
}

impl Wiring {
    /// Starts a broadcast by its name here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn broadcast(
        &self,
        broadcast: Broadcast,
        up: Addr<Delivery>,
    ) -> Result<Addr<Bytes>, NeedsPerfect> {
        if let (TOTAL_ORDER, Some(group)) = (broadcast, &self.group) {
            return Ok(group.share_plain(up));
        }
        broadcasts::spawn(broadcast, &self.host, &self.below(), up)
    }

    /// Starts a consensus by its name here.
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

    /// Starts an atomic commit by its name here.
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

    /// Starts a view synchrony by its name here. Where this module stands on the order of the group,
    /// [primary views](Views::Primary) do.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn views(
        &self,
        views: Views,
        up: Addr<view_synchrony::Indication>,
    ) -> Result<Addr<view_synchrony::Request>, NeedsPerfect> {
        match &self.group {
            Some(group) if views == Views::Primary => Ok(self.ordered_views(group, up)),
            _ => views::spawn(views, &self.host, &self.below(), up),
        }
    }

    /// Primary views over the order.
    fn ordered_views(
        &self,
        group: &Group,
        up: Addr<view_synchrony::Indication>,
    ) -> Addr<view_synchrony::Request> {
        let (host, links) = (&self.host, &self.links);
        let undecodable = host.counters().counter(host.path(), "undecodable");
        let order = |up: Addr<Ordered>| {
            let order = Order::new(host.processes(), up, undecodable);
            let proposals = group.share(Box::new(order));
            proposals.with(|proposal: consensus::Propose| put_proposal(&proposal))
        };
        let (lane, status) = (links.lane(), links.status());
        primary::spawn_rejoining(host, lane, &status, order, &self.detector, up)
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

    /// Starts terminating broadcast over regular consensus here.
    ///
    /// # Errors
    /// When there is no perfect failure detector.
    pub fn terminating_regular(
        &self,
        up: Addr<terminating::Deliver>,
    ) -> Result<Addr<terminating::Broadcast>, NeedsPerfect> {
        let perfect = self.perfect.as_ref().ok_or(NeedsPerfect("terminating"))?;
        Ok(stack::terminating_regular(
            &self.host,
            &self.links,
            perfect,
            up,
        ))
    }

    /// Starts registers by their name here. Of those with one writer, `writer` is it.
    ///
    /// # Errors
    /// When they need the perfect failure detector, and there is none.
    pub fn registers(
        &self,
        registers: Registers,
        writer: ProcessId,
        up: Addr<register::Indication>,
    ) -> Result<Addr<register::Request>, NeedsPerfect> {
        registers.spawn(&self.host, &self.links, self.perfect.as_ref(), writer, up)
    }

    /// Starts an atomic snapshot here, over registers of its own.
    pub fn snapshot(&self, up: Addr<snapshot::Indication>) -> Addr<snapshot::Request> {
        snapshot(&self.host, &self.links, up)
    }

    /// Starts lattice agreement here, for as many proposals as are made, over a snapshot of its own.
    pub fn lattice_agreement<L: Lattice>(
        &self,
        up: Addr<lattice_agreement::Indication<L>>,
    ) -> Addr<lattice_agreement::Propose<L>> {
        let (host, links) = (self.host.at("snapshot"), self.links.at("snapshot"));
        let below = move |up| snapshot(&host, &links, up);
        quorate_registers::lattice_agreement::spawn(&self.host, Mode::Repeated, below, up)
    }

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

    fn below(&self) -> Dependencies<PerfectLinks<TokioHost>> {
        Dependencies {
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

/// An atomic snapshot over registers by majorities.
fn snapshot(
    host: &TokioHost,
    links: &PerfectLinks<TokioHost>,
    up: Addr<snapshot::Indication>,
) -> Addr<snapshot::Request> {
    let (at, lane) = (host.at("registers"), links.at("registers").lane());
    let status = links.status();
    let below = move |up| multi_writer::spawn(&at, lane, &status, up);
    snapshot_from_registers::spawn(host, below, up)
}
