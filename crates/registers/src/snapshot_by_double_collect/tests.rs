use super::*;
use crate::{
    multi_writer,
    testing::{
        Latencies,
        memory::{Kind, memory},
        p,
        snapshots::{Users, assert_holds_in_turbulence, cost},
    },
};
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Context, Counters, Time};
use quorate_sim::{
    Crash, Exhaustive, Exploration, Report, SimHost, Timed, UNIT, Verdict, World, properties,
};

/// Wires an algorithm with these events and effects at every process, over registers that p1 holds, or over those by
/// majorities.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    is_memory: bool,
    users: &Users,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let all = world.membership().set();
    world.check(properties::obstruction_free_snapshot("register", all));
    let wire = |q| {
        let host = world.host(q).at("register");
        let (algorithm, up) = (make(&host), users.application(world, q));
        if is_memory {
            return spawn_as(&host, algorithm, memory(world, q, Kind::Atomic), up);
        }
        let (below, links) = (host.at("below"), world.links(q).at("below"));
        let registers = |up: Addr<register::Indication>| {
            multi_writer::spawn(&below, links.lane(), &links.status(), up)
        };
        spawn_as(&host, algorithm, registers, up)
    };
    world.processes().map(wire).collect()
}

fn wire_all(world: &World, users: &Users) -> Vec<Addr<Request>> {
    wire(world, false, users, DoubleCollect::new)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let some = u64::from(n > 1);
        let scan = cost(wire_all, n as usize, "s", "ScanReturn");
        assert_eq!(scan, (4 * n * (n - 1), 4 * some), "n = {n}");
        let update = cost(wire_all, n as usize, "u", "UpdateReturn");
        assert_eq!(update, (4 * (n - 1), 4 * some), "n = {n}");
    }
}

#[test]
fn sn1_o_and_sn2_hold_wherever_a_minority_crashes() {
    assert_holds_in_turbulence(wire_all, "collects that differ");
}

/// Every schedule of these plans over registers that p1 holds.
fn explore(plans: &[&str], depth: Option<usize>) -> Exploration {
    let build = || {
        let world = World::new(plans.len(), 1, Timed::lock_step()).unwrap();
        let users = Users::new(plans);
        let ports = wire(&world, true, &users, DoubleCollect::new);
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

/// p1 scans while p2 makes so many updates, one after the other. Returns when the scan has returned, and when the last
/// update has: whole steps.
fn scan_beside(updates: usize, make: impl Fn(&World, &Users) -> Vec<Addr<Request>>) -> (u64, u64) {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let plan = "u".repeat(updates);
    let users = Users::new(&["s", &plan, ""]);
    let ports = make(&world, &users);
    users.begin(&world, ports, |_| 0);
    world.run().assert_all_hold();
    let last = |rank, label| {
        let tally = world.tally(p(rank), "register", label).unwrap();
        tally.last.as_nanos() / UNIT.as_nanos() as u64
    };
    (last(1, "ScanReturn"), last(2, "UpdateReturn"))
}

#[test]
fn a_scan_waits_as_long_as_others_update_and_returns_when_they_have_ceased() {
    for updates in [10, 100, 250] {
        let (scanned, updated) = scan_beside(updates, wire_all);
        assert!(scanned > updated, "{updates}: {scanned} and {updated}");
        assert!(scanned < updated + 12, "{updates}: {scanned} and {updated}");
    }
    // Wait-freedom is more: who borrows does not wait.
    let borrowing = |world: &World, users: &Users| {
        let wire = |q| {
            let (host, links) = (world.host(q).at("register"), world.links(q).at("below"));
            let below = host.at("below");
            let registers = |up: Addr<register::Indication>| {
                multi_writer::spawn(&below, links.lane(), &links.status(), up)
            };
            let up = users.application(world, q);
            crate::snapshot_from_registers::spawn(&host, registers, up)
        };
        world.processes().map(wire).collect()
    };
    let (scanned, updated) = scan_beside(100, borrowing);
    assert!(scanned < 60 && updated > 600, "{scanned} and {updated}");
}

/// A scan that saw an update gives up: it does not collect again.
struct GivesUp(DoubleCollect);

impl Algorithm for GivesUp {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let is_second = matches!(&self.0.pending, Some(Pending::Scan { last: Some(_), .. }));
        self.0.upon(event, ctx);
        let begins_again = matches!(&self.0.pending, Some(Pending::Scan { reads, .. })
            if reads.len() == self.0.processes.n());
        if is_second && begins_again {
            ctx.take_effects(&mut Vec::new());
        }
    }
}

/// p2 updates between the collects of p1's scan.
fn disturbed<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
    crashes: bool,
) -> Report {
    let adversary = Latencies::default();
    let mut world = World::new(3, 1, adversary).unwrap();
    let users = Users::new(&["s", "u", ""]);
    let ports = wire(&world, false, &users, make);
    users.begin(&world, ports, |_| 0);
    if crashes {
        world.crash(p(1), Crash::at(Time::ZERO + UNIT * 3));
    }
    world.run()
}

#[test]
fn sn1_o_is_broken_where_a_scan_gives_up_that_was_disturbed() {
    let give_up = |host: &SimHost| GivesUp(DoubleCollect::new(host));
    let report = disturbed(give_up, false);
    assert!(
        matches!(report.verdict("SN1-O"), Some(Verdict::Violated(_))),
        "{report}"
    );
    // To who crashes nothing is promised.
    disturbed(give_up, true).assert_all_hold();
    disturbed(DoubleCollect::new, false).assert_all_hold();
}

/// The algorithm at p1 of two, by itself.
fn alone() -> (impl FnMut(Event) -> Vec<Effect>, Counters) {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut p1 = DoubleCollect::new(&world.host(p(1)));
    let counters = Counters::default();
    let mut ctx = Context::new("snapshot".into(), 1, counters.clone());
    let upon = move |event| {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    (upon, counters)
}

fn request(operation: u64, action: Action) -> Event {
    Event::Request(Request { operation, action })
}

fn answer(operation: u64, outcome: register::RegisterResponse) -> Event {
    Event::Register(register::Indication {
        register: register_of(p(1)),
        operation,
        outcome,
    })
}

fn read(operation: u64, value: Option<&'static [u8]>) -> Event {
    let value = value.map(Bytes::from_static);
    let tag = register::Tag::INITIAL;
    answer(operation, register::RegisterResponse::Read { tag, value })
}

fn outcome(effects: &[Effect]) -> Option<&SnapshotResponse> {
    match effects {
        [Effect::Return(Indication { outcome, .. })] => Some(outcome),
        _ => None,
    }
}

#[test]
fn a_second_operation_is_refused_and_the_first_goes_on() {
    let (mut upon, _) = alone();
    assert_eq!(upon(request(1, Action::Scan)).len(), 2);
    let busy = SnapshotResponse::Refused(Refusal::Busy);
    for action in [Action::Scan, Action::Update(Bytes::new())] {
        assert_eq!(outcome(&upon(request(2, action))), Some(&busy));
    }
    for operation in 1..=3 {
        upon(read(operation, None));
    }
    let nothing = SnapshotResponse::Scanned(vec![Segment::default(); 2]);
    assert_eq!(outcome(&upon(read(4, None))), Some(&nothing));
}

#[test]
fn what_does_not_decode_counts_as_nothing_and_what_nobody_asked_for_is_counted() {
    let (mut upon, counters) = alone();
    assert!(upon(read(1, None)).is_empty());
    upon(request(1, Action::Scan));
    assert!(upon(read(9, None)).is_empty());
    let tag = register::Tag::INITIAL;
    assert!(upon(answer(1, register::RegisterResponse::Written { tag })).is_empty());
    for operation in 1..=3 {
        upon(read(operation, Some(&[1, 200, 3])));
    }
    let nothing = SnapshotResponse::Scanned(vec![Segment::default(); 2]);
    let scanned = upon(read(4, Some(&[255; 20])));
    assert_eq!(outcome(&scanned), Some(&nothing));
    assert_eq!(counters.total("unknown operation"), 3);
    assert_eq!(counters.total("undecodable segment"), 4);
}

#[test]
fn a_register_that_takes_no_more_writes_ends_the_update() {
    let (mut upon, counters) = alone();
    upon(request(1, Action::Update(Bytes::new())));
    let refused = || register::RegisterResponse::Refused(register::Refusal::Exhausted);
    let exhausted = SnapshotResponse::Refused(Refusal::Exhausted);
    assert_eq!(outcome(&upon(answer(1, refused()))), Some(&exhausted));
    assert!(upon(answer(1, refused())).is_empty());
    assert_eq!(counters.total("refused by a register"), 2);
}
