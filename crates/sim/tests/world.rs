//! The world: exact counts, reproducibility, faults, completion.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use quorate_abstractions::uniform::{Broadcast, Deliver};
use quorate_core::{Addr, Time};
use quorate_sim::{
    Crash, Kind, Lose, Random, Report, Timed, UNIT, Verdict, World, properties, testing::set,
};
use std::sync::{Arc, OnceLock, atomic::AtomicU64, atomic::Ordering::Relaxed};
use support::{everywhere, p, payload, spawn};

fn at(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// A lock-step world of `n` processes with checked properties, in which p1 broadcasts once.
fn one_broadcast(n: usize, quorum: usize) -> (World, Vec<Addr<Broadcast>>) {
    let world = World::new(n, 1, Timed::lock_step()).unwrap().keep_trace();
    let urb = everywhere(&world, quorum);
    world.check(properties::uniform(world.membership(), "urb"));
    world.request(p(1), Time::ZERO, &urb[0], payload("m"));
    (world, urb)
}

fn delivered(world: &World, rank: usize) -> u64 {
    let tally = world.tally(p(rank), "urb", "Deliver");
    tally.map_or(0, |tally| tally.count)
}

#[test]
fn a_lock_step_run_costs_what_the_formula_says() {
    for n in 2..=7 {
        let (mut world, _) = one_broadcast(n, n / 2 + 1);
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, (n * (n - 1)) as u64, "n = {n}");
        assert_eq!(report.counts.below("urb"), report.counts.messages);
        let steps = |rank| {
            let tally = world.tally(p(rank), "urb", "Deliver").unwrap();
            let time = tally.last.since(Time::ZERO);
            (tally.count, time.as_nanos() / UNIT.as_nanos())
        };
        assert_eq!(steps(1), (1, 2), "n = {n}");
        assert_eq!(steps(n), (1, if n <= 3 { 1 } else { 2 }), "n = {n}");
    }
}

/// Five processes broadcast five times each while one crashes.
fn busy(seed: u64, timed: bool, keep: bool) -> Report {
    let mut world = if timed {
        World::new(5, seed, Timed::uniform(UNIT, 9 * UNIT)).unwrap()
    } else {
        World::new(5, seed, Random::new()).unwrap()
    };
    if keep {
        world = world.keep_trace();
    }
    let urb = everywhere(&world, 3);
    world.check(properties::uniform(world.membership(), "urb"));
    for (index, requests) in urb.iter().enumerate() {
        for k in 0..5 {
            world.request(p(index + 1), at(k), requests, payload("m"));
        }
    }
    world.crash(p(2), Crash::before_output(7).losing(Lose::Each(0.5)));
    world.pause(p(4), at(2), Some(at(30)));
    world.cut((p(1), p(3)), at(1), Some(at(40)));
    world.run()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for timed in [true, false] {
        let report = busy(7, timed, false);
        assert_eq!(report, busy(7, timed, false));
        assert_eq!(
            report,
            busy(7, timed, true),
            "keeping records changes nothing"
        );
        assert_ne!(report.hash, busy(8, timed, false).hash);
    }
}

#[test]
fn uniform_broadcast_holds_under_both_adversaries_with_every_kind_of_fault() {
    for seed in 0..200 {
        for timed in [true, false] {
            let report = busy(seed, timed, false);
            assert_eq!(report.completion.correct.len(), 4);
            report.assert_all_hold();
        }
    }
}

#[test]
fn a_crash_before_the_kth_output_lets_k_minus_one_out() {
    for k in 1..=4 {
        let (mut world, _) = one_broadcast(5, 3);
        world.crash(p(1), Crash::before_output(k));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.by_process[0], k - 1);
        // Copies leave in rank order; every process that has one relays it.
        let relays = if k == 1 { 0 } else { 4 * 4 };
        assert_eq!(report.counts.messages, k - 1 + relays);
    }
}

#[test]
fn a_crash_before_an_indication_to_the_application_undoes_it() {
    // p1 sends 4 copies and then delivers: its fifth output.
    let (mut world, _) = one_broadcast(5, 3);
    world.crash(p(1), Crash::before_output(5));
    world.run().assert_all_hold();
    assert_eq!(delivered(&world, 1), 0);
    let (mut world, _) = one_broadcast(5, 3);
    world.crash(p(1), Crash::before_output(6));
    world.run().assert_all_hold();
    assert_eq!((delivered(&world, 1), world.outputs(p(1))), (1, 5));
}

#[test]
fn a_crash_before_the_first_effect_or_at_time_zero_leaves_nothing() {
    for crash in [Crash::before_effect(1), Crash::at(Time::ZERO)] {
        let (mut world, _) = one_broadcast(3, 2);
        world.crash(p(1), crash);
        let report = world.run();
        assert_eq!(report.counts.messages, 0);
        report.assert_all_hold();
    }
}

#[test]
fn a_crash_takes_copies_along() {
    for (lose, messages) in [
        (Lose::Nothing, 4 + 16),
        (Lose::Everything, 4),
        (Lose::To(set(&[2, 3, 4])), 4 + 16),
        (Lose::Each(1.0), 4),
    ] {
        let (mut world, _) = one_broadcast(5, 3);
        // One nanosecond after the copies have left.
        world.crash(p(1), Crash::at(Time::from_nanos(1)).losing(lose));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, messages, "{lose:?}");
    }
}

#[test]
fn delivering_on_ones_own_acknowledgement_is_caught_only_when_copies_are_lost() {
    let violated = |crash: Crash| {
        let (mut world, _) = one_broadcast(3, 1);
        world.crash(p(1), crash);
        world.run().violation().map(|v| v.tag.clone())
    };
    let outputs = (1..=4).map(Crash::before_output);
    for crash in outputs.chain([Crash::at(Time::from_nanos(1))]) {
        assert_eq!(violated(crash), None);
    }
    let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    assert_eq!(violated(crash).as_deref(), Some("URB4"));
}

#[test]
fn a_cut_delays_one_direction_until_it_heals() {
    let (mut world, _) = one_broadcast(2, 2);
    world.cut((p(2), p(1)), Time::ZERO, Some(at(10)));
    world.run().assert_all_hold();
    let last = |rank| world.tally(p(rank), "urb", "Deliver").unwrap().last;
    assert_eq!((last(2), last(1)), (at(1), at(11)));
}

#[test]
fn under_a_cut_that_never_heals_liveness_is_unknown() {
    let (mut world, _) = one_broadcast(2, 2);
    world.cut((p(1), p(2)), Time::ZERO, None);
    let report = world.run();
    assert!(report.completion.complete && report.completion.severed);
    assert_eq!(report.verdict("URB1"), Some(&Verdict::Unknown));
    assert_eq!(report.verdict("URB2"), Some(&Verdict::Holds));
}

#[test]
fn a_paused_process_goes_on_where_it_stopped() {
    let (mut world, _) = one_broadcast(3, 3);
    world.pause(p(3), Time::ZERO, Some(at(20)));
    world.run().assert_all_hold();
    let last = |rank| world.tally(p(rank), "urb", "Deliver").unwrap().last;
    assert_eq!((last(3), last(1)), (at(20), at(21)));
}

#[test]
fn a_truncated_run_says_unknown() {
    let (world, _) = one_broadcast(3, 2);
    let report = world.maximum_time(at(0)).run();
    assert!(!report.completion.complete);
    assert_eq!(report.verdict("URB1"), Some(&Verdict::Unknown));
    let (world, _) = one_broadcast(3, 2);
    let report = world.maximum_events(3).run();
    assert!(!report.completion.complete && !report.all_hold());
}

#[test]
fn the_ideal_links_are_perfect_links() {
    for seed in 0..50 {
        let mut world = World::new(4, seed, Timed::uniform(UNIT, 20 * UNIT)).unwrap();
        let urb = everywhere(&world, 3);
        let lane = properties::Channel::Lane("urb".to_owned());
        world.check(properties::perfect_links(&lane));
        for (index, requests) in urb.iter().enumerate() {
            world.request(p(index + 1), Time::ZERO, requests, payload("m"));
        }
        world.cut((p(1), p(2)), at(2), Some(at(50)));
        world.crash(p(4), Crash::before_output(5).losing(Lose::Each(0.3)));
        world.run().assert_all_hold();
    }
}

#[test]
fn the_ideal_links_are_not_first_in_first_out() {
    let mut world = World::new(2, 1, Timed::uniform(UNIT, 20 * UNIT)).unwrap();
    let urb = everywhere(&world, 2);
    let lane = properties::Channel::Lane("urb".to_owned());
    world.check([properties::first_in_first_out(&lane)]);
    for k in 0..20 {
        world.request(p(1), at(k), &urb[0], payload("m"));
    }
    assert_eq!(world.run().violation().unwrap().tag, "FIFO");
}

#[test]
fn a_client_may_answer_a_delivery_with_its_next_request() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::uniform(world.membership(), "urb"));
    let own: Arc<OnceLock<Addr<Broadcast>>> = Arc::default();
    let times = Arc::new(AtomicU64::new(0));
    let mut requests = Vec::new();
    for q in world.processes() {
        let (own, times) = (own.clone(), times.clone());
        let application = world.application_with(q, move |deliver: Deliver, _| {
            if q == p(1) && deliver.id.origin.process == q && times.fetch_add(1, Relaxed) < 9 {
                own.get().unwrap().send(payload("next"));
            }
        });
        requests.push(spawn(&world.host(q), 2, &world.links(q), application));
    }
    own.set(requests[0].clone()).ok().unwrap();
    world.request(p(1), Time::ZERO, &requests[0], payload("first"));
    world.run().assert_all_hold();
    assert_eq!(delivered(&world, 3), 10);
    assert_eq!(world.now(), at(20));
}

#[test]
fn more_may_be_asked_of_a_world_after_a_run() {
    let (mut world, urb) = one_broadcast(3, 2);
    world.run().assert_all_hold();
    world.request(p(2), world.now(), &urb[1], payload("again"));
    let report = world.run();
    report.assert_all_hold();
    assert_eq!((report.counts.messages, delivered(&world, 3)), (12, 2));
}

#[test]
fn a_trace_tells_the_whole_story_and_its_diagram_shows_it() {
    let (mut world, _) = one_broadcast(5, 3);
    world.crash(p(5), Crash::before_output(2));
    world.run().assert_all_hold();
    let trace = world.trace();
    let count = |matches: fn(&Kind) -> bool| {
        let records = trace.records().iter();
        records.filter(|record| matches(&record.kind)).count()
    };
    assert_eq!(count(|kind| kind.request().is_some()), 1);
    assert_eq!(count(|kind| matches!(kind, Kind::Send { .. })), 17);
    assert_eq!(count(|kind| matches!(kind, Kind::Crash)), 1);
    assert_eq!(trace.count(), trace.records().len() as u64);
    let diagram = world.diagram();
    println!("{diagram}");
    for part in [
        "? urb Broadcast",
        ">1 p2 Data",
        "<1 p1 Data",
        "✗ CRASH",
        "! urb Deliver p1.1",
    ] {
        assert!(diagram.contains(part), "{part}");
    }
}

#[test]
#[should_panic(expected = "the lane `urb` is opened twice")]
fn a_lane_that_is_opened_twice_is_reported_at_the_start() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    everywhere(&world, 1);
    everywhere(&world, 1);
    world.run();
}
