//! The world: exact counts, reproducibility, faults.
mod support;
use quorate_core::Time;
use quorate_sim::{Crash, Random, Timed, UNIT, World};
use support::{everywhere, p, payload};

#[test]
fn a_lock_step_run_costs_what_the_formula_says() {
    for n in 2..=7 {
        let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
        let urb = everywhere(&world, n / 2 + 1);
        world.request(p(1), Time::ZERO, &urb[0], payload("m"));
        let report = world.run();
        assert!(report.completion.complete);
        assert_eq!(report.counts.messages, (n * (n - 1)) as u64, "n = {n}");
        assert_eq!(report.counts.below("urb"), report.counts.messages);
        let steps = |rank| {
            let tally = world.tally(p(rank), "urb", "Deliver").unwrap();
            (
                tally.count,
                tally.last.since(Time::ZERO).as_nanos() / UNIT.as_nanos(),
            )
        };
        assert_eq!(steps(1), (1, 2), "n = {n}");
        assert_eq!(steps(n), (1, if n <= 3 { 1 } else { 2 }), "n = {n}");
    }
}

fn busy(seed: u64, timed: bool) -> u64 {
    let mut world = if timed {
        World::new(5, seed, Timed::uniform(UNIT, 9 * UNIT)).unwrap()
    } else {
        World::new(5, seed, Random::new()).unwrap()
    };
    let urb = everywhere(&world, 3);
    for (index, requests) in urb.iter().enumerate() {
        for k in 0..5 {
            world.request(p(index + 1), Time::ZERO + UNIT * k, requests, payload("m"));
        }
    }
    world.crash(p(2), Crash::before_output(7));
    let report = world.run();
    assert!(report.completion.complete, "{report}");
    assert_eq!(report.completion.correct.len(), 4);
    assert!(world.tally(p(1), "urb", "Deliver").unwrap().count >= 20);
    report.hash
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for timed in [true, false] {
        assert_eq!(busy(7, timed), busy(7, timed));
        assert_ne!(busy(7, timed), busy(8, timed));
    }
}
