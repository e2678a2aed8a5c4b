//! The paper's example: four processes and four patterns, each of which leaves three channels.
use super::*;
use crate::testing::{Pattern, classical, patterns};

/// Everybody calls, under the pattern from this moment on; if nothing fails, all calls return.
fn run(
    seed: u64,
    pattern: Option<&Pattern>,
    access: impl Fn(&World) -> Vec<crate::testing::RequestPort>,
) -> Report {
    let mut world = World::new(4, seed, Timed::uniform(UNIT / 2, UNIT * 5)).unwrap();
    world = world.settle(PERIOD * 50);
    let all = world.membership().set();
    let returning = pattern.map_or(all, |pattern| pattern.returning);
    world.check(quorum_access("access", returning));
    let ports = access(&world);
    call(&world, &ports, seed, 6, 150);
    for (q, port) in world.processes().zip(&ports) {
        let (operation, call) = (7, Call::Get);
        world.request(
            q,
            Time::ZERO + UNIT * 160,
            port,
            Request { operation, call },
        );
    }
    if let Some(pattern) = pattern {
        let at = if seed.is_multiple_of(2) {
            0
        } else {
            seed as u32 * 13 % 120
        };
        pattern.befall(&world, Time::ZERO + UNIT * at);
    }
    world.run()
}

fn sweep(seeds: u64) {
    for seed in 0..seeds {
        let access = |world: &World| generalized(world, timed(), &figure_1(), true);
        let report = run(seed, None, access);
        assert!(report.all_hold(), "seed {seed}: {report}");
        for (number, pattern) in (1..).zip(patterns()) {
            let report = run(seed, Some(&pattern), access);
            assert!(report.all_hold(), "f{number}, seed {seed}: {report}");
            let report = run(seed, Some(&pattern), |world| classical(world, &figure_1()));
            let broken = report.violation().map(|v| &v.tag[..]);
            assert_eq!(
                broken,
                Some("QAF3"),
                "f{number}, seed {seed}, classical: {report}"
            );
        }
    }
}

#[test]
fn calls_return_where_they_can_and_classical_ones_block() {
    sweep(50);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn calls_return_where_they_can_and_classical_ones_block_over_many_seeds() {
    sweep(2000);
}
