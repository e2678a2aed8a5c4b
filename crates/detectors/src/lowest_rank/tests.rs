use super::*;
use crate::{
    harness::{Log, Mutant, at, listen, milliseconds, p, times, told, violated},
    increasing_timeout,
};
use quorate_abstractions::eventually_perfect::Indication::{Restore, Suspect};
use quorate_core::Time;
use quorate_sim::{Crash, Oracle, Report, Timed, World, properties};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// The processes that p2 of four trusts, one after the other, while ◇P says this.
fn trusted(said: &[eventually_perfect::Indication]) -> Vec<usize> {
    let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
    let suspicions = Arc::new(Mutex::new(None));
    let keep = suspicions.clone();
    let detector = Addr::new(move |subscriber| *keep.lock().unwrap() = Some(subscriber));
    let trusted = Arc::new(Mutex::new(Vec::new()));
    let log = trusted.clone();
    let leader = spawn(&world.host(p(2)).at("leader"), &detector);
    leader.send(world.application_with(p(2), move |Trust(leader), _| {
        log.lock().unwrap().push(leader.rank());
    }));
    let suspicions = suspicions.lock().unwrap().clone().unwrap();
    for (i, indication) in (1..).zip(said) {
        world.request(p(2), Time::from_nanos(i), &suspicions, *indication);
    }
    world.run();
    trusted.lock().unwrap().clone()
}

#[test]
fn eld1_eventual_accuracy_the_lowest_unsuspected_rank_is_trusted() {
    assert_eq!(trusted(&[]), [1]);
    assert_eq!(trusted(&[Suspect(p(1))]), [1, 2]);
    assert_eq!(
        trusted(&[Suspect(p(3)), Suspect(p(1)), Restore(p(1))]),
        [1, 2, 1]
    );
}

#[test]
fn a_process_never_gives_itself_up() {
    assert_eq!(
        trusted(&[Suspect(p(2)), Suspect(p(1)), Suspect(p(3)), Suspect(p(4))]),
        [1, 2]
    );
}

type Rule = crate::harness::Rule<LowestRank>;

/// Three processes of which p3 suspects p2 by mistake, p1 crashes, and p3 suspects p2 once more.
fn elect(rule: Rule) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::leader("leader"));
    let oracle = Oracle::accurate(milliseconds(50))
        .suspecting(p(3), p(2), at(10), at(20))
        .suspecting(p(3), p(2), at(200), at(300));
    for q in world.processes() {
        let host = world.host(q).at("leader");
        let detector = LowestRank::new(&host);
        let suspicions = world.eventually_perfect(q, &oracle);
        spawn_as(
            &host,
            Mutant { detector, rule },
            &suspicions,
            &Addr::nowhere(),
        );
    }
    world.crash(p(1), Crash::at(at(100)));
    world.run()
}

#[test]
fn eld1_eventual_accuracy_and_eld2_eventual_agreement_after_a_crash_and_mistakes() {
    elect(LowestRank::upon).assert_all_hold();
}

#[test]
fn eld1_eventual_accuracy_fails_if_a_leader_is_kept_though_suspected() {
    let report = elect(|_, _, _| {});
    assert!(violated(&report, "ELD1"), "{report}");
    assert!(!violated(&report, "ELD2"), "they agree: {report}");
}

#[test]
fn eld2_eventual_agreement_fails_if_a_leader_that_is_restored_does_not_lead_again() {
    let report = elect(|detector, event, ctx| match event {
        Event::Detector(Restore(_)) => {}
        event => detector.upon(event, ctx),
    });
    assert!(violated(&report, "ELD2"), "{report}");
    assert!(!violated(&report, "ELD1"), "all trust live ones: {report}");
}

/// `n` processes over the real ◇P. Returns the processes that each trusts, one after the other.
fn measured(world: &World, rule: Rule) -> Vec<Log<Trust>> {
    let spawn = |q| {
        let heartbeat = |up| world.heartbeat(q, up);
        let settings = increasing_timeout::DetectorSettings::default();
        let host = world.host(q).at("detector");
        let below = increasing_timeout::spawn(&host, settings, heartbeat);
        let host = world.host(q).at("leader");
        let detector = LowestRank::new(&host);
        let mutant = Mutant { detector, rule };
        let leader = spawn_as(&host, mutant, &Addr::nowhere(), &below.reach);
        listen(world, q, &leader)
    };
    world.processes().map(spawn).collect()
}

fn calm(n: usize, seed: u64) -> World {
    let adversary = Timed::uniform(Duration::ZERO, milliseconds(30));
    World::new(n, seed, adversary).unwrap()
}

/// From 1 s to 31 s only the channels from and to the hub work.
fn star(n: usize, hub: ProcessId, rule: Rule) -> Vec<Log<Trust>> {
    let mut world = calm(n, 3);
    world.check(properties::leader("leader"));
    let logs = measured(&world, rule);
    for q in world.processes().filter(|q| *q != hub) {
        for r in world.processes().filter(|r| *r != hub && *r != q) {
            world.cut((q, r), at(1000), Some(at(31_000)));
        }
    }
    world.run_until(at(30_000));
    logs
}

#[test]
fn everybody_trusts_the_hub_of_a_star_whatever_its_rank() {
    for n in [4, 5, 7] {
        for hub in (1..=n).map(p) {
            for (q, log) in (1..=n).map(p).zip(star(n, hub, LowestRank::upon)) {
                assert_eq!(told(&log).last(), Some(&Trust(hub)), "{q} of {n}");
                let settled = at(1000 + 500 + 4 * 100 + 3 * 30);
                assert!(
                    times(&log).iter().all(|time| *time <= settled),
                    "{q} of {n}"
                );
            }
        }
    }
}

#[test]
fn as_published_leaves_of_a_star_trust_themselves() {
    let published: Rule = |detector, event, ctx| match event {
        Event::Reach(reach) => {
            let cut_off = ProcessSet::EMPTY;
            detector.upon(Event::Reach(Reach { cut_off, ..reach }), ctx);
        }
        event => detector.upon(event, ctx),
    };
    let last = |log: &Log<Trust>| *told(log).last().unwrap();
    let trusted: Vec<_> = star(5, p(3), published).iter().map(last).collect();
    assert_eq!(trusted, [1, 2, 3, 3, 3].map(|rank| Trust(p(rank))));
}

#[test]
fn nobody_in_a_minority_trusts_itself_and_all_agree_again_after_a_partition() {
    let minority: ProcessSet = [p(4), p(5)].into_iter().collect();
    let run = |rule: Rule| {
        let mut world = calm(5, 3).settle(Duration::from_secs(20));
        world.check(properties::leader("leader"));
        let logs = measured(&world, rule);
        world.partition(minority, at(1000), Some(at(10_000)));
        world.run().assert_all_hold();
        logs.iter().map(told).collect::<Vec<_>>()
    };
    for (q, told) in (1..=5).map(p).zip(run(LowestRank::upon)) {
        assert_eq!(told.last(), Some(&Trust(p(1))), "{q}");
        let itself = q != p(1) && told.contains(&Trust(q));
        assert!(!itself, "{q}: {told:?}");
    }
    // If p1 is the one that is cut off, the others pass it over until it is back.
    let mut world = calm(5, 3).settle(Duration::from_secs(20));
    world.check(properties::leader("leader"));
    let logs = measured(&world, LowestRank::upon);
    world.partition([p(1)].into_iter().collect(), at(1000), Some(at(10_000)));
    world.run().assert_all_hold();
    assert_eq!(told(&logs[0]).last(), Some(&Trust(p(1))));
    for log in &logs[1..] {
        assert_eq!(told(log), [1, 2, 1].map(|rank| Trust(p(rank))));
    }
    // As published, the lowest rank that is not suspected is trusted even if no process could lead.
    let whoever_is_left: Rule = |detector, event, ctx| {
        detector.upon(event, ctx);
        let cut_off = std::mem::take(&mut detector.cut_off);
        if cut_off.contains(detector.me) {
            detector.upon_change(ctx);
        }
        detector.cut_off = cut_off;
    };
    let told = run(whoever_is_left);
    assert!(told[3].contains(&Trust(p(4))), "{told:?}");
}

/// Over the real ◇P: the survivors agree as soon as the last of them has noticed the crash.
#[test]
fn eld2_eventual_agreement_within_the_detection_time_of_the_detector_below() {
    for n in 3..=8 {
        for (seed, phase) in (0..).zip((0..100).step_by(5)) {
            let mut world = calm(n, seed).settle(Duration::from_secs(5));
            world.check(properties::eventually_perfect("detector"));
            world.check(properties::leader("leader"));
            let logs = measured(&world, LowestRank::upon);
            let crash = at(1000 + phase);
            world.crash(p(1), Crash::at(crash));
            world.run().assert_all_hold();
            for log in &logs[1..] {
                assert_eq!(
                    told(log),
                    [Trust(p(1)), Trust(p(2))],
                    "seed {seed}, n = {n}"
                );
                let agreement = times(log)[1].since(crash);
                let bounds = milliseconds(500 - 100)..=milliseconds(500 + 100 + 30);
                assert!(bounds.contains(&agreement), "seed {seed}: {agreement:?}");
            }
        }
    }
}

/// The processes that each of three trusts, one after the other, when these leave at 1 s.
fn left_by(ranks: &[usize], rule: Rule) -> Vec<Vec<usize>> {
    let mut world = calm(3, 3).settle(Duration::from_secs(5));
    world.check(properties::leader("leader"));
    let mut logs = Vec::new();
    for q in world.processes() {
        let heartbeat = |up| world.heartbeat(q, up);
        let settings = increasing_timeout::DetectorSettings {
            timeout: Duration::from_hours(1),
            ..increasing_timeout::DetectorSettings::default()
        };
        let host = world.host(q).at("detector");
        let below = increasing_timeout::spawn(&host, settings, heartbeat);
        if ranks.contains(&q.rank()) {
            world.request(q, at(1000), &below.leave, Addr::nowhere());
        }
        let host = world.host(q).at("leader");
        let detector = LowestRank::new(&host);
        let mutant = Mutant { detector, rule };
        let leader = spawn_as(&host, mutant, &Addr::nowhere(), &below.reach);
        logs.push(listen(&world, q, &leader));
    }
    for rank in ranks.iter().filter(|_| ranks.len() == 1) {
        world.crash(p(*rank), Crash::at(at(1500)));
    }
    world.run().assert_all_hold();
    let ranks = |log| told(log).iter().map(|Trust(q)| q.rank()).collect();
    logs.iter().map(ranks).collect()
}

#[test]
fn who_leaves_is_passed_over_by_all_before_it_stops_itself_included() {
    assert_eq!(left_by(&[1], LowestRank::upon), [[1, 2]; 3]);
    assert_eq!(left_by(&[2], LowestRank::upon), [[1]; 3]);
    // If all leave, the first of them leads, as long as it is there.
    for told in left_by(&[1, 2, 3], LowestRank::upon) {
        assert_eq!(told.last(), Some(&1), "{told:?}");
    }
    // As published, it trusts itself until it stops: the others' leader and it depose each other.
    let proud = left_by(&[1], |detector, event, ctx| match event {
        Event::Reach(reach) => {
            let leaving = ProcessSet::EMPTY;
            detector.upon(Event::Reach(Reach { leaving, ..reach }), ctx);
        }
        event => detector.upon(event, ctx),
    });
    assert_eq!(proud, [vec![1], vec![1, 2], vec![1, 2]]);
}
