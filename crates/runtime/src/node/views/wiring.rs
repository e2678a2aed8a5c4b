//! View synchrony, as it is wired.
use super::order::Order;
use crate::{
    error::StartError,
    node::{Builder, Wiring, group::Group, order::GroupUse},
};
use quorate_abstractions::{consensus, link::Links, view_synchrony};
use quorate_core::{Addr, Host};
use quorate_membership::primary::{self, Ordered, put_proposal};
use quorate_stacks::{
    needs::NeedsPerfect,
    views::{self, Views},
};

impl Wiring {
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
}

impl Builder {
    /// As [`module`](Builder::module), for one that stands on the order of the group, and talks beside it.
    pub(in crate::node) fn module_over_the_order(
        &mut self,
        name: &str,
        algorithms: &str,
        wire: impl FnOnce(Wiring) -> Result<(), StartError> + Send + 'static,
    ) -> Result<(), StartError> {
        self.declare(name, algorithms, GroupUse::Over, wire)
    }
}
