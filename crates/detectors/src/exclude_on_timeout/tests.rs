use super::*;
use crate::{
    harness::{Log, Mutant, at, listen, lossy_heartbeat, milliseconds, p, times, told, violated},
    increasing_timeout,
};
use quorate_abstractions::heartbeat::Heard;
use quorate_core::Incarnation;
use quorate_sim::{
    Adversary, Clock, Crash as CrashOf, Latency, Report, Timed, TimingPolicy, Transmission, World,
    properties, timing::Bounds,
};
use std::sync::{Arc, Mutex};

/// h and δ of most tests: To is 130 ms.
const INTERVAL: Duration = milliseconds(100);
const DELAY: Duration = milliseconds(30);

fn bounds() -> SynchronyBounds {
    SynchronyBounds::new(INTERVAL, DELAY).unwrap()
}

/// A world in which PFD1–2 are checked. Heartbeats do not keep a run open: a detector gets extra time after
/// the last event.
fn world(n: usize, seed: u64, adversary: impl Adversary + 'static) -> World {
    let world = World::new(n, seed, adversary).unwrap();
    let world = world.settle(Duration::from_secs(5));
    world.check(properties::perfect("detector"));
    world
}

/// Starts a detector a process.
fn detectors(world: &World, bounds: SynchronyBounds) -> Vec<Subscribe<Crash>> {
    let one = |q| {
        let heartbeat = |up| world.heartbeat(q, up);
        spawn(&world.host(q).at("detector"), bounds, heartbeat)
    };
    world.processes().map(one).collect()
}

fn logs(world: &World, detectors: &[Subscribe<Crash>]) -> Vec<Log<Crash>> {
    let pairs = world.processes().zip(detectors);
    pairs
        .map(|(q, detector)| listen(world, q, detector))
        .collect()
}

/// Every latency up to δ, and every phase of the crash within the period.
#[test]
fn pfd1_strong_completeness_a_crash_is_reported_within_the_timeout_and_a_delay() {
    for n in 2..=8 {
        for (seed, phase) in (0..).zip((0..100).step_by(5)) {
            let mut world = world(n, seed, Timed::uniform(Duration::ZERO, DELAY));
            let logs = logs(&world, &detectors(&world, bounds()));
            let crash = at(1000 + phase);
            world.crash(p(n), CrashOf::at(crash));
            let report = world.run();
            report.assert_all_hold();
            for log in &logs[..n - 1] {
                assert_eq!(told(log), [Crash(p(n))], "seed {seed}, n = {n}");
                let detection = times(log)[0].since(crash);
                let bounds = milliseconds(30)..=milliseconds(160) + INSTANT;
                assert!(bounds.contains(&detection), "seed {seed}: {detection:?}");
            }
        }
    }
}

/// A process that crashes just before or just after a heartbeat, on the fastest and on the slowest
/// network: the shortest and the longest that detection takes.
#[test]
fn pfd1_strong_completeness_the_bounds_on_detection_are_tight() {
    let detection = |latency, phase| {
        let mut world = world(2, 0, Timed::new(Latency::Constant(latency)));
        let logs = logs(&world, &detectors(&world, bounds()));
        let crash = at(1000) + phase;
        world.crash(p(2), CrashOf::at(crash));
        world.run().assert_all_hold();
        times(&logs[0])[0].since(crash)
    };
    let timeout = INTERVAL + DELAY;
    // A crash comes before other events of the same time: the heartbeat is not sent.
    assert_eq!(
        detection(Duration::ZERO, Duration::ZERO) + INTERVAL,
        timeout + INSTANT
    );
    assert_eq!(detection(DELAY, INSTANT), timeout + DELAY);
    for phase in 1..=100 {
        let since_heartbeat = milliseconds(phase);
        assert_eq!(
            detection(DELAY, since_heartbeat) + since_heartbeat,
            timeout + DELAY + INSTANT
        );
    }
}

#[test]
fn pfd1_strong_completeness_all_but_one_may_crash() {
    let mut world = world(5, 3, Timed::uniform(Duration::ZERO, DELAY));
    let logs = logs(&world, &detectors(&world, bounds()));
    for rank in 2..=5 {
        world.crash(p(rank), CrashOf::at(at(700 * rank as u64)));
    }
    world.run().assert_all_hold();
    assert_eq!(told(&logs[0]), [2, 3, 4, 5].map(|rank| Crash(p(rank))));
}

#[test]
fn pfd2_strong_accuracy_no_live_process_is_reported_while_the_bounds_hold() {
    for n in 2..=8 {
        for seed in 0..20 {
            let mut world = world(n, seed, Timed::uniform(Duration::ZERO, DELAY));
            detectors(&world, bounds());
            // Latencies are drawn at random, and the slowest may follow the fastest.
            let report = world.run_until(at(10_000));
            assert!(report.completion.complete, "{report}");
            report.assert_all_hold();
        }
    }
}

/// Heartbeats take no time and the longest time in turn.
struct Alternating;

impl Adversary for Alternating {
    fn latency(&mut self, copy: Transmission, _: &mut quorate_core::Random) -> Duration {
        match copy.message % 4 {
            1 | 2 => Duration::ZERO,
            _ => DELAY,
        }
    }
}

#[test]
fn pfd2_strong_accuracy_is_broken_by_a_timeout_below_interval_and_delay() {
    let report_with = |timeout| {
        let mut world = world(2, 0, Alternating);
        let shorter = SynchronyBounds {
            timeout,
            ..bounds()
        };
        detectors(&world, shorter);
        world.run()
    };
    report_with(milliseconds(130)).assert_all_hold();
    assert!(violated(
        &report_with(Duration::from_nanos(129_999_999)),
        "PFD2"
    ));
}

#[test]
fn pfd2_strong_accuracy_needs_synchrony() {
    let paused = |world: &World| world.pause(p(2), at(1000), Some(at(1400)));
    let mut synchronous = world(3, 1, Timed::uniform(Duration::ZERO, DELAY));
    detectors(&synchronous, bounds());
    paused(&synchronous);
    assert!(violated(&synchronous.run(), "PFD2"), "it only slept");

    // The same schedule does no harm to the detector with weaker promises.
    let mut noisy = World::new(3, 1, Timed::uniform(Duration::ZERO, DELAY)).unwrap();
    noisy = noisy.settle(Duration::from_secs(5));
    noisy.check(properties::eventually_perfect("detector"));
    for q in noisy.processes() {
        let bounds = increasing_timeout::DetectorSettings {
            interval: INTERVAL,
            timeout: INTERVAL + DELAY,
        };
        let heartbeat = |up| noisy.heartbeat(q, up);
        increasing_timeout::spawn(&noisy.host(q).at("detector"), bounds, heartbeat);
    }
    paused(&noisy);
    noisy.run().assert_all_hold();
}

/// The heartbeats of p2 take no time and the longest time in turn, those of p1 no time.
struct InTurn(bool);

impl Adversary for InTurn {
    fn latency(&mut self, copy: Transmission, _: &mut quorate_core::Random) -> Duration {
        if copy.from == p(1) {
            return Duration::ZERO;
        }
        self.0 = !self.0;
        if self.0 { Duration::ZERO } else { DELAY }
    }
}

/// The clock of p1 is the fastest, and that of p2 the slowest, of those that drift by `rho`.
fn drifting(world: &World, rho: f64) {
    world.clock(p(1), Clock::new().drift(rho));
    world.clock(p(2), Clock::new().drift(-rho));
}

fn under_drift(bounds: SynchronyBounds, rho: f64) -> Report {
    let mut world = world(2, 0, InTurn(false));
    drifting(&world, rho);
    detectors(&world, bounds);
    world.run_until(at(20_000))
}

/// ◇P where P makes a mistake: with timers as short, in the world that `prepare` makes of it.
fn eventually_perfect_in(
    settings: increasing_timeout::DetectorSettings,
    prepare: impl Fn(&World),
) -> Report {
    let world = World::new(2, 0, InTurn(false)).unwrap();
    let mut world = world.settle(Duration::from_mins(1));
    world.check(properties::eventually_perfect("detector"));
    prepare(&world);
    for q in world.processes() {
        let heartbeat = |up| world.heartbeat(q, up);
        increasing_timeout::spawn(&world.host(q).at("detector"), settings, heartbeat);
    }
    world.run()
}

/// P over clocks that drift no more than it assumes makes no mistake, and over others it does; ◇P assumes nothing of
/// clocks, and stops making mistakes.
#[test]
fn pfd2_strong_accuracy_under_drift_takes_bounds_that_allow_for_it() {
    let short = increasing_timeout::DetectorSettings {
        interval: INTERVAL,
        timeout: INTERVAL + DELAY,
    };
    for rho in [0.0001, 0.01, 0.1, 0.5] {
        let allowing = bounds().drift(rho).unwrap();
        under_drift(allowing, rho).assert_all_hold();
        let beyond = under_drift(allowing, rho * 1.1);
        assert!(violated(&beyond, "PFD2"), "ρ = {rho}");
        assert!(violated(&under_drift(bounds(), rho), "PFD2"), "ρ = {rho}");
        eventually_perfect_in(short, |world| drifting(world, rho * 1.1)).assert_all_hold();
    }
}

/// The bounds by default allow for delays of 400 milliseconds. Where a heartbeat takes less, what is left is for clocks:
/// with 30 milliseconds they may drift by more than a half.
#[test]
fn pfd2_strong_accuracy_the_default_bounds_allow_for_drift_where_messages_are_faster() {
    let (shipped, settings) = (
        SynchronyBounds::default(),
        increasing_timeout::DetectorSettings::default(),
    );
    for (rho, holds) in [(1e-4, true), (0.1, true), (0.6, true), (0.7, false)] {
        let needed = SynchronyBounds::new(shipped.interval(), DELAY).unwrap();
        let needed = needed.drift(rho).unwrap().allowed_silence();
        assert_eq!(needed <= shipped.allowed_silence(), holds, "ρ = {rho}");
        let report = under_drift(shipped, rho);
        assert_eq!(violated(&report, "PFD2"), !holds, "ρ = {rho}: {report}");
        eventually_perfect_in(settings, |world| drifting(world, rho)).assert_all_hold();
    }
}

#[test]
fn pfd2_strong_accuracy_is_broken_by_a_clock_that_jumps() {
    let jump = |world: &World| {
        let clock = Clock::new().jump(at(1040), milliseconds(400));
        world.clock(p(1), clock);
    };
    let mut perfect = world(2, 0, InTurn(false));
    jump(&perfect);
    detectors(&perfect, bounds());
    assert!(violated(&perfect.run(), "PFD2"));
    let short = increasing_timeout::DetectorSettings {
        interval: INTERVAL,
        timeout: INTERVAL + DELAY,
    };
    eventually_perfect_in(short, jump).assert_all_hold();
}

/// Offsets do no harm: a process compares only times of its own clock.
#[test]
fn pfd2_strong_accuracy_takes_no_clocks_that_agree() {
    let mut world = world(2, 0, InTurn(false));
    let hour = Duration::from_hours(1);
    world.clock(p(2), Clock::new().offset(hour));
    let logs = logs(&world, &detectors(&world, bounds()));
    world.crash(p(2), CrashOf::at(at(1000)));
    world.run().assert_all_hold();
    assert_eq!(told(&logs[0]), [Crash(p(2))]);
}

/// Each timer fires up to Φ late.
#[test]
fn pfd2_strong_accuracy_with_late_timers_takes_bounds_that_allow_for_them() {
    let late = |bounds: SynchronyBounds, seed| {
        let mut world = world(2, seed, InTurn(false));
        world.timing(TimingPolicy::Synchronous(Bounds {
            delay: DELAY,
            lateness: milliseconds(7),
            start: INTERVAL,
        }));
        detectors(&world, bounds);
        world.run_until(at(20_000))
    };
    let allowing = bounds().lateness(milliseconds(7));
    assert_eq!(allowing.allowed_silence(), milliseconds(137));
    (0..20).for_each(|seed| late(allowing, seed).assert_all_hold());
    let careless = (0..20).map(|seed| late(bounds(), seed));
    let mistaken = careless.filter(|report| violated(report, "PFD2"));
    assert!(mistaken.count() > 10);
}

/// The losses in a row are limited to three, and half of the heartbeats are lost.
fn over_lossy_links(seed: u64, bounds: SynchronyBounds) -> Report {
    let adversary = Timed::uniform(Duration::ZERO, DELAY).loss(0.5);
    let mut world = world(3, seed, adversary).fair_loss_bounds(3, 1);
    for q in world.processes() {
        let heartbeat = |up| lossy_heartbeat(&world, q, up);
        spawn(&world.host(q).at("detector"), bounds, heartbeat);
    }
    world.crash(p(3), CrashOf::at(at(2000)));
    world.run()
}

#[test]
fn pfd2_strong_accuracy_over_lossy_links_takes_a_timeout_of_as_many_intervals_more() {
    for seed in 0..50 {
        let report = over_lossy_links(seed, bounds().losses(3));
        assert!(report.counts.lost > 0, "seed {seed}");
        report.assert_all_hold();
        let careless = over_lossy_links(seed, bounds());
        assert!(violated(&careless, "PFD2"), "seed {seed}");
    }
}

#[test]
fn heartbeats_are_n_times_n_minus_one_an_interval() {
    for n in 2..=8 {
        let mut world = world(n, 0, Timed::lock_step());
        detectors(&world, bounds());
        let all = (n * (n - 1)) as u64;
        let report = world.run_until(at(3000));
        assert_eq!(report.counts.heartbeats, 31 * all, "one at the start");
        assert_eq!(report.counts.messages, 0);
        world.crash(p(1), CrashOf::at(at(3050)));
        let report = world.run_until(at(5000));
        let alive = all - (n as u64 - 1);
        assert_eq!(report.counts.heartbeats, 31 * all + 20 * alive);
    }
}

type Rule = crate::harness::Rule<ExcludeOnTimeout>;

/// p3 crashes, a heartbeat of it that is late arrives after the report, and then p2 crashes.
fn late_heartbeat(rule: Rule) -> (Report, Vec<Crash>) {
    let mut world = world(3, 0, Timed::lock_step());
    let mut told_to_p1 = Log::default();
    for q in world.processes() {
        let host = world.host(q).at("detector");
        let mutant = Mutant {
            detector: ExcludeOnTimeout::new(&host, bounds()),
            rule,
        };
        let heartbeat = |up: Addr<Heard>| {
            world.request(q, at(1500), &up, Heard::of(p(3)));
            world.heartbeat(q, up)
        };
        let detector = spawn_as(&host, mutant, &Addr::nowhere(), heartbeat);
        if q == p(1) {
            told_to_p1 = listen(&world, q, &detector);
        }
    }
    world.crash(p(3), CrashOf::at(at(1000)));
    world.crash(p(2), CrashOf::at(at(2000)));
    (world.run(), told(&told_to_p1))
}

#[test]
fn pfd2_strong_accuracy_what_arrives_after_the_report_is_ignored() {
    let (report, told) = late_heartbeat(ExcludeOnTimeout::upon);
    report.assert_all_hold();
    assert_eq!(told, [Crash(p(3)), Crash(p(2))]);
    let (report, _) = late_heartbeat(|detector, event, ctx| {
        if let Event::Heard(heard) = event {
            detector.last.insert(heard.from, ctx.now());
        }
        detector.upon(event, ctx);
    });
    assert!(violated(&report, "PFD2"), "reported again: {report}");
}

#[test]
fn pfd1_strong_completeness_the_watch_goes_on_after_a_report() {
    let (report, _) = late_heartbeat(|detector, event, ctx| {
        let over = matches!(event, Event::Silence) && !detector.crashed.is_empty();
        if !over {
            detector.upon(event, ctx);
        }
    });
    assert!(violated(&report, "PFD1"), "{report}");
}

/// What p1, p2 and the second start of p3 are told where p3 crashes and is back within the timeout, as the
/// links say. It hears nobody: who knows its first start does not talk to it.
fn started_again(rule: Rule) -> (Report, [Vec<Crash>; 3]) {
    let mut world = world(3, 0, Timed::lock_step());
    let detector = |world: &World, q| {
        let host = world.host(q).at("detector");
        let detector = ExcludeOnTimeout::new(&host, bounds());
        let heartbeat = |up| world.heartbeat(q, up);
        let mutant = Mutant { detector, rule };
        let told = Arc::new(Mutex::new(Addr::nowhere()));
        let links = Addr::new({
            let told = told.clone();
            move |status| *told.lock().unwrap() = status
        });
        let crashes = spawn_as(&host, mutant, &links, heartbeat);
        let log = listen(world, q, &crashes);
        let status = told.lock().unwrap().clone();
        (status, log)
    };
    let mut all: Vec<_> = world.processes().map(|q| detector(&world, q)).collect();
    world.crash(p(3), CrashOf::at(at(1010)));
    world.run_until(at(1050));
    assert!(world.restart(p(3), Incarnation(33)));
    all[2] = detector(&world, p(3));
    for (rank, (links, _)) in (1..).zip(&all) {
        let (peer, by) = (p(3), p(1));
        let (known, newcomer) = (Incarnation(3), Incarnation(33));
        let status = if rank == 3 {
            world.cut((p(1), peer), at(1051), Some(at(4000)));
            world.cut((p(2), peer), at(1051), Some(at(4000)));
            Status::Newcomer { by, known }
        } else {
            Status::Replaced {
                peer,
                known,
                newcomer,
            }
        };
        // The links may report this more than once, for example about a further start.
        world.request(p(rank), at(1060), links, status.clone());
        world.request(p(rank), at(2000), links, status);
    }
    let report = world.run();
    let told = |index: usize| told(&all[index].1);
    (report, [told(0), told(1), told(2)])
}

#[test]
fn pfd1_strong_completeness_a_second_start_is_the_crash_of_the_first() {
    let (report, [one, two, again]) = started_again(ExcludeOnTimeout::upon);
    report.assert_all_hold();
    assert_eq!((one, two), (vec![Crash(p(3))], vec![Crash(p(3))]));
    assert!(again.is_empty(), "it is no process of the system");
    let (report, _) = started_again(|detector, event, ctx| match event {
        // The heartbeats of the second count as those of the first.
        Event::Status(_) => {}
        event => detector.upon(event, ctx),
    });
    assert!(violated(&report, "PFD1"), "{report}");
    let (report, [_, _, again]) = started_again(|detector, event, ctx| match event {
        Event::Status(Status::Newcomer { .. }) => {}
        event => detector.upon(event, ctx),
    });
    report.assert_all_hold();
    assert_eq!(again, [Crash(p(1)), Crash(p(2))], "they live");
}

#[test]
fn pfd2_strong_accuracy_who_is_replaced_is_reported_once() {
    let (report, _) = started_again(|detector, event, ctx| match event {
        Event::Status(Status::Replaced { peer, .. }) => detector.report(peer, ctx),
        event => detector.upon(event, ctx),
    });
    assert!(violated(&report, "PFD2"), "reported again: {report}");
}

#[test]
fn a_new_subscriber_learns_of_all_crashes_so_far() {
    let mut world = world(4, 5, Timed::uniform(Duration::ZERO, DELAY));
    let detectors = detectors(&world, bounds());
    world.crash(p(2), CrashOf::at(at(1000)));
    world.crash(p(4), CrashOf::at(at(1200)));
    world.run_until(at(3000));
    let late = listen(&world, p(1), &detectors[0]);
    world.crash(p(3), CrashOf::at(at(4000)));
    world.run_until(at(6000));
    assert_eq!(told(&late), [2, 4, 3].map(|rank| Crash(p(rank))));
}

#[test]
fn a_process_alone_reports_nobody() {
    let mut world = world(1, 0, Timed::lock_step());
    let logs = logs(&world, &detectors(&world, bounds()));
    world.run_until(at(5000));
    assert!(told(&logs[0]).is_empty());
}

#[test]
fn a_timeout_that_would_report_live_processes_is_refused() {
    let none = SynchronyBounds::new(Duration::ZERO, DELAY);
    assert_eq!(none, Err(BadBounds::NoInterval));
    for rho in [-0.1, 1.0, 2.0, f64::NAN] {
        assert_eq!(bounds().drift(rho), Err(BadBounds::Drift));
    }
    let short = bounds().timeout(milliseconds(129));
    let refused = BadBounds::ShortTimeout {
        timeout: milliseconds(129),
        least: milliseconds(130),
    };
    assert_eq!(short, Err(refused));
    assert_eq!(
        refused.to_string(),
        "a live process may be silent for 130ms: a timeout of 129ms is too short"
    );
    assert!(bounds().timeout(milliseconds(130)).is_ok());

    let lossy = bounds().losses(2);
    assert_eq!(lossy.timeout, milliseconds(330));
    assert!(lossy.timeout(milliseconds(329)).is_err());
    let generous = bounds().timeout(milliseconds(500)).unwrap();
    assert_eq!(generous.losses(2).timeout, milliseconds(500));

    let longest = SynchronyBounds::new(Duration::MAX, Duration::MAX).unwrap();
    assert_eq!(longest.losses(u32::MAX).timeout, Duration::MAX);
    let usual = SynchronyBounds::default();
    assert_eq!(usual.timeout(usual.timeout), Ok(usual));
}
