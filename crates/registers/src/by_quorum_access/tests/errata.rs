//! Wrong rules, each with runs in which it breaks atomicity and the algorithm does not.
use super::*;
use crate::by_quorum_access::mutant::{Overwritten, Rule, Ruled};

/// Classical access to registers that are overwritten.
fn overwriting(world: &World, q: ProcessId, up: Up) -> Calls {
    let (host, links) = (world.host(q).at("access"), world.links(q).at("access"));
    let up = up.with(Overwritten::as_registers);
    classical::spawn(
        &host,
        majorities(5),
        Overwritten::default(),
        links.lane(),
        &links.status(),
        up,
    )
}

fn run(rule: Rule, seed: u64) -> Report {
    let mut world = World::new(5, seed, Timed::uniform(UNIT / 2, UNIT * 9)).unwrap();
    world.check(shared_register("register", world.membership().set()));
    let wire = |q| {
        let host = world.host(q).at("register");
        let access = |up| match rule {
            Rule::Overwrites => overwriting(&world, q, up),
            Rule::Corrected | Rule::NoWriteBack | Rule::NoBusy => {
                access(&world, q, LowerLayer::Classical, &majorities(5), up)
            }
        };
        let algorithm = Ruled::by(rule, ByQuorumAccess::new(&host));
        spawn_as(&host, algorithm, access, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    operate(&world, &ports, seed, 20, 300);
    world.run()
}

/// The rule breaks atomicity in some run, and the algorithm in none.
#[track_caller]
fn breaks(rule: Rule) {
    let broken = |rule| {
        let reports = (0..100).map(|seed| run(rule, seed));
        let violated = reports.filter(|report| {
            let violation = report.violation();
            assert!(violation.is_none_or(|v| v.tag == "NNAR2"), "{report}");
            violation.is_some()
        });
        violated.count()
    };
    assert_eq!(broken(Rule::Corrected), 0);
    assert!(broken(rule) > 0);
}

/// Lock step, except for p1: each of its copies to p2 and p3 takes the given number of steps.
struct Late([Vec<u32>; 2]);

impl quorate_sim::Adversary for Late {
    fn latency(&mut self, copy: quorate_sim::Transmission, _: &mut Generator) -> Duration {
        let way = (copy.from == p(1)).then(|| &mut self.0[copy.to.rank() - 2]);
        UNIT * way
            .filter(|way| !way.is_empty())
            .map_or(1, |way| way.remove(0))
    }
}

/// p1 writes, and only p1 has the value when p2 reads from p1 and p2, and then p3 from p2 and p3.
fn seen_and_not_seen(rule: Rule) -> Report {
    let adversary = Late([vec![1, 60], vec![1, 60, 60, 60]]);
    let mut world = World::new(3, 1, adversary).unwrap();
    world.check(shared_register("register", world.membership().set()));
    let make = |host: &SimHost| Ruled::by(rule, ByQuorumAccess::new(host));
    let ports = wire(&world, LowerLayer::Classical, &majorities(3), make);
    world.request(p(1), Time::ZERO, &ports[0], request("x", 1, write("1")));
    for (rank, step) in [(2, 3), (3, 20)] {
        let read = request("x", 1, Action::Read);
        world.request(p(rank), Time::ZERO + UNIT * step, &ports[rank - 1], read);
    }
    world.run()
}

#[test]
fn g3_e1_a_read_that_does_not_write_back_breaks_nnar2() {
    seen_and_not_seen(Rule::Corrected).assert_all_hold();
    let report = seen_and_not_seen(Rule::NoWriteBack);
    assert_eq!(
        report.violation().map(|v| &v.tag[..]),
        Some("NNAR2"),
        "{report}"
    );
}

#[test]
fn g3_e2_an_update_that_overwrites_breaks_nnar2() {
    breaks(Rule::Overwrites);
}

#[test]
fn g3_e3_a_process_with_two_writes_at_a_time_breaks_nnar2() {
    breaks(Rule::NoBusy);
}
