//! Admission: the handshake, incarnations, refusals.
use super::harness::{World, ms, p};
use crate::perfect::{AdmissionRule, LinkSettings, frame};
use bytes::BytesMut;
use quorate_abstractions::{heartbeat::Beat, link::Status};
use quorate_core::{Incarnation, Membership, ProcessSet};
use std::time::Duration;

const LANES: &[&str] = &["bulk", "small"];

fn is_replaced(status: &Status) -> bool {
    matches!(status, Status::Replaced { .. })
}

#[test]
fn a_process_alone_is_admitted_at_once() {
    let mut world = World::started(1, 1);
    world.send(1, 1, "small", "myself");
    world.run(ms(1));
    assert!(world.process(1).is_admitted());
    assert_eq!(world.process(1).from(1, "small"), ["myself"]);
}

/// A cluster of five, in which the last process that is needed comes late.
fn forms_with(admission: AdmissionRule, needed: usize) {
    let mut world = World::new(5, 1);
    world.settings.admission = admission;
    for rank in 1..needed {
        world.start(rank, 10 * rank as u64);
    }
    world.send(1, 2, "small", "early");
    world.send(1, 1, "small", "myself");
    world.run(Duration::from_secs(30));
    let met = |world: &World, rank| world.process(rank).met.lock().unwrap().clone();
    for rank in 1..needed {
        assert!(!world.process(rank).is_admitted());
        assert_eq!(world.process(rank).delivered(), 0);
        let told = met(&world, rank);
        assert_eq!(told.last().unwrap().len(), needed - 2, "{told:?}");
    }
    world.start(needed, 10 * needed as u64);
    world.run(Duration::from_secs(3));
    for rank in 1..=needed {
        assert!(world.process(rank).is_admitted());
        assert_eq!(world.process(rank).connected(), needed - 1);
        let told = met(&world, rank);
        assert_eq!(told.first(), Some(&ProcessSet::EMPTY));
        assert!(told.is_sorted_by(|one, next| one != next && one.is_subset(*next)));
        assert_eq!(told.last().unwrap().len(), needed - 1);
        assert!(!told.last().unwrap().contains(p(rank)));
    }
    assert_eq!(world.process(2).from(1, "small"), ["early"]);
    assert_eq!(world.process(1).from(1, "small"), ["myself"]);
}

#[test]
fn until_enough_have_met_nobody_is_admitted_and_nothing_flows() {
    forms_with(AdmissionRule::RestartSafe, 4);
    forms_with(AdmissionRule::CrashStop, 3);
}

#[test]
fn enough_is_the_least_that_no_minority_of_restarts_can_feign() {
    for n in 1..=128 {
        let processes = Membership::of_size(n).unwrap();
        let f = processes.minority();
        // Two incarnations of one seat, each known to this many others: how many processes must have
        // restarted?
        let restarts = |others: usize| 1 + (2 * others).saturating_sub(n - 1);
        let others = AdmissionRule::RestartSafe.others(&processes);
        assert!(processes.majority() - 1 <= others && others < n);
        assert!(restarts(others) > f, "{n}");
        assert!(n <= 2 || restarts(others - 1) <= f, "{n}");
        assert_eq!(AdmissionRule::CrashStop.others(&processes), n / 2);
    }
}

/// A cluster forms of as few processes as possible. Then some of them restart without their memory, the
/// others freeze, and the rest of the cluster starts for the first time.
fn restart_while_forming(n: usize, restarts: usize, admission: AdmissionRule) -> World {
    let mut world = World::new(n, 3);
    world.settings.admission = admission;
    let first = 1 + admission.others(&Membership::of_size(n).unwrap());
    for rank in 1..=first {
        world.start(rank, 10 * rank as u64);
    }
    world.connect();
    for rank in 1..=first {
        assert!(world.process(rank).is_admitted());
        world.pause(rank, true);
    }
    for rank in 1..=restarts {
        world.crash(rank);
        world.start(rank, 10 * rank as u64 + 1);
    }
    for rank in first + 1..=n {
        world.start(rank, 10 * rank as u64);
    }
    world.run(Duration::from_secs(30));
    for rank in restarts + 1..=first {
        world.pause(rank, false);
    }
    world
}

#[test]
fn a_majority_alone_would_admit_two_incarnations_of_a_seat() {
    for n in [3, 5, 7] {
        let mut world = restart_while_forming(n, 1, AdmissionRule::CrashStop);
        assert!(world.process(1).is_admitted());
        world.send(1, n, "small", "of the second");
        world.run(ms(100));
        assert_eq!(world.process(n).from(1, "small"), ["of the second"]);
    }
}

#[test]
fn no_seat_has_two_admitted_incarnations_after_a_minority_restarts() {
    for (n, restarts) in [
        (3, 1),
        (4, 1),
        (5, 1),
        (5, 2),
        (6, 2),
        (7, 1),
        (7, 3),
        (9, 4),
    ] {
        let mut world = restart_while_forming(n, restarts, AdmissionRule::RestartSafe);
        for rank in 1..=restarts {
            assert!(!world.process(rank).is_admitted(), "p{rank} of {n}");
        }
        // The frozen processes tell the restarted ones that they may not take part, and go on with the late
        // ones.
        world.run(Duration::from_secs(30));
        for rank in 1..=restarts {
            assert!(world.process(rank).is_excluded(), "p{rank} of {n}");
        }
        world.send(n, restarts + 1, "small", "go on");
        world.run(Duration::from_secs(3));
        let from = world.process(restarts + 1).from(n, "small");
        assert_eq!(from, ["go on"], "{n}");
    }
}

/// Restarts a process without its memory, with an arbitrary clock.
fn restart(second: u64) {
    let mut world = World::started(3, second);
    world.connect();
    world.send(3, 1, "small", "of the first");
    world.run(ms(100));
    world.crash(3);
    world.start(3, second);
    world.send(3, 1, "small", "of the second");
    world.send(1, 3, "small", "to the first");
    world.run(Duration::from_secs(30));
    world.send(1, 3, "small", "to whom?");
    world.run(Duration::from_secs(30));
    assert!(world.process(3).is_excluded());
    assert!(!world.process(3).is_admitted());
    assert_eq!(world.process(3).delivered(), 0);
    assert_eq!(world.process(1).from(3, "small"), ["of the first"]);
    // A process that learns only from the others' tables that another incarnation of it is known stops before
    // they verify it. Every process that did verify it has replaced the old one.
    let replaced = |rank| world.process(rank).has(is_replaced);
    let known = |status: &Status| match status {
        Status::Replaced {
            known, newcomer, ..
        } => *known == Incarnation(30) && *newcomer == Incarnation(second),
        _ => true,
    };
    assert!(!world.process(1).has(|status| !known(status)));
    assert!(replaced(1) && replaced(2));
    world.send(1, 2, "small", "the others go on");
    world.run(ms(100));
    assert_eq!(world.process(2).from(1, "small"), ["the others go on"]);
}

#[test]
fn a_restart_is_another_process_and_may_not_take_part() {
    restart(31);
}

#[test]
fn a_clock_set_back_at_a_restart_is_harmless() {
    restart(29);
    restart(1);
}

#[test]
fn a_restart_is_known_to_those_who_never_met_the_first() {
    let mut world = World::new(3, 7);
    world.start(1, 10);
    world.start(3, 30);
    world.run(Duration::from_secs(3));
    world.crash(3);
    world.start(2, 20);
    // p2 learns from p1 which incarnation p3 is.
    world.run(Duration::from_secs(3));
    world.cuts = vec![(p(1), p(3)), (p(3), p(1))];
    world.start(3, 31);
    world.run(Duration::from_secs(3));
    assert!(world.process(3).is_excluded());
    assert!(world.process(2).has(is_replaced));
}

#[test]
fn of_two_voters_of_a_seat_each_keeps_the_one_it_knew_first() {
    let mut world = World::new(5, 7);
    let cut = |a: &[usize], b: &[usize]| {
        let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
        pairs
            .flat_map(|(a, b)| [(p(a), p(b)), (p(b), p(a))])
            .collect()
    };
    // p1 and p2 meet the first p5, p3 and p4 meet the second, before any of the two pairs meet each other.
    world.cuts = cut(&[1, 2], &[3, 4]);
    for rank in 1..=4 {
        world.start(rank, 10 * rank as u64);
    }
    world.cuts.extend::<Vec<_>>(cut(&[5], &[3, 4]));
    world.start(5, 50);
    world.run(Duration::from_secs(2));
    world.crash(5);
    world.cuts = cut(&[1, 2], &[3, 4, 5]);
    world.start(5, 51);
    world.run(Duration::from_secs(2));
    assert!(!world.process(5).is_excluded());
    world.cuts.clear();
    world.send(5, 1, "small", "of the second");
    world.run(Duration::from_secs(5));
    assert!(world.process(5).is_excluded());
    assert!(world.process(1).counters.total("conflicting voters") > 0);
    assert!(world.process(1).has(is_replaced) && world.process(2).has(is_replaced));
    assert_eq!(world.process(1).delivered(), 0);
}

#[test]
fn an_exclusion_is_told_once_and_is_for_good() {
    let mut world = World::started(3, 8);
    world.connect();
    world.crash(3);
    world.start(3, 33);
    world.run(Duration::from_secs(30));
    let excluded = |status: &&Status| matches!(status, Status::Excluded { .. });
    let statuses = world.process(3).statuses.lock().unwrap().clone();
    assert_eq!(statuses.iter().filter(excluded).count(), 1);
    let reason = format!("{statuses:?}");
    assert!(reason.contains("p3 is known as incarnation 1e"), "{reason}");
    world.record = Some(Vec::new());
    world.send(3, 3, "small", "myself");
    world.process(3).beat.send(Beat::default());
    world.run(Duration::from_mins(1));
    let of_the_excluded = world
        .record
        .take()
        .unwrap()
        .into_iter()
        .filter(|(from, _)| *from == p(3));
    assert_eq!(of_the_excluded.count(), 0);
    assert_eq!(world.process(3).delivered(), 0);
}

/// Two processes with different settings: returns what each says.
fn refused(change: impl Fn(&mut LinkSettings), n: usize, lanes: &[&'static str]) -> [String; 2] {
    let mut world = World::new(2, 1);
    let mut other = LinkSettings::default();
    change(&mut other);
    world.start(1, 10);
    world.start_with(2, 20, n, lanes, &other);
    world.send(1, 2, "small", "never");
    world.run(Duration::from_secs(5));
    assert_eq!(world.process(2).delivered(), 0);
    [1, 2].map(|rank| {
        assert_eq!(world.process(rank).connected(), 0);
        assert!(world.process(rank).counters.total("refused") > 0);
        let refusals = world.process(rank).refusals();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        refusals[0].clone()
    })
}

#[test]
fn a_difference_is_named_on_both_sides() {
    assert_eq!(
        refused(|there| there.cluster = "b".into(), 2, LANES),
        [
            "cluster \"quorate\" here, \"b\" there",
            "cluster \"b\" here, \"quorate\" there"
        ]
    );
    assert_eq!(
        refused(|there| there.stack = "tob/rotating".into(), 2, LANES),
        [
            "stacks differ: only here \"\", only there \"tob/rotating\"",
            "stacks differ: only here \"tob/rotating\", only there \"\""
        ]
    );
    assert_eq!(
        refused(|there| there.maximum_message = 9, 2, LANES),
        [
            "messages of at most 16777216 bytes here, 9 there",
            "messages of at most 9 bytes here, 16777216 there"
        ]
    );
    assert_eq!(
        refused(|_| {}, 3, LANES),
        ["2 processes here, 3 there", "3 processes here, 2 there"]
    );
    assert_eq!(
        refused(|_| {}, 2, &["bulk", "kv/small"]),
        [
            "lanes differ: only here \"small\", only there \"kv/small\"",
            "lanes differ: only here \"kv/small\", only there \"small\""
        ]
    );
}

#[test]
fn a_process_that_is_no_member_is_refused() {
    let mut world = World::new(2, 1);
    world.start(1, 10);
    world.start_with(3, 30, 3, LANES, &LinkSettings::default());
    world.run(Duration::from_secs(5));
    assert_eq!(world.process(1).refusals(), ["2 processes here, 3 there"]);
}

#[test]
fn another_version_is_named() {
    let mut world = World::started(2, 1);
    let mut greeting = b"\x01quorate".to_vec();
    greeting.extend([9, 2, 1, 2, 0]);
    world.start(1, 10);
    world.crash(2);
    world.inject(1, frame::seal(BytesMut::from(&greeting[..])));
    world.run(ms(10));
    assert_eq!(
        world.process(1).refusals(),
        ["protocol version 8 here, 9 there"]
    );
}

#[test]
fn a_version_whose_frames_had_no_checksum_is_named_too() {
    let mut world = World::started(2, 1);
    let mut greeting = b"\x01quorate".to_vec();
    greeting.extend([3, 2, 1, 2, 0, 7, 7, 7, 7]);
    world.crash(2);
    world.inject(1, greeting.into());
    world.run(ms(10));
    assert_eq!(
        world.process(1).refusals(),
        ["protocol version 8 here, 3 there"]
    );
}

#[test]
fn who_watches_late_is_told_the_present_state() {
    let mut world = World::started(3, 1);
    world.connect();
    world.crash(3);
    world.start(3, 33);
    world.run(Duration::from_secs(5));
    let late = world.watch(1);
    world.run(ms(1));
    let late = late.lock().unwrap().clone();
    assert!(late.contains(&Status::Admitted));
    assert!(
        late.iter()
            .any(|s| matches!(s, Status::Connected { peer, .. } if *peer == p(2)))
    );
    assert!(late.iter().any(is_replaced));
    assert_eq!(late.len(), 3);
}

#[test]
fn signs_of_life_are_indicated_once_a_batch() {
    let mut world = World::started(3, 1);
    world.connect();
    world.run(Duration::from_secs(5));
    world.process(1).heard.lock().unwrap().clear();
    world.process(2).beat.send(Beat::default());
    world.run(ms(5));
    assert_eq!(*world.process(1).heard.lock().unwrap(), [p(2)]);
    for _ in 0..5 {
        world.process(2).beat.send(Beat::default());
        world.send(2, 1, "small", "also a sign");
    }
    world.run(ms(5));
    assert_eq!(*world.process(1).heard.lock().unwrap(), [p(2), p(2)]);
}

#[test]
fn a_start_that_cannot_succeed_says_why() {
    use crate::perfect::StartError;
    let with = |change: fn(&mut LinkSettings)| {
        let mut settings = LinkSettings::default();
        change(&mut settings);
        World::try_start(settings, &["a", "b"])
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(
        with(|c| c.datagram = 100),
        Err(StartError::BadDatagram(100))
    );
    assert_eq!(
        with(|c| c.cluster = "c".repeat(65)),
        Err(StartError::LongName(65))
    );
    let twice = World::try_start(LinkSettings::default(), &["a", "a"]);
    assert_eq!(
        twice.unwrap_err().to_string(),
        "the lane `a` is opened twice"
    );
}
