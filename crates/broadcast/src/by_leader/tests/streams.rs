//! Streams that end and begin anew.
use super::*;
use quorate_abstractions::link::{Deliver, SendRequest, Status};
use quorate_core::wire::Wire;
use quorate_sim::{Gap, IdealLinks, Keep};

fn every_way(n: usize) -> impl Iterator<Item = (ProcessId, ProcessId)> {
    let ways = (1..=n).flat_map(move |a| (1..=n).map(move |b| (a, b)));
    ways.filter(|(a, b)| a != b).map(|(a, b)| (p(a), p(b)))
}

#[test]
fn every_property_holds_with_a_gap_at_every_step() {
    for n in [2, 3] {
        for (way, at) in every_way(n).flat_map(|way| (0..14).map(move |at| (way, at))) {
            for keep in [Keep::Nothing, Keep::First(1), Keep::First(2), Keep::Drawn] {
                for acceptances in [Acceptances::Everybody, Acceptances::Fewest] {
                    let mut world = World::new(n, u64::from(at), Timed::lock_step()).unwrap();
                    let settings = OrderSettings {
                        instances: 2,
                        batches: 2,
                        acceptances,
                        ..OrderSettings::default()
                    };
                    let oracle = Oracle::accurate(UNIT * DETECTION);
                    let ports = wire_all(&world, &oracle, settings);
                    for (q, port) in world.processes().zip(&ports) {
                        for number in 0..3 {
                            let payload = payload(number);
                            let when = step(2 * number as u32);
                            world.request(q, when, port, Broadcast { payload });
                        }
                    }
                    world.gap(way, Gap::at(step(at)).keeping(keep));
                    let report = world.run();
                    assert!(report.all_hold(), "{way:?} at {at}, {keep:?}: {report}");
                }
            }
        }
    }
}

/// Gaps at random, with false suspicions and crashes.
fn gaps(world: &World, n: usize, seed: u64) {
    for number in 0..=(seed % 6) {
        let draw = (seed * 7 + number * 31) as usize;
        let way = every_way(n).nth(draw % (n * (n - 1))).unwrap();
        let at = step(((seed * 11 + number * 53) % 190) as u32);
        let keep = [Keep::Nothing, Keep::Drawn][draw / 3 % 2];
        world.gap(way, Gap::at(at).keeping(keep));
    }
}

fn search(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let n = 2 + seed as usize % 4;
        let world = World::new(n, seed, Random::new()).unwrap();
        let timed = Timed::uniform(UNIT / 4, UNIT * 8);
        let world = if seed % 2 == 0 {
            world
        } else {
            World::new(n, seed, timed).unwrap()
        };
        gaps(&world, n, seed);
        let report = storm_in(world, n, seed, 6);
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}

#[test]
fn every_property_holds_through_storms_of_gaps_and_false_suspicions() {
    search(0..800);
}

#[test]
#[ignore = "long: for a soak"]
fn every_property_holds_through_many_storms_of_gaps_and_false_suspicions() {
    search(0..20_000);
}

/// Links whose status reports reach nobody.
#[derive(Clone)]
struct Mute(IdealLinks);

impl Links for Mute {
    fn at(&self, segment: &str) -> Self {
        Mute(self.0.at(segment))
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        self.0.open(up)
    }

    fn status(&self) -> Subscribe<Status> {
        Addr::nowhere()
    }
}

/// A mutant that does not send again what is open.
#[test]
fn who_does_not_hear_of_gaps_gets_stuck() {
    let stuck = (0..60_u32).filter(|seed| {
        let mut world = World::new(3, u64::from(*seed), Timed::lock_step()).unwrap();
        world.check(properties::total_order(world.membership(), "order"));
        let oracle = Oracle::accurate(UNIT * DETECTION);
        for q in world.processes() {
            let (host, links) = (world.host(q).at("order"), world.links(q).at("order"));
            let leader = world.leader(q, &oracle);
            let up = world.application(q);
            let port = spawn(&host, OrderSettings::default(), &Mute(links), &leader, up);
            let payload = payload(1);
            world.request(q, Time::ZERO, &port, Broadcast { payload });
        }
        let way = every_way(3).nth(*seed as usize % 6).unwrap();
        world.gap(way, Gap::at(step(seed / 6)));
        !world.run().all_hold()
    });
    assert!(stuck.count() > 5);
}

/// The number of messages sent if p2 and p3 broadcast for a minute, and cannot reach each other meanwhile.
fn a_minute(cut: bool) -> u64 {
    let mut world = World::new(5, 1, Timed::uniform(UNIT / 2, UNIT * 2)).unwrap();
    let oracle = Oracle::accurate(UNIT * DETECTION);
    let ports = wire_all(&world, &oracle, OrderSettings::default());
    let second = std::time::Duration::from_secs(1);
    for number in 0..600 {
        let payload = Bytes::from(vec![number as u8; 20_000]);
        let at = Time::ZERO + second / 10 * number;
        let rank = 2 + number as usize % 2;
        world.request(p(rank), at, &ports[rank - 1], Broadcast { payload });
    }
    for way in [(p(2), p(3)), (p(3), p(2))] {
        let end = Time::ZERO + second * 60;
        if cut {
            world.cut(way, Time::ZERO + second, Some(end));
        }
    }
    let report = world.run();
    assert!(report.all_hold(), "{report}");
    report.counts.messages
}

/// Everybody is up to date all the time. What one of the two lacks of the other it asks for once, from
/// somebody else. Only one request waits for the end of the cut, not one for each batch.
#[test]
fn a_long_cut_of_one_pair_leaves_few_requests_behind() {
    let (healthy, cut) = (a_minute(false), a_minute(true));
    let more = cut.saturating_sub(healthy);
    assert!(more < 3 * 600, "{healthy} messages, and {more} more");
}
