//! The ideal objects keep their promises, and promise nothing more.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use bytes::Bytes;
use quorate_abstractions::{
    eventually_perfect::Indication,
    fair_loss::{self, Transmit},
    heartbeat::{Beat, Heard},
    leader::Trust,
    perfect,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ProcessId, Time};
use quorate_sim::{
    Adversary, Crash, Oracle, Random, Report, Timed, UNIT, Verdict, World, properties,
};
use std::sync::{Arc, Mutex};
use support::p;

fn at(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// An address that collects the values sent to it.
fn collector<T: Send + 'static>() -> (Addr<T>, Arc<Mutex<Vec<T>>>) {
    let collected: Arc<Mutex<Vec<T>>> = Arc::default();
    let sink = collected.clone();
    let addr = Addr::new(move |value| sink.lock().unwrap().push(value));
    (addr, collected)
}

/// p1 transmits 200 datagrams to p2 over fair-loss links, ten at a time.
fn datagrams(seed: u64, adversary: impl Adversary + 'static) -> (Report, Vec<Bytes>) {
    let world = World::new(2, seed, adversary)
        .unwrap()
        .fair_loss_bounds(3, 2);
    world.check(properties::fair_loss(3, 2));
    let (arrivals, arrived) = collector();
    world.fair_loss(p(2), arrivals);
    let edge = world.fair_loss(p(1), Addr::nowhere());
    for k in 0..20_u8 {
        let bytes: Vec<u8> = (0..10).map(|i| 10 * k + i).collect();
        let transmit = Transmit {
            to: p(2),
            bytes: bytes.into(),
            segment: 1,
        };
        world.request(p(1), at(u32::from(k)), &edge, transmit);
    }
    let mut world = world.settle(UNIT * 100);
    let report = world.run();
    let arrived = std::mem::take(&mut *arrived.lock().unwrap());
    let bytes = arrived.into_iter().map(|indication| match indication {
        fair_loss::Indication::Arrive { bytes, .. } => bytes,
        fair_loss::Indication::Reopened(_) => unreachable!("nothing was interrupted"),
    });
    (report, bytes.collect())
}

#[test]
fn fair_loss_links_lose_and_duplicate_within_their_bounds() {
    for seed in 0..50 {
        let timed = Timed::uniform(UNIT, 5 * UNIT);
        for loss in [0.0, 0.3, 1.0] {
            let (report, arrived) = datagrams(seed, timed.loss(loss).duplication(0.5));
            report.assert_all_hold();
            assert_eq!(report.counts.datagrams, 200);
            let balance = 200 - report.counts.lost + report.counts.duplicated;
            assert_eq!(arrived.len() as u64, balance);
            if loss < 0.1 {
                assert_eq!(report.counts.lost, 0);
            } else if loss > 0.9 {
                assert_eq!(report.counts.lost, 150, "three of four in a row");
            }
        }
        let (report, arrived) = datagrams(seed, Random::new().loss(0.2).duplication(0.2));
        assert!(report.violation().is_none());
        assert!(!arrived.is_empty());
    }
}

#[test]
fn fair_loss_links_reorder() {
    let (_, arrived) = datagrams(1, Timed::uniform(UNIT, 5 * UNIT));
    let values: Vec<u8> = arrived.iter().map(|bytes| bytes[0]).collect();
    assert!(!values.is_sorted());
    let (_, arrived) = datagrams(1, Timed::lock_step());
    let values: Vec<u8> = arrived.iter().map(|bytes| bytes[0]).collect();
    assert_eq!(values, (0..200).collect::<Vec<u8>>());
}

#[test]
fn fair_loss_links_lose_at_a_cut_and_carry_what_nobody_sent() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let (arrivals, arrived) = collector();
    world.fair_loss(p(2), arrivals);
    let edge = world.fair_loss(p(1), Addr::nowhere());
    world.cut((p(1), p(2)), at(2), Some(at(5)));
    // Sent before the cut and due during it, sent during it, and sent after it.
    for (k, text) in [(1, "a"), (3, "b"), (6, "c")] {
        let transmit = Transmit {
            to: p(2),
            bytes: Bytes::from(text),
            segment: 9,
        };
        world.request(p(1), at(k), &edge, transmit);
    }
    world.inject(p(2), at(9), Bytes::from_static(b"forged"));
    world.settle(UNIT * 100).run();
    let texts: Vec<Bytes> = arrived
        .lock()
        .unwrap()
        .iter()
        .map(|indication| match indication {
            fair_loss::Indication::Arrive { bytes, .. } => bytes.clone(),
            fair_loss::Indication::Reopened(_) => unreachable!("nothing was interrupted"),
        })
        .collect();
    assert_eq!(texts, ["c", "forged"]);
}

/// Subscribes each process's collector to something.
fn told<T: Send + 'static>(
    world: &World,
    subscribe: impl Fn(ProcessId) -> Addr<Addr<T>>,
) -> Vec<Arc<Mutex<Vec<T>>>> {
    world
        .processes()
        .map(|q| {
            let (addr, collected) = collector();
            world.request(q, Time::ZERO, &subscribe(q), addr);
            collected
        })
        .collect()
}

#[test]
fn the_perfect_oracle_reports_every_crash_and_nothing_else() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::perfect("perfect"));
    let told = told(&world, |q| world.perfect(q, UNIT * 4));
    world.crash(p(2), Crash::at(at(3)));
    world.run().assert_all_hold();
    assert_eq!(world.now(), at(7));
    assert_eq!(*told[0].lock().unwrap(), [perfect::Crash(p(2))]);
    assert!(told[1].lock().unwrap().is_empty());
}

#[test]
fn the_eventually_perfect_oracle_lies_for_a_while() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::eventually_perfect("eventually-perfect"));
    let oracle = Oracle::accurate(UNIT * 2)
        .suspecting(p(1), p(2), at(1), at(4))
        .suspecting(p(1), p(3), at(2), at(9))
        .suspecting(p(1), p(1), at(1), at(2));
    let told = told(&world, |q| world.eventually_perfect(q, &oracle));
    world.crash(p(3), Crash::at(at(5)));
    world.run().assert_all_hold();
    let (two, three) = (p(2), p(3));
    assert_eq!(
        *told[0].lock().unwrap(),
        [
            Indication::Suspect(two),
            Indication::Suspect(three),
            Indication::Restore(two),
            // p3 has crashed meanwhile: the suspicion stays.
        ]
    );
    assert_eq!(*told[1].lock().unwrap(), [Indication::Suspect(three)]);
}

#[test]
fn a_late_subscriber_is_told_the_state() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let subscribe = world.eventually_perfect(p(1), &Oracle::accurate(UNIT));
    let leader = world.leader(p(1), &Oracle::accurate(UNIT));
    world.crash(p(2), Crash::at(at(1)));
    let (addr, suspected) = collector();
    world.request(p(1), at(5), &subscribe, addr);
    let (addr, trusted) = collector();
    world.request(p(1), at(5), &leader, addr);
    world.run();
    assert_eq!(*suspected.lock().unwrap(), [Indication::Suspect(p(2))]);
    assert_eq!(*trusted.lock().unwrap(), [Trust(p(1))]);
}

#[test]
fn erratic_oracles_keep_the_properties_of_detectors_and_leaders() {
    for seed in 0..100 {
        let mut world = World::new(4, seed, Timed::lock_step()).unwrap();
        world.check(properties::eventually_perfect("eventually-perfect"));
        world.check(properties::leader("leader"));
        let oracle = Oracle::accurate(UNIT).erratic(world.membership(), seed, 20, at(50));
        told(&world, |q| world.eventually_perfect(q, &oracle));
        let trusted = told(&world, |q| world.leader(q, &oracle));
        world.crash(p(1), Crash::at(at(20)));
        let report = world.run();
        report.assert_all_hold();
        let last = |rank: usize| trusted[rank - 1].lock().unwrap().last().copied();
        assert_eq!((last(2), last(4)), (Some(Trust(p(2))), Some(Trust(p(2)))));
    }
}

/// Sends five heartbeats in the background; a foreground timer ends the run.
struct Heart {
    beats: u32,
    background: bool,
    heard: u64,
}

enum Pulse {
    Tick,
    Heard(Heard),
}

impl Observe for Pulse {
    fn observe(&self) -> Observation {
        match self {
            Pulse::Tick => Observation::internal("Tick"),
            Pulse::Heard(heard) => heard.observe(),
        }
    }
}

impl Algorithm for Heart {
    type Event = Pulse;
    type Effect = Beat;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.wait(ctx);
    }

    fn upon(&mut self, event: Pulse, ctx: &mut Ctx<Self>) {
        match event {
            Pulse::Heard(_) => self.heard += 1,
            Pulse::Tick => {
                ctx.trigger(Beat::default());
                self.wait(ctx);
            }
        }
    }
}

impl Heart {
    fn wait(&mut self, ctx: &mut Ctx<Self>) {
        if self.background {
            ctx.after_in_background(UNIT * 2, Pulse::Tick);
        } else if self.beats > 0 {
            self.beats -= 1;
            let cancelled = ctx.after(UNIT * 900, Pulse::Tick);
            ctx.cancel(cancelled);
            ctx.after(UNIT * 2, Pulse::Tick);
        }
    }
}

fn hearts(world: &World, background: bool) {
    for q in world.processes() {
        let host = world.host(q).at("heart");
        let mailbox = host.mailbox();
        let beat = world.heartbeat(q, mailbox.addr().with(Pulse::Heard));
        let algorithm = Heart {
            beats: 5,
            background,
            heard: 0,
        };
        host.start(mailbox, algorithm, move |effect| beat.send(effect));
    }
}

#[test]
fn foreground_timers_keep_a_run_open_and_cancelled_ones_do_not() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    hearts(&world, false);
    let report = world.run();
    assert!(report.completion.complete);
    assert_eq!(world.now(), at(10));
    assert_eq!(
        (report.counts.heartbeats, report.counts.messages),
        (5 * 6, 0)
    );
}

#[test]
fn background_timers_and_heartbeats_do_not_keep_a_run_open() {
    for settle in [0, 50] {
        let mut world = World::new(3, 1, Timed::lock_step())
            .unwrap()
            .settle(UNIT * settle);
        hearts(&world, true);
        world.crash(p(3), Crash::at(at(20)));
        let report = world.run();
        assert!(report.completion.complete);
        assert_eq!(world.now(), at(20 + settle));
    }
    let mut world = World::new(3, 1, Random::new()).unwrap();
    hearts(&world, true);
    world.crash(p(3), Crash::at(at(20)));
    assert!(world.run().completion.complete);
}

#[test]
fn a_process_that_stays_paused_leaves_the_run_open() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    world.check(properties::leader("leader"));
    world.leader(p(1), &Oracle::accurate(UNIT));
    world.pause(p(2), at(1), None);
    let report = world.run();
    assert!(!report.completion.complete && report.completion.severed);
    assert_eq!(report.verdict("ELD1"), Some(&Verdict::Unknown));
}

#[test]
fn a_director_decides_as_it_watches_whom_the_oracle_suspects() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::eventually_perfect("eventually-perfect"));
    let (first, director) = world.directed(p(1), UNIT * 2);
    let told = told(&world, |q| {
        if q == p(1) {
            first.clone()
        } else {
            world.directed(q, UNIT * 2).0
        }
    });
    world.call(p(2), at(3), move || {
        director.suspect(p(1), UNIT);
        for q in [p(2), p(3)] {
            director.suspect(q, UNIT * q.rank() as u32);
            director.restore(q, UNIT * 6);
        }
    });
    world.crash(p(3), Crash::at(at(5)));
    world.run().assert_all_hold();
    let (two, three) = (p(2), p(3));
    assert_eq!(
        *told[0].lock().unwrap(),
        [
            Indication::Suspect(two),
            Indication::Suspect(three),
            Indication::Restore(two),
            // p3 has crashed meanwhile: the suspicion stays. p1 does not suspect itself.
        ]
    );
    assert_eq!(*told[1].lock().unwrap(), [Indication::Suspect(three)]);
}

#[test]
fn a_director_that_never_restores_breaks_accuracy() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    world.check(properties::eventually_perfect("eventually-perfect"));
    let (_, director) = world.directed(p(1), UNIT);
    director.suspect(p(2), UNIT);
    let report = world.run();
    assert!(matches!(
        report.verdict("EPFD2"),
        Some(Verdict::Violated(_))
    ));
}
