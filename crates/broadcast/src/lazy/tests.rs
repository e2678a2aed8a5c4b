mod errata;

use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::{Subscribe, link::Links, perfect};
use quorate_core::wire::{self, BytesMut, Wire};
use quorate_core::{Addr, Context, Counters, Time};
use quorate_sim::{
    Crash, Exhaustive, Lose, Oracle, Report, SimHost, Timed, UNIT, World, properties,
    testing::LOSSES,
};
use std::time::Duration;

/// Limits that a few messages reach.
const NARROW: Limits = Limits {
    interval: 2,
    window: 2,
};

/// Limits that one message reaches.
const FRUGAL: Limits = Limits {
    interval: 1,
    window: 1,
};

type Detector = Subscribe<eventually_perfect::Indication>;

/// P in place of ◇P, with a detection time of `delay`.
fn accurate(world: &World, q: ProcessId, delay: Duration) -> Detector {
    perfect::as_eventually_perfect(&world.perfect(q, delay))
}

/// This algorithm at every process.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    detector: impl Fn(&World, ProcessId) -> Detector,
    algorithm: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Broadcast>> {
    world.check(properties::reliable(world.membership(), "rb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("rb"), world.links(q).at("rb").lane());
        let (detector, up) = (detector(world, q), world.application(q));
        spawn_as(
            &host,
            algorithm(&host),
            lane,
            &world.links(q).status(),
            &detector,
            up,
        )
    };
    world.processes().map(spawn_at).collect()
}

fn narrow(host: &SimHost) -> Lazy {
    Lazy::with_limits(host, NARROW)
}

fn request(world: &World, ports: &[Addr<Broadcast>], rank: usize, time: Time) {
    let payload = Bytes::from_static(b"x");
    world.request(p(rank), time, &ports[rank - 1], Broadcast { payload });
}

#[test]
fn rb1_to_4_hold_whoever_crashes() {
    for seed in 0..1000 {
        let mut world = turbulent_world(seed, all_but_one);
        let delay = Duration::from_micros(seed % 5 * 800);
        let ports = wire(&world, |world, q| accurate(world, q, delay), Lazy::new);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn rb1_to_4_hold_whoever_is_suspected_and_with_full_windows() {
    for seed in 0..2000 {
        let mut world = turbulent_world(seed, all_but_one);
        let delay = Duration::from_micros(seed % 5 * 800);
        let lies = Oracle::accurate(delay).erratic(world.membership(), seed, 8, at(8));
        let detector = |world: &World, q| world.eventually_perfect(q, &lies);
        let ports = if seed % 2 == 0 {
            wire(&world, detector, Lazy::new)
        } else {
            wire(&world, detector, narrow)
        };
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

/// One broadcast by p1 in lock step, crashes being reported `delay` units later.
fn run(n: usize, delay: u32, crash: Option<(usize, Crash)>) -> (Report, World) {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let detector = |world: &World, q| accurate(world, q, UNIT * delay);
    let ports = wire(&world, detector, Lazy::new);
    request(&world, &ports, 1, Time::ZERO);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (report, world)
}

/// The time of the last delivery at the process that was last to deliver.
fn slowest(world: &World) -> Option<Time> {
    let tally = |q| world.tally(q, "rb", "Deliver");
    world.processes().filter_map(tally).map(|t| t.last).max()
}

#[test]
fn rb4_agreement_wherever_the_sender_crashes() {
    for n in 2..=7 {
        for k in 1..2 * n as u64 {
            for lose in LOSSES {
                run(n, 3, Some((1, Crash::before_output(k).losing(lose))));
            }
        }
    }
}

#[test]
fn costs_without_failures_are_what_the_header_says() {
    for n in 2..=8_usize {
        let (report, world) = run(n, 1, None);
        assert_eq!(report.counts.messages, n as u64 - 1, "n = {n}");
        for q in world.processes() {
            let tally = world.tally(q, "rb", "Deliver").unwrap();
            let steps = u32::from(q != p(1));
            assert_eq!((tally.count, tally.last), (1, at(steps)), "n = {n}, {q}");
        }
    }
}

#[test]
fn costs_with_another_process_dead_are_what_the_header_says() {
    for n in 2..=8_usize {
        for delay in 0..=3 {
            let (report, world) = run(n, delay, Some((n, Crash::at(Time::ZERO))));
            assert_eq!(report.counts.messages, n as u64 - 1, "n = {n}");
            assert_eq!(slowest(&world), Some(at(u32::from(n > 2))), "n = {n}");
        }
    }
}

#[test]
fn costs_with_the_sender_crashing_are_what_the_header_says() {
    for n in 2..=8_usize {
        for k in 1..n as u64 {
            for delay in 0..=3 {
                let (report, world) = run(n, delay, Some((1, Crash::before_output(k + 1))));
                assert_eq!(report.counts.messages, k * n as u64, "n = {n}, k = {k}");
                let is_known_to_all = k == n as u64 - 1;
                let steps = if is_known_to_all { 1 } else { delay.max(1) + 1 };
                assert_eq!(
                    slowest(&world),
                    Some(at(steps)),
                    "n = {n}, k = {k}, D = {delay}"
                );
            }
        }
    }
}

/// `count` broadcasts by p1, one unit apart, with limits of 10 and 20.
fn stream(n: usize, count: u32, crash: Option<(usize, Crash)>) -> Report {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let limits = Limits {
        interval: 10,
        window: 20,
    };
    let detector = |world: &World, q| accurate(world, q, UNIT);
    let ports = wire(&world, detector, |host| Lazy::with_limits(host, limits));
    for i in 0..count {
        request(&world, &ports, 1, at(i));
    }
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    report
}

#[test]
fn costs_of_a_long_run_add_the_reports_alone() {
    for n in 2..=6_u64 {
        let messages = stream(n as usize, 1000, None).counts.messages;
        let reports = (1000 / 10) * n * (n - 1);
        assert_eq!(messages, 1000 * (n - 1) + reports, "n = {n}");
    }
}

#[test]
fn costs_of_a_long_run_with_a_dead_process_add_its_copies() {
    for n in 3..=6_u64 {
        let dead = Some((n as usize, Crash::at(Time::ZERO)));
        let messages = stream(n as usize, 1000, dead).counts.messages;
        let reports = (1000 / 10) * (n - 1) * (n - 1);
        let beyond_the_window = (1000 - 20) * (n - 2);
        let expected = 1000 * (n - 1) + reports + beyond_the_window;
        assert_eq!(messages, expected, "n = {n}");
    }
}

#[test]
fn what_everybody_holds_is_not_relayed_when_its_relayer_crashes() {
    // The last reports cover the first 1,000 messages: nothing is kept when p1 crashes.
    let n = 4;
    let calm = stream(n, 1000, None).counts.messages;
    let crash = Some((1, Crash::at(at(1500))));
    assert_eq!(stream(n, 1000, crash).counts.messages, calm);
    // Each of the others keeps all of the nine further messages.
    let calm = stream(n, 1009, None).counts.messages;
    let relays = (n * n - 2 * n + 1) as u64 * 9;
    assert_eq!(stream(n, 1009, crash).counts.messages, calm + relays);
}

#[test]
fn rb3_no_creation_impossible_identifiers_are_counted_and_dropped() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let (host, lane) = (world.host(p(1)).at("rb"), world.links(p(1)).at("rb").lane());
    let detector = accurate(&world, p(1), UNIT);
    let status = world.links(p(1)).status();
    spawn(&host, lane, &status, &detector, world.application(p(1)));
    for q in [p(2), p(3)] {
        let link: Addr<link::SendRequest<Message>> = world.links(q).at("rb").open(Addr::nowhere());
        for (rank, sequence) in [(1, 1), (9, 1), (2, 0), (2, 1 + WINDOW)] {
            let (to, message) = (To::One(p(1)), Message::Data(data(rank, sequence)));
            world.request(q, Time::ZERO, &link, link::SendRequest { to, message });
        }
        let origin = data(9, 1).id.origin;
        let message = Message::Report {
            lows: vec![(origin, u64::MAX); 500],
        };
        let to = To::One(p(1));
        world.request(q, Time::ZERO, &link, link::SendRequest { to, message });
    }
    world.run();
    let counters = world.counters(p(1));
    assert_eq!(counters.total("impossible identifier"), 6);
    assert_eq!(counters.total("identifier too far ahead"), 2);
    assert!(world.tally(p(1), "rb", "Deliver").is_none());
}

#[test]
fn no_more_is_kept_than_the_window_holds() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut rb = Lazy::new(&world.host(p(1)));
    let mut ctx = Context::new("rb".into(), 1, Counters::default());
    let mut effects = Vec::new();
    let mut relayed = 0;
    for sequence in 1..=10_000 {
        let (from, message) = (p(2), Message::Data(data(2, sequence)));
        rb.upon(Event::Link(link::Deliver { from, message }), &mut ctx);
        ctx.take_effects(&mut effects);
        let is_relay = |effect: &Effect| {
            matches!(
                effect,
                Effect::Link(link::SendRequest {
                    message: Message::Data(_),
                    ..
                })
            )
        };
        relayed += effects.drain(..).filter(is_relay).count();
    }
    assert_eq!(rb.from[&p(2)].len(), LIMITS.window);
    assert_eq!(relayed, 10_000 - LIMITS.window);
    let lows = vec![(data(2, 1).id.origin, 9_999)];
    for from in [p(2), p(3)] {
        let message = Message::Report { lows: lows.clone() };
        rb.upon(Event::Link(link::Deliver { from, message }), &mut ctx);
    }
    assert_eq!(rb.from[&p(2)].len(), 1, "one is not reported");
    assert_eq!(rb.delivered.gaps(), 0);
}

#[test]
fn what_is_kept_does_not_keep_what_it_arrived_with() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut rb = Lazy::new(&world.host(p(1)));
    let mut ctx = Context::new("rb".into(), 1, Counters::default());
    let arrived = Bytes::from(vec![0; 60_000]);
    let payload = arrived.slice(0..1);
    let (from, message) = (
        p(2),
        Message::Data(Data {
            payload,
            ..data(2, 1)
        }),
    );
    rb.upon(Event::Link(link::Deliver { from, message }), &mut ctx);
    ctx.take_effects(&mut Vec::new());
    assert_eq!(rb.from[&p(2)].len(), 1);
    assert!(arrived.is_unique());
}

#[test]
fn a_suspicion_costs_messages_until_it_is_revoked() {
    // Of three broadcasts by p1, p2 has kept one when the suspicion begins, gets one during it, and one
    // afterwards.
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let lies = Oracle::accurate(UNIT).suspecting(p(2), p(1), at(2), at(5));
    let detector = |world: &World, q| world.eventually_perfect(q, &lies);
    let ports = wire(&world, detector, Lazy::new);
    for time in [0, 3, 6] {
        request(&world, &ports, 1, at(time));
    }
    let report = world.run();
    report.assert_all_hold();
    let (n, relayed) = (3, 2);
    assert_eq!(report.counts.messages, 3 * (n - 1) + relayed * (n - 1));
}

#[test]
fn messages_survive_the_wire() {
    let report = Message::Report {
        lows: vec![(data(2, 1).id.origin, 7); MAXIMUM_PROCESSES],
    };
    for message in [Message::Data(data(2, 3)), report.clone()] {
        assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
    }
    let mut long = BytesMut::new();
    report.encode(&mut long);
    long.extend_from_slice(b"x");
    assert!(Message::decode(long.freeze()).is_err());
}

/// The number of executions of the algorithm with these limits, when one process may crash.
fn every_schedule(n: usize, senders: &[usize], limits: Limits, oracle: &Oracle) -> u64 {
    let detector = |world: &World, q| world.eventually_perfect(q, oracle);
    let wire = |world: &World| wire(world, detector, |host| Lazy::with_limits(host, limits));
    let search = Exhaustive::new().crashes(1);
    let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
    all.assert_all_hold();
    all.executions
}

#[test]
fn rb1_to_4_hold_in_every_schedule_with_a_crash() {
    let accurate = Oracle::accurate(Duration::ZERO);
    assert_eq!(every_schedule(2, &[1], LIMITS, &accurate), 11);
    assert_eq!(every_schedule(3, &[1], LIMITS, &accurate), 77);
    assert_eq!(every_schedule(2, &[1, 2], LIMITS, &accurate), 61);
    assert_eq!(every_schedule(2, &[1, 1], LIMITS, &accurate), 39);
}

#[test]
fn rb1_to_4_hold_in_every_schedule_with_a_crash_and_a_false_suspicion() {
    let lying = Oracle::accurate(Duration::ZERO).suspecting(p(2), p(1), at(0), at(1));
    assert_eq!(every_schedule(3, &[1], LIMITS, &lying), 1069);
    assert_eq!(every_schedule(2, &[1, 2], LIMITS, &lying), 801);
    assert_eq!(every_schedule(2, &[1, 1], LIMITS, &lying), 709);
}

#[test]
fn rb1_to_4_hold_in_every_schedule_with_full_windows() {
    let accurate = Oracle::accurate(Duration::ZERO);
    let full = Limits {
        window: 1,
        ..LIMITS
    };
    assert_eq!(every_schedule(3, &[1, 1], full, &accurate), 9922);
    assert_eq!(every_schedule(2, &[1, 1], FRUGAL, &accurate), 3221);
}
