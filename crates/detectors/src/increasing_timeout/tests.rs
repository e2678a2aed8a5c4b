use super::*;
use crate::harness::{Log, Mutant, at, listen, milliseconds, p, times, told, violated};
use Indication::{Restore, Suspect};
use quorate_core::{Context, Incarnation, Observation, Observe};
use quorate_sim::{Adversary, Crash, Latency, Report, Timed, UNIT, World, properties};

type Rule = crate::harness::Rule<IncreasingTimeout>;

/// The correct rule.
const CORRECT: Rule = IncreasingTimeout::upon;

/// The silence that a peer is allowed.
fn total(peer: &Peer) -> Duration {
    peer.allowance.timeout().total()
}

/// A world of `n` detectors that follow this rule, and their indications.
struct Cluster {
    world: World,
    logs: Vec<Log<Indication>>,
    detectors: Vec<Detector>,
}

impl Cluster {
    fn new(world: World, settings: DetectorSettings, rule: Rule) -> Self {
        let mut cluster = Cluster {
            world,
            logs: Vec::new(),
            detectors: Vec::new(),
        };
        for q in cluster.world.processes() {
            let host = cluster.world.host(q).at("detector");
            let detector = IncreasingTimeout::new(&host, settings);
            let heartbeat = |up| cluster.world.heartbeat(q, up);
            let detector = start(
                &host,
                Mutant { detector, rule },
                &Addr::nowhere(),
                heartbeat,
            );
            cluster
                .logs
                .push(listen(&cluster.world, q, &detector.suspicions));
            cluster.detectors.push(detector);
        }
        cluster
    }
}

/// A world in which EPFD1–2 are checked. Heartbeats do not keep a run open: a detector gets extra time after
/// the last event.
fn checked(n: usize, seed: u64, adversary: impl Adversary + 'static) -> World {
    let world = World::new(n, seed, adversary).unwrap();
    world.check(properties::eventually_perfect("detector"));
    world.settle(Duration::from_secs(5))
}

fn cluster(n: usize) -> Cluster {
    let world = checked(n, 7, Timed::uniform(UNIT, UNIT * 20));
    Cluster::new(world, DetectorSettings::default(), CORRECT)
}

#[test]
fn epfd1_strong_completeness_a_crashed_process_is_suspected_for_ever() {
    for n in 2..=8 {
        for (seed, phase) in (0..).zip((0..100).step_by(5)) {
            let world = checked(n, seed, Timed::uniform(Duration::ZERO, UNIT * 30));
            let mut cluster = Cluster::new(world, DetectorSettings::default(), CORRECT);
            let crash = at(1000 + phase);
            cluster.world.crash(p(n), Crash::at(crash));
            cluster.world.run().assert_all_hold();
            for log in &cluster.logs[..n - 1] {
                assert_eq!(told(log), [Suspect(p(n))], "seed {seed}, n = {n}");
                let detection = times(log)[0].since(crash);
                let bounds = milliseconds(500 - 100)..=milliseconds(500 + 100 + 30);
                assert!(bounds.contains(&detection), "seed {seed}: {detection:?}");
            }
        }
    }
}

/// For every phase of the crash within the period, and a network that is fast or slow.
#[test]
fn epfd1_strong_completeness_a_crash_is_noticed_at_the_first_tick_after_the_timeout() {
    let mut longest = Duration::ZERO;
    for latency in [0, 1, 30, 99] {
        for phase in 0..100 {
            let world = checked(2, 0, Timed::new(Latency::Constant(milliseconds(latency))));
            let mut cluster = Cluster::new(world, DetectorSettings::default(), CORRECT);
            cluster.world.crash(p(2), Crash::at(at(1000 + phase)));
            cluster.world.run().assert_all_hold();
            // The crash comes before other events of the same time.
            let last_heartbeat = if phase == 0 { 900 } else { 1000 };
            let too_long = last_heartbeat + latency + 500;
            let tick = (too_long / 100 + 1) * 100;
            assert_eq!(times(&cluster.logs[0]), [at(tick)]);
            longest = longest.max(at(tick).since(at(1000 + phase)));
        }
    }
    assert_eq!(longest, milliseconds(599), "and the crash 1 ms later");
}

#[test]
fn heartbeats_are_n_times_n_minus_one_an_interval() {
    for n in 2..=8 {
        let mut cluster = cluster(n);
        let all = (n * (n - 1)) as u64;
        let report = cluster.world.run_until(at(3000));
        assert_eq!(report.counts.heartbeats, 31 * all, "one at the start");
        assert_eq!(report.counts.messages, 0);
        cluster.world.crash(p(1), Crash::at(at(3050)));
        let report = cluster.world.run_until(at(5000));
        let alive = all - (n as u64 - 1);
        assert_eq!(report.counts.heartbeats, 31 * all + 20 * alive);
    }
}

#[test]
fn epfd2_eventual_strong_accuracy_a_mistake_doubles_the_timeout() {
    let mut cluster = cluster(3);
    // The second of these silences is within the doubled timeout, and so is the fourth.
    for (from, to) in [
        (1000, 1700),
        (5000, 5900),
        (10_000, 12_500),
        (15_000, 16_900),
    ] {
        let world = &cluster.world;
        world.cut((p(2), p(1)), at(from), Some(at(to)));
    }
    cluster.world.run_until(at(30_000)).assert_all_hold();
    let mistake = [Suspect(p(2)), Restore(p(2))];
    assert_eq!(told(&cluster.logs[0]), [mistake, mistake].concat());
    for log in &cluster.logs[1..] {
        assert!(told(log).is_empty(), "nothing else was ever cut");
    }
}

/// Before it is stable, a network may be as slow as it likes.
#[test]
fn epfd2_eventual_strong_accuracy_on_a_network_with_a_long_tail() {
    let mut mistakes = 0;
    for seed in 0..50 {
        let slow = Latency::Tailed(UNIT, milliseconds(300));
        let mut cluster = Cluster::new(
            checked(4, seed, Timed::new(slow)).settle(Duration::from_mins(1)),
            DetectorSettings::default(),
            CORRECT,
        );
        cluster.world.crash(p(4), Crash::at(at(10_000)));
        cluster.world.run().assert_all_hold();
        mistakes += cluster
            .logs
            .iter()
            .map(|log| told(log).len())
            .sum::<usize>();
    }
    assert!(mistakes > 50 * 3, "it did go wrong: {mistakes}");
}

#[test]
fn a_timeout_grows_to_the_end_of_time_and_no_further() {
    let mut cluster = cluster(2);
    let host = cluster.world.host(p(1)).at("other");
    let mut lasting = IncreasingTimeout::new(&host, DetectorSettings::default());
    lasting.timeout = Duration::MAX;
    lasting.silent.insert(p(2));
    let spare = start(&host, lasting, &Addr::nowhere(), |up: Addr<Heard>| {
        cluster.world.request(p(1), at(1000), &up, Heard::of(p(2)));
        Addr::nowhere()
    });
    let log = listen(&cluster.world, p(1), &spare.suspicions);
    cluster.world.run_until(at(60_000));
    assert_eq!(told(&log), [Suspect(p(2)), Restore(p(2))]);
}

/// The time that p1 of eight takes to notice the crash of p8 at 20 s, some time after it heard nobody for a
/// while.
fn detection_after_a_storm(rule: Rule) -> Duration {
    let world = checked(8, 7, Timed::uniform(UNIT, UNIT * 20));
    let world = world.settle(Duration::from_secs(100));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
    for q in cluster.world.membership().others(p(1)).iter() {
        cluster.world.cut((q, p(1)), at(1000), Some(at(1700)));
    }
    cluster.world.crash(p(8), Crash::at(at(20_000)));
    cluster.world.run().assert_all_hold();
    assert_eq!(told(&cluster.logs[0]).len(), 2 * 7 + 1);
    let noticed = *times(&cluster.logs[0]).last().unwrap();
    noticed.since(at(20_000))
}

#[test]
fn peers_that_are_late_together_do_not_lengthen_each_others_timeouts() {
    let detection = detection_after_a_storm(CORRECT);
    // The mistake is 18 s ago, and three times as long as it takes to halve the excess.
    assert!(detection <= milliseconds(525 + 525 / 8 + 1 + 100 + 20));
    let shared = detection_after_a_storm(|detector, event, ctx| {
        detector.upon(event, ctx);
        let timeouts = detector.peers.values().map(total);
        let shared = timeouts.max().unwrap();
        for peer in detector.peers.values_mut() {
            peer.allowance.set(shared);
        }
    });
    assert!(
        shared >= milliseconds((500 << 7) - 100),
        "doubled seven times: {shared:?}"
    );
}

/// p1's indications about p2, which crashes at this time and which p1 heard at these times: the test gives it
/// the heartbeats. From half of that time on, there must be no mistakes any more.
fn heard_at(rule: Rule, heartbeats: &[u64], crash: u64) -> (Report, Log<Indication>) {
    let mut world = World::new(2, 0, Timed::lock_step()).unwrap();
    world = world
        .settle(Duration::from_secs(1000))
        .go_on_after_violation();
    let stable = at(crash / 2);
    world.check(properties::eventually_perfect_from("detector", stable));
    let host = world.host(p(1)).at("detector");
    let detector = IncreasingTimeout::new(&host, DetectorSettings::default());
    let detector = start(
        &host,
        Mutant { detector, rule },
        &Addr::nowhere(),
        |up: Addr<Heard>| {
            for time in heartbeats {
                world.request(p(1), at(*time), &up, Heard::of(p(2)));
            }
            Addr::nowhere()
        },
    );
    let log = listen(&world, p(1), &detector.suspicions);
    world.crash(p(2), Crash::at(at(crash)));
    (world.run(), log)
}

/// The network finally keeps a bound of 5 s; a timeout that may not grow so far is too short for ever.
#[test]
fn epfd2_eventual_strong_accuracy_nothing_caps_the_timeout_below_the_bound() {
    let heartbeats: Vec<u64> = (0..40).map(|i| 5000 * i).collect();
    let run = |rule| {
        let (report, log) = heard_at(rule, &heartbeats, 196_000);
        (report, told(&log).len())
    };
    let (report, told) = run(CORRECT);
    report.assert_all_hold();
    assert_eq!(told, 2 * 4 + 1, "0.5, 1, 2 and 4 s are too short");
    let (report, told) = run(|detector, event, ctx| {
        detector.upon(event, ctx);
        for peer in detector.peers.values_mut() {
            let capped = total(peer).min(milliseconds(4000));
            peer.allowance.set(capped);
        }
    });
    assert!(violated(&report, "EPFD2"), "{report}");
    assert_eq!(told, 2 * 39 + 1, "a mistake every time");
}

/// Eight heartbeats are held up and arrive together: one mistake, and one lesson.
#[test]
fn only_a_mistake_lengthens_the_timeout_and_not_every_late_heartbeat() {
    let regular = (0..10).chain(22..60).map(|i| 100 * i);
    let mut heartbeats: Vec<u64> = regular.collect();
    heartbeats.extend(2001..=2008);
    let (report, log) = heard_at(CORRECT, &heartbeats, 6000);
    report.assert_all_hold();
    assert_eq!(told(&log), [Suspect(p(2)), Restore(p(2)), Suspect(p(2))]);
    assert!(times(&log)[2] <= at(5900 + 1050 + 100));
    let (report, log) = heard_at(
        |detector, event, ctx| match event {
            Event::Heard(heard) if detector.silent.contains(heard.from) => {
                let peer = detector.peers.get_mut(&heard.from).unwrap();
                peer.last = ctx.now();
                peer.allowance.upon_mistake(ctx.now());
            }
            Event::Tick => {
                for (q, peer) in &detector.peers {
                    if peer.last > detector.ticked {
                        detector.silent.remove(*q);
                    }
                }
                detector.upon(Event::Tick, ctx);
            }
            event => detector.upon(event, ctx),
        },
        &heartbeats,
        6000,
    );
    report.assert_all_hold();
    assert!(
        times(&log)[2] > at(5900 + (500 << 8)),
        "two minutes, for a delay of a second: {:?}",
        times(&log)
    );
}

/// Heartbeats that were in flight when their sender crashed arrive long afterwards.
#[test]
fn epfd1_strong_completeness_although_late_heartbeats_restore_a_crashed_process() {
    let heartbeats: Vec<u64> = (0..60).map(|i| 100 * i).chain([6900, 8800]).collect();
    let (report, log) = heard_at(CORRECT, &heartbeats, 6000);
    report.assert_all_hold();
    let mistake = [Suspect(p(2)), Restore(p(2))];
    let stands = [Suspect(p(2))];
    assert_eq!(told(&log), [&mistake[..], &mistake, &stands].concat());
    // A process that trusts for good whom it has suspected by mistake is complete only without such
    // heartbeats.
    let trusting: Rule = |detector, event, ctx| {
        if let Event::Heard(Heard { from, .. }) = event
            && detector.silent.contains(from)
        {
            let peer = detector.peers.get_mut(&from).unwrap();
            peer.allowance.set(Duration::MAX / 4);
        }
        detector.upon(event, ctx);
    };
    let (report, _) = heard_at(trusting, &heartbeats[..60], 6000);
    report.assert_all_hold();
    let (report, _) = heard_at(trusting, &heartbeats, 6000);
    assert!(violated(&report, "EPFD1"), "{report}");
}

#[test]
fn a_process_never_suspects_itself() {
    let run = |rule| {
        let world = checked(3, 7, Timed::uniform(UNIT, UNIT * 20));
        let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
        for q in [p(2), p(3)] {
            cluster.world.cut((q, p(1)), at(1000), Some(at(3000)));
        }
        let report = cluster.world.run();
        let mut suspected = told(&cluster.logs[0]);
        suspected.retain(|indication| matches!(indication, Suspect(_)));
        (report, suspected)
    };
    let (report, suspected) = run(CORRECT);
    report.assert_all_hold();
    assert_eq!(suspected, [Suspect(p(2)), Suspect(p(3))]);
    // Nobody sends itself heartbeats.
    let (report, _) = run(|detector, event, ctx| {
        for rank in 1..=3 {
            let itself = Peer {
                last: Time::ZERO,
                allowance: Allowance::new(milliseconds(500), Time::ZERO),
                incarnation: None,
                said: None,
            };
            detector.peers.entry(p(rank)).or_insert(itself);
        }
        detector.upon(event, ctx);
    });
    assert!(violated(&report, "EPFD2"), "{report}");
}

#[test]
fn epfd2_eventual_strong_accuracy_who_is_heard_is_restored() {
    let cut_off = |rule| {
        let world = checked(2, 7, Timed::uniform(UNIT, UNIT * 20));
        let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
        cluster.world.cut((p(2), p(1)), at(1000), Some(at(3000)));
        cluster.world.run()
    };
    cut_off(CORRECT).assert_all_hold();
    let stubborn = cut_off(|detector, event, ctx| match event {
        Event::Heard(heard) if detector.silent.contains(heard.from) => {}
        event => detector.upon(event, ctx),
    });
    assert!(violated(&stubborn, "EPFD2"), "{stubborn}");
}

/// The first detector of `n` does not hear these processes from 1 s to 5 s. Returns its indications and those
/// of the second.
fn one_way_cut(n: usize, unheard: &[usize], rule: Rule) -> [Log<Indication>; 2] {
    let world = checked(n, 7, Timed::uniform(UNIT, UNIT * 20));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
    for rank in unheard {
        let way = (p(*rank), p(1));
        cluster.world.cut(way, at(1000), Some(at(5000)));
    }
    cluster.world.run().assert_all_hold();
    for log in &cluster.logs[2..] {
        assert_eq!(told(log), told(&cluster.logs[1]));
    }
    [cluster.logs[0].clone(), cluster.logs[1].clone()]
}

#[test]
fn a_process_that_is_heard_and_hears_nobody_is_suspected_until_it_does() {
    // Of two processes, neither then reaches a majority, and neither believes that the other is cut off.
    let [deaf, other] = one_way_cut(2, &[2], CORRECT);
    assert_eq!((told(&deaf).len(), told(&other).len()), (2, 0));
    for n in [3, 5, 8] {
        let unheard: Vec<usize> = (2..=n).collect();
        let [deaf, other] = one_way_cut(n, &unheard, CORRECT);
        assert_eq!(told(&deaf).len(), 2 * (n - 1));
        assert_eq!(told(&other), [Suspect(p(1)), Restore(p(1))]);
        let times = times(&other);
        assert!(times[0] <= at(1000 + 500 + 100 + 2 * 20), "{times:?}");
        assert!(times[1] <= at(5000 + 2 * (100 + 20)), "{times:?}");
    }
    // The published rule uses heartbeats as signs of life only, and ignores what they say.
    let [_, other] = one_way_cut(3, &[2, 3], |detector, event, ctx| match event {
        Event::Heard(heard) => detector.upon(Event::Heard(Heard::of(heard.from)), ctx),
        event => detector.upon(event, ctx),
    });
    assert!(
        told(&other).is_empty(),
        "whoever waits for p1 goes on waiting"
    );
}

/// p1 of five hears everybody, and these do not hear it. Returns the sets of processes that p1 and p5
/// consider cut off, one after the other.
fn heard_by_few(deaf: &[usize], rule: Rule) -> [Vec<ProcessSet>; 2] {
    let world = checked(5, 7, Timed::uniform(UNIT, UNIT * 20));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
    for rank in deaf {
        let way = (p(1), p(*rank));
        cluster.world.cut(way, at(1000), Some(at(5000)));
    }
    let listen = |rank: usize| {
        let detector = &cluster.detectors[rank - 1];
        listen(&cluster.world, p(rank), &detector.reach)
    };
    let logs = [listen(1), listen(5)];
    cluster.world.run().assert_all_hold();
    let one: Vec<_> = told(&cluster.logs[0]);
    assert_eq!(one, [], "it hears them all");
    let last = told(&cluster.logs[4]);
    let suspected = [Suspect(p(1)), Restore(p(1))];
    let expected = if told(&logs[1]).len() == 1 { 0 } else { 2 };
    assert_eq!(last, suspected[..expected]);
    let in_time = |time: &Time| *time <= at(1500 + 4 * 100 + 3 * 20) || *time >= at(5000);
    assert!(logs.iter().all(|log| times(log).iter().all(in_time)));
    let cut_off = |log| {
        told(log)
            .iter()
            .map(|reach: &Reach| reach.cut_off)
            .collect()
    };
    logs.each_ref().map(cut_off)
}

#[test]
fn a_process_that_is_heard_by_less_than_a_majority_is_cut_off_and_says_so() {
    let nobody = ProcessSet::EMPTY;
    let one = [p(1)].into_iter().collect();
    let change = vec![nobody, one, nobody];
    assert_eq!(heard_by_few(&[2, 3, 4], CORRECT), [change.clone(), change]);
    assert_eq!(heard_by_few(&[2, 3], CORRECT), [vec![nobody], vec![nobody]]);
    // A process that considers only whom it hears does not know that it is cut off.
    let deaf_only: Rule = |detector, event, ctx| match event {
        Event::Heard(mut heard) => {
            heard.beat.unheard = ProcessSet::EMPTY;
            detector.upon(Event::Heard(heard), ctx);
        }
        event => detector.upon(event, ctx),
    };
    let told = heard_by_few(&[2, 3, 4], deaf_only);
    assert_eq!(told, [vec![nobody], vec![nobody]]);
}

#[test]
fn a_process_that_hears_a_majority_is_not_deaf() {
    let [one, other] = one_way_cut(5, &[2, 3], CORRECT);
    assert_eq!(told(&one).len(), 4);
    assert!(told(&other).is_empty());
    let [_, other] = one_way_cut(5, &[2, 3, 4], CORRECT);
    assert_eq!(told(&other), [Suspect(p(1)), Restore(p(1))]);
}

#[test]
fn epfd2_eventual_strong_accuracy_a_minority_of_survivors_do_not_suspect_each_other() {
    let survivors = |rule| {
        let world = World::new(5, 7, Timed::uniform(UNIT, UNIT * 20)).unwrap();
        let world = world.settle(Duration::from_secs(20));
        world.check(properties::eventually_perfect_from("detector", at(10_000)));
        let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
        for rank in 3..=5 {
            cluster.world.crash(p(rank), Crash::at(at(1000)));
        }
        cluster.world.run()
    };
    survivors(CORRECT).assert_all_hold();
    let believing = survivors(|detector, event, ctx| {
        detector.upon(event, ctx);
        let silent = detector.silent;
        detector.silent = silent.union(detector.told.cut_off);
        detector.silent.remove(detector.me);
        detector.upon_change(ctx);
    });
    assert!(violated(&believing, "EPFD2"), "{believing}");
}

#[test]
fn epfd2_eventual_strong_accuracy_after_a_partition() {
    for side in [&[1][..], &[1, 2], &[1, 2, 3]] {
        let mut cluster = cluster(5);
        let side = side.iter().copied().map(p).collect();
        cluster.world.partition(side, at(1000), Some(at(4000)));
        cluster.world.run().assert_all_hold();
        for (q, log) in cluster.world.processes().zip(&cluster.logs) {
            let rest = cluster.world.membership().set().without(side);
            let other = if side.contains(q) { rest } else { side };
            let suspected: Vec<_> = other.iter().map(Suspect).collect();
            assert_eq!(told(log)[..other.len()], suspected, "{q}");
        }
    }
}

#[test]
fn a_process_that_was_stopped_blames_itself() {
    let mut cluster = cluster(3);
    cluster.world.pause(p(1), at(1000), Some(at(8000)));
    cluster.world.run_until(at(12_000));
    assert!(told(&cluster.logs[0]).is_empty());
    assert_eq!(told(&cluster.logs[1]), [Suspect(p(1)), Restore(p(1))]);
}

/// The suspicions of p1 of five if it is stopped for this long, four times, two seconds apart.
fn stopped_for(stop: u64, crash: Option<u64>, rule: Rule) -> Vec<Indication> {
    let world = checked(5, 7, Timed::uniform(UNIT, UNIT * 20));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
    for i in 1..=4 {
        let from = 2000 * i + 250;
        let world = &cluster.world;
        world.pause(p(1), at(from), Some(at(from + stop)));
    }
    if let Some(time) = crash {
        cluster.world.crash(p(3), Crash::at(at(time)));
    }
    cluster.world.run_until(at(12_000));
    let mut told = told(&cluster.logs[0]);
    told.retain(|indication| matches!(indication, Suspect(_)));
    told
}

#[test]
fn silence_counts_only_while_a_process_runs() {
    for stop in [150, 320, 600, 1600] {
        let told = stopped_for(stop, None, CORRECT);
        assert_eq!(told, [], "stopped for {stop} ms");
        // The crash is at 2.2 s, just before the first stop.
        let told = stopped_for(stop, Some(2200), CORRECT);
        assert_eq!(told, [Suspect(p(3))], "stopped for {stop} ms");
    }
    // This timer is never found to be late.
    let told = stopped_for(1600, None, |detector, event, ctx| {
        if matches!(event, Event::Tick) {
            detector.ticked = ctx.now();
        }
        detector.upon(event, ctx);
    });
    assert!(told.len() >= 2, "{told:?}");
    // The missed time is subtracted, but the judging goes on at once: messages that are already here count.
    let told = stopped_for(1600, None, |detector, event, ctx| {
        if matches!(event, Event::Tick) {
            let now = ctx.now();
            let late = now.since(detector.ticked);
            detector.upon_stop(late, now);
            detector.ticked = now;
        }
        detector.upon(event, ctx);
    });
    assert_eq!(told, []);
}

/// p2 makes ten pauses of growing length, is healthy for a minute, and crashes. Checks the timeouts of p2
/// that p1 is told, and the time that p1 takes to notice the crash.
#[test]
fn after_pauses_and_a_minute_of_health_a_crash_is_noticed_nearly_as_soon_as_ever() {
    let world = checked(2, 7, Timed::uniform(UNIT, UNIT * 20));
    let world = world.settle(Duration::from_mins(5));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), CORRECT);
    let timeouts = listen(&cluster.world, p(1), &cluster.detectors[0].timeouts);
    for i in 1..=10 {
        let world = &cluster.world;
        world.pause(p(2), at(15_000 * i), Some(at(16_000 * i)));
    }
    let crash = at(160_000 + 60_000);
    cluster.world.crash(p(2), Crash::at(crash));
    cluster.world.run().assert_all_hold();
    let noticed = *times(&cluster.logs[0]).last().unwrap();
    let detection = noticed.since(crash);
    assert!(
        detection <= milliseconds(750 + 10 + 100 + 20),
        "1.5 times 0.5 s: {detection:?}"
    );
    let timeouts = told(&timeouts);
    assert!(timeouts.iter().all(|allowed| allowed.process == p(2)));
    let first = timeouts.first().unwrap().timeout;
    assert_eq!(
        (first.floor, first.excess),
        (milliseconds(500), Duration::ZERO)
    );
    let last = timeouts.last().unwrap().timeout;
    assert_eq!(last.floor, milliseconds(750));
    let most = timeouts.iter().map(|allowed| allowed.timeout.total()).max();
    assert!(most > Some(Duration::from_secs(5)), "{most:?}");
}

#[test]
fn a_new_subscriber_learns_who_is_suspected() {
    let mut cluster = cluster(3);
    cluster.world.crash(p(2), Crash::at(at(1000)));
    cluster.world.run_until(at(5000));
    let late = listen(&cluster.world, p(1), &cluster.detectors[0].suspicions);
    cluster.world.run_until(at(6000));
    assert_eq!(told(&late), [Suspect(p(2))]);
}

#[test]
fn a_process_alone_suspects_nobody() {
    let mut cluster = cluster(1);
    cluster.world.run_until(at(5000));
    assert!(told(&cluster.logs[0]).is_empty());
}

#[test]
fn a_new_incarnation_begins_with_the_first_timeout_and_old_mistakes_are_not_its() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let host = world.host(p(1)).at("detector");
    let mut detector = IncreasingTimeout::new(&host, DetectorSettings::default());
    let mut ctx = Context::new("detector".into(), 1, quorate_core::Counters::default());
    let connected = |incarnation| {
        let incarnation = Incarnation(incarnation);
        Event::Status(Status::Connected {
            peer: p(2),
            incarnation,
        })
    };
    let heard = || Event::Heard(Heard::of(p(2)));
    let timeout = |detector: &IncreasingTimeout| total(&detector.peers[&p(2)]);
    let first = DetectorSettings::default().timeout;
    let mistaken = 2 * (first + first / 20);
    detector.upon(connected(1), &mut ctx);
    // A mistake.
    detector.silent.insert(p(2));
    detector.upon(heard(), &mut ctx);
    assert_eq!(timeout(&detector), mistaken);
    // The same incarnation, after an interruption of the channel.
    detector.upon(connected(1), &mut ctx);
    assert_eq!(timeout(&detector), mistaken);
    // Another incarnation, whose first sign of life proves no mistake.
    for incarnation in 2..10 {
        detector.silent.insert(p(2));
        detector.upon(connected(incarnation), &mut ctx);
        detector.upon(heard(), &mut ctx);
        assert_eq!(timeout(&detector), first);
        assert!(!detector.silent.contains(p(2)));
    }
}

/// The answer to a process that leaves.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Answered;

impl Observe for Answered {
    fn observe(&self) -> Observation {
        Observation::internal("Answered")
    }
}

/// These processes leave at 1.05 s, between two heartbeats, and stop at 2 s if `stop` is set. Returns when
/// each was answered.
fn leave(cluster: &mut Cluster, ranks: &[usize], stop: bool) -> Vec<Log<Answered>> {
    let logs = ranks.iter().map(|rank| {
        let (world, q, log) = (&cluster.world, p(*rank), Log::default());
        let answers = log.clone();
        let application = world.application_with(q, move |answer: Answered, now| {
            answers.lock().unwrap().push((now, answer));
        });
        let leave = &cluster.detectors[rank - 1].leave;
        world.request(q, at(1050), leave, application.with(|()| Answered));
        log
    });
    let logs = logs.collect();
    for rank in ranks.iter().filter(|_| stop) {
        cluster.world.crash(p(*rank), Crash::at(at(2000)));
    }
    logs
}

/// The processes that everybody considers leaving after 1.5 s.
fn leaving_at_1500(cluster: &mut Cluster) -> Vec<Reach> {
    let detectors = cluster.detectors.iter();
    let pairs = cluster.world.processes().zip(detectors);
    let logs = pairs.map(|(q, detector)| listen(&cluster.world, q, &detector.reach));
    let logs: Vec<_> = logs.collect();
    cluster.world.run_until(at(1500));
    logs.iter().map(|log| *told(log).last().unwrap()).collect()
}

/// When the others of `n` suspect p1, which leaves, and when it is answered.
fn suspected_and_answered(n: usize, rule: Rule) -> (Vec<Time>, Vec<Time>) {
    let world = checked(n, 7, Timed::uniform(UNIT, UNIT * 20));
    let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
    let answers = leave(&mut cluster, &[1], true);
    cluster.world.run().assert_all_hold();
    assert_eq!(told(&cluster.logs[0]), [], "nobody suspects itself");
    let suspected = cluster.logs[1..].iter().map(|log| {
        assert_eq!(told(log), [Suspect(p(1))]);
        times(log)[0]
    });
    (suspected.collect(), times(&answers[0]))
}

#[test]
fn who_leaves_is_suspected_at_once_and_answered_when_all_know() {
    for n in 3..=7 {
        let (suspected, answered) = suspected_and_answered(n, CORRECT);
        assert!(suspected.iter().all(|time| *time <= at(1070)), "{n}");
        let [answered] = answered[..] else {
            panic!("once: {answered:?}");
        };
        assert!(answered > at(1050) && answered <= at(1090), "a round trip");
        // As published, leaving is like a crash.
        let (suspected, answered) = suspected_and_answered(n, |detector, event, ctx| match event {
            Event::Heard(mut heard) => {
                heard.beat.leaving = ProcessSet::EMPTY;
                detector.upon(Event::Heard(heard), ctx);
            }
            event => detector.upon(event, ctx),
        });
        assert!(suspected.iter().all(|time| *time > at(2400)), "{n}");
        assert_eq!(answered, [at(1300)], "nobody says that it knows");
    }
}

#[test]
fn those_who_leave_are_not_suspected_where_no_majority_stays() {
    let run = |n: usize, leavers: &[usize], rule| {
        let world = World::new(n, 7, Timed::uniform(UNIT, UNIT * 20)).unwrap();
        let world = world.settle(Duration::from_secs(5));
        let mut cluster = Cluster::new(world, DetectorSettings::default(), rule);
        let answers = leave(&mut cluster, leavers, false);
        let reach = leaving_at_1500(&mut cluster);
        for log in answers {
            assert!(times(&log)[0] <= at(1090));
        }
        reach
    };
    for (n, leavers) in [
        (3, vec![1, 2]),
        (3, vec![1, 2, 3]),
        (4, vec![1, 4]),
        (5, vec![1, 2, 4]),
    ] {
        for reach in run(n, &leavers, CORRECT) {
            assert_eq!(reach, Reach::default(), "{n} {leavers:?}");
        }
    }
    let leavers = [1, 2].into_iter().map(p).collect();
    let reach = run(5, &[1, 2], CORRECT);
    assert!(reach.iter().all(|reach| reach.leaving == leavers));
}

#[test]
fn who_leaves_says_so_again_and_does_not_wait_for_ever() {
    let answered = |heal| {
        let mut cluster = cluster(3);
        cluster.world.cut((p(1), p(3)), at(950), heal);
        let answers = leave(&mut cluster, &[1], false);
        cluster.world.run_until(at(3000));
        times(&answers[0])
    };
    // The tick at 1.1 s is the first that p3 hears.
    let in_time = answered(Some(at(1060)));
    assert!(
        in_time[0] > at(1100) && in_time[0] <= at(1140),
        "{in_time:?}"
    );
    assert_eq!(answered(None), [at(1300)]);
}

#[test]
fn nobody_waits_for_those_of_whom_nothing_was_heard() {
    let mut cluster = cluster(3);
    for rank in [2, 3] {
        cluster.world.crash(p(rank), Crash::at(Time::ZERO));
    }
    let (detector, log) = (&cluster.detectors[0], Log::default());
    let answers = log.clone();
    let world = &cluster.world;
    let application = world.application_with(p(1), move |answer: Answered, now| {
        answers.lock().unwrap().push((now, answer));
    });
    world.request(
        p(1),
        at(10),
        &detector.leave,
        application.with(|()| Answered),
    );
    cluster.world.run_until(at(3000));
    assert_eq!(times(&log), [at(10)]);
}

#[test]
fn a_later_start_of_who_has_left_is_restored_and_goes_by_the_first_timeout() {
    let mut cluster = cluster(3);
    leave(&mut cluster, &[1], true);
    cluster.world.run_until(at(2100));
    assert!(cluster.world.restart(p(1), Incarnation(11)));
    let host = cluster.world.host(p(1)).at("detector");
    let heartbeat = |up| cluster.world.heartbeat(p(1), up);
    spawn(&host, DetectorSettings::default(), heartbeat);
    cluster.world.run_until(at(5000));
    for log in &cluster.logs[1..] {
        assert_eq!(told(log), [Suspect(p(1)), Restore(p(1))]);
        assert!(times(log)[1] <= at(2120));
    }
}
