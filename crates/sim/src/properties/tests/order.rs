//! Tests that distinguish the forms of total order and compare them with their definitions.
use super::{super::order::RegularPrefix, *};
use quorate_core::Random;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use std::collections::{BTreeMap, BTreeSet};

/// The strong form and the two weaker ones, for all processes.
fn uniform_forms() -> Properties {
    let mut forms = total_order(&three(), "m");
    forms.retain(|property| property.tag() == "TOB5");
    forms.extend(weak_total_order(&three(), "m", true));
    forms
}

/// The strong form and the two weaker ones, for correct processes.
fn regular_forms() -> Properties {
    let mut forms = regular_total_order(&three(), "m");
    forms.retain(|property| property.tag() == "TOB5");
    forms.extend(weak_total_order(&three(), "m", false));
    forms
}

/// A delivery of the first message of the process `origin`.
fn first(by: usize, origin: usize) -> (usize, Kind) {
    deliver(by, origin, 1, 10 * origin as u64)
}

fn tags(properties: Properties, trace: &[(usize, Kind)]) -> Vec<String> {
    let requests = [broadcast(1, 10), broadcast(2, 20), broadcast(3, 30)];
    broken(properties, &[&requests, trace].concat())
}

#[test]
fn a_holds_and_b_does_not_where_one_process_skips_a_message() {
    let trace = [first(1, 1), first(1, 2), first(2, 2)];
    assert_eq!(tags(uniform_forms(), &trace), ["TOB5", "TOB5-B"]);
    assert_eq!(tags(regular_forms(), &trace), ["TOB5", "TOB5-B"]);
}

#[test]
fn the_strong_form_is_broken_and_b_holds_where_two_deliver_different_ones_and_crash() {
    let trace = [first(1, 1), crash(1), first(2, 2), crash(2)];
    assert_eq!(tags(uniform_forms(), &trace), ["TOB5"]);
    assert!(tags(regular_forms(), &trace).is_empty());
}

#[test]
fn b_is_broken_wherever_a_is_even_if_the_last_message_is_in_its_place() {
    let trace = [
        first(1, 1),
        first(1, 2),
        first(1, 3),
        first(2, 2),
        first(2, 1),
        first(2, 3),
    ];
    let all = ["TOB5", "TOB5-A", "TOB5-B"];
    assert_eq!(tags(uniform_forms(), &trace), all);
}

#[test]
fn tob5_total_order_regular_does_not_bind_a_process_that_crashes() {
    let mut trace = vec![first(1, 2), first(1, 1)];
    for q in [2, 3] {
        trace.extend([first(q, 1), first(q, 2)]);
    }
    assert_eq!(tags(regular_forms(), &trace), ["TOB5", "TOB5-A", "TOB5-B"]);
    trace.insert(2, crash(1));
    assert!(tags(regular_forms(), &trace).is_empty());
    trace.remove(2);
    trace.push(crash(1));
    assert!(
        tags(regular_forms(), &trace).is_empty(),
        "whenever it crashes"
    );
}

#[test]
fn tob4_agreement_regular_does_not_bind_a_process_that_crashes() {
    let trace = [broadcast(1, 10), first(1, 1), crash(1)];
    assert!(broken(regular_total_order(&three(), "m"), &trace).is_empty());
    assert_eq!(broken(total_order(&three(), "m"), &trace), ["TOB4"]);
}

#[test]
fn tob5_regular_of_a_truncated_run_is_unknown_if_those_who_differ_may_crash() {
    let trace = [first(1, 1), first(2, 2)];
    let verdict = |trace: &[_], complete| {
        let judged = judge_with(regular_forms(), trace, complete, "m");
        judged.into_iter().next().map(|(_, verdict)| verdict)
    };
    assert_eq!(verdict(&trace, false), Some(Verdict::Unknown));
    assert!(matches!(verdict(&trace, true), Some(Verdict::Violated(_))));
    assert_eq!(verdict(&trace[..1], false), Some(Verdict::Holds));
}

#[test]
fn tob5_regular_remembers_only_what_somebody_is_still_to_be_compared_on() {
    let mut property = RegularPrefix::new(&three(), "m");
    for k in 1..=1000 {
        for q in 1..=3 {
            property.deliver(p(q), id(1, k));
        }
    }
    assert_eq!(property.remembered(), 0);
    // Two processes that differ are not compared any further, whatever they deliver next.
    property.deliver(p(1), id(1, 1001));
    property.deliver(p(2), id(2, 1));
    property.crash(p(3));
    for k in 2..=1000 {
        property.deliver(p(1), id(1, 1000 + k));
        property.deliver(p(2), id(2, k));
    }
    assert_eq!(property.remembered(), 0);
}

type Sequences = BTreeMap<usize, Vec<MessageId>>;

/// Delivery sequences of three processes that are close to a common one: truncated, with messages left out or
/// swapped.
fn near_a_common_sequence(rng: &mut Random) -> Sequences {
    let mut common: Vec<MessageId> = (1..=2)
        .flat_map(|origin| (1..=2).map(move |k| id(origin, k)))
        .collect();
    common.shuffle(rng);
    let mut near = |_| {
        let mut sequence = common.clone();
        sequence.truncate(rng.random_range(0..=sequence.len()));
        if rng.random_bool(0.3) && !sequence.is_empty() {
            sequence.remove(rng.random_range(0..sequence.len()));
        }
        if rng.random_bool(0.2) && sequence.len() > 1 {
            let place = rng.random_range(1..sequence.len());
            sequence.swap(place - 1, place);
        }
        sequence
    };
    (1..=3).map(|q| (q, near(q))).collect()
}

/// The trace in which these sequences are delivered, one message of each process in turn.
fn interleaved(sequences: &Sequences) -> Vec<(usize, Kind)> {
    let longest = sequences.values().map(Vec::len).max().unwrap_or(0);
    let at = |place: usize| {
        sequences.iter().filter_map(move |(q, sequence)| {
            let id = sequence.get(place)?;
            let origin = id.origin.process.rank();
            Some(deliver(*q, origin, id.sequence, 0))
        })
    };
    (0..longest).flat_map(at).collect()
}

/// Each form evaluated by its definition: the strong one, A and B.
fn by_definition(sequences: &Sequences) -> [bool; 3] {
    let place = |q: &usize, id: &MessageId| sequences[q].iter().position(|other| other == id);
    let before = |q: &usize, id: &MessageId| -> Option<BTreeSet<MessageId>> {
        place(q, id).map(|place| sequences[q][..place].iter().copied().collect())
    };
    let (mut strong, mut a, mut b) = (true, true, true);
    for (p, one) in sequences {
        for (q, other) in sequences {
            strong &= one.starts_with(other) || other.starts_with(one);
            for m2 in one.iter().filter(|m| other.contains(m)) {
                b &= before(p, m2) == before(q, m2);
                for m1 in one.iter().filter(|m| other.contains(m)) {
                    a &= (place(p, m1) < place(p, m2)) == (place(q, m1) < place(q, m2));
                }
            }
        }
    }
    [strong, a, b]
}

#[test]
fn the_checkers_agree_with_the_definitions_and_strong_implies_b_implies_a() {
    let (mut only_a, mut a_and_b, mut all, mut none) = (0, 0, 0, 0);
    for seed in 0..5000 {
        let sequences = near_a_common_sequence(&mut Random::seed_from_u64(seed));
        let trace = interleaved(&sequences);
        let broken = broken(uniform_forms(), &trace);
        let holds = ["TOB5", "TOB5-A", "TOB5-B"].map(|tag| !broken.contains(&tag.to_owned()));
        assert_eq!(
            holds,
            by_definition(&sequences),
            "seed {seed}: {sequences:?}"
        );
        let regular = tags(regular_forms(), &trace);
        assert_eq!(
            broken, regular,
            "nobody crashes, seed {seed}: {sequences:?}"
        );
        // Who crashes after its last delivery counts all the same.
        let (by, victim) = (1 + seed as usize % 3, trace.clone());
        let last = victim.iter().rposition(|(p, _)| *p == by);
        let mut crashed = victim;
        crashed.insert(last.map_or(0, |last| last + 1), crash(by));
        let with_crash = tags(uniform_forms(), &crashed);
        assert_eq!(broken, with_crash, "p{by}, seed {seed}: {sequences:?}");
        match holds {
            [true, true, true] => all += 1,
            [false, true, true] => a_and_b += 1,
            [false, true, false] => only_a += 1,
            [false, false, false] => none += 1,
            [..] => panic!("seed {seed}: {sequences:?} are {holds:?}"),
        }
    }
    assert!(
        only_a.min(a_and_b).min(all).min(none) > 100,
        "{only_a} {a_and_b} {all} {none}"
    );
}

#[test]
fn what_all_have_delivered_in_one_order_is_forgotten_and_a_second_delivery_is_still_known() {
    let round = |sequence| (1..=3).map(move |q| first(q, sequence));
    let many: Vec<_> = (1..=50).flat_map(round).collect();
    let again = [&many[..], &[first(1, 1)], &[first(2, 51), first(1, 51)]].concat();
    assert!(tags(weak_total_order(&three(), "m", true), &again).is_empty());
    let skipped = [&many[..], &[first(1, 51), first(1, 52), first(2, 52)]].concat();
    let broken = tags(weak_total_order(&three(), "m", true), &skipped);
    assert_eq!(broken, ["TOB5-B"]);
}

#[test]
fn a_second_delivery_is_not_what_the_weak_forms_are_about() {
    let trace = [first(1, 1), first(1, 1), first(2, 1)];
    assert!(tags(weak_total_order(&three(), "m", true), &trace).is_empty());
}
