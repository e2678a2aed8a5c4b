use super::*;
use crate::{
    non_blocking,
    testing::{after, each_steps, p, reported_after, turbulent, vote, vote_some},
};
use quorate_abstractions::{Subscribe, consensus, link::Links};
use quorate_consensus::uniform_hierarchical;
use quorate_core::{
    Addr, Context, Counters, Time,
    wire::{self, Wire},
};
use quorate_sim::{
    Crash, Exhaustive, Lose, Report, Timed, UNIT, World,
    properties::{self, Properties},
};

/// All promises of the algorithm.
fn promises(world: &World) -> Properties {
    properties::blocking_commit(world.membership(), "commit")
}

/// Two-phase commit, to which a crash is reported after one step.
fn wire(world: &World) -> Vec<Addr<Propose>> {
    wire_on(world, reported_after(1))
}

fn wire_on(
    world: &World,
    detect: impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash>,
) -> Vec<Addr<Propose>> {
    let wire = |q| {
        let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
        let (detector, up) = (detect(world, q), world.application(q));
        spawn(&host, links.lane(), &links.status(), &detector, up)
    };
    world.processes().map(wire).collect()
}

/// Non-blocking commit in place of two-phase commit.
fn wire_non_blocking(world: &World) -> Vec<Addr<Propose>> {
    let wire = |q| {
        let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
        let detector = world.perfect(q, UNIT);
        let (agreed, status) = (links.at("consensus").lane(), links.status());
        let consensus = |up: Addr<consensus::Decide>| {
            let host = host.at("consensus");
            uniform_hierarchical::spawn(&host, agreed, &status, &detector, up)
        };
        let (lane, up) = (links.lane(), world.application(q));
        non_blocking::spawn(&host, lane, &status, consensus, &detector, up)
    };
    world.processes().map(wire).collect()
}

/// All vote at the start; a crash is reported after `detection` steps.
fn lock_step(
    n: usize,
    votes: &[Vote],
    detection: u32,
    crash: Option<(usize, Crash)>,
) -> (World, Report) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire_on(&world, reported_after(detection));
    world.check(promises(&world));
    vote(&world, &ports, votes);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (world, report)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let (world, report) = lock_step(n as usize, &vec![Vote::Yes; n as usize], 5, None);
        assert_eq!(report.counts.messages, 3 * (n - 1), "n = {n}");
        let expected = |i| Some(if n == 1 { 0 } else { 2 + u64::from(i > 1) });
        let expected: Vec<_> = (1..=n).map(expected).collect();
        assert_eq!(each_steps(&world), expected, "n = {n}");
    }
}

#[test]
fn costs_with_one_dead_are_what_the_header_says() {
    for (n, d) in (3..=8_u64).flat_map(|n| [1, 3, 5].map(|d| (n, d))) {
        for dead in 2..=n as usize {
            let (votes, crash) = (vec![Vote::Yes; n as usize], Crash::at(Time::ZERO));
            let (world, report) = lock_step(n as usize, &votes, d, Some((dead, crash)));
            assert_eq!(report.counts.messages, 3 * n - 4, "n = {n}, D = {d}");
            let last = each_steps(&world).into_iter().flatten().max();
            assert_eq!(last, Some(u64::from(d) + 1), "n = {n}, D = {d}, p{dead}");
        }
    }
}

#[test]
fn costs_with_a_coordinator_crashing_after_k_sends_are_what_the_header_says() {
    for (n, k) in (2..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let crash = Crash::before_output(k + 1);
        let votes = vec![Vote::Yes; n as usize];
        let (world, report) = lock_step(n as usize, &votes, 3, Some((1, crash)));
        assert_eq!(report.counts.messages, 2 * k, "n = {n}, k = {k}");
        let steps = &each_steps(&world)[1..];
        let (asked, others) = steps.split_at(k as usize);
        assert!(asked.iter().all(Option::is_none), "n = {n}, k = {k}");
        assert!(
            others.iter().all(|step| *step == Some(3)),
            "n = {n}, k = {k}: {steps:?}"
        );
    }
}

#[test]
fn a_participant_that_dies_before_its_vote_leads_to_abort_in_later_instances_too() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world);
    world.check(properties::atomic_commit(world.membership(), "commit"));
    world.crash(p(3), Crash::at(Time::ZERO));
    for (rank, instance, steps) in [(1, 1, 0), (2, 1, 0), (2, 2, 6), (1, 2, 9)] {
        let (vote, time) = (Vote::Yes, Time::ZERO + UNIT * steps);
        world.request(p(rank), time, &ports[rank - 1], Propose { instance, vote });
    }
    let report = world.run();
    report.assert_all_hold();
    let decided = |rank| world.tally(p(rank), "commit", "Decide").map(|it| it.count);
    assert_eq!([decided(1), decided(2)], [Some(2), Some(2)]);
}

#[test]
fn a_yes_that_arrived_counts_though_its_voter_has_crashed() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world);
    world.check(properties::atomic_commit(world.membership(), "commit"));
    for (rank, steps) in [(1, 0), (3, 0), (2, 5)] {
        let (instance, vote, time) = (1, Vote::Yes, Time::ZERO + UNIT * steps);
        world.request(p(rank), time, &ports[rank - 1], Propose { instance, vote });
    }
    world.crash(p(3), Crash::at(after(3)));
    let report = world.run();
    report.assert_all_hold();
    // p1 has the last yes at step 6, long after the report of the crash.
    assert_eq!(each_steps(&world), [Some(6), Some(7), None]);
}

#[test]
fn without_a_detector_the_first_crash_blocks_and_one_that_errs_aborts_without_a_reason() {
    let run = |detect: &dyn Fn(&World, ProcessId) -> Subscribe<perfect::Crash>, crash| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire_on(&world, detect);
        world.check(promises(&world));
        vote(&world, &ports, &[Vote::Yes; 3]);
        if crash {
            world.crash(p(3), Crash::at(Time::ZERO));
        }
        world.run()
    };
    let blocked = run(&|_, _| Addr::nowhere(), true);
    assert_eq!(blocked.violation().unwrap().tag, "NBAC2-C");
    let errs = |_: &World, _| -> Subscribe<perfect::Crash> {
        Addr::new(|up: Addr<perfect::Crash>| up.send(perfect::Crash(p(3))))
    };
    let aborted = run(&errs, false);
    assert_eq!(aborted.violation().unwrap().tag, "NBAC4");
    run(&reported_after(1), true).assert_all_hold();
}

#[test]
fn who_votes_no_need_not_wait_and_one_no_is_enough() {
    let votes = [Vote::Yes, Vote::No, Vote::Yes];
    let (world, _) = lock_step(3, &votes, 5, None);
    assert_eq!(each_steps(&world), [Some(2), Some(0), Some(3)]);
    let dead = Some((3, Crash::at(Time::ZERO)));
    let (world, _) = lock_step(3, &votes, 5, dead);
    assert_eq!(each_steps(&world), [Some(2), Some(0), None]);
}

#[test]
fn what_it_promises_holds_wherever_processes_crash_and_while_the_coordinator_lives_it_ends() {
    for seed in 0..400 {
        let mut world = turbulent(seed);
        let ports = wire(&world);
        world.check(promises(&world));
        vote_some(&world, &ports, seed);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
    for seed in 0..100 {
        let adversary = Timed::uniform(UNIT / 2, UNIT * 6);
        let mut world = World::new(2 + seed as usize % 4, seed, adversary).unwrap();
        let ports = wire(&world);
        world.check(properties::atomic_commit(world.membership(), "commit"));
        vote_some(&world, &ports, seed);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

#[test]
fn every_schedule_of_two_and_of_three_processes_is_right() {
    let cases: [&[Vote]; 4] = [
        &[Vote::Yes; 2],
        &[Vote::Yes, Vote::No],
        &[Vote::Yes; 3],
        &[Vote::Yes, Vote::No, Vote::Yes],
    ];
    for votes in cases {
        let build = || {
            let world = World::new(votes.len(), 1, Timed::lock_step()).unwrap();
            let ports = wire(&world);
            world.check(promises(&world));
            vote(&world, &ports, votes);
            world
        };
        let found = Exhaustive::new().crashes(1).explore(build);
        assert!(found.found.is_none() && found.complete, "{found}");
    }
}

/// All of three processes vote yes. Half a step after the last vote has reached p1, which then decides and
/// sends the outcome, p1 crashes, and its last messages are lost.
fn coordinator_dies_after_the_votes(
    wire: impl Fn(&World) -> Vec<Addr<Propose>>,
) -> (World, Report) {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world);
    world.check(properties::atomic_commit(world.membership(), "commit"));
    vote(&world, &ports, &[Vote::Yes; 3]);
    world.crash(p(1), Crash::at(after(2)).losing(Lose::Everything));
    let report = world.run();
    (world, report)
}

#[test]
fn d5_e9_the_same_schedule_blocks_two_phase_commit_and_not_the_non_blocking_one() {
    let (world, blocked) = coordinator_dies_after_the_votes(wire);
    assert_eq!(blocked.violation().unwrap().tag, "NBAC2");
    assert_eq!(each_steps(&world), [Some(2), None, None], "{blocked}");
    let (world, ended) = coordinator_dies_after_the_votes(wire_non_blocking);
    ended.assert_all_hold();
    assert!(each_steps(&world)[1..].iter().all(Option::is_some));
}

/// p1 crashes before it has asked anybody. p2 votes before the report of that crash, p3 after it.
#[test]
fn without_a_yes_of_theirs_the_others_abort_when_the_coordinator_is_reported() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world);
    world.check(properties::atomic_commit(world.membership(), "commit"));
    world.crash(p(1), Crash::before_output(1));
    for (rank, steps) in [(1, 0), (2, 0), (3, 4)] {
        let (instance, vote, time) = (1, Vote::Yes, Time::ZERO + UNIT * steps);
        world.request(p(rank), time, &ports[rank - 1], Propose { instance, vote });
    }
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(each_steps(&world), [None, Some(1), Some(4)]);
}

#[test]
fn the_search_finds_that_two_phase_commit_blocks() {
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world);
        world.check(properties::atomic_commit(world.membership(), "commit"));
        vote(&world, &ports, &[Vote::Yes; 2]);
        world
    };
    let found = Exhaustive::new().crashes(1).explore(build).found.unwrap();
    assert_eq!(found.violation.tag, "NBAC2");
}

#[test]
fn what_only_the_coordinator_may_say_or_hear_is_dropped_from_and_by_others() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let counters = Counters::default();
    let mut ctx = Context::new("commit".into(), 1, counters.clone());
    let mut p2 = TwoPhase::new(&world.host(p(2)));
    let mut upon = |event| {
        p2.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    let from = |rank, message| {
        let from = p(rank);
        Event::Link(link::Deliver { from, message })
    };
    let propose = |instance, vote| Event::Propose(Propose { instance, vote });
    let prepare = |instance| Message::Prepare { instance };
    let voted = |instance, vote| Message::Voted { instance, vote };
    let told = |instance, outcome| Message::Decided { instance, outcome };
    assert!(upon(from(3, prepare(1))).is_empty());
    assert!(upon(from(3, told(1, Outcome::Commit))).is_empty());
    assert!(upon(from(1, voted(1, Vote::Yes))).is_empty());
    assert!(upon(from(1, prepare(1 << 40))).is_empty());
    assert!(upon(from(1, told(1 << 40, Outcome::Commit))).is_empty());
    // p2 votes no, is done with the instance, and still answers; a second vote changes nothing.
    let decided = upon(propose(1, Vote::No));
    assert!(matches!(decided[..], [Effect::Decide(_)]), "{decided:?}");
    assert!(upon(propose(1, Vote::Yes)).is_empty());
    let answer = upon(from(1, prepare(1)));
    let is_no = |m: &Message| *m == voted(1, Vote::No);
    assert!(
        matches!(&answer[..], [Effect::Link(link::SendRequest { message, .. })] if is_no(message))
    );
    assert!(upon(from(1, told(1, Outcome::Abort))).is_empty());
    // The first vote counts, and waits for the question.
    assert!(upon(propose(2, Vote::Yes)).is_empty());
    assert!(upon(propose(2, Vote::No)).is_empty());
    let answer = upon(from(1, prepare(2)));
    let is_yes = |m: &Message| *m == voted(2, Vote::Yes);
    assert!(
        matches!(&answer[..], [Effect::Link(link::SendRequest { message, .. })] if is_yes(message))
    );
}

#[test]
fn messages_survive_the_wire() {
    let (instance, vote, outcome) = (300, Vote::No, Outcome::Abort);
    let messages = [
        (Message::Prepare { instance }, &[0, 251, 44, 1][..]),
        (Message::Voted { instance, vote }, &[1, 251, 44, 1, 1]),
        (Message::Again { instance, vote }, &[2, 251, 44, 1, 1]),
        (Message::Decided { instance, outcome }, &[3, 251, 44, 1, 1]),
        (Message::Resumed, &[4]),
    ];
    for (message, expected) in messages {
        let bytes = wire::encode(&message);
        assert_eq!(bytes, expected, "{message:?}");
        assert_eq!(Message::decode(bytes), Ok(message));
    }
}
