use super::*;
use crate::harness::{Log, at, listen, milliseconds, p, times, told, violated};
use quorate_abstractions::link::Links;
use quorate_broadcast::terminating;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Layer, Time, message::fold};
use quorate_sim::{
    Crash as CrashOf, Latency, Random, Report, Timed, Verdict, World, properties, testing::losing,
};

const INTERVAL: Duration = milliseconds(100);

/// Terminating broadcast at `q` over consensus by hierarchy and a P that takes this long.
fn broadcast(world: &World, q: ProcessId, delay: Duration) -> impl Layer<(Broadcast, Deliver)> {
    let (host, links) = (world.host(q).at("terminating"), world.links(q).at("trb"));
    let detector = world.perfect(q, delay);
    move |up| {
        let consensus = |source: ProcessId, up| {
            let (host, links) = (host.at(&source.to_string()), links.at(&source.to_string()));
            let detector = &detector;
            let (lane, status) = (links.lane(), links.status());
            uniform_hierarchical::spawn(&host, lane, &status, detector, up)
        };
        let (lane, status) = (links.lane(), links.status());
        terminating::spawn(&host, lane, &status, consensus, &detector, up)
    }
}

/// A detector at every process of a world, of which PFD1–2 and TRB1–4 are checked.
fn detectors(world: &World, delay: Duration) -> Vec<Log<Crash>> {
    world.check(properties::perfect("detector"));
    world.check(properties::terminating(world.membership(), "terminating"));
    let one = |q| {
        let interval = Interval::new(INTERVAL).unwrap();
        let host = world.host(q).at("detector");
        let detector = spawn(&host, interval, broadcast(world, q, delay));
        listen(world, q, &detector)
    };
    world.processes().map(one).collect()
}

/// All but one of the processes may crash, each in its own way.
fn crash_some(world: &World, n: u64, seed: u64) {
    let draw = |rank: u64, what: u64, below: u64| fold(fold(seed, rank), what) % below;
    for rank in 1..=draw(0, 0, n) {
        let crash = match draw(rank, 1, 3) {
            0 => CrashOf::at(at(draw(rank, 2, 2000))),
            1 => CrashOf::before_output(1 + draw(rank, 2, 30 * n)),
            _ => CrashOf::before_effect(1 + draw(rank, 2, 50 * n)),
        };
        let victim = p(1 + ((rank + draw(rank, 3, 2)) % n) as usize);
        world.crash(victim, crash.losing(losing(draw(rank, 4, 3))));
    }
}

#[test]
fn pfd1_and_pfd2_hold_whoever_crashes() {
    let mut rounds = 0;
    for seed in 0..300 {
        let n = 2 + seed % 4;
        let latency = Timed::uniform(milliseconds(1), milliseconds(20));
        let mut world = World::new(n as usize, seed, latency).unwrap();
        detectors(&world, milliseconds(seed % 50));
        crash_some(&world, n, seed);
        // Broadcasts do not keep a run open: this call does.
        world.call(p(n as usize), at(1500), || {});
        world.run().assert_all_hold();
        let delivered = |q| world.tally(q, "terminating", "Deliver");
        let most = world.processes().filter_map(delivered).map(|t| t.count);
        rounds = rounds.max(most.max().unwrap_or(0) / n);
    }
    assert!(rounds >= 10, "they broadcast again and again: {rounds}");
}

/// If copies take arbitrarily long, some process is always in the middle of a broadcast: such a run has no
/// end, and only safety is judged.
#[test]
fn pfd2_strong_accuracy_holds_in_any_order_of_steps() {
    for seed in 0..200 {
        let n = 2 + seed % 4;
        let world = World::new(n as usize, seed, Random::new()).unwrap();
        let mut world = world.maximum_events(4000);
        detectors(&world, milliseconds(seed % 50));
        crash_some(&world, n, seed);
        let report = world.run();
        let is_broken = |(_, verdict): &(String, Verdict)| verdict.is_violated();
        assert!(!report.verdicts.iter().any(is_broken), "{report}");
    }
}

fn run(
    n: usize,
    delay: Duration,
    crash: Option<(usize, Time)>,
) -> (Report, World, Vec<Log<Crash>>) {
    let step = Timed::new(Latency::Constant(milliseconds(1)));
    let mut world = World::new(n, 1, step).unwrap();
    let logs = detectors(&world, delay);
    if let Some((rank, time)) = crash {
        world.crash(p(rank), CrashOf::at(time));
    }
    world.call(p(1), at(1050), || {});
    let report = world.run();
    (report, world, logs)
}

#[test]
fn pfd1_a_crash_between_two_broadcasts_is_reported_by_the_next_instance() {
    for n in 2..=6 {
        for rank in 2..=n {
            // All are idle from about 500 to about 600 milliseconds: instances take a few milliseconds.
            let (report, _, logs) = run(n, milliseconds(5), Some((rank, at(570))));
            report.assert_all_hold();
            let survivors = logs.iter().zip(1..).filter(|(_, q)| *q != rank);
            for (log, q) in survivors {
                assert_eq!(told(log), [Crash(p(rank))], "n = {n}, p{q}");
                let taken = times(log)[0].since(at(570));
                assert!(
                    taken <= milliseconds(5 + n as u64 - 1),
                    "n = {n}, p{q}: {taken:?}"
                );
            }
        }
    }
}

#[test]
fn the_rate_is_what_the_header_says() {
    for n in 1..=5_u64 {
        let (report, world, logs) = run(n as usize, INTERVAL, None);
        report.assert_all_hold();
        let broadcasts = world.tally(p(1), "terminating", "Deliver").unwrap().count;
        let rounds = broadcasts / n;
        assert!(
            (9..=11).contains(&rounds),
            "in a second and a bit: {rounds}"
        );
        assert_eq!(report.counts.messages, broadcasts * (n * n - 1), "n = {n}");
        assert!(logs.iter().all(|log| told(log).is_empty()));
    }
}

#[test]
fn pfd1_a_subscriber_that_comes_late_is_told_of_all_crashes() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut world = world.settle(Duration::ZERO);
    let interval = Interval::default();
    let host = world.host(p(1)).at("detector");
    let detector = spawn(&host, interval, broadcast(&world, p(1), milliseconds(1)));
    for q in [p(2), p(3)] {
        let host = world.host(q).at("detector");
        spawn(&host, interval, broadcast(&world, q, milliseconds(1)));
    }
    world.crash(p(2), CrashOf::at(Time::ZERO));
    world.run();
    let log = Log::default();
    let mine: Log<Crash> = log.clone();
    let late = world.application_with(p(1), move |indication: Crash, now| {
        mine.lock().unwrap().push((now, indication));
    });
    world.request(p(1), world.now(), &detector, late);
    world.run();
    assert_eq!(told(&log), [Crash(p(2))]);
}

#[test]
fn pfd2_is_about_correct_processes_over_a_broadcast_that_knows_the_future() {
    // p2 is called faulty, which it will be: no broadcast over P does that, but the textbook's specification
    // allows it.
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    world.check(properties::perfect("detector"));
    let foresees = |up: Addr<Deliver>| {
        let verdict = Deliver {
            source: p(2),
            number: 1,
            outcome: Content::SenderFaulty,
        };
        world.request(p(1), at(10), &up, verdict);
        Addr::nowhere()
    };
    let host = world.host(p(1)).at("detector");
    let detector = spawn(&host, Interval::default(), foresees);
    let log = listen(&world, p(1), &detector);
    world.crash(p(2), CrashOf::at(at(20)));
    let report = world.run();
    assert!(violated(&report, "PFD2"), "{report}");
    assert_eq!(told(&log), [Crash(p(2))], "and p2 is faulty in this run");
}

#[test]
fn the_checkers_see_a_broadcast_that_is_deaf_and_one_that_errs() {
    let run = |alter: fn(Deliver) -> Deliver| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        world.check(properties::perfect("detector"));
        for q in world.processes() {
            let below = broadcast(&world, q, milliseconds(3));
            let altered = |up: Addr<Deliver>| below.attach(up.with(alter));
            let host = world.host(q).at("detector");
            spawn(&host, Interval::default(), altered);
        }
        world.crash(p(3), CrashOf::at(at(2)));
        world.run()
    };
    let deaf = run(|delivery| Deliver {
        outcome: Content::Message(Bytes::new()),
        ..delivery
    });
    assert!(violated(&deaf, "PFD1"), "{deaf}");
    let errs = run(|delivery| Deliver {
        outcome: Content::SenderFaulty,
        ..delivery
    });
    assert!(violated(&errs, "PFD2"), "{errs}");
    let sound = run(|delivery| delivery);
    assert_eq!(sound.verdict("PFD1"), Some(&Verdict::Holds));
    assert_eq!(sound.verdict("PFD2"), Some(&Verdict::Holds));
}

#[test]
fn an_interval_of_no_time_is_refused() {
    assert_eq!(Interval::new(Duration::ZERO), Err(NoInterval));
    assert!(Interval::new(INTERVAL).is_ok());
}
