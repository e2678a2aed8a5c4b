//! Every schedule of a few processes and a message or two, with every crash; and what it finds.
use super::*;
use quorate_sim::{Exhaustive, Exploration};

const LAZY_OVER_P: (Reliable, Consensus) = (Reliable::Lazy, Consensus::Hierarchical);
const LAZY_OVER_EVENTUALLY_P: (Reliable, Consensus) = (Reliable::Lazy, Consensus::Rotating);

/// Every schedule of `n` processes, of which the first so many broadcast.
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
        let doors = wire_with(&world, detectors, layers, Configuration::default());
        for (q, door) in world.processes().zip(&doors).take(broadcasts) {
            world.request(q, Time::ZERO, door, request("m"));
        }
        world
    })
}

/// Nothing is violated in any schedule with so many crashes, and there are so many classes of them.
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

/// What the search finds in a twin at two processes, over eager broadcast and the hierarchy, where
/// processes of these ranks broadcast, or in the algorithm if there is no flaw.
fn found(flaw: Option<Flaw>, senders: &[usize], crashes: usize) -> Option<String> {
    let search = Exhaustive::new().crashes(crashes).executions(2000);
    let all = search.explore(|| {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        world.check(regular(&world));
        let spawn_at = |q| {
            let (host, links) = (world.host(q).at("tob"), world.links(q));
            let perfect = world.perfect(q, Duration::ZERO);
            let below = |messages, decisions| {
                let over = best_effort::over(links.at("consensus").lane());
                let host = host.at("consensus");
                Below {
                    reliable: eager_at(&host, &links, messages),
                    consensus: hierarchical::spawn(&host, over, &perfect, decisions),
                }
            };
            let configuration = Configuration { proposal_bytes: 1 };
            start(&host, (flaw, configuration), below, world.application(q))
        };
        let doors: Vec<_> = world.processes().map(spawn_at).collect();
        for rank in senders {
            world.request(p(*rank), Time::ZERO, &doors[rank - 1], request("m"));
        }
        world
    });
    all.found.map(|found| found.violation.tag)
}

#[test]
fn the_search_finds_the_flaws_that_two_processes_and_two_messages_show() {
    let finds = |flaw, senders: &[usize], crashes| found(Some(flaw), senders, crashes);
    let tag = |tag: &str| Some(tag.to_owned());
    assert_eq!(finds(Flaw::AsTheyCome, &[1, 2], 0), tag("TOB5"));
    assert_eq!(finds(Flaw::DropsEarly, &[1, 2], 0), tag("TOB1"));
    assert_eq!(finds(Flaw::DropsLate, &[1, 2], 0), tag("TOB1"));
    assert_eq!(finds(Flaw::OnlyIfProposed, &[1], 0), tag("TOB1"));
    assert_eq!(finds(Flaw::ProposesAgain, &[2, 1], 1), tag("TOB2"));
    assert_eq!(found(None, &[1, 2], 0), None);
}
