//! The view synchronies that a node can be asked for by name: each is a whole stack, the same for every
//! host.
use crate::{
    broadcasts::{Dependencies, NeedsPerfect},
    stack,
};
use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect, leader,
    link::Links,
    perfect, terminating,
    view_synchrony::{Indication, Request},
};
use quorate_consensus::{leader_driven, uniform_hierarchical};
use quorate_core::{Addr, Host, Layer};
use quorate_membership::{by_consensus, by_terminating, primary};
use std::{fmt, str::FromStr};

/// A view synchrony: an algorithm, and the stack below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Views {
    /// Primary views, over leader-driven consensus: a process that is excluded may join again.
    Primary,
    /// By uniform hierarchical consensus, over P: a process that is excluded has crashed.
    ByConsensus,
    /// The same, uniform: what any process delivers in a view, every correct process of the view delivers.
    UniformByConsensus,
    /// By terminating broadcast, over P: a process that is excluded has crashed.
    ByTerminating,
}

/// No view synchrony has the given name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no view synchrony `{0}`: choose one of {names}", names = names())]
pub struct UnknownViews(pub String);

impl Views {
    /// All view synchronies.
    pub fn all() -> impl Iterator<Item = Views> {
        let over_perfect = [
            Views::ByConsensus,
            Views::UniformByConsensus,
            Views::ByTerminating,
        ];
        [Views::Primary].into_iter().chain(over_perfect)
    }

    /// The name of its algorithm.
    pub fn name(self) -> &'static str {
        match self {
            Views::Primary => "primary-views",
            Views::ByConsensus => "views-by-consensus",
            Views::UniformByConsensus => "uniform-views",
            Views::ByTerminating => "by-terminating",
        }
    }

    /// The algorithms of its stack, top down. Two processes can only talk to each other if these are the
    /// same.
    pub fn algorithms(self) -> &'static str {
        match self {
            Views::Primary => "views:primary consensus:leader-driven",
            Views::ByConsensus => "views:by-consensus consensus:uniform-hierarchical",
            Views::UniformByConsensus => {
                "views:by-consensus-uniform consensus:uniform-hierarchical"
            }
            Views::ByTerminating => {
                "views:by-terminating group:by-consensus terminating:by-consensus \
                 consensus:uniform-hierarchical"
            }
        }
    }

    /// Whether it needs the perfect failure detector.
    pub fn needs_perfect(self) -> bool {
        self != Views::Primary
    }
}

impl FromStr for Views {
    type Err = UnknownViews;

    fn from_str(name: &str) -> Result<Self, UnknownViews> {
        let found = Views::all().find(|views| views.name() == name);
        found.ok_or_else(|| UnknownViews(name.to_owned()))
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn names() -> String {
    let names: Vec<_> = Views::all().map(Views::name).collect();
    names.join(", ")
}

/// Primary views, over leader-driven consensus.
pub fn primary_views<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    leader: &Subscribe<leader::Trust>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        leader_driven::spawn(&host, links.lane(), &links.status(), leader, up)
    };
    primary::spawn(host, links.lane(), &links.status(), consensus, detector, up)
}

/// Views by uniform hierarchical consensus, over P.
pub fn views_by_consensus<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let consensus = uniform_consensus(host, links, perfect);
    by_consensus::spawn(host, links.lane(), &links.status(), consensus, perfect, up)
}

/// Uniform views by uniform hierarchical consensus, over P.
pub fn uniform_views<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let consensus = uniform_consensus(host, links, perfect);
    by_consensus::spawn_uniform(host, links.lane(), &links.status(), consensus, perfect, up)
}

fn uniform_consensus<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
) -> impl Layer<consensus::Port> {
    move |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        uniform_hierarchical::spawn(&host, links.lane(), &links.status(), perfect, up)
    }
}

/// Views by terminating broadcast, over group membership. Both stand on uniform hierarchical consensus and
/// P.
pub fn views_by_terminating<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let terminating = |up| stack::terminating(host, links, perfect, up);
    by_terminating_over(host, links, perfect, terminating, up)
}

/// Views over the given terminating broadcast.
pub fn by_terminating_over<H: Host>(
    host: &H,
    links: &impl Links,
    perfect: &Subscribe<perfect::Crash>,
    terminating: impl Layer<terminating::Port>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let group = |up| stack::group_membership(host, links, perfect, up);
    let (lane, status) = (links.lane(), links.status());
    by_terminating::spawn(host, group, terminating, lane, &status, up)
}

/// Starts a view synchrony here.
///
/// # Errors
/// When it needs the perfect failure detector, and `below` has none.
pub fn spawn<H: Host, L: Links>(
    views: Views,
    host: &H,
    below: &Dependencies<L>,
    up: Addr<Indication>,
) -> Result<Addr<Request>, NeedsPerfect> {
    let links = &below.links;
    let detector = &below.eventually_perfect;
    let perfect = || below.perfect.as_ref().ok_or(NeedsPerfect(views.name()));
    Ok(match views {
        Views::Primary => primary_views(host, links, detector, &below.leader, up),
        Views::ByConsensus => views_by_consensus(host, links, perfect()?, up),
        Views::UniformByConsensus => uniform_views(host, links, perfect()?, up),
        Views::ByTerminating => views_by_terminating(host, links, perfect()?, up),
    })
}
