//! The view synchronies that a node can be asked for by name: each a whole stack, the same for every
//! host.
use crate::broadcasts::{Below, NeedsPerfect};
use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect, leader,
    link::Links,
    perfect,
    view_synchrony::{Indication, Request},
};
use quorate_broadcast::best_effort;
use quorate_consensus::{leader_driven, uniform_hierarchical};
use quorate_core::{Addr, Host};
use quorate_membership::{by_consensus, primary};
use std::fmt;

/// A view synchrony: an algorithm, and what it stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Views {
    /// Primary views, over leader-driven consensus: who is excluded may join again.
    Primary,
    /// By uniform hierarchical consensus, over P: who is excluded has crashed.
    ByConsensus,
}

/// No view synchrony has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no view synchrony `{0}`: choose one of primary-views, views-by-consensus")]
pub struct UnknownViews(pub String);

impl Views {
    /// The one of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(name: &str) -> Result<Views, UnknownViews> {
        let all = [Views::Primary, Views::ByConsensus];
        let found = all.into_iter().find(|views| views.name() == name);
        found.ok_or_else(|| UnknownViews(name.to_owned()))
    }

    /// The name of its algorithm in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Views::Primary => "primary-views",
            Views::ByConsensus => "views-by-consensus",
        }
    }

    /// The algorithms of its stack, top down: two processes can only talk if theirs are the same.
    pub fn algorithms(self) -> &'static str {
        match self {
            Views::Primary => "views:primary consensus:leader-driven",
            Views::ByConsensus => "views:by-consensus consensus:uniform-hierarchical",
        }
    }

    /// Whether it needs the perfect failure detector.
    pub fn needs_perfect(self) -> bool {
        self == Views::ByConsensus
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Primary views: over leader-driven consensus.
pub fn primary_views<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    leader: &Subscribe<leader::Trust>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        leader_driven::spawn(&host, links.lane(), leader, up)
    };
    primary::spawn(host, links.lane(), consensus, detector, up)
}

/// By uniform hierarchical consensus, over P.
pub fn views_by_consensus<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        let lane = best_effort::over(links.lane());
        uniform_hierarchical::spawn(&host, lane, perfect, up)
    };
    let lane = best_effort::over(links.lane());
    by_consensus::spawn(host, lane, consensus, perfect, up)
}

/// Starts a view synchrony here.
///
/// # Errors
/// When it needs the perfect failure detector, and there is none.
pub fn spawn<H: Host, L: Links>(
    views: Views,
    host: &H,
    below: &Below<L>,
    up: Addr<Indication>,
) -> Result<Addr<Request>, NeedsPerfect> {
    let links = &below.links;
    let detector = &below.eventually_perfect;
    match (views, &below.perfect) {
        (Views::Primary, _) => Ok(primary_views(host, links, detector, &below.leader, up)),
        (Views::ByConsensus, None) => Err(NeedsPerfect(views.name())),
        (Views::ByConsensus, Some(perfect)) => Ok(views_by_consensus(host, links, perfect, up)),
    }
}
