use super::*;
use crate::{
    non_blocking,
    testing::{after, each_steps, p, turbulent, vote, vote_some},
};
use quorate_abstractions::{consensus, link::Links};
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

fn wire(world: &World) -> Vec<Addr<Propose>> {
    let wire = |q| {
        let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
        spawn(&host, links.lane(), &links.status(), world.application(q))
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

fn lock_step(n: usize, votes: &[Vote], crash: Option<(usize, Crash)>) -> (World, Report) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world);
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
        let (world, report) = lock_step(n as usize, &vec![Vote::Yes; n as usize], None);
        assert_eq!(report.counts.messages, 3 * (n - 1), "n = {n}");
        let expected = |i| Some(if n == 1 { 0 } else { 2 + u64::from(i > 1) });
        let expected: Vec<_> = (1..=n).map(expected).collect();
        assert_eq!(each_steps(&world), expected, "n = {n}");
    }
}

#[test]
fn costs_with_a_coordinator_crashing_after_k_sends_are_what_the_header_says() {
    for (n, k) in (2..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let crash = Crash::before_output(k + 1);
        let votes = vec![Vote::Yes; n as usize];
        let (world, report) = lock_step(n as usize, &votes, Some((1, crash)));
        assert_eq!(report.counts.messages, 2 * k, "n = {n}, k = {k}");
        assert!(each_steps(&world)[1..].iter().all(Option::is_none));
    }
}

#[test]
fn who_votes_no_need_not_wait_and_one_no_is_enough() {
    let votes = [Vote::Yes, Vote::No, Vote::Yes];
    let (world, _) = lock_step(3, &votes, None);
    assert_eq!(each_steps(&world), [Some(2), Some(0), Some(3)]);
    let dead = Some((3, Crash::at(Time::ZERO)));
    let (world, _) = lock_step(3, &votes, dead);
    assert_eq!(each_steps(&world), [Some(2), Some(0), None]);
}

#[test]
fn what_it_promises_holds_wherever_processes_crash_and_failure_free_it_ends() {
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
