//! The pictures in the documentation are those that the code draws.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{Propose, Vote},
    uniform,
};
use quorate_core::{ProcessId, Time};
use quorate_laboratory::{
    algorithms,
    scenario::{Layers, Scenario},
    wiring::{Environment, RequestPort, Wiring},
};
use quorate_sim::{Crash, Lose, Report, Svg, Timed, Trace, UNIT, World, properties};
use quorate_stacks::stack;
use std::{fs, path::Path, time::Duration};

/// One broadcast by p1 among five processes; p1 crashes when it has sent two of its four copies.
fn uniform_crash() -> String {
    let latency = Timed::uniform(Duration::from_millis(1), Duration::from_millis(4));
    let mut world = World::new(5, 2, latency).unwrap().keep_trace();
    world.check(properties::uniform(world.membership(), "uniform"));
    for p in world.processes() {
        let up = world.application::<uniform::Deliver>(p);
        let port = stack::uniform(&world.host(p), &world.links(p), up);
        if p.rank() == 1 {
            let payload = Bytes::from_static(b"m");
            world.request(p, Time::ZERO, &port, uniform::Broadcast { payload });
        }
    }
    world.crash(ProcessId::from_rank(1).unwrap(), Crash::before_output(3));
    let report = world.run();
    report.assert_all_hold();
    Svg::default()
        .title("Majority-ack uniform broadcast: the sender crashes after two of its four copies")
        .note("5 processes, seed 2: URB1, URB2, URB3 and URB4 hold.")
        .draw(&world.trace(), 5)
}

/// All three vote yes in an atomic commit. p1 crashes half a step after the last vote has reached it, and the
/// last messages that it sent are lost.
fn commit_without_coordinator(name: &str) -> (Report, Trace) {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap().keep_trace();
    world.check(properties::atomic_commit(world.membership(), "commit"));
    let algorithm = algorithms::find(name).unwrap();
    let below = Environment::ideal(algorithm.simulation.substrate, algorithm.detector, UNIT);
    for p in world.processes() {
        let RequestPort::Vote(port) = (algorithm.simulation.wire)(&Wiring::new(&world, p, &below))
        else {
            panic!("{name} asks for votes");
        };
        let (instance, vote) = (1, Vote::Yes);
        world.request(p, Time::ZERO, &port, Propose { instance, vote });
    }
    let crash = Crash::at(Time::ZERO + UNIT * 5 / 2).losing(Lose::Everything);
    world.crash(ProcessId::from_rank(1).unwrap(), crash);
    (world.run(), world.trace())
}

/// `UPDATE_GOLDEN=1` writes the picture anew.
#[track_caller]
fn check(name: &str, drawn: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/diagrams").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == drawn,
        "docs/diagrams/{name} is stale: run this test with UPDATE_GOLDEN=1 and look at it"
    );
}

#[test]
fn the_schedule_that_blocks_two_phase_commit_does_not_block_the_other() {
    let (ended, trace) = commit_without_coordinator("non-blocking");
    ended.assert_all_hold();
    let drawn = Svg::default()
        .title("Non-blocking commit: p1 crashes when it has every vote, and the others decide")
        .note("3 processes, in lock step: NBAC1, NBAC2, NBAC3, NBAC4 and NBAC5 hold.")
        .draw(&trace, 3);
    check("non-blocking-commit.svg", &drawn);
    let (blocked, trace) = commit_without_coordinator("two-phase");
    assert_eq!(blocked.violation().unwrap().tag, "NBAC2");
    let drawn = Svg::default()
        .title("Two-phase commit: p1 crashes when it has every vote, and the others wait for ever")
        .note("3 processes, in lock step: NBAC1, NBAC3, NBAC4 and NBAC5 hold; NBAC2 does not.")
        .draw(&trace, 3);
    check("two-phase-commit.svg", &drawn);
}

#[test]
fn the_picture_of_a_crash_of_uniform_broadcast_is_the_one_in_the_docs() {
    let drawn = uniform_crash();
    check("uniform-crash.svg", &drawn);
    for p in 2..=5 {
        let why = format!("at p{p}, ");
        assert!(drawn.contains(&why));
    }
    assert_eq!(
        drawn.matches(">3 of 5: ").count(),
        2 * 4,
        "each words and their white edge"
    );
}

#[test]
fn a_delivery_of_total_order_names_the_copy_that_led_to_it_through_the_modules() {
    let scenario = Scenario {
        layers: Layers::Ideal,
        requests: 1,
        ..Scenario::of("total-order".parse().unwrap())
    };
    // The coordinator decides when an acknowledgement arrives, perhaps its own; the others decide at the
    // broadcast of the decision or, if they lack the payload, when that arrives.
    let (mut coordinator, mut own) = (0, 0);
    for seed in (0..20).step_by(2) {
        let outcome = scenario.run(seed, true).unwrap();
        let drawn = Svg::default().draw(&outcome.trace, 3);
        let deliveries = drawn
            .lines()
            .filter(|line| line.contains("total-order: Deliver"));
        let deliveries: Vec<_> = deliveries.collect();
        assert!(deliveries.len() >= 3, "seed {seed}");
        for delivery in deliveries {
            let says = |words| delivery.contains(words);
            assert!(
                says(": upon Ack #") || says(": upon Data p") || says(": by its own step"),
                "seed {seed}: {delivery}"
            );
            coordinator += u64::from(says(": upon Ack #"));
            own += u64::from(says(": by its own step"));
        }
    }
    assert!(
        coordinator >= 10 && coordinator > own,
        "{coordinator}, {own}"
    );
}
