use super::*;
use crate::{
    multi_writer, snapshot_from_registers,
    testing::{
        at,
        memory::{Kind, memory},
        returned, turbulent,
    },
};
use quorate_abstractions::{lattice::Bits, link::Links, register};
use quorate_core::Addr;
use quorate_core::Host;
use quorate_core::ProcessId;
use quorate_sim::{Exhaustive, Report, Timed, World, properties};

/// What is below the snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LowerLayer {
    Memory,
    MultiWriter,
}

/// Wires an algorithm with these events and effects at every process, over snapshots from registers.
fn wire<A: Algorithm<Event = Event<Bits>, Effect = Effect<Bits>>>(
    world: &World,
    below: LowerLayer,
    make: impl Fn() -> A,
) -> Vec<Addr<Propose<Bits>>> {
    let all = world.membership().set();
    let properties = properties::lattice_agreement("register", all, Bits::joined);
    world.check(properties);
    let wire = |q: ProcessId| {
        let host = world.host(q).at("register");
        let snapshot = |up: Addr<snapshot::Indication>| {
            let (host, links) = (host.at("snapshot"), world.links(q).at("below"));
            if below == LowerLayer::Memory {
                return snapshot_from_registers::spawn(&host, memory(world, q, Kind::Atomic), up);
            }
            let beneath = host.at("below");
            let registers = |up: Addr<register::Indication>| {
                multi_writer::spawn(&beneath, links.lane(), &links.status(), up)
            };
            snapshot_from_registers::spawn(&host, registers, up)
        };
        spawn_as(&host, make(), snapshot, world.application(q))
    };
    world.processes().map(wire).collect()
}

fn propose(q: ProcessId, operation: u64) -> Propose<Bits> {
    let value = Bits(1 << (8 * (q.index() as u64) + operation));
    Propose { operation, value }
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let mut world = World::new(n as usize, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, LowerLayer::MultiWriter, || {
            LatticeAgreement::new(Mode::Once)
        });
        let q = world.membership().coordinator(1);
        world.request(q, at(0), &ports[0], propose(q, 1));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, 4 * (2 * n + 1) * (n - 1), "n = {n}");
        let expected = if n > 1 { 12 } else { 0 };
        assert_eq!(returned(&world, 1, "Decide"), Some(expected), "n = {n}");
    }
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    for (seed, mode) in (0..200).flat_map(|seed| [(seed, Mode::Once), (seed, Mode::Repeated)]) {
        let mut world = turbulent(seed, |world| world.membership().minority());
        let ports = wire(&world, LowerLayer::MultiWriter, || {
            LatticeAgreement::new(mode)
        });
        for (q, port) in world.processes().zip(&ports) {
            for operation in 0..4 {
                let step = (seed as u32 * 7 + 5 * q.rank() as u32) % 20 + 40 * operation as u32;
                world.request(q, at(step), port, propose(q, operation));
            }
        }
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}, {mode:?}: {report}");
    }
}

#[test]
fn every_schedule_is_right_as_deep_as_is_looked() {
    for n in [2, 3] {
        let build = || {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let ports = wire(&world, LowerLayer::Memory, || {
                LatticeAgreement::new(Mode::Once)
            });
            for (q, port) in world.processes().zip(&ports) {
                world.request(q, at(0), port, propose(q, 1));
            }
            world
        };
        let found = Exhaustive::new().real_time().depth(10).explore(build);
        assert!(found.found.is_none(), "n = {n}: {found}");
    }
}

fn two_propose<A: Algorithm<Event = Event<Bits>, Effect = Effect<Bits>>>(
    make: impl Fn() -> A,
) -> Report {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, LowerLayer::MultiWriter, make);
    for (q, port) in world.processes().zip(&ports) {
        world.request(q, at(0), port, propose(q, 1));
    }
    world.run()
}

#[test]
fn g5_to_scan_before_the_update_breaks_la2() {
    two_propose(|| LatticeAgreement::new(Mode::Once)).assert_all_hold();
    let report = two_propose(mutant::ScansFirst::new);
    let tag = report.violation().map(|violation| &violation.tag[..]);
    assert_eq!(tag, Some("LA2"), "{report}");
}

#[test]
fn g5_who_proposes_a_second_time_is_refused() {
    for (mode, label, expected) in [
        (Mode::Once, "Refused", 2),
        (Mode::Once, "Decide", 1),
        (Mode::Repeated, "Refused", 1),
        (Mode::Repeated, "Decide", 2),
    ] {
        let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, LowerLayer::MultiWriter, || {
            LatticeAgreement::new(mode)
        });
        let q = world.membership().coordinator(1);
        for (operation, step) in [(1, 0), (2, 1), (3, 50)] {
            world.request(q, at(step), &ports[0], propose(q, operation));
        }
        world.run().assert_all_hold();
        let tally = world.tally(q, "register", label).unwrap();
        assert_eq!(tally.count, expected, "{mode:?}, {label}");
    }
}
