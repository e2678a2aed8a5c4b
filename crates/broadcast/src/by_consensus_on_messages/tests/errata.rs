//! The errata of the published algorithm: each flaw breaks the named property in its schedule, and the
//! algorithm passes the same schedule.
use super::*;
use crate::{by_consensus, majority_ack};
use quorate_abstractions::{total_order, uniform};
use quorate_core::Addr;
use quorate_core::Random;
use quorate_sim::{Adversary, Transmission};
use std::sync::{Arc, Mutex};

/// Each copy takes one step, except those of the first `messages` sends, which take a hundred.
struct SlowAtFirst(u64);

impl Adversary for SlowAtFirst {
    fn latency(&mut self, copy: Transmission, _: &mut Random) -> Duration {
        if copy.message <= self.0 {
            UNIT * 100
        } else {
            UNIT
        }
    }
}

/// A delay that one process, the victim, sees between total order and the layers below. Those layers may
/// behave like this.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delay {
    Nothing,
    /// The first decision comes after the second.
    FirstDecision,
    /// Messages arrive by reliable broadcast only after the first decision.
    Messages,
}

/// Delays what the layers below deliver to the victim.
fn delayed(
    delay: Delay,
    messages: Addr<reliable::Deliver>,
    decisions: Addr<Decide>,
) -> (Addr<reliable::Deliver>, Addr<Decide>) {
    let early = Arc::new(Mutex::new(Some(Vec::new())));
    let first = Mutex::new(None);
    let late_messages = {
        let (early, messages) = (early.clone(), messages.clone());
        Addr::new(
            move |message: reliable::Deliver| match &mut *early.lock().unwrap() {
                Some(early) if delay == Delay::Messages => early.push(message),
                _ => messages.send(message),
            },
        )
    };
    let late_decisions = Addr::new(move |decision: Decide| {
        if delay == Delay::FirstDecision && decision.instance == 1 {
            *first.lock().unwrap() = Some(decision);
            return;
        }
        decisions.send(decision);
        if let Some(decision) = first.lock().unwrap().take() {
            decisions.send(decision);
        }
        for message in early.lock().unwrap().take().unwrap_or_default() {
            messages.send(message);
        }
    });
    (late_messages, late_decisions)
}

/// A schedule at three processes: which process broadcasts what at which step, which process is delayed and
/// how, and which process crashes with all its copies.
struct Schedule {
    adversary: SlowAtFirst,
    requests: &'static [(usize, u32, &'static str)],
    delay: Delay,
    victim: usize,
    crash: Option<(usize, Time)>,
}

const QUIET: Schedule = Schedule {
    adversary: SlowAtFirst(0),
    requests: &[],
    delay: Delay::Nothing,
    victim: 0,
    crash: None,
};

/// The run of the algorithm, or of a mutant with a flaw.
fn run(schedule: &Schedule, flaw: Option<Flaw>) -> Report {
    let adversary = SlowAtFirst(schedule.adversary.0);
    let mut world = World::new(3, 1, adversary).unwrap().go_on_after_violation();
    world.check(regular(&world));
    world.check(properties::weak_total_order(
        world.membership(),
        "tob",
        false,
    ));
    let oracle = Oracle::accurate(DETECTION);
    // A batch of one message at most, like the mutant's batches.
    let proposal_bytes = if flaw == Some(Flaw::CutAnywhere) {
        1
    } else {
        1 << 16
    };
    let settings = ProposalSettings { proposal_bytes };
    let spawn_at = |q: ProcessId| {
        let (host, links) = (world.host(q).at("tob"), world.links(q));
        let detector = world.eventually_perfect(q, &oracle);
        let below = |messages, decisions| {
            let delay = if q.rank() == schedule.victim {
                schedule.delay
            } else {
                Delay::Nothing
            };
            let (messages, decisions) = delayed(delay, messages, decisions);
            let (inner, lanes) = (host.at("consensus"), links.at("consensus"));
            Connected {
                reliable: eager_at(&host, &links, messages),
                consensus: rotating_at(&inner, &lanes, &detector, decisions),
            }
        };
        start(&host, (flaw, settings), below, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(spawn_at).collect();
    for (rank, step, text) in schedule.requests {
        world.request(p(*rank), at(*step), &ports[rank - 1], request(text));
    }
    if let Some((rank, time)) = schedule.crash {
        world.crash(p(rank), Crash::at(time).losing(Lose::Everything));
    }
    let report = world.run();
    assert!(report.completion.complete, "{report}");
    report
}

fn violated(report: &Report) -> Vec<&str> {
    let verdicts = report.verdicts.iter();
    let violated = verdicts.filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)));
    violated.map(|(tag, _)| tag.as_str()).collect()
}

/// The mutant violates these properties under the schedule, and the algorithm none.
#[track_caller]
fn breaks(flaw: Flaw, schedule: &Schedule, tags: &[&str]) {
    let broken = run(schedule, Some(flaw));
    assert_eq!(violated(&broken), tags, "{broken}");
    run(schedule, None).assert_all_hold();
}

/// p3 learns of the second decision before the first.
const SECOND_DECISION_FIRST: Schedule = Schedule {
    requests: &[(1, 0, "one"), (2, 10, "two")],
    delay: Delay::FirstDecision,
    victim: 3,
    ..QUIET
};

#[test]
fn tob5_is_broken_by_decisions_applied_as_they_come() {
    let broken = ["TOB5", "TOB5-A", "TOB5-B"];
    breaks(Flaw::AsTheyCome, &SECOND_DECISION_FIRST, &broken);
}

#[test]
fn tob1_tob4_are_broken_where_a_decision_that_comes_early_is_dropped() {
    let broken = ["TOB1", "TOB4"];
    breaks(Flaw::DropsEarly, &SECOND_DECISION_FIRST, &broken);
}

#[test]
fn weak_form_a_holds_and_b_is_broken_where_a_decision_that_comes_late_is_dropped() {
    let broken = ["TOB1", "TOB4", "TOB5", "TOB5-B"];
    breaks(Flaw::DropsLate, &SECOND_DECISION_FIRST, &broken);
}

/// p1, which coordinates, learns p2's message from its decision before it comes by broadcast.
const DECISION_BEFORE_MESSAGE: Schedule = Schedule {
    requests: &[(2, 0, "one"), (3, 20, "two")],
    delay: Delay::Messages,
    victim: 1,
    ..QUIET
};

#[test]
fn tob1_tob4_are_broken_where_a_decision_is_ignored_by_who_has_not_proposed() {
    let broken = ["TOB1", "TOB4"];
    let schedule = Schedule {
        requests: &[(2, 0, "one")],
        ..DECISION_BEFORE_MESSAGE
    };
    breaks(Flaw::OnlyIfProposed, &schedule, &broken);
}

#[test]
fn tob2_is_broken_by_a_message_taken_for_new_after_its_decision() {
    let report = run(&DECISION_BEFORE_MESSAGE, Some(Flaw::ProposesAgain));
    assert!(violated(&report).contains(&"TOB2"), "{report}");
    run(&DECISION_BEFORE_MESSAGE, None).assert_all_hold();
}

/// p1 and p2 broadcast while the first instance runs, so that both messages are in the next batch, and each
/// process has its own message first.
const TWO_IN_A_BATCH: Schedule = Schedule {
    requests: &[(1, 0, "one"), (1, 1, "two"), (2, 1, "three")],
    ..QUIET
};

#[test]
fn tob5_is_broken_by_a_batch_applied_in_the_order_of_arrival() {
    let report = run(&TWO_IN_A_BATCH, Some(Flaw::ArrivalOrder));
    let broken = violated(&report);
    assert_eq!(broken, ["TOB5", "TOB5-A", "TOB5-B"], "{report}");
    run(&TWO_IN_A_BATCH, None).assert_all_hold();
}

#[test]
fn frb5_is_broken_by_a_batch_that_is_cut_anywhere() {
    let schedule = Schedule {
        requests: &[(1, 0, "one"), (1, 1, "two"), (1, 1, "three")],
        ..QUIET
    };
    breaks(Flaw::CutAnywhere, &schedule, &["FRB5"]);
}

/// p1 alone holds its message, whose copies are slow, when it is decided; p1 crashes with the copies.
const HELD_BY_ONE: Schedule = Schedule {
    adversary: SlowAtFirst(2),
    requests: &[(1, 0, "one"), (2, 0, "two")],
    crash: Some((1, Time::from_nanos(10_000_000))),
    ..QUIET
};

#[test]
fn tob1_is_broken_by_an_identifier_that_is_decided_and_whose_message_nobody_has() {
    breaks(Flaw::Identifiers, &HELD_BY_ONE, &["TOB1"]);
}

/// Three processes over the consensus whose acceptors are passive. p1 broadcasts; the first two copies that
/// it sends, those of its message, are slow. After this many half steps it crashes and loses all that it has
/// in flight.
fn over_passive_acceptors(is_uniform: bool, half_steps: u32) -> Report {
    let mut world = World::new(3, 1, SlowAtFirst(2))
        .unwrap()
        .go_on_after_violation();
    world.check(properties::total_order(world.membership(), "tob"));
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let (host, links) = (world.host(q).at("tob"), world.links(q));
        let detector = world.perfect(q, DETECTION);
        let consensus = |up: Addr<consensus::Decide>| {
            passive::spawn(&host.at("consensus"), &links.at("consensus"), &detector, up)
        };
        let port: Addr<Bytes> = if is_uniform {
            let uniform = |up: Addr<uniform::Deliver>| {
                majority_ack::spawn(
                    &host.at("uniform"),
                    links.at("uniform").lane(),
                    &links.status(),
                    up,
                )
            };
            let settings = by_consensus::OrderSettings::default();
            let up = world.application(q);
            by_consensus::spawn(&host, settings, uniform, consensus, up)
                .with(|payload| total_order::Broadcast { payload })
        } else {
            let reliable = |up: Addr<reliable::Deliver>| eager_at(&host, &links, up);
            let up = world.application(q);
            let consensus = consensus::as_regular(consensus);
            spawn(&host, ProposalSettings::default(), reliable, consensus, up)
                .with(|payload| Broadcast { payload })
        };
        if q == p(1) {
            world.request(q, Time::ZERO, &port, Bytes::from_static(b"one"));
        }
    }
    let crash = Crash::at(Time::ZERO + UNIT / 2 * half_steps);
    world.crash(p(1), crash.losing(Lose::Everything));
    let report = world.run();
    assert!(report.completion.complete, "{report}");
    report
}

#[test]
fn tob4_is_not_uniform_over_regular_broadcast_and_acceptors_without_proposals() {
    let broken: Vec<_> = (1..=20)
        .map(|half_steps| over_passive_acceptors(false, half_steps))
        .flat_map(|report| {
            violated(&report)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(!broken.is_empty(), "p1 delivers, and nobody else does");
    assert!(broken.iter().all(|tag| tag == "TOB4"), "{broken:?}");
}

#[test]
fn tob4_uniform_agreement_holds_over_uniform_broadcast_and_the_same_acceptors() {
    for half_steps in 1..=20 {
        over_passive_acceptors(true, half_steps).assert_all_hold();
    }
}

/// Two processes over a consensus that is not uniform. p1 delivers its message and crashes with all
/// its copies; p2 then delivers its own, and crashes.
#[test]
fn the_strong_form_is_broken_and_b_holds_where_two_deliver_one_each_and_crash() {
    let mut world = World::new(2, 1, Timed::lock_step())
        .unwrap()
        .go_on_after_violation();
    world.check(properties::total_order(world.membership(), "tob"));
    world.check(properties::weak_total_order(
        world.membership(),
        "tob",
        true,
    ));
    let layers = (Reliable::Eager, Consensus::Hierarchical);
    let oracle = Oracle::accurate(DETECTION);
    let ports = wire(&world, &oracle, layers, ProposalSettings::default());
    for (rank, port) in (1..).zip(&ports) {
        world.request(p(rank), Time::ZERO, port, request("m"));
    }
    let with_its_copies = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    world.crash(p(1), with_its_copies);
    world.crash(p(2), Crash::at(at(10)));
    let report = world.run();
    for q in world.processes() {
        let delivered = world.tally(q, "tob", "Deliver");
        assert!(delivered.is_some(), "{q}: {report}");
    }
    assert_eq!(violated(&report), ["TOB5"], "{report}");
}
