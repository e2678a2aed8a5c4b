//! Whole stacks: which algorithm stands on which, said once, for every host.
#[cfg(feature = "agreement")]
mod commit;
#[cfg(feature = "membership")]
mod group;

#[cfg(feature = "agreement")]
pub use commit::{FROM_COMMIT, commit_of_pairs, from_commit, non_blocking};
#[cfg(feature = "membership")]
pub use group::{GROUP_MEMBERSHIP, group_membership};

use quorate_abstractions::{
    Subscribe, consensus, eventually_perfect, link::Links, perfect, reliable, terminating,
    total_order, uniform,
};
use quorate_broadcast::{best_effort, by_consensus, eager, majority_ack};
use quorate_consensus::{hierarchical, rotating, uniform_hierarchical};
use quorate_core::{Addr, Host, Layer, ProcessId};
use quorate_detectors::from_terminating;

/// The algorithms of the total-order stack, top down. Two processes can only talk to each other if these
/// are the same.
pub const TOTAL_ORDER: &str = "total-order:by-consensus uniform:majority-ack \
                               consensus:rotating-coordinator reliable:eager";

/// The algorithms of terminating broadcast's stack.
pub const TERMINATING: &str = "terminating:by-consensus consensus:uniform-hierarchical";

/// The algorithms of terminating broadcast's stack over regular consensus.
pub const TERMINATING_REGULAR: &str = "terminating:by-consensus consensus:hierarchical";

/// The algorithms of the stack of P from terminating broadcast.
pub const FROM_TERMINATING: &str = "perfect:from-terminating terminating:by-consensus \
                                    consensus:uniform-hierarchical";

/// Regular reliable broadcast: eager, over best-effort broadcast.
pub fn reliable<H: Host>(
    host: &H,
    links: &impl Links,
    up: Addr<reliable::Deliver>,
) -> Addr<reliable::Broadcast> {
    let (host, links) = (host.at("reliable"), links.at("reliable"));
    eager::spawn(&host, best_effort::over(links.lane()), up)
}

/// Uniform reliable broadcast: majority-ack.
pub fn uniform<H: Host>(
    host: &H,
    links: &impl Links,
    up: Addr<uniform::Deliver>,
) -> Addr<uniform::Broadcast> {
    let (host, links) = (host.at("uniform"), links.at("uniform"));
    majority_ack::spawn(&host, links.lane(), &links.status(), up)
}

/// Uniform consensus: rotating coordinator; decisions are broadcast by eager reliable broadcast.
pub fn consensus<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    up: Addr<consensus::Decide>,
) -> Addr<consensus::Propose> {
    let (host, links) = (host.at("consensus"), links.at("consensus"));
    let decisions = |up: Addr<reliable::Deliver>| reliable(&host, &links, up);
    rotating::spawn(
        &host,
        links.lane(),
        &links.status(),
        decisions,
        detector,
        up,
    )
}

/// Uniform total-order broadcast: by consensus, over the uniform broadcast and the consensus above.
pub fn total_order<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    settings: by_consensus::OrderSettings,
    up: Addr<total_order::Deliver>,
) -> Addr<total_order::Broadcast> {
    let (host, links) = (host.at("total-order"), links.at("total-order"));
    by_consensus::spawn(
        &host,
        settings,
        |up: Addr<uniform::Deliver>| uniform(&host, &links, up),
        |up: Addr<consensus::Decide>| consensus(&host, &links, detector, up),
        up,
    )
}

/// Terminating reliable broadcast, over best-effort broadcast, P, and one uniform hierarchical consensus
/// for each source.
pub fn terminating<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<terminating::Deliver>,
) -> Addr<terminating::Broadcast> {
    let (host, links) = (host.at("terminating"), links.at("terminating"));
    let (lane, status) = (links.lane(), links.status());
    let consensus = |source, up| consensus_of(source, &host, &links, detector).attach(up);
    quorate_broadcast::terminating::spawn(&host, lane, &status, consensus, detector, up)
}

/// Terminating reliable broadcast, over best-effort broadcast, P, and one regular hierarchical consensus
/// for each source: only correct processes agree on the outcome for a message.
pub fn terminating_regular<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<terminating::Deliver>,
) -> Addr<terminating::Broadcast> {
    let (host, links) = (host.at("terminating"), links.at("terminating"));
    let (lane, status) = (links.lane(), links.status());
    let consensus = |source: ProcessId, up| {
        let source = source.to_string();
        let (host, links) = (
            host.at(&source).at("consensus"),
            links.at(&source).at("consensus"),
        );
        hierarchical::spawn(&host, links.lane(), &links.status(), detector, up)
    };
    quorate_broadcast::terminating::spawn_regular(&host, lane, &status, consensus, detector, up)
}

/// P from terminating broadcast, which itself stands on P. It is for demonstration: it is never better than
/// the P below it.
pub fn from_terminating<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
) -> Subscribe<perfect::Crash> {
    let below = |up: Addr<terminating::Deliver>| terminating(host, links, detector, up);
    let pace = from_terminating::Interval::default();
    from_terminating::spawn(&host.at("from-terminating"), pace, below)
}

/// The consensus on the messages of a source, in terminating broadcast.
pub fn consensus_of<H: Host>(
    source: ProcessId,
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
) -> impl Layer<consensus::Port> {
    let source = source.to_string();
    let (host, links) = (
        host.at(&source).at("consensus"),
        links.at(&source).at("consensus"),
    );
    move |up| uniform_hierarchical::spawn(&host, links.lane(), &links.status(), detector, up)
}
