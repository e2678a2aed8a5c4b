//! The perfect link in the simulated world, over its fair-loss links: the adversary also chooses where
//! batches end and between which two effects a process crashes.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::Indication,
    heartbeat::{Beat, Heard},
    link::{Deliver, Links, SendRequest, Status, To},
};
use quorate_core::{Addr, Observation, Observe, Time};
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks};
use quorate_sim::testing::p;
use quorate_sim::{
    Adversary, Crash, Random, Report, SimHost, Timed, World,
    properties::{Channel, fair_loss, first_in_first_out, perfect_links},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const N: usize = 3;
const MESSAGES: u32 = 40;

struct Arrived;
impl Observe for Arrived {
    fn observe(&self) -> Observation {
        Observation::internal("Arrived")
    }
}

const fn ms(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// The links of all processes. Each process sends numbered messages to every other, and heartbeats.
fn world(seed: u64, adversary: impl Adversary + 'static) -> World {
    world_over(false, seed, adversary).0
}

/// The same over datagrams or byte streams, and the addresses to which the edges deliver.
fn world_over(
    stream: bool,
    seed: u64,
    adversary: impl Adversary + 'static,
) -> (World, Vec<Addr<Indication>>) {
    let mut arrivals = Vec::new();
    let world = World::new(N, seed, adversary)
        .unwrap()
        .maximum_time(ms(3_600_000))
        .settle(Duration::from_secs(6));
    for me in world.processes() {
        let settings = LinkSettings {
            admission: AdmissionRule::CrashStop,
            stream,
            ..LinkSettings::default()
        };
        let links: PerfectLinks<SimHost> = PerfectLinks::new(&world.host(me), settings);
        let application = world.application::<Arrived>(me);
        let up = application.with(|_: Deliver<Bytes>| Arrived);
        let lane = links.at("lane").open(up);
        let up = application.with(|_: Deliver<Bytes>| Arrived);
        let volatile = links.datagrams().at("volatile").open(up);
        let beat = links.heartbeat(Addr::<Heard>::nowhere());
        links.start(world.fair_loss(me, links.arrivals())).unwrap();
        arrivals.push(links.arrivals());
        for number in 0..MESSAGES {
            for to in world.processes() {
                let mut text = format!("{me} to {to}: {number} ");
                // Some messages take several datagrams.
                text.extend(std::iter::repeat_n('x', (number as usize % 5) * 1000));
                let message = Bytes::from(text);
                let send = SendRequest {
                    to: To::One(to),
                    message,
                };
                let at = ms(u64::from(number) * 7 % 100);
                world.request(me, at, &lane, send);
                let send = SendRequest {
                    to: To::One(to),
                    message: Bytes::from(format!("{me} to {to}: {number}")),
                };
                world.request(me, at, &volatile, send);
            }
        }
        for beats in 0..100 {
            world.request(me, ms(100 * beats), &beat, Beat::default());
        }
    }
    let channel = Channel::Module("link".to_owned());
    world.check(perfect_links(&channel));
    world.check([first_in_first_out(&channel)]);
    world.check(fair_loss(16, 4));
    (world, arrivals)
}

fn timed(loss: f64, duplication: f64) -> Timed {
    Timed::uniform(Duration::from_micros(100), Duration::from_millis(20))
        .loss(loss)
        .duplication(duplication)
}

fn holds(report: &Report) {
    report.assert_all_hold();
    assert!(
        report.completion.complete,
        "seed {} is truncated",
        report.seed
    );
}

#[test]
fn pl1_to_pl3_under_loss_duplication_and_reordering() {
    for seed in 0..30 {
        holds(&world(seed, timed(0.3, 0.2)).run());
    }
}

#[test]
fn pl1_to_pl3_under_an_adversary_that_takes_any_enabled_step() {
    let mut complete = 0;
    for seed in 0..20 {
        let report = world(seed, Random::new().loss(0.1).duplication(0.1)).run();
        assert_eq!(report.violation(), None, "seed {seed}");
        complete += u32::from(report.completion.complete);
    }
    // This adversary may keep a copy in flight for longer than any timeout: some runs do not end.
    assert!(complete >= 10, "only {complete} runs came to their end");
}

#[test]
fn pl2_and_pl3_when_a_process_crashes_between_two_effects() {
    for seed in 0..30 {
        let mut world = world(seed, timed(0.1, 0.1));
        world.crash(p(3), Crash::before_effect(20 * seed + 1));
        holds(&world.run());
    }
}

#[test]
fn pl1_over_a_cut_that_heals_and_a_pause() {
    for seed in 0..20 {
        let mut world = world(seed, timed(0.05, 0.05));
        world.cut((p(1), p(2)), ms(20), Some(ms(3000)));
        world.pause(p(3), ms(50), Some(ms(4000)));
        holds(&world.run());
    }
}

/// A byte stream, in lock step: messages are lost or overtaken only while a connection is gone. When a
/// connection ends, only the sender is told that there is another one; it learns late of a half-open one.
#[test]
fn pl1_to_pl3_over_byte_streams_whose_connections_are_reset_or_half_open() {
    for seed in 0..40 {
        let (mut world, arrivals) = world_over(true, seed, Timed::lock_step());
        world = world.settle(Duration::from_mins(1));
        for reset in 0..4 {
            let from = p(1 + (seed + reset) as usize % N);
            let to = p(1 + (seed + reset + 1 + reset % 2) as usize % N);
            let begin = 5 + 31 * reset + seed % 29;
            let half_open = (seed + reset).is_multiple_of(5);
            let end = begin + if half_open { 3000 } else { 1 + seed % 7 };
            world.cut((from, to), ms(begin), Some(ms(end)));
            let arrivals = arrivals[from.index()].clone();
            world.call(from, ms(end), move || {
                arrivals.send(Indication::Reopened(to));
            });
        }
        holds(&world.run());
    }
}

/// The messages of one process to another on a fair-loss lane, while the way back is cut for good.
#[test]
fn a_fair_loss_lane_works_in_one_direction_for_ever() {
    const SECONDS: u64 = 120;
    for seed in 0..10 {
        let mut world = World::new(N, seed, timed(0.2, 0.1))
            .unwrap()
            .maximum_time(ms(3_600_000));
        let arrived = Arc::new(AtomicU64::new(0));
        for me in world.processes() {
            let settings = LinkSettings {
                queue_limit: 10_000,
                ..LinkSettings::default()
            };
            let links: PerfectLinks<SimHost> = PerfectLinks::new(&world.host(me), settings);
            let count = arrived.clone();
            let up = Addr::new(move |Deliver { from, .. }: Deliver<Bytes>| {
                assert_eq!((from, me), (p(1), p(2)));
                count.fetch_add(1, Relaxed);
            });
            let volatile = links.datagrams().at("volatile").open(up);
            let beat = links.heartbeat(Addr::<Heard>::nowhere());
            let status = Addr::new(|status| {
                let ends = matches!(status, Status::Ended { .. } | Status::Excluded { .. });
                assert!(!ends, "{status:?}");
            });
            world.request(me, ms(1), &links.status(), status);
            links.start(world.fair_loss(me, links.arrivals())).unwrap();
            for second in 0..SECONDS {
                world.request(me, ms(1000 * second), &beat, Beat::default());
            }
            if me == p(1) {
                for number in 0..10 * SECONDS {
                    let send = SendRequest {
                        to: To::One(p(2)),
                        message: Bytes::from(vec![7; 1000]),
                    };
                    world.request(me, ms(1000 + 100 * number), &volatile, send);
                }
            }
        }
        world.disconnect((p(2), p(1)), ms(1000));
        let report = world.run();
        assert_eq!(report.violation(), None, "seed {seed}");
        let arrived = arrived.load(Relaxed);
        assert!(arrived > 7 * SECONDS, "seed {seed}: {arrived}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let hash = |seed| world(seed, timed(0.2, 0.2)).run().hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}
