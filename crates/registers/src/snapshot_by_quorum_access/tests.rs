use super::*;
use crate::testing::snapshots::{Users, assert_holds_in_turbulence, cost};
use quorate_abstractions::link::Links;
use quorate_core::Addr;
use quorate_core::Membership;
use quorate_quorums::{Quorums, classical};
use quorate_sim::{Exhaustive, SimHost, Timed, World, properties};

fn majorities(n: usize) -> Quorums {
    Quorums::majorities(&Membership::of_size(n).unwrap())
}

/// Wires an algorithm with these events and effects at every process, over classical access.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    users: &Users,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let all = world.membership().set();
    world.check(properties::atomic_snapshot("register", all));
    let wire = |q| {
        let host = world.host(q).at("register");
        let (below, links) = (host.at("access"), world.links(q).at("access"));
        let access = |up: Addr<quorum_access::Indication<Vector>>| {
            let quorums = majorities(world.membership().n());
            classical::spawn(
                &below,
                quorums,
                Vector::default(),
                links.lane(),
                &links.status(),
                up,
            )
        };
        spawn_as(&host, make(&host), access, users.application(world, q))
    };
    world.processes().map(wire).collect()
}

/// The algorithm at every process.
fn wire_all(world: &World, users: &Users) -> Vec<Addr<Request>> {
    wire(world, users, SnapshotByQuorumAccess::new)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let some = u64::from(n > 1);
        let scan = cost(wire_all, n as usize, "s", "ScanReturn");
        assert_eq!(scan, (6 * (n - 1), 6 * some), "n = {n}");
        let update = cost(wire_all, n as usize, "u", "UpdateReturn");
        assert_eq!(update, (8 * (n - 1), 8 * some), "n = {n}");
    }
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    assert_holds_in_turbulence(wire_all, "borrowed views");
}

#[test]
fn every_schedule_is_right_as_deep_as_is_looked() {
    for plans in [&["u", "s"][..], &["u", "u", "s"]] {
        let build = || {
            let world = World::new(plans.len(), 1, Timed::lock_step()).unwrap();
            let users = Users::new(plans);
            let ports = wire(&world, &users, SnapshotByQuorumAccess::new);
            users.begin(&world, ports, |_| 0);
            world
        };
        let found = Exhaustive::new().real_time().depth(9).explore(build);
        assert!(found.found.is_none(), "{plans:?}: {found}");
    }
}

/// The shortcut that is often described: a scan gets, joins and sets, and returns.
struct SetsOnce(bool, SnapshotByQuorumAccess);

impl Algorithm for SetsOnce {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let n = self.1.processes.n();
        let is_set = matches!(&event, Event::Access(returned) if returned.answer == Answer::Set);
        let pending = self.1.pending.as_ref();
        let sets = pending.filter(|pending| pending.phase == Phase::Sets);
        let set = sets.and_then(|pending| pending.set.clone());
        match set {
            Some(set) if self.0 && is_set => self.1.upon_scanned(set.view(n), ctx),
            _ => self.1.upon(event, ctx),
        }
    }
}

#[test]
fn g4_a_scan_that_returns_what_it_has_set_once_breaks_sn2() {
    let broken = |sets_once| {
        let reports = (0..200).map(|seed| {
            let timed = Timed::uniform(quorate_sim::UNIT / 2, quorate_sim::UNIT * 9);
            let mut world = World::new(5, seed, timed).unwrap();
            let users = Users::new(&["uu", "ss", "ss", "ss", "uu"]);
            let make = |host: &SimHost| SetsOnce(sets_once, SnapshotByQuorumAccess::new(host));
            let ports = wire(&world, &users, make);
            users.begin(&world, ports, |_| 0);
            world.run()
        });
        let tags = reports.filter_map(|report| report.violation().map(|v| v.tag.clone()));
        let tags: Vec<String> = tags.collect();
        assert!(tags.iter().all(|tag| tag == "SN2"), "{tags:?}");
        tags.len()
    };
    assert_eq!(broken(false), 0);
    assert!(broken(true) > 0);
}
