//! Group membership.
use quorate_abstractions::{
    Subscribe, consensus,
    group_membership::{Indication, Request},
    link::Links,
    perfect,
};
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Addr, Host};
use quorate_membership::group;

/// The algorithms of group membership's stack.
pub const GROUP_MEMBERSHIP: &str = "group:by-consensus consensus:uniform-hierarchical";

/// Group membership, over uniform hierarchical consensus and P.
pub fn group_membership<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let (host, links) = (host.at("group"), links.at("group"));
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        uniform_hierarchical::spawn(&host, links.lane(), &links.status(), detector, up)
    };
    let (lane, status) = (links.lane(), links.status());
    group::spawn(&host, lane, &status, consensus, detector, up)
}
