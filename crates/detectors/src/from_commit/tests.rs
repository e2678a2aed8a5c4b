use super::*;
use crate::harness::{Log, at, listen, milliseconds, p, times, told, violated};
use quorate_abstractions::{Subscribe, consensus, link::Links, pair::Pair};
use quorate_commit::non_blocking;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Context, Counters, Time, message::fold};
use quorate_sim::{
    Crash as CrashOf, Latency, Random, Report, Timed, Verdict, World, properties, testing::losing,
};
use std::sync::{Arc, Mutex};

const INTERVAL: Duration = milliseconds(100);

fn interval() -> Interval {
    Interval::new(INTERVAL).unwrap()
}

/// Non-blocking commit over consensus by hierarchy.
fn commit(
    host: &impl Host,
    links: &impl Links,
    detector: &Subscribe<Crash>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let (lane, status) = (links.lane(), links.status());
    let (below, agreed) = (host.at("consensus"), links.at("consensus"));
    let consensus = |up: Addr<consensus::Decide>| {
        uniform_hierarchical::spawn(&below, agreed.lane(), &agreed.status(), detector, up)
    };
    non_blocking::spawn(host, lane, &status, consensus, detector, up)
}

/// A commit of `q` with each other process, over a P that takes this long.
fn of_pairs(
    world: &World,
    q: ProcessId,
    delay: Duration,
) -> impl Fn(ProcessId, Addr<Decide>) -> Addr<Propose> {
    let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
    let detector = world.perfect(q, delay);
    move |partner, up| {
        let pair = Pair::of(&host, partner).unwrap();
        let colour = pair.colour().to_string();
        let (host, links) = (pair.host(&host.at(&colour)), pair.links(&links.at(&colour)));
        commit(&host, &links, &pair.detector(&detector), up)
    }
}

/// A detector at every process of a world, of which PFD1–2 are checked.
fn detectors(world: &World, delay: Duration) -> Vec<Log<Crash>> {
    world.check(properties::perfect("detector"));
    let one = |q| {
        let host = world.host(q).at("detector");
        let detector = spawn(&host, interval(), of_pairs(world, q, delay));
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
    for seed in 0..300 {
        let n = 2 + seed % 4;
        let latency = Timed::uniform(milliseconds(1), milliseconds(20));
        let mut world = World::new(n as usize, seed, latency).unwrap();
        detectors(&world, milliseconds(seed % 50));
        crash_some(&world, n, seed);
        // Instances do not keep a run open: this call does.
        world.call(p(n as usize), at(1500), || {});
        world.run().assert_all_hold();
    }
}

/// If copies take arbitrarily long, some pair is always in the middle of an instance: such a run has no end, and
/// only safety is judged.
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

/// A run in which messages take a millisecond.
fn run(n: usize, crash: Option<(usize, Time)>) -> (Report, Vec<Log<Crash>>) {
    let step = Timed::new(Latency::Constant(milliseconds(1)));
    let mut world = World::new(n, 1, step).unwrap();
    let logs = detectors(&world, milliseconds(5));
    if let Some((rank, time)) = crash {
        world.crash(p(rank), CrashOf::at(time));
    }
    world.call(p(1), at(1050), || {});
    (world.run(), logs)
}

#[test]
fn pfd1_a_crash_between_two_instances_is_reported_by_the_next_one() {
    for n in 2..=6 {
        for rank in 2..=n {
            let (report, logs) = run(n, Some((rank, at(570))));
            report.assert_all_hold();
            for (log, q) in logs.iter().zip(1..).filter(|(_, q)| *q != rank) {
                assert_eq!(told(log), [Crash(p(rank))], "n = {n}, p{q}");
                let taken = times(log)[0].since(at(570));
                assert_eq!(taken, milliseconds(5), "n = {n}, p{q}");
            }
        }
    }
}

#[test]
fn the_rate_is_what_the_header_says() {
    for n in 1..=6_u64 {
        let (report, logs) = run(n as usize, None);
        report.assert_all_hold();
        assert!(logs.iter().all(|log| told(log).is_empty()));
        let (messages, pairs) = (report.counts.messages, n * (n - 1) / 2);
        if n == 1 {
            assert_eq!(messages, 0);
            continue;
        }
        // Two instances of a pair are open, with one vote each; an instance takes a little more than the interval.
        assert_eq!(messages % (2 * pairs), 0, "n = {n}: {messages}");
        let each = messages / (2 * pairs);
        assert_eq!(each % 4, 1, "n = {n}: {messages}");
        assert!((10..=11).contains(&(each / 4)), "n = {n}: {each}");
    }
}

/// One commit of all processes in place of those of the pairs: an abort says that somebody has crashed. With two
/// processes that is the partner.
#[test]
fn s3_an_abort_among_all_says_that_somebody_crashed_and_not_who() {
    let run = |n: usize| {
        let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
        world.check(properties::perfect("detector"));
        for q in world.processes() {
            let pairs: Arc<Mutex<Vec<Addr<Decide>>>> = Arc::default();
            let all = pairs.clone();
            let decided = Addr::new(move |decision: Decide| {
                all.lock()
                    .unwrap()
                    .iter()
                    .for_each(|pair| pair.send(decision));
            });
            let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
            let commit = commit(&host, &links, &world.perfect(q, milliseconds(3)), decided);
            let host = world.host(q).at("detector");
            spawn(&host, interval(), |_, up| {
                pairs.lock().unwrap().push(up);
                commit.clone()
            });
        }
        world.crash(p(n), CrashOf::at(at(150)));
        world.call(p(1), at(600), || {});
        world.run()
    };
    let three = run(3);
    assert!(violated(&three, "PFD2"), "{three}");
    run(2).assert_all_hold();
}

#[test]
fn the_checkers_see_a_commit_that_never_aborts_and_one_that_always_does() {
    let run = |outcome: Option<Outcome>| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        world.check(properties::perfect("detector"));
        for q in world.processes() {
            let below = of_pairs(&world, q, milliseconds(3));
            let host = world.host(q).at("detector");
            spawn(&host, interval(), |partner, up: Addr<Decide>| {
                let altered = move |decision: Decide| Decide {
                    outcome: outcome.unwrap_or(decision.outcome),
                    ..decision
                };
                below(partner, up.with(altered))
            });
        }
        world.crash(p(3), CrashOf::at(at(50)));
        world.run()
    };
    let deaf = run(Some(Outcome::Commit));
    assert!(violated(&deaf, "PFD1"), "{deaf}");
    let errs = run(Some(Outcome::Abort));
    assert!(violated(&errs, "PFD2"), "{errs}");
    run(None).assert_all_hold();
}

#[test]
fn a_decision_counts_once_and_a_late_subscriber_is_told_of_all_crashes() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let counters = Counters::default();
    let mut ctx = Context::new("detector".into(), 1, counters.clone());
    let mut detector = FromCommit::new(&world.host(p(1)), interval());
    let mut effects = Vec::new();
    detector.upon_start(&mut ctx);
    ctx.take_effects(&mut effects);
    assert_eq!(effects.len(), 4, "two instances with each other");
    let mut upon = |event| {
        detector.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    let decide = |partner, instance, outcome| {
        let decision = Decide { instance, outcome };
        Event::Decide(p(partner), decision)
    };
    assert!(
        upon(decide(2, 3, Outcome::Abort)).is_empty(),
        "not voted yet"
    );
    assert!(upon(decide(1, 1, Outcome::Abort)).is_empty(), "no partner");
    assert_eq!(counters.total("decision without a vote"), 2);
    let reported = upon(decide(2, 1, Outcome::Abort));
    assert!(matches!(reported[..], [Effect::Indicate(Crash(q), _)] if q == p(2)));
    assert!(
        upon(Event::Tick((p(2), 3))).is_empty(),
        "it is over with p2"
    );
    assert!(upon(decide(2, 1, Outcome::Abort)).is_empty(), "once");
    let answered = upon(Event::Subscribe(Addr::nowhere()));
    assert!(matches!(answered[..], [Effect::Answer(Crash(q), _)] if q == p(2)));
}

#[test]
fn an_interval_of_no_time_is_refused() {
    assert_eq!(Interval::new(Duration::ZERO), Err(NoInterval));
}
