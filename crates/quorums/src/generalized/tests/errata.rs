//! Wrong rules, each with runs in which it breaks a property and the algorithm does not.
mod scripted;

use super::*;
use crate::generalized::mutant::{Rule, Ruled};
use crate::{Family, testing::below};
use quorate_abstractions::link::Links;
use quorate_core::Addr;
use quorate_core::Layer;
use quorate_core::wire::{Plain, Undecodable};
use quorate_sim::{Adversary, Latency};
use serde::{Deserialize, Serialize};

/// Clocks tick slowly and seldom together, and a few copies are very late.
fn erratum(rule: Rule, quorums: &Quorums, n: usize, seed: u64) -> Report {
    let latency = Latency::Tailed(UNIT / 2, UNIT * 4);
    run(rule, quorums, n, seed, Timed::new(latency))
}

fn run(
    rule: Rule,
    quorums: &Quorums,
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
) -> Report {
    let mut world = World::new(n, seed, adversary).unwrap();
    world = world
        .maximum_time(Time::ZERO + PERIOD * 20)
        .settle(PERIOD * 20);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let wire = |q: ProcessId| {
        let host = world.host(q).at("access");
        let below = below(&world, q, false);
        // Each process has its own period.
        let period = PERIOD / 4 * (1 + q.rank() as u32);
        let settings = AccessSettings {
            period,
            ..counted()
        };
        let access = Generalized::new(&host, settings, quorums.clone(), Marks::default());
        let ruled = Ruled::by(rule, access);
        spawn_as(&host, ruled, below, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    call(&world, &ports, seed, 12, 200);
    world.run()
}

/// The number of runs in which the rule breaks this property; the algorithm breaks it in none.
#[track_caller]
fn breaks(rule: Rule, quorums: &Quorums, n: usize, tag: &str, seeds: u64) -> usize {
    let broken = |rule| {
        let reports = (0..seeds).map(|seed| erratum(rule, quorums, n, seed));
        reports
            .filter(|report| {
                let violation = report.violation();
                assert!(violation.is_none_or(|v| v.tag == tag), "{report}");
                violation.is_some()
            })
            .count()
    };
    assert_eq!(broken(Rule::Corrected), 0);
    broken(rule)
}

#[test]
fn g2_e1_a_clock_that_does_not_rise_with_an_update_breaks_qaf2() {
    let found = breaks(Rule::NoIncrement, &majorities(3), 3, "QAF2", 200);
    assert!(found > 0);
}

#[test]
fn g2_e2_a_state_older_than_its_clock_breaks_qaf2() {
    let found = breaks(Rule::StateBeforeClock, &majorities(3), 3, "QAF2", 200);
    assert!(found > 0);
}

#[test]
fn g2_e3_responses_to_earlier_calls_break_qaf2() {
    let found = breaks(Rule::NoIdentifier, &figure_1(), 4, "QAF2", 400);
    assert!(found > 0);
}

/// A set of marks that shows which were made twice: those have another mark, 32 higher.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted(u64);

impl Plain for Counted {}

impl State for Counted {
    type Update = Mark;

    fn apply(&mut self, update: &Mark) -> bool {
        let mark = Self::digest_of(update);
        self.0 |= if self.0 & mark == 0 { mark } else { mark << 32 };
        true
    }

    fn digest(&self) -> u64 {
        self.0
    }

    fn digest_of(update: &Mark) -> u64 {
        1 << (update.0 % 32)
    }
}

/// Flooding that delivers every copy.
fn e4(rule: Rule) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step())
        .unwrap()
        .settle(PERIOD * 9);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let wire = |q: ProcessId| {
        let host = world.host(q).at("access");
        let links = world.links(q).at("access");
        let twice = |up: Addr<Deliver<Message<Counted>>>| {
            let each = up.clone();
            let below = crate::flooding::direct(links.lane());
            below.attach(Addr::new(move |deliver: Deliver<Message<Counted>>| {
                each.send(deliver.clone());
                each.send(deliver);
            }))
        };
        let access = Generalized::new(&host, timed(), majorities(3), Counted::default());
        let ruled = Ruled::by(rule, access);
        spawn_as(&host, ruled, twice, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    for (operation, call) in [(1, Call::Set(Mark(1))), (2, Call::Get)] {
        let at = Time::ZERO + PERIOD * (operation as u32 * 2);
        world.request(p(1), at, &ports[0], Request { operation, call });
    }
    world.run()
}

#[test]
fn g2_e4_a_request_that_arrives_twice_and_is_applied_twice_breaks_qaf1() {
    e4(Rule::Corrected).assert_all_hold();
    let report = e4(Rule::NoDuplicates);
    assert_eq!(
        report.violation().map(|v| &v.tag[..]),
        Some("QAF1"),
        "{report}"
    );
}

#[test]
fn g2_e5_a_set_that_does_not_wait_for_a_read_quorum_breaks_qaf2() {
    let found = breaks(Rule::SetDoesNotWait, &figure_1(), 4, "QAF2", 400);
    assert!(found > 0);
}

/// A state pushed before the call began is good enough, if its clock is: with a timer that never fires again,
/// a get still returns.
#[test]
fn g2_e6_states_from_before_the_call_may_be_used() {
    let mut p1 = Alone::new(3, counted());
    let (clock, state) = (5, Marks(6));
    for q in 2..=3 {
        p1.hear(q, Message::State { clock, state });
    }
    let (operation, call) = (1, Call::Get);
    p1.upon(Event::Request(Request { operation, call }));
    p1.hear(2, Message::ClockResponse { call: 1, clock: 3 });
    let effects = p1.hear(3, Message::ClockResponse { call: 1, clock });
    let returns = |effect: &Effect<Marks>| match effect {
        Effect::Return(Indication {
            answer: Answer::Got(states),
            ..
        }) => states.clone(),
        Effect::Return(_) | Effect::Flooding(_) => Vec::new(),
    };
    let states: Vec<Marks> = effects.iter().flat_map(returns).collect();
    assert_eq!(states, [state, state]);
}

#[test]
fn g2_e7_as_many_as_a_quorum_has_are_no_quorum_and_break_qaf2() {
    let counted = Quorums {
        reads: Family::AtLeast(2),
        ..figure_1()
    };
    let broken = |quorums: &Quorums| {
        let reports = (0..200).map(|seed| erratum(Rule::Corrected, quorums, 4, seed));
        reports
            .filter(|report| report.violation().is_some_and(|v| v.tag == "QAF2"))
            .count()
    };
    assert_eq!(broken(&figure_1()), 0);
    let found = broken(&counted);
    assert!(found > 0);
}

/// c, which nobody reaches, counts its own periods only; the others also count requests.
#[test]
fn g2_e8_calls_wait_for_counters_that_lag_and_not_for_clocks_that_follow_time() {
    let (counted, timed) = (waits(counted()), waits(timed()));
    println!("with counters {counted:?}, with clocks that follow time {timed:?}");
    assert!(timed.open == 0 && timed.longest < 3.0, "{timed:?}");
    assert!(counted.mean > 50.0 * timed.mean, "{counted:?}");
}

/// How long calls take under the first pattern, in periods.
#[derive(Debug)]
struct Waits {
    /// The number of calls that have not returned in the end.
    open: usize,
    mean: f64,
    longest: f64,
}

fn waits(settings: AccessSettings) -> Waits {
    let taken: std::sync::Arc<std::sync::Mutex<Vec<f64>>> = std::sync::Arc::default();
    let mut made = 0;
    for seed in 0..20 {
        let mut world = World::new(4, seed, Timed::uniform(UNIT / 2, UNIT * 5)).unwrap();
        world = world
            .settle(PERIOD * 1000)
            .maximum_time(Time::ZERO + PERIOD * 400);
        let pattern = &crate::testing::patterns()[0];
        let ports: Vec<_> = world
            .processes()
            .map(|q| {
                let host = world.host(q).at("access");
                let (below, taken) = (below(&world, q, true), taken.clone());
                let up = world.application_with(q, move |indication: Indication<Marks>, now| {
                    let begun = Time::from_nanos(indication.operation);
                    let periods = now.since(begun).as_secs_f64() / PERIOD.as_secs_f64();
                    taken.lock().unwrap().push(periods);
                });
                spawn(&host, settings, figure_1(), Marks::default(), below, up)
            })
            .collect();
        pattern.befall(&world, Time::ZERO);
        for step in (1..1500_u32).step_by(10) {
            for q in pattern.returning.iter() {
                made += 1;
                let at = Time::ZERO + UNIT * step;
                let operation = at.as_nanos();
                let call = if step % 20 == 1 {
                    Call::Get
                } else {
                    Call::Set(Mark(1))
                };
                world.request(q, at, &ports[q.index()], Request { operation, call });
            }
        }
        world.run();
    }
    let taken = taken.lock().unwrap();
    Waits {
        open: made - taken.len(),
        mean: taken.iter().sum::<f64>() / taken.len() as f64,
        longest: taken.iter().copied().fold(0.0, f64::max),
    }
}

/// Outside of `U_f` a call may block; counters show how many do.
#[test]
fn g2_e9_a_call_that_blocks_is_seen_to_be_in_flight() {
    let mut world = World::new(4, 1, Timed::lock_step())
        .unwrap()
        .settle(PERIOD * 50);
    let ports = generalized(&world, timed(), &figure_1(), true);
    crate::testing::patterns()[0].befall(&world, Time::ZERO);
    for q in [1, 3] {
        let (operation, call) = (1, Call::Get);
        world.request(
            p(q),
            Time::ZERO + UNIT,
            &ports[q - 1],
            Request { operation, call },
        );
    }
    world.run();
    let counts = |q| {
        let counters = world.counters(p(q));
        (
            counters.total("calls"),
            counters.total("calls that returned"),
        )
    };
    assert_eq!((counts(1), counts(3)), ((1, 1), (1, 0)));
}

/// The codec refuses messages that are too short, for any state.
#[test]
fn a_state_that_does_not_decode_is_refused() {
    assert_eq!(
        Message::<Counted>::decode(bytes::Bytes::from_static(&[4, 1])).unwrap_err(),
        Undecodable
    );
}
