use super::*;
use crate::{
    Family,
    marks::{Mark, Marks},
    testing::{call, classical, figure_1, p, patterns, quorum_access},
};
use quorate_core::{Membership, Time};
use quorate_sim::{Crash, Exhaustive, Lose, Random, Report, Timed, UNIT, World};

fn majorities(n: usize) -> Quorums {
    Quorums::majorities(&Membership::of_size(n).unwrap())
}

/// One call of p1, in lock step; its report and when it returned.
fn lock_step(n: usize, call: Call<Mark>, dead: bool) -> (Report, u64) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    world.check(quorum_access("access", world.membership().set()));
    let label = match call {
        Call::Get => "GetReturn",
        Call::Set(_) => "SetReturn",
    };
    let doors = classical(&world, &majorities(n));
    let operation = 1;
    world.request(p(1), Time::ZERO, &doors[0], Request { operation, call });
    if dead {
        world.crash(p(n), Crash::at(Time::ZERO));
    }
    let report = world.run();
    report.assert_all_hold();
    let returned = world.tally(p(1), "access", label).unwrap().first;
    (report, returned.as_nanos() / UNIT.as_nanos() as u64)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8 {
        for call in [Call::Get, Call::Set(Mark(1))] {
            let (report, steps) = lock_step(n, call.clone(), false);
            assert_eq!(report.counts.messages, 2 * (n as u64 - 1), "n = {n}");
            assert_eq!(steps, if n > 1 { 2 } else { 0 }, "n = {n}");
            if n > 2 {
                let (report, steps) = lock_step(n, call, true);
                assert_eq!(
                    (report.counts.messages, steps),
                    (2 * n as u64 - 3, 2),
                    "n = {n}"
                );
            }
        }
    }
}

/// Up to a minority of 1 to 5 processes crash while everybody calls.
fn turbulent(seed: u64, quorums: &Quorums, n: usize) -> Report {
    let mut world = if seed.is_multiple_of(2) {
        World::new(n, seed, Random::new()).unwrap()
    } else {
        World::new(n, seed, Timed::uniform(UNIT / 2, UNIT * 6)).unwrap()
    };
    for rank in 1..=world.membership().minority() {
        let crash = Crash::before_output(1 + (seed / 5 + 7 * rank as u64) % 60);
        world.crash(
            p(1 + (rank + seed as usize) % n),
            crash.losing(Lose::Each(0.5)),
        );
    }
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let doors = classical(&world, quorums);
    call(&world, &doors, seed, 6, 40);
    world.run()
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    for seed in 0..400 {
        let n = 1 + seed as usize % 5;
        let report = turbulent(seed, &majorities(n), n);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

#[test]
fn every_schedule_of_two_calls_is_right() {
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        let all = world.membership().set();
        world.check(quorum_access("access", all));
        let doors = classical(&world, &majorities(2));
        let operation = 1;
        let call = Call::Set(Mark(1));
        world.request(p(1), Time::ZERO, &doors[0], Request { operation, call });
        let call = Call::Get;
        world.request(p(2), Time::ZERO, &doors[1], Request { operation, call });
        world
    };
    let found = Exhaustive::new().real_time().explore(build);
    assert!(found.found.is_none() && found.complete, "{found}");
}

#[test]
fn quorums_that_do_not_meet_lose_updates() {
    let quorums = Quorums {
        reads: Family::AtLeast(1),
        writes: Family::AtLeast(2),
    };
    let tags = (0..50).filter_map(|seed| {
        let report = turbulent(seed, &quorums, 3);
        report.violation().map(|v| v.tag.clone())
    });
    let tags: Vec<String> = tags.collect();
    assert!(
        !tags.is_empty() && tags.iter().all(|tag| tag == "QAF2"),
        "{tags:?}"
    );
}

/// G2a: classical access needs correct channels in both directions.
#[test]
fn g2a_where_channels_fail_in_one_direction_calls_block_at_processes_that_could_return() {
    for pattern in patterns() {
        let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
        world.check(quorum_access("access", pattern.returning));
        let doors = classical(&world, &figure_1());
        pattern.befall(&world, Time::ZERO);
        let (operation, call) = (1, Call::Get);
        for q in pattern.returning.iter() {
            let request = Request {
                operation,
                call: call.clone(),
            };
            world.request(q, Time::ZERO + UNIT, &doors[q.index()], request);
        }
        let report = world.run();
        assert_eq!(report.violation().map(|v| &v.tag[..]), Some("QAF3"));
    }
}

#[test]
fn messages_survive_and_garbage_is_refused() {
    let (call, state, update) = (700, Marks(9), Mark(3));
    for message in [
        Message::GetRequest { call },
        Message::GetResponse { call, state },
        Message::SetRequest { call, update },
        Message::SetResponse { call },
    ] {
        let bytes = message.clone().into_bytes();
        assert_eq!(Message::<Marks>::decode(bytes.clone()), Ok(message));
        let longer = [&bytes[..], b"?"].concat();
        assert!(Message::<Marks>::decode(longer.into()).is_err());
    }
}
