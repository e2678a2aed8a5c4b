//! A replica that comes back without its memory while the cluster forms: total order, over real links.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod starts;

use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Indication, Transmit},
    total_order::{Broadcast, Deliver},
};
use quorate_broadcast::by_consensus;
use quorate_core::{Addr, Host, ProcessId, ProcessSet, Time};
use quorate_detectors::increasing_timeout;
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks};
use quorate_sim::testing::p;
use quorate_sim::{SimHost, Timed, World, properties};
use quorate_stacks::stack;
use starts::while_alive;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

/// One start of a process. Its edge is dead while `alive` is false: to all others it is not there.
struct Start {
    alive: Arc<AtomicBool>,
    arrivals: Addr<Indication>,
    broadcast: Addr<Broadcast>,
}

/// The whole stack of one start of a process, on an edge that is shared with its other starts.
fn start(
    host: &SimHost,
    admission: AdmissionRule,
    edge: Addr<Transmit>,
    up: Addr<Deliver>,
) -> Start {
    let settings = LinkSettings {
        admission,
        ..LinkSettings::default()
    };
    let links = PerfectLinks::new(host, settings);
    let heartbeat = |up| links.heartbeat(up);
    let detection = increasing_timeout::DetectorSettings::default();
    let detector = increasing_timeout::spawn(&host.at("detector"), detection, heartbeat);
    let order = by_consensus::OrderSettings::default();
    let broadcast = stack::total_order(host, &links, &detector.suspicions, order, up);
    let (alive, edge) = while_alive(edge);
    links.start(edge).unwrap();
    Start {
        alive,
        arrivals: links.arrivals(),
        broadcast,
    }
}

/// The starts of process `me`, under these incarnations.
fn starts(
    world: &mut World,
    me: ProcessId,
    incarnations: &[u64],
    admission: AdmissionRule,
) -> Vec<Start> {
    let start = |world: &World, edge| {
        let up = world.application::<Deliver>(me);
        start(&world.host(me), admission, edge, up)
    };
    let way = |start: &Start| (start.alive.clone(), start.arrivals.clone());
    starts::starts(world, me, incarnations.iter().copied(), start, way)
}

/// p1 and the others of `first` order a message while the rest is away. Then p1 restarts, those others
/// freeze, and the rest starts: can p1's second start and the rest order another message?
fn restart_while_forming(n: usize, first: usize, admission: AdmissionRule) -> World {
    let timed = Timed::uniform(Duration::from_millis(1), Duration::from_millis(5));
    let mut world = World::new(n, 1, timed)
        .unwrap()
        .settle(Duration::from_mins(1));
    let text = |text: &str| Broadcast {
        payload: Bytes::from(text.to_owned()),
    };
    let ps: Vec<_> = world.processes().collect();
    for me in ps {
        let incarnations: &[u64] = if me == p(1) { &[1, 101] } else { &[1] };
        let starts = starts(&mut world, me, incarnations, admission);
        let ports: Vec<_> = starts.iter().map(|start| start.broadcast.clone()).collect();
        if me == p(1) {
            world.request(me, seconds(1), &ports[0], text("of the first start"));
            world.request(me, seconds(5), &ports[1], text("of the second start"));
            world.call(me, seconds(3), move || {
                starts[0].alive.store(false, Relaxed);
                starts[1].alive.store(true, Relaxed);
            });
        } else {
            let at = if me.rank() <= first {
                seconds(1)
            } else {
                seconds(5)
            };
            world.request(me, at, &ports[0], text("of another"));
        }
    }
    let rest: ProcessSet = world.processes().filter(|p| p.rank() > first).collect();
    world.partition(rest, Time::ZERO, Some(seconds(3)));
    for rank in 2..=first {
        world.pause(p(rank), seconds(3), Some(seconds(60)));
    }
    let order = properties::total_order(world.membership(), "total-order").into_iter();
    world.check(order.filter(|property| property.tag() == "TOB5"));
    world
}

#[test]
fn tob5_is_lost_where_a_majority_alone_admits() {
    for n in [3, 5] {
        let report = restart_while_forming(n, n / 2 + 1, AdmissionRule::CrashStop).run();
        let violation = report.violation().expect("two orders");
        assert_eq!(violation.tag, "TOB5");
        assert!(
            violation.time > seconds(5) && violation.time < seconds(60),
            "{violation}"
        );
    }
}

#[test]
fn tob5_holds_when_a_replica_restarts_while_the_cluster_forms() {
    for n in [3, 5] {
        for first in n / 2 + 1..n {
            let mut world = restart_while_forming(n, first, AdmissionRule::RestartSafe);
            let report = world.run();
            report.assert_all_hold();
            // The frozen processes and the late ones go on together. They have what p1's first start had
            // ordered, if so few could form a cluster, and nothing of its second start.
            let formed = first > AdmissionRule::RestartSafe.others(world.membership());
            for rank in 2..=n {
                let delivered = world.tally(p(rank), "total-order", "Deliver").unwrap();
                let expected = n as u64 - 1 + u64::from(formed);
                assert_eq!(delivered.count, expected, "p{rank} of {n}, {first} first");
            }
            assert!(world.counters(p(1)).total("excluded") > 0);
        }
    }
}
