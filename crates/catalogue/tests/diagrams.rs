//! The pictures in the documentation are those that the code draws.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Bytes;
use quorate_abstractions::uniform;
use quorate_catalogue::stack;
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
