//! The paper's example: four processes and four patterns, each of which leaves three channels.
use super::*;
use quorate_core::Random as Generator;
use quorate_quorums::example;
use rand::{RngExt, SeedableRng};

fn quorums() -> Quorums {
    example::figure_1().unwrap().quorums
}

/// Read and write quorums exchanged (G7-E4).
fn exchanged() -> Quorums {
    let Quorums { reads, writes } = quorums();
    Quorums {
        reads: writes,
        writes: reads,
    }
}

/// Makes everything fail that may fail under the pattern of this index. Returns the processes that must
/// decide.
fn befall(world: &World, index: usize, at: Time) -> ProcessSet {
    let example = example::figure_1().unwrap();
    let (pattern, returning) = example.pattern(index).unwrap();
    world.fail(pattern.crash, pattern.channels(), at);
    returning
}

/// Under a pattern, or none, some processes propose in three instances; the members of U decide where they
/// proposed.
fn run(seed: u64, pattern: Option<usize>, quorums: &Quorums, floods: bool) -> Report {
    let mut draw = Generator::seed_from_u64(seed);
    let adversary = Timed::uniform(UNIT / 2, UNIT * 4);
    let mut world = World::new(4, seed, adversary).unwrap().settle(UNIT * 1000);
    let all = world.membership().set();
    let late = if seed.is_multiple_of(2) {
        0
    } else {
        draw.random_range(0..60)
    };
    let returning = pattern.map_or(all, |index| befall(&world, index, step(late)));
    world.check(consensus_at(world.membership(), "consensus", returning));
    for q in world.processes() {
        let views = view_synchronizer::spawn(&world.host(q).at("views"), VIEWS);
        let port = started(&world, q, quorums, &views, floods);
        for instance in 1..=3 {
            // It may happen that only one process proposes in an instance.
            if draw.random_bool(0.6) {
                let (at, value) = (step(draw.random_range(0..60)), payload(q));
                world.request(q, at, &port, Propose { instance, value });
            }
        }
    }
    world.run()
}

fn sweep(seeds: u64) {
    let mut blocked = 0;
    for seed in 0..seeds {
        let report = run(seed, None, &quorums(), true);
        assert!(report.all_hold(), "seed {seed}: {report}");
        for index in 0..4 {
            let report = run(seed, Some(index), &quorums(), true);
            assert!(report.all_hold(), "f{}, seed {seed}: {report}", index + 1);
            let report = run(seed, Some(index), &exchanged(), true);
            let broken = report.violation().map(|v| &v.tag[..]);
            assert!(
                [None, Some("UC4")].contains(&broken),
                "seed {seed}: {report}"
            );
            blocked += u64::from(broken.is_some());
        }
    }
    // A run may also succeed, if no process outside U had to be heard of, or if failures came late.
    assert!(blocked > seeds, "{blocked} of {}", 4 * seeds);
}

#[test]
fn proposals_are_decided_where_they_can_be_and_not_with_quorums_exchanged() {
    sweep(50);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn proposals_are_decided_where_they_can_be_over_many_seeds() {
    sweep(2000);
}

/// Under f1 from the start, b alone proposes: c's state has to come to it through a (G7-E7).
fn alone(floods: bool) -> Report {
    let mut world = World::new(4, 1, Timed::lock_step())
        .unwrap()
        .settle(UNIT * 500);
    let returning = befall(&world, 0, Time::ZERO);
    world.check(consensus_at(world.membership(), "consensus", returning));
    for q in world.processes() {
        let views = view_synchronizer::spawn(&world.host(q).at("views"), VIEWS);
        let port = started(&world, q, &quorums(), &views, floods);
        if q == p(2) {
            let (instance, value) = (1, payload(q));
            world.request(q, Time::ZERO, &port, Propose { instance, value });
        }
    }
    world.run()
}

#[test]
fn uc4_is_broken_where_states_are_not_passed_on() {
    alone(true).assert_all_hold();
    let report = alone(false);
    assert_eq!(
        report.violation().map(|v| &v.tag[..]),
        Some("UC4"),
        "{report}"
    );
}
