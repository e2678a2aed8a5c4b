//! The pictures in the documentation are those that the code draws.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Bytes;
use quorate_abstractions::uniform;
use quorate_catalogue::{
    scenario::{Layers, Scenario},
    stack,
};
use quorate_core::{ProcessId, Time};
use quorate_sim::{Crash, Svg, Timed, World, properties};
use std::{fs, path::Path, time::Duration};

/// One broadcast by p1 among five processes; p1 crashes when it has sent two of its four copies.
fn uniform_crash() -> String {
    let latency = Timed::uniform(Duration::from_millis(1), Duration::from_millis(4));
    let mut world = World::new(5, 2, latency).unwrap().keep_trace();
    world.check(properties::uniform(world.membership(), "uniform"));
    for p in world.processes() {
        let up = world.application::<uniform::Deliver>(p);
        let door = stack::uniform(&world.host(p), &world.links(p), up);
        if p.rank() == 1 {
            let payload = Bytes::from_static(b"m");
            world.request(p, Time::ZERO, &door, uniform::Broadcast { payload });
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

/// `UPDATE_GOLDEN=1` writes the picture anew.
#[test]
fn the_picture_of_a_crash_of_uniform_broadcast_is_the_one_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/diagrams/uniform-crash.svg");
    let drawn = uniform_crash();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == drawn,
        "docs/diagrams/uniform-crash.svg is stale: run this test with UPDATE_GOLDEN=1 and look at it"
    );
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
    // The coordinator decides upon an acknowledgement, its own maybe, the others upon the decision's
    // broadcast or, if they lack the payload, upon that.
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
