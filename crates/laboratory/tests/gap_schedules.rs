//! Streams that end and begin anew at every step: an algorithm that claims to survive that keeps every
//! promise, and a broadcast that does not is caught.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::atomic_commit::{Propose, Vote};
use quorate_core::{ProcessId, Time};
use quorate_laboratory::{
    algorithm::{Algorithm, Substrate},
    algorithms,
    wiring::{Action, Environment, Operation, Proposal, RequestPort, Wiring},
};
use quorate_sim::{Exhaustive, Timed, Walk, World};
use std::time::Duration;

/// A world in which every process makes one request.
fn world(algorithm: &Algorithm, n: usize) -> World {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let simulation = &algorithm.simulation;
    let below = Environment::ideal(simulation.substrate, algorithm.detector, Duration::ZERO);
    for p in world.processes() {
        let wiring = Wiring::new(&world, p, &below);
        ask(&world, p, &(simulation.wire)(&wiring));
        wiring.start();
    }
    let all = (simulation.check)(world.membership()).into_iter();
    world.check(all.filter(|property| algorithm.promises(property.tag())));
    world
}

fn ask(world: &World, p: ProcessId, port: &RequestPort) {
    let value = Bytes::from(vec![p.rank() as u8]);
    match port {
        RequestPort::Broadcast(port)
        | RequestPort::Group {
            broadcast: port, ..
        } => world.request(p, Time::ZERO, port, value),
        RequestPort::Propose(port) => {
            world.request(p, Time::ZERO, port, Proposal { instance: 1, value });
        }
        RequestPort::Vote(port) => {
            let (instance, vote) = (1, Vote::Yes);
            world.request(p, Time::ZERO, port, Propose { instance, vote });
        }
        RequestPort::Operate(objects) => {
            let writes = objects.writer.is_none_or(|writer| writer == p) && p.rank() == 1;
            if !writes && !objects.readable {
                return;
            }
            let action = if writes {
                Action::Write(value)
            } else {
                Action::Read
            };
            let (number, object) = (1, 1);
            let operation = Operation {
                number,
                object,
                action,
            };
            world.request(p, Time::ZERO, &objects.operate, operation);
        }
        RequestPort::Send { .. } | RequestPort::Leave(_) | RequestPort::Nothing => {}
    }
}

/// The algorithms that survive gaps, and need no time to pass.
fn surviving() -> impl Iterator<Item = &'static Algorithm> {
    let all = algorithms::all().filter(|algorithm| algorithm.survives_gaps());
    all.filter(|algorithm| algorithm.simulation.substrate == Substrate::Links)
}

#[test]
fn no_schedule_of_two_processes_with_a_gap_breaks_who_survives_it() {
    for algorithm in surviving() {
        let search = Exhaustive::new().gaps(1).executions(20_000);
        let exploration = search.explore(|| world(algorithm, 2));
        assert!(
            exploration.found.is_none(),
            "{}: {exploration}",
            algorithm.name
        );
    }
}

#[test]
fn no_walk_with_gaps_and_a_crash_breaks_who_survives_them() {
    for algorithm in surviving() {
        for n in [2, 3] {
            let build = || world(algorithm, n);
            let most = algorithm.bound.most(build().membership()).min(1);
            Walk::new(0).gaps(3).assert_none_breaks(300, build);
            let crashing = Walk::new(0).gaps(2).crashes(most);
            crashing.assert_none_breaks(300, build);
        }
    }
}

#[test]
fn a_gap_breaks_what_says_nothing_again() {
    let best_effort = algorithms::all().find(|a| a.name == "best-effort").unwrap();
    let build = || world(best_effort, 2);
    let found = Exhaustive::new().gaps(1).explore(build).found.unwrap();
    let script = found.shrunk(build);
    assert!(script.to_string().contains("end p"), "{script}");
    assert!(Walk::new(0).gaps(1).hunt(300, build).is_some());
}
