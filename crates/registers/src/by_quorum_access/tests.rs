mod errata;
mod figure_1;

use super::*;
use quorate_abstractions::{flooding as floods, link, link::Links};
use quorate_core::{
    Addr, Membership, ProcessSet, Random as Generator, Time,
    message::LAST_NUMBER,
    wire::{Wire, encode},
};
use quorate_quorums::{Quorums, classical, flooding, generalized};
use quorate_sim::{
    Exhaustive, Exploration, Random, Report, SimHost, Timed, UNIT, World,
    properties::shared_register,
    testing::{crash_minority, p},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const PERIOD: Duration = Duration::from_millis(20);

fn majorities(n: usize) -> Quorums {
    Quorums::majorities(&Membership::of_size(n).unwrap())
}

/// The layer below the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LowerLayer {
    Classical,
    /// Generalized access straight over the links.
    Direct,
    /// Generalized access over flooding.
    Flooding,
    /// Generalized access over flooding, which repeats what fair-loss channels lose.
    Lossy,
}

type Up = Addr<quorum_access::Indication<Registers>>;
type Calls = Addr<quorum_access::Request<Update>>;

fn access(world: &World, q: ProcessId, below: LowerLayer, quorums: &Quorums, up: Up) -> Calls {
    let (host, links) = (world.host(q).at("access"), world.links(q).at("access"));
    let (quorums, initial) = (quorums.clone(), Registers::default());
    let settings = generalized::AccessSettings {
        period: PERIOD,
        ..generalized::AccessSettings::default()
    };
    match below {
        LowerLayer::Classical => {
            classical::spawn(&host, quorums, initial, links.lane(), &links.status(), up)
        }
        LowerLayer::Direct => {
            let below = flooding::direct(links.lane());
            generalized::spawn(&host, settings, quorums, initial, below, up)
        }
        LowerLayer::Flooding | LowerLayer::Lossy => {
            let beneath = host.at("flooding");
            let flood = move |up: Addr<link::Deliver<generalized::Message<Registers>>>| -> Addr<
                floods::Request<generalized::Message<Registers>>,
            > {
                if below == LowerLayer::Flooding {
                    let settings = flooding::FloodingSettings::default();
                    return flooding::spawn(&beneath, settings, links.lane(), up);
                }
                let settings = flooding::FloodingSettings {
                    repeat: Some(UNIT * 8),
                    longest: UNIT * 60,
                    datagram: 150,
                    entry: 4000,
                };
                let lane = figure_1::lossy(&beneath, links.lane());
                flooding::spawn(&beneath, settings, lane, up)
            };
            generalized::spawn(&host, settings, quorums, initial, flood, up)
        }
    }
}

/// Registers at every process, each of which writes its indications to the log.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    below: LowerLayer,
    quorums: &Quorums,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let wire = |q| {
        let host = world.host(q).at("register");
        let access = |up| access(world, q, below, quorums, up);
        spawn_as(&host, make(&host), access, world.application(q))
    };
    world.processes().map(wire).collect()
}

fn request(register: &'static str, operation: u64, action: Action) -> Request {
    let register = Bytes::from_static(register.as_bytes());
    Request {
        register,
        operation,
        action,
    }
}

fn write(value: &str) -> Action {
    Action::Write(Bytes::copy_from_slice(value.as_bytes()))
}

/// Makes each process operate this many times, on two registers, within this many steps.
fn operate(world: &World, ports: &[Addr<Request>], seed: u64, operations: u64, steps: u32) {
    use rand::{RngExt, SeedableRng};
    let mut rng = Generator::seed_from_u64(seed);
    for (q, port) in world.processes().zip(ports) {
        for operation in 1..=operations {
            let register = if rng.random() { "x" } else { "y" };
            let action = if rng.random() {
                write(&format!("{q} {operation}"))
            } else {
                Action::Read
            };
            let at = Time::ZERO + UNIT / 4 * rng.random_range(0..4 * steps);
            world.request(q, at, port, request(register, operation, action));
        }
    }
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8 {
        for action in [Action::Read, write("1")] {
            let label = match action {
                Action::Read => "ReadReturn",
                Action::Write(_) => "WriteReturn",
            };
            let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
            let ports = wire(
                &world,
                LowerLayer::Classical,
                &majorities(n),
                ByQuorumAccess::new,
            );
            world.request(p(1), Time::ZERO, &ports[0], request("x", 1, action));
            let report = world.run();
            assert_eq!(report.counts.messages, 4 * (n as u64 - 1), "n = {n}");
            let first = world.tally(p(1), "register", label).unwrap().first;
            let steps = first.as_nanos() / UNIT.as_nanos() as u64;
            assert_eq!(steps, if n > 1 { 4 } else { 0 }, "n = {n}");
        }
    }
}

fn turbulent(seed: u64, below: LowerLayer) -> Report {
    let n = 1 + seed as usize % 5;
    let mut world = if below == LowerLayer::Classical && seed.is_multiple_of(2) {
        World::new(n, seed, Random::new()).unwrap()
    } else {
        let timed = Timed::uniform(UNIT / 2, UNIT * 6);
        World::new(n, seed, timed).unwrap().settle(PERIOD * 40)
    };
    crash_minority(&world, seed, 90);
    world.check(shared_register("register", world.membership().set()));
    let ports = wire(&world, below, &majorities(n), ByQuorumAccess::new);
    operate(&world, &ports, seed, 12, 150);
    world.run()
}

#[test]
fn every_property_holds_over_any_access_wherever_a_minority_crashes() {
    for seed in 0..200 {
        for below in [
            LowerLayer::Classical,
            LowerLayer::Direct,
            LowerLayer::Flooding,
        ] {
            let report = turbulent(seed, below);
            assert!(report.all_hold(), "seed {seed}: {report}");
        }
    }
}

/// Every schedule in which p1 writes and all others read.
fn explore(n: usize, search: Exhaustive) -> Exploration {
    search.explore(|| {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let all = world.membership().set();
        world.check(shared_register("register", all));
        let ports = wire(
            &world,
            LowerLayer::Classical,
            &majorities(n),
            ByQuorumAccess::new,
        );
        for (q, port) in world.processes().zip(&ports) {
            let action = if q == p(1) { write("1") } else { Action::Read };
            world.request(q, Time::ZERO, port, request("x", 1, action));
        }
        world
    })
}

#[test]
fn every_schedule_of_two_processes_is_right() {
    let found = explore(2, Exhaustive::new().real_time());
    assert!(found.found.is_none() && found.complete, "{found}");
}

#[test]
fn every_schedule_of_three_processes_is_right_as_deep_as_is_looked() {
    let found = explore(3, Exhaustive::new().real_time().crashes(1).depth(8));
    assert!(found.found.is_none(), "{found}");
}

/// The indications of one process, in the order of its operations.
fn outcomes(requests: Vec<Request>) -> Vec<(u64, RegisterResponse)> {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let log: Arc<Mutex<Vec<(u64, RegisterResponse)>>> = Arc::default();
    let mut ports = Vec::new();
    for q in world.processes() {
        let (host, log) = (world.host(q).at("register"), log.clone());
        let up = world.application_with(q, move |indication: Indication, _| {
            let (operation, outcome) = (indication.operation, indication.outcome);
            log.lock().unwrap().push((operation, outcome));
        });
        let access = |up| access(&world, q, LowerLayer::Classical, &majorities(2), up);
        ports.push(spawn(&host, access, up));
    }
    for request in requests {
        world.request(p(1), Time::ZERO, &ports[0], request);
    }
    world.run();
    let mut outcomes = log.lock().unwrap().clone();
    outcomes.sort_by_key(|(operation, _)| *operation);
    outcomes
}

#[test]
fn a_register_has_one_operation_at_a_time_and_others_do_not_wait() {
    let requests = vec![
        request("x", 1, write("1")),
        request("x", 2, Action::Read),
        request("y", 3, Action::Read),
    ];
    let tag = Tag {
        timestamp: 1,
        writer: Some(p(1)),
    };
    let (nothing, value) = (Tag::INITIAL, None);
    assert_eq!(
        outcomes(requests),
        [
            (1, RegisterResponse::Written { tag }),
            (2, RegisterResponse::Refused(Refusal::Busy)),
            (
                3,
                RegisterResponse::Read {
                    tag: nothing,
                    value
                }
            ),
        ]
    );
}

#[test]
fn a_timestamp_that_nobody_has_is_not_decoded() {
    for (timestamp, is_possible) in [
        (LAST_NUMBER, true),
        (LAST_NUMBER + 1, false),
        (u64::MAX, false),
    ] {
        let writer = Some(p(1));
        let tag = Tag { timestamp, writer };
        let register = Bytes::from_static(b"x");
        let mut state = Registers::default();
        state.put(&register, tag, &Bytes::new());
        assert_eq!(Registers::decode(encode(&state)).is_ok(), is_possible);
        let value = Some(Bytes::new());
        let update = Update {
            register,
            tag,
            value,
        };
        assert_eq!(Update::decode(encode(&update)).is_ok(), is_possible);
    }
}

#[test]
fn the_last_timestamp_is_not_passed() {
    let world = World::new(1, 1, Timed::lock_step()).unwrap();
    let mut register = ByQuorumAccess::new(&world.host(p(1)));
    let mut ctx =
        quorate_core::Context::new("register".into(), 1, quorate_core::Counters::default());
    register.upon(Event::Request(request("x", 1, write("1"))), &mut ctx);
    let mut state = Registers::default();
    let (timestamp, writer) = (LAST_NUMBER, Some(p(1)));
    state.put(
        &Bytes::from_static(b"x"),
        Tag { timestamp, writer },
        &Bytes::new(),
    );
    let (operation, answer) = (1, Answer::Got(vec![state]));
    let returned = quorum_access::Indication { operation, answer };
    register.upon(Event::Access(returned), &mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    let last = effects.pop();
    let Some(Effect::Return(Indication { outcome, .. })) = last else {
        panic!("{last:?}");
    };
    assert_eq!(outcome, RegisterResponse::Refused(Refusal::Exhausted));
    assert!(register.busy.is_empty() && register.pending.is_empty());
}
