mod errata;

use super::*;
use crate::{
    multi_writer,
    testing::{
        memory::{Kind, memory},
        p,
        snapshots::{Users, assert_holds_in_turbulence, cost},
    },
};
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Context, Counters};
use quorate_sim::{Exhaustive, Exploration, Report, SimHost, Timed, World, properties};

/// The layer below the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LowerLayer {
    Memory(Kind),
    MultiWriter,
}

/// Wires an algorithm with these events and effects at every process.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    below: LowerLayer,
    users: &Users,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let all = world.membership().set();
    world.check(properties::atomic_snapshot("register", all));
    let wire = |q| {
        let host = world.host(q).at("register");
        let (algorithm, up) = (make(&host), users.application(world, q));
        match below {
            LowerLayer::Memory(kind) => spawn_as(&host, algorithm, memory(world, q, kind), up),
            LowerLayer::MultiWriter => {
                let (below, links) = (host.at("below"), world.links(q).at("below"));
                let registers = |up: Addr<register::Indication>| {
                    multi_writer::spawn(&below, links.lane(), &links.status(), up)
                };
                spawn_as(&host, algorithm, registers, up)
            }
        }
    };
    world.processes().map(wire).collect()
}

/// The algorithm at every process.
fn wire_all(world: &World, users: &Users) -> Vec<Addr<Request>> {
    wire(
        world,
        LowerLayer::MultiWriter,
        users,
        SnapshotFromRegisters::new,
    )
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let some = u64::from(n > 1);
        let scan = cost(wire_all, n as usize, "s", "ScanReturn");
        assert_eq!(scan, (4 * n * (n - 1), 4 * some), "n = {n}");
        let update = cost(wire_all, n as usize, "u", "UpdateReturn");
        assert_eq!(update, (4 * (n + 1) * (n - 1), 8 * some), "n = {n}");
    }
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    assert_holds_in_turbulence(wire_all, "borrowed views");
}

/// Every schedule of these plans over registers that p1 holds.
fn explore(plans: &[&str], depth: Option<usize>) -> Exploration {
    let build = || {
        let world = World::new(plans.len(), 1, Timed::lock_step()).unwrap();
        let users = Users::new(plans);
        let below = LowerLayer::Memory(Kind::Atomic);
        let ports = wire(&world, below, &users, SnapshotFromRegisters::new);
        users.begin(&world, ports, |_| 0);
        world
    };
    let search = Exhaustive::new().real_time();
    let search = match depth {
        Some(depth) => search.depth(depth),
        None => search,
    };
    search.explore(build)
}

#[test]
fn every_schedule_of_two_processes_is_right() {
    for plans in [["u", "s"], ["s", "u"]] {
        let found = explore(&plans, None);
        assert!(
            found.found.is_none() && found.complete,
            "{plans:?}: {found}"
        );
    }
}

#[test]
fn every_schedule_is_right_as_deep_as_is_looked() {
    for plans in [&["us", "us"][..], &["u", "u", "s"]] {
        let found = explore(plans, Some(11));
        assert!(found.found.is_none(), "{plans:?}: {found}");
    }
}

/// p1 of two, alone.
fn alone() -> impl FnMut(Event) -> Vec<Effect> {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut p1 = SnapshotFromRegisters::new(&world.host(p(1)));
    let mut ctx = Context::new("snapshot".into(), 1, Counters::default());
    move |event| {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    }
}

fn read(operation: u64, value: Option<&'static [u8]>) -> Event {
    let value = value.map(Bytes::from_static);
    let tag = register::Tag::INITIAL;
    Event::Register(register::Indication {
        register: register_of(p(1)),
        operation,
        outcome: register::RegisterResponse::Read { tag, value },
    })
}

#[test]
fn a_second_operation_is_refused_and_the_first_goes_on() {
    let mut upon = alone();
    let scan = |operation| {
        let action = Action::Scan;
        Event::Request(Request { operation, action })
    };
    assert_eq!(upon(scan(1)).len(), 2);
    let refused = upon(scan(2));
    let Some(Effect::Return(Indication {
        operation: 2,
        outcome,
    })) = refused.first()
    else {
        panic!("{refused:?}");
    };
    assert_eq!(*outcome, SnapshotResponse::Refused(Refusal::Busy));
    for operation in 1..=3 {
        upon(read(operation, None));
    }
    let scanned = upon(read(4, None));
    assert!(matches!(
        scanned[..],
        [Effect::Return(Indication { operation: 1, .. })]
    ));
}

#[test]
fn what_does_not_decode_counts_as_nothing() {
    let mut upon = alone();
    let action = Action::Scan;
    upon(Event::Request(Request {
        operation: 1,
        action,
    }));
    assert!(upon(read(9, None)).is_empty());
    for operation in 1..=3 {
        upon(read(operation, Some(&[1, 200, 3])));
    }
    let scanned = upon(read(4, Some(&[255; 20])));
    let [
        Effect::Return(Indication {
            outcome: SnapshotResponse::Scanned(view),
            ..
        }),
    ] = &scanned[..]
    else {
        panic!("{scanned:?}");
    };
    assert_eq!(*view, vec![Segment::default(); 2]);
}
