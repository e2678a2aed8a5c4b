//! Searches every schedule of a few processes and a message or two, with every crash.
use super::*;
use quorate_core::ProcessSet;
use quorate_sim::{Exhaustive, Exploration};

const LAZY_OVER_P: (Reliable, Consensus) = (Reliable::Lazy, Consensus::Hierarchical);
const LAZY_OVER_EVENTUALLY_P: (Reliable, Consensus) = (Reliable::Lazy, Consensus::Rotating);

/// Every schedule of `n` processes, the first `broadcasts` of which broadcast.
fn explore(
    search: &Exhaustive,
    n: usize,
    layers: (Reliable, Consensus),
    broadcasts: usize,
) -> Exploration {
    search.explore(|| {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        world.check(regular(&world));
        let detectors = (&Oracle::accurate(Duration::ZERO), Duration::ZERO);
        let ports = wire_with(&world, detectors, layers, ProposalSettings::default());
        for (q, port) in world.processes().zip(&ports).take(broadcasts) {
            world.request(q, Time::ZERO, port, request("m"));
        }
        world
    })
}

/// No schedule with this many crashes violates a property, and the number of classes of schedules is as
/// given.
#[track_caller]
fn holds(n: usize, layers: (Reliable, Consensus), broadcasts: usize, crashes: usize, classes: u64) {
    let search = Exhaustive::new().crashes(crashes);
    let all = explore(&search, n, layers, broadcasts);
    all.assert_all_hold();
    assert_eq!(all.executions, classes, "{all}");
}

#[test]
fn everything_holds_in_every_schedule_over_the_hierarchy() {
    holds(2, (Reliable::Eager, Consensus::Hierarchical), 1, 1, 133);
    holds(2, LAZY_OVER_P, 1, 1, 74);
    holds(2, LAZY_OVER_P, 2, 1, 2533);
    holds(3, LAZY_OVER_P, 1, 0, 36);
}

#[test]
fn everything_holds_in_every_schedule_over_the_rotating_coordinator() {
    holds(2, LAZY_OVER_EVENTUALLY_P, 2, 0, 256);
    holds(3, LAZY_OVER_EVENTUALLY_P, 1, 0, 912);
}

/// The violation that the search finds at two processes, over eager broadcast and this consensus, where
/// processes of these ranks broadcast: in a mutant, or in the algorithm if there is no flaw.
fn found(
    search: &Exhaustive,
    flaw: Option<Flaw>,
    consensus: Consensus,
    senders: &[usize],
) -> Option<String> {
    let oracle = Oracle::accurate(Duration::ZERO);
    let all = search.explore(|| {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        world.check(regular(&world));
        let spawn_at = |q| {
            let (host, links) = (world.host(q).at("tob"), world.links(q));
            let below = |messages, decisions| {
                let (inner, lanes) = (host.at("consensus"), links.at("consensus"));
                let (over, status) = (lanes.lane(), lanes.status());
                Connected {
                    reliable: eager_at(&host, &links, messages),
                    consensus: match consensus {
                        Consensus::Hierarchical => {
                            let perfect = world.perfect(q, Duration::ZERO);
                            hierarchical::spawn(&inner, over, &status, &perfect, decisions)
                        }
                        Consensus::Rotating => {
                            let detector = world.eventually_perfect(q, &oracle);
                            rotating_at(&inner, &lanes, &detector, decisions)
                        }
                    },
                }
            };
            let settings = ProposalSettings { proposal_bytes: 1 };
            start(&host, (flaw, settings), below, world.application(q))
        };
        let ports: Vec<_> = world.processes().map(spawn_at).collect();
        for rank in senders {
            world.request(p(*rank), Time::ZERO, &ports[rank - 1], request("m"));
        }
        world
    });
    all.found.map(|found| found.violation.tag)
}

#[test]
fn the_search_finds_the_flaws_that_two_processes_and_two_messages_show() {
    let finds = |flaw, senders: &[usize], crashes| {
        let search = Exhaustive::new().crashes(crashes).executions(2000);
        found(&search, flaw, Consensus::Hierarchical, senders)
    };
    let tag = |tag: &str| Some(tag.to_owned());
    assert_eq!(finds(Some(Flaw::AsTheyCome), &[1, 2], 0), tag("TOB5"));
    assert_eq!(finds(Some(Flaw::DropsEarly), &[1, 2], 0), tag("TOB1"));
    assert_eq!(finds(Some(Flaw::DropsLate), &[1, 2], 0), tag("TOB1"));
    assert_eq!(finds(Some(Flaw::OnlyIfProposed), &[1], 0), tag("TOB1"));
    assert_eq!(finds(Some(Flaw::ProposesAgain), &[2, 1], 1), tag("TOB2"));
    assert_eq!(finds(None, &[1, 2], 0), None);
}

/// Deepens step by step: the shortest schedule is near the root, among very many longer ones.
#[test]
fn the_search_finds_the_flaws_that_a_short_schedule_shows() {
    let finds = |flaw, senders: &[usize], crashes| {
        let search = Exhaustive::new().deepening().executions(1000);
        let search = search.crashes(crashes).of(ProcessSet::from_iter([p(1)]));
        found(&search, flaw, Consensus::Hierarchical, senders)
    };
    let tag = |tag: &str| Some(tag.to_owned());
    assert_eq!(finds(Some(Flaw::CutAnywhere), &[2, 2, 2], 0), tag("FRB5"));
    assert_eq!(finds(Some(Flaw::Identifiers), &[1, 2], 1), tag("TOB1"));
    assert_eq!(finds(None, &[2, 2, 2], 0), None);
    assert_eq!(finds(None, &[1, 2], 1), None);
}

/// Over the rotating coordinator, whose instances last long enough for two messages to wait.
#[test]
fn the_search_finds_the_order_of_arrival() {
    let search = Exhaustive::new().executions(100);
    let finds = |flaw| found(&search, flaw, Consensus::Rotating, &[1, 1, 2]);
    assert_eq!(finds(Some(Flaw::ArrivalOrder)).as_deref(), Some("TOB5"));
    assert_eq!(finds(None), None);
}
