mod errata;

use super::*;
use crate::testing::{each_steps, p, reported_after, turbulent, vote, vote_some};
use quorate_abstractions::Subscribe;
use quorate_abstractions::link::Links;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Addr, Context, Counters, Time};
use quorate_sim::{
    Crash, Exhaustive, Exploration, Report, SimHost, Timed, UNIT, World, properties,
};

/// Wires an algorithm with these events and effects, over uniform hierarchical consensus.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    detect: impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash>,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Propose>> {
    world.check(properties::atomic_commit(world.membership(), "commit"));
    world.check(properties::consensus(world.membership(), "consensus"));
    let wire = |q| {
        let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
        let (below, agreed) = (host.at("consensus"), links.at("consensus"));
        let detector = detect(world, q);
        let consensus = |up: Addr<consensus::Decide>| {
            uniform_hierarchical::spawn(&below, agreed.lane(), &agreed.status(), &detector, up)
        };
        let up = world.application(q);
        let (lane, status) = (links.lane(), links.status());
        spawn_as(&host, make(&host), lane, &status, consensus, &detector, up)
    };
    world.processes().map(wire).collect()
}

fn lock_step(n: usize, detection: u32, crash: Option<(usize, Crash)>) -> (World, Report) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, reported_after(detection), NonBlocking::new);
    vote(&world, &ports, &vec![Vote::Yes; n]);
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
        let (world, report) = lock_step(n as usize, 5, None);
        assert_eq!(report.counts.messages, 2 * n * (n - 1), "n = {n}");
        let last = each_steps(&world).into_iter().max().unwrap();
        let expected = if n > 1 { n + 1 } else { 0 };
        assert_eq!(last, Some(expected), "n = {n}");
    }
}

#[test]
fn costs_with_one_dead_are_what_the_header_says() {
    for (n, d) in (2..=8_u64).flat_map(|n| [1, 3, 5].map(|d| (n, d))) {
        for dead in 1..=n {
            let dead = (dead as usize, Crash::at(Time::ZERO));
            let (world, report) = lock_step(n as usize, d, Some(dead));
            let d = u64::from(d);
            assert_eq!(report.counts.messages, 2 * (n - 1).pow(2), "n = {n}");
            let last = each_steps(&world).into_iter().flatten().max().unwrap();
            let steps = if n > 2 { d + n - 1 } else { d };
            assert_eq!(last, steps, "n = {n}, D = {d}, {dead:?}");
        }
    }
}

#[test]
fn costs_with_a_voter_crashing_after_k_sends_are_what_the_header_says() {
    for (n, k) in (2..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let crash = (1, Crash::before_output(k + 1));
        let (_, report) = lock_step(n as usize, 1, Some(crash));
        let expected = k + 2 * (n - 1).pow(2);
        assert_eq!(report.counts.messages, expected, "n = {n}, k = {k}");
    }
}

#[test]
fn every_property_holds_wherever_processes_crash() {
    for seed in 0..400 {
        let mut world = turbulent(seed);
        let detect =
            |world: &World, q: ProcessId| world.perfect(q, UNIT * (1 + q.rank() as u32 % 3));
        let ports = wire(&world, detect, NonBlocking::new);
        vote_some(&world, &ports, seed);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

/// Every schedule of `n` processes that vote, of which at most `crashes` may crash.
fn explore(n: usize, votes: &[Vote], crashes: usize, depth: Option<usize>) -> Exploration {
    let build = || {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, reported_after(0), NonBlocking::new);
        vote(&world, &ports, votes);
        world
    };
    let search = Exhaustive::new().crashes(crashes);
    let search = depth.map_or(search, |depth| {
        Exhaustive::new().crashes(crashes).depth(depth)
    });
    search.explore(build)
}

#[test]
fn every_schedule_of_two_processes_is_right() {
    for votes in [[Vote::Yes, Vote::Yes], [Vote::Yes, Vote::No]] {
        let found = explore(2, &votes, 1, None);
        assert!(found.found.is_none() && found.complete, "{found}");
    }
}

#[test]
fn every_schedule_of_three_processes_is_right_as_deep_as_is_looked() {
    let yes = [Vote::Yes; 3];
    let found = explore(3, &yes, 1, Some(9));
    assert!(found.found.is_none(), "{found}");
}

/// p1 of three, alone.
fn alone() -> impl FnMut(Event) -> Vec<Effect> {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = NonBlocking::new(&world.host(p(1)));
    let mut ctx = Context::new("commit".into(), 1, Counters::default());
    move |event| {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    }
}

fn voted(from: usize, instance: u64, vote: Vote) -> Event {
    let (from, message) = (p(from), Voted { instance, vote });
    Event::BestEffort(best_effort::Deliver { from, message })
}

fn proposed(effects: &[Effect]) -> Option<Outcome> {
    match effects {
        [Effect::Consensus(consensus::Propose { value, .. })] => outcome_of(value),
        _ => None,
    }
}

#[test]
fn what_comes_for_a_decided_instance_and_for_one_too_far_ahead_is_dropped() {
    let mut upon = alone();
    for instance in [1, 9] {
        let value = value_of(Outcome::Abort);
        let decided = upon(Event::Consensus(consensus::Decide { instance, value }));
        assert!(matches!(decided[..], [Effect::Decide(_)]), "{decided:?}");
        assert!(upon(voted(2, instance, Vote::No)).is_empty());
        let vote = Vote::Yes;
        assert!(upon(Event::Propose(Propose { instance, vote })).is_empty());
    }
    let (instance, vote) = (1 << 40, Vote::Yes);
    assert!(upon(Event::Propose(Propose { instance, vote })).is_empty());
    assert!(upon(voted(2, instance, Vote::Yes)).is_empty());
    let (instance, value) = (2, Bytes::from_static(b"?"));
    let undecodable = upon(Event::Consensus(consensus::Decide { instance, value }));
    assert!(undecodable.is_empty());
}
