//! What the search through every schedule of a few processes finds.
use super::*;
use quorate_core::ProcessSet;
use quorate_sim::Exhaustive;

/// The tag of the violation that the search finds over this consensus, where processes of these ranks
/// broadcast.
fn found(
    search: &Exhaustive,
    consensus: Consensus,
    n: usize,
    senders: [usize; 2],
) -> Option<String> {
    let all = search.explore(|| {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        world.check(properties::total_order(world.membership(), "tob"));
        let oracle = Oracle::accurate(Duration::ZERO);
        let ports = wire_with(&world, &oracle, consensus, OrderSettings::default());
        for rank in senders {
            let payload = Bytes::from_static(b"m");
            world.request(p(rank), Time::ZERO, &ports[rank - 1], Broadcast { payload });
        }
        world
    });
    all.found.map(|found| found.violation.tag)
}

#[test]
fn the_search_finds_decisions_taken_in_the_order_in_which_they_come() {
    let search = Exhaustive::new().executions(100);
    let finds = |consensus| found(&search, consensus, 2, [1, 2]);
    assert_eq!(finds(Consensus::Renumbered).as_deref(), Some("TOB5"));
    assert_eq!(finds(Consensus::Uniform), None);
}

#[test]
fn the_search_finds_a_consensus_that_is_not_uniform() {
    let p1 = ProcessSet::from_iter([p(1)]);
    let search = Exhaustive::new().crashes(1).of(p1).deepening();
    let search = search.executions(7000);
    let finds = |consensus| found(&search, consensus, 3, [2, 1]);
    assert_eq!(finds(Consensus::Regular).as_deref(), Some("TOB5"));
    assert_eq!(finds(Consensus::Uniform), None);
}
