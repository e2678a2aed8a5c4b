//! The published executions, message by message: in each period of 20 steps everybody pushes, and a copy
//! takes a step unless the script gives another duration.
use super::*;
use crate::testing::set;
use quorate_sim::testing::Latencies;

/// By way, from and to: the number of steps that each of its first copies takes.
type Ways = &'static [(usize, usize, &'static [u32])];

/// The calls, each by a process and at a step.
fn run_scripted(
    rule: Rule,
    quorums: &Quorums,
    n: usize,
    ways: Ways,
    calls: &[(usize, u32, Call<Mark>)],
) -> Report {
    let latencies = ways
        .iter()
        .fold(Latencies::default(), |latencies, (from, to, steps)| {
            latencies.way(*from, *to, steps)
        });
    let world = World::new(n, 1, latencies).unwrap();
    let mut world = world.settle(PERIOD * 5);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let wire = |q: ProcessId| {
        let host = world.host(q).at("access");
        let below = below(&world, q, false);
        let access = Generalized::new(&host, counted(), quorums.clone(), Marks::default());
        let ruled = Ruled::by(rule, access);
        spawn_as(&host, ruled, below, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    for (operation, (rank, at, call)) in (1..).zip(calls) {
        let (at, call) = (Time::ZERO + UNIT * *at, call.clone());
        world.request(p(*rank), at, &ports[rank - 1], Request { operation, call });
    }
    world.run()
}

fn quorums(reads: &[&[usize]], writes: &[&[usize]]) -> Quorums {
    let family = |sets: &[&[usize]]| Family::Sets(sets.iter().map(|s| set(s)).collect());
    Quorums {
        reads: family(reads),
        writes: family(writes),
    }
}

#[track_caller]
fn assert_breaks_qaf2(report: &Report) {
    let broken = report.violation().map(|v| &v.tag[..]);
    assert_eq!(broken, Some("QAF2"), "{report}");
}

/// p2 alone counts. It has pushed nothing at clock 1, and applies an update at clock 1, too.
#[test]
fn g2_e1_what_was_pushed_before_the_update_counts_as_pushed_with_it() {
    let run = |rule| {
        let calls = [(1, 20, Call::Set(Mark(1))), (1, 25, Call::Get)];
        run_scripted(rule, &quorums(&[&[2]], &[&[2]]), 2, &[], &calls)
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks_qaf2(&run(Rule::NoIncrement));
}

/// p2 pushes at its clock 3 the state that it had at its clock 1.
#[test]
fn g2_e2_what_is_pushed_is_older_than_its_clock() {
    let run = |rule| {
        let calls = [(1, 25, Call::Set(Mark(1))), (1, 45, Call::Get)];
        run_scripted(rule, &quorums(&[&[2]], &[&[2]]), 2, &[], &calls)
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks_qaf2(&run(Rule::StateBeforeClock));
}

/// p2's answer to the first get of p1 arrives during the second; between the two, p2 sets. What p2 and p3
/// push meanwhile is late at p1.
#[test]
fn g2_e3_the_clock_of_an_earlier_get_is_taken_for_one_of_this() {
    let run = |rule| {
        let ways: Ways = &[(2, 1, &[1, 20, 1, 50]), (3, 1, &[1, 1, 50])];
        let calls = [
            (1, 22, Call::Get),
            (2, 24, Call::Set(Mark(1))),
            (1, 42, Call::Get),
        ];
        run_scripted(rule, &quorums(&[&[2, 3]], &[&[2], &[3]]), 3, ways, &calls)
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks_qaf2(&run(Rule::NoIdentifier));
}

/// a sets, at a and b. c, which does not know this, gets the clocks of c and d, and has the state that a
/// pushed before.
fn slow_from_a_and_b() -> (Ways, [(usize, u32, Call<Mark>); 2]) {
    let ways: Ways = &[
        (1, 3, &[1, 50, 50, 50]),
        (1, 4, &[1, 50, 50, 50]),
        (2, 3, &[1, 50, 50, 50]),
        (2, 4, &[1, 50, 50, 50]),
    ];
    (ways, [(1, 25, Call::Set(Mark(1))), (3, 28, Call::Get)])
}

#[test]
fn g2_e5_a_set_returns_that_no_read_quorum_has_pushed() {
    let run = |rule| {
        let (ways, calls) = slow_from_a_and_b();
        run_scripted(rule, &figure_1(), 4, ways, &calls)
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks_qaf2(&run(Rule::SetDoesNotWait));
}

/// a and b are two processes, as many as a read quorum has, but they are no read quorum.
#[test]
fn g2_e7_as_many_as_a_read_quorum_has_are_taken_for_one() {
    let run = |quorums: &Quorums| {
        let (ways, _) = slow_from_a_and_b();
        // The set returns when a and b have pushed.
        let calls = [(1, 25, Call::Set(Mark(1))), (3, 43, Call::Get)];
        run_scripted(Rule::Corrected, quorums, 4, ways, &calls)
    };
    run(&figure_1()).assert_all_hold();
    let counted = Quorums {
        reads: Family::AtLeast(2),
        ..figure_1()
    };
    assert_breaks_qaf2(&run(&counted));
}
