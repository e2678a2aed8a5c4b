use super::*;
use quorate_abstractions::link::Links;
use quorate_core::{ProcessId, Time};
use quorate_sim::{Crash, Lose, Report, Timed, World, properties};

const P1: usize = 1;

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

/// One broadcast by p1 in a world of `n` in which this befalls one process.
fn run(n: usize, crash: Option<(usize, Crash)>) -> Report {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    world.check(properties::reliable(world.membership(), "rb"));
    for q in world.processes() {
        let host = world.host(q).at("rb");
        let lane = world.links(q).at("rb").lane();
        let door = spawn(&host, crate::best_effort::over(lane), world.application(q));
        if q == p(P1) {
            let payload = Bytes::from_static(b"m");
            world.request(q, Time::ZERO, &door, Broadcast { payload });
        }
    }
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    report
}

#[test]
fn rb4_agreement_whoever_of_the_sender_crashes() {
    for n in 2..=6 {
        for k in 1..2 * n as u64 {
            run(n, Some((P1, Crash::before_output(k))));
            run(
                n,
                Some((P1, Crash::before_output(k).losing(Lose::Everything))),
            );
        }
    }
}

#[test]
fn costs_with_a_crash_are_what_the_header_says() {
    for n in 2..=8_usize {
        let others = n as u64 - 1;
        let dead = run(n, Some((n, Crash::at(Time::ZERO))));
        let expected = if n == 2 { 1 } else { others * others };
        assert_eq!(
            dead.counts.messages, expected,
            "another process is dead, n = {n}"
        );
        for k in 1..=others {
            let cut_short = run(n, Some((P1, Crash::before_output(k + 1))));
            assert_eq!(
                cut_short.counts.messages,
                k + others * others,
                "n = {n}, k = {k}"
            );
        }
    }
}
