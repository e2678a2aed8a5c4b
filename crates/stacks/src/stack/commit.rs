//! Atomic commit.
use quorate_abstractions::{Subscribe, atomic_commit, consensus, link::Links, perfect};
use quorate_commit::non_blocking;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Addr, Host};

/// Non-blocking atomic commit: over uniform hierarchical consensus.
pub fn non_blocking<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<atomic_commit::Decide>,
) -> Addr<atomic_commit::Propose> {
    let (host, links) = (host.at("commit"), links.at("commit"));
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        uniform_hierarchical::spawn(&host, links.lane(), &links.status(), detector, up)
    };
    let (lane, status) = (links.lane(), links.status());
    non_blocking::spawn(&host, lane, &status, consensus, detector, up)
}
