use super::*;
use crate::{
    harness::{at, listen, milliseconds, p, times, told, violated},
    increasing_timeout,
};
use quorate_abstractions::eventually_perfect::Indication::{Restore, Suspect};
use quorate_core::{Context, Time};
use quorate_sim::{Crash, Oracle, Report, Timed, World, properties};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// What p2 of four trusts, one after the other, while ◇P says this.
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

/// A rule of the detector, or what a twin makes of it.
type Rule = fn(&mut LowestRank, Event, &mut Context<Event, Effect>);

/// A detector with one rule spoiled.
struct Twin {
    detector: LowestRank,
    rule: Rule,
}

impl Algorithm for Twin {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.detector.upon_start(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        (self.rule)(&mut self.detector, event, ctx);
    }
}

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
        start(&host, Twin { detector, rule }, &suspicions);
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

/// Over the real ◇P: the survivors agree as soon as the last of them has noticed the crash.
#[test]
fn eld2_eventual_agreement_within_the_detection_time_of_the_detector_below() {
    for n in 2..=8 {
        for (seed, phase) in (0..).zip((0..100).step_by(5)) {
            let adversary = Timed::uniform(Duration::ZERO, milliseconds(30));
            let mut world = World::new(n, seed, adversary).unwrap();
            world = world.settle(Duration::from_secs(5));
            world.check(properties::eventually_perfect("detector"));
            world.check(properties::leader("leader"));
            let mut logs = Vec::new();
            for q in world.processes() {
                let heartbeat = |up| world.heartbeat(q, up);
                let configuration = increasing_timeout::Configuration::default();
                let host = world.host(q).at("detector");
                let detector = increasing_timeout::spawn(&host, configuration, heartbeat);
                let leader = spawn(&world.host(q).at("leader"), &detector.suspicions);
                logs.push(listen(&world, q, &leader));
            }
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
