//! Exhaustive search: what the reduction preserves, what it saves, and what the search finds.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use quorate_core::{ProcessId, Time};
use quorate_sim::{
    Exhaustive, Exploration, OmissionKind, Oracle, Timed, UNIT, World, properties, schedule::Step,
    testing::set,
};
use std::collections::{BTreeMap, BTreeSet};
use support::{everywhere, p, payload};

/// A world of `n` in which each of the first `requests` processes broadcasts once.
fn broadcasts(n: usize, quorum: usize, requests: usize) -> World {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let urb = everywhere(&world, quorum);
    world.check(properties::uniform(world.membership(), "urb"));
    for rank in 1..=requests {
        world.request(p(rank), Time::ZERO, &urb[rank - 1], payload("m"));
    }
    world
}

/// The common part of equivalent schedules: the history of every process, the order of the crashes, and the
/// losses.
type Class = (BTreeMap<ProcessId, Vec<Step>>, Vec<Step>, BTreeSet<Step>);

fn class(schedule: &[Step]) -> Class {
    let mut class = Class::default();
    for step in schedule {
        match step.act.process() {
            Some(p) => class.0.entry(p).or_default().push(*step),
            None => assert!(class.2.insert(*step), "{step} is taken once"),
        }
        if step.crashed().is_some() {
            class.1.push(*step);
        }
    }
    class
}

/// Every class, how often it was met, and the tags of the properties that it breaks.
type Classes = BTreeMap<Class, (u64, BTreeSet<String>)>;

fn classes(search: &Exhaustive, build: impl Fn() -> World) -> (Exploration, Classes) {
    let mut classes = Classes::new();
    let all = search.search(build, &mut |end| {
        let (count, broken) = classes.entry(class(end.schedule)).or_default();
        *count += 1;
        let verdicts = end.report.verdicts.iter();
        broken.extend(
            verdicts
                .filter(|(_, verdict)| verdict.is_violated())
                .map(|(tag, _)| tag.clone()),
        );
        true
    });
    assert!(all.complete, "{all}");
    (all, classes)
}

/// The reduced search meets each class once, the full search each at least once; both find the same classes
/// and the same violations.
fn assert_nothing_is_missed(search: &Exhaustive, build: impl Fn() -> World) -> (u64, u64) {
    let (reduced, few) = classes(search, &build);
    let (full, many) = classes(&search.clone().without_reduction(), &build);
    assert!(few.values().all(|(count, _)| *count == 1));
    assert_eq!(reduced.executions, few.len() as u64);
    assert_eq!(full.blocked, 0);
    let broken = |classes: Classes| -> BTreeMap<Class, BTreeSet<String>> {
        let classes = classes.into_iter();
        classes.map(|(class, (_, tags))| (class, tags)).collect()
    };
    assert!(broken(few) == broken(many), "{reduced}\n{full}");
    (reduced.executions, full.executions)
}

#[test]
fn the_reduction_misses_no_class_and_meets_none_twice() {
    let plain = Exhaustive::new();
    let (crash, two) = (plain.clone().crashes(1), plain.clone().crashes(2));
    let saved = [
        assert_nothing_is_missed(&plain, || broadcasts(2, 2, 2)),
        assert_nothing_is_missed(&plain, || broadcasts(3, 2, 1)),
        assert_nothing_is_missed(&crash, || broadcasts(2, 1, 1)),
        assert_nothing_is_missed(&crash, || broadcasts(2, 2, 2)),
        assert_nothing_is_missed(&two, || broadcasts(2, 1, 2)),
    ];
    // The number of classes, and of executions without the reduction.
    assert_eq!(saved, [(7, 20), (6, 120), (12, 15), (97, 316), (349, 902)]);
}

#[test]
fn the_reduction_misses_no_omission_and_meets_none_twice() {
    for (kind, messages, processes) in [
        (OmissionKind::Send, 1, 1),
        (OmissionKind::Receive, 2, 1),
        (OmissionKind::General, 2, 1),
        (OmissionKind::General, 2, 2),
    ] {
        let search = Exhaustive::new().omissions(kind, messages, processes);
        assert_nothing_is_missed(&search, || broadcasts(2, 1, 2));
        let with_crash = search.crashes(1);
        assert_nothing_is_missed(&with_crash, || broadcasts(2, 1, 1));
    }
}

#[test]
fn every_schedule_of_a_uniform_broadcast_by_three_with_a_crash_is_followed() {
    let all = Exhaustive::new().crashes(1).explore(|| broadcasts(3, 2, 1));
    all.assert_all_hold();
    assert_eq!((all.executions, all.blocked, all.deepest), (139, 175, 8));
}

#[test]
fn a_broadcast_that_delivers_on_its_own_acknowledgement_is_caught() {
    let search = Exhaustive::new().crashes(1);
    let found = search.explore(|| broadcasts(3, 1, 1)).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let schedule: Vec<_> = found.schedule.iter().map(Step::to_string).collect();
    let expected = ["request p1", "crash p1", "lose p1>p2 #1", "lose p1>p3 #1"];
    assert_eq!(schedule, expected);
    assert!(
        search
            .of(set(&[2, 3]))
            .explore(|| broadcasts(3, 1, 1))
            .found
            .is_none()
    );
}

#[test]
fn a_search_that_reaches_a_bound_says_so() {
    let build = || broadcasts(3, 2, 1);
    let shallow = Exhaustive::new().depth(4).explore(build);
    assert!(!shallow.complete && shallow.truncated > 0 && shallow.deepest == 4);
    let brief = Exhaustive::new().executions(5).explore(build);
    assert!(!brief.complete && brief.worlds == 5);
}

#[test]
fn a_search_that_deepens_finds_the_shortest_schedule_and_is_complete_in_the_end() {
    let deepening = Exhaustive::new().crashes(1).deepening();
    let all = deepening.explore(|| broadcasts(3, 2, 1));
    all.assert_all_hold();
    assert_eq!(all.executions, 139);
    let build = || broadcasts(3, 1, 1);
    let plain = Exhaustive::new().crashes(1);
    let found = deepening.explore(build).found.unwrap();
    let shorter = plain.depth(found.schedule.len() - 1).explore(build);
    assert!(
        shorter.found.is_none() && shorter.truncated > 0,
        "{shorter}"
    );
    let brief = deepening.executions(5).explore(build);
    assert!(!brief.complete && brief.worlds == 5);
}

#[test]
fn a_false_suspicion_comes_before_a_crash_and_after_it() {
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        let oracle = Oracle::accurate(UNIT);
        let lies = oracle.suspecting(p(1), p(2), Time::ZERO, Time::ZERO + UNIT);
        world.eventually_perfect(p(1), &lies);
        world
    };
    let mut orders = BTreeSet::new();
    let search = Exhaustive::new().crashes(1).of(set(&[2]));
    let all = search.search(build, &mut |end| {
        let names = end.schedule.iter().map(|step| step.act.to_string());
        let of_interest = names.filter(|name| name.starts_with("suspect") || name == "crash p2");
        orders.insert(of_interest.collect::<Vec<_>>().join(", "));
        true
    });
    assert!(all.complete);
    let suspicion = "suspect p2 by p1";
    let expected = [
        format!("crash p2, {suspicion}"),
        suspicion.to_owned(),
        format!("{suspicion}, crash p2"),
    ];
    assert_eq!(orders, BTreeSet::from(expected));
}
