mod errata;

use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::link::{self, Links, To};
use quorate_core::{Addr, Context, Counters, Time};
use quorate_sim::{Crash, Exhaustive, Report, Timed, UNIT, World, properties};
use std::time::Duration;

/// All-ack at every process, over a detector that reports a crash after `delay`.
fn wire(world: &World, delay: Duration) -> Vec<Addr<Broadcast>> {
    wire_as(world, |_| delay, AllAck::new)
}

/// This algorithm at every process; each detector has its own delay.
fn wire_as<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    delay: impl Fn(ProcessId) -> Duration,
    algorithm: impl Fn(&quorate_sim::SimHost) -> A,
) -> Vec<Addr<Broadcast>> {
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        let (detector, up) = (world.perfect(q, delay(q)), world.application(q));
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

fn request(world: &World, ports: &[Addr<Broadcast>], rank: usize, time: Time) {
    let payload = Bytes::from_static(b"x");
    world.request(p(rank), time, &ports[rank - 1], Broadcast { payload });
}

/// The time of the last delivery at the process that was last to deliver.
fn slowest(world: &World) -> Option<Time> {
    let tally = |q| world.tally(q, "urb", "Deliver");
    world.processes().filter_map(tally).map(|t| t.last).max()
}

#[test]
fn urb1_to_4_hold_whoever_crashes() {
    for seed in 0..1000 {
        let mut world = turbulent_world(seed, all_but_one);
        let ports = wire(&world, Duration::from_micros(seed % 5 * 800));
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

/// One broadcast by p1 in lock step, crashes being reported `delay` units later.
fn run(n: usize, delay: u32, crash: Option<(usize, Crash)>) -> (Report, World) {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let ports = wire(&world, UNIT * delay);
    request(&world, &ports, 1, Time::ZERO);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (report, world)
}

#[test]
fn urb4_uniform_agreement_wherever_the_sender_crashes() {
    for n in 2..=7 {
        for k in 1..2 * n as u64 {
            run(n, 3, Some((1, Crash::before_output(k))));
            for lose in [quorate_sim::Lose::Each(0.5), quorate_sim::Lose::Everything] {
                run(n, 3, Some((1, Crash::before_output(k).losing(lose))));
            }
        }
    }
}

#[test]
fn costs_without_failures_are_what_the_header_says() {
    for n in 2..=8_usize {
        let (report, world) = run(n, 1, None);
        let others = n as u64 - 1;
        assert_eq!(report.counts.messages, n as u64 * others, "n = {n}");
        for q in world.processes() {
            let tally = world.tally(q, "urb", "Deliver").unwrap();
            let steps = if n == 2 && q == p(2) { 1 } else { 2 };
            assert_eq!((tally.count, tally.last), (1, at(steps)), "n = {n}, {q}");
        }
    }
}

#[test]
fn costs_with_another_process_dead_are_what_the_header_says() {
    for n in 2..=8_usize {
        for delay in 0..=4 {
            let (report, world) = run(n, delay, Some((n, Crash::at(Time::ZERO))));
            let others = n as u64 - 1;
            assert_eq!(report.counts.messages, others * others, "n = {n}");
            let steps = if n == 2 { delay } else { delay.max(2) };
            assert_eq!(slowest(&world), Some(at(steps)), "n = {n}, D = {delay}");
        }
    }
}

#[test]
fn costs_with_the_sender_crashing_are_what_the_header_says() {
    for n in 2..=8_usize {
        let others = n as u64 - 1;
        for k in 1..=others {
            let (report, _) = run(n, 1, Some((1, Crash::before_output(k + 1))));
            let expected = k + others * others;
            assert_eq!(report.counts.messages, expected, "n = {n}, k = {k}");
        }
    }
}

#[test]
fn urb3_no_creation_impossible_identifiers_are_counted_and_dropped() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let (host, lane) = (
        world.host(p(1)).at("urb"),
        world.links(p(1)).at("urb").lane(),
    );
    let detector = world.perfect(p(1), UNIT);
    let status = world.links(p(1)).status();
    spawn(&host, lane, &status, &detector, world.application(p(1)));
    for q in [p(2), p(3)] {
        let link: Addr<link::SendRequest<Message>> = world.links(q).at("urb").open(Addr::nowhere());
        for (rank, sequence) in [(1, 1), (9, 1), (2, 0), (2, 1 + WINDOW)] {
            let send = link::SendRequest {
                to: To::One(p(1)),
                message: Message::Data(data(rank, sequence)),
            };
            world.request(q, Time::ZERO, &link, send);
        }
    }
    world.run();
    let counters = world.counters(p(1));
    assert_eq!(counters.total("impossible identifier"), 6);
    assert_eq!(counters.total("identifier too far ahead"), 2);
    assert!(world.tally(p(1), "urb", "Deliver").is_none());
}

#[test]
fn what_is_delivered_is_not_remembered() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut urb = AllAck::new(&world.host(p(1)));
    let mut ctx = Context::new("urb".into(), 1, Counters::default());
    for sequence in 1..=1000 {
        for from in [p(2), p(1), p(3), p(2)] {
            let message = Message::Data(data(2, sequence));
            urb.upon(
                Event::BestEffort(best_effort::Deliver { from, message }),
                &mut ctx,
            );
        }
    }
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    assert_eq!(effects.len(), 2000, "each is relayed and delivered once");
    assert!(urb.pending.is_empty());
    assert_eq!(urb.delivered.gaps(), 0);
}

#[test]
fn urb1_to_4_hold_in_every_schedule_with_a_crash() {
    let search = Exhaustive::new().crashes(1);
    let every = |n, senders: &[usize]| {
        let wire = |world: &World| wire(world, Duration::ZERO);
        let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
        all.assert_all_hold();
        all.executions
    };
    assert_eq!(every(2, &[1]), 14);
    assert_eq!(every(3, &[1]), 494);
    assert_eq!(every(2, &[1, 2]), 169);
}
