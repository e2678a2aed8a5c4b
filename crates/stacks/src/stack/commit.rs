//! Atomic commit.
use quorate_abstractions::{Subscribe, atomic_commit, consensus, link::Links, pair::Pair, perfect};
use quorate_commit::non_blocking;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Addr, Host, ProcessId};
use quorate_detectors::from_commit;

/// The algorithms of the stack of P from atomic commit.
pub const FROM_COMMIT: &str =
    "perfect:from-commit commit:non-blocking consensus:uniform-hierarchical";

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

/// Non-blocking atomic commit between this process and each other, in the pair of the two. The commit of a process
/// with itself has nothing to do.
pub fn commit_of_pairs<H: Host, L: Links>(
    host: &H,
    links: &L,
    detector: &Subscribe<perfect::Crash>,
) -> impl Fn(ProcessId, Addr<atomic_commit::Decide>) -> Addr<atomic_commit::Propose> {
    move |partner, up| {
        let Some(pair) = Pair::of(host, partner) else {
            return Addr::nowhere();
        };
        let colour = pair.colour().to_string();
        let host = pair.host(&host.at(&colour));
        let links = pair.links(&links.at(&colour));
        non_blocking(&host, &links, &pair.detector(detector), up)
    }
}

/// P from non-blocking atomic commit between the processes of each pair, which itself stands on P. It is for
/// demonstration: it is never better than the P below it.
pub fn from_commit<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
) -> Subscribe<perfect::Crash> {
    let (host, links) = (host.at("from-commit"), links.at("from-commit"));
    let pace = from_commit::Interval::default();
    from_commit::spawn(&host, pace, commit_of_pairs(&host, &links, detector))
}
