use super::*;
use crate::testing::{each_steps, p, payload, step};
use quorate_abstractions::link::Links;
use quorate_core::Time;
use quorate_core::wire::{self, BytesMut, Wire};
use quorate_sim::{
    Adversary, Crash, Oracle, Random, Report, Timed, UNIT, World, properties,
    testing::{LOSSES, losing},
};

/// The steps after which the oracle reports a crash.
const DETECTION: u32 = 3;

/// Everybody proposes in instances 1 … `instances`, at times that `when` gives.
fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    oracle: &Oracle,
    instances: u64,
    when: impl Fn(ProcessId, u64) -> Time,
) -> World {
    let world = World::new(n, seed, adversary).unwrap().keep_trace();
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let (host, links) = (
            world.host(q).at("consensus"),
            world.links(q).at("consensus"),
        );
        let leader = world.leader(q, oracle);
        let port = spawn(
            &host,
            links.lane(),
            &links.status(),
            &leader,
            world.application(q),
        );
        for instance in 1..=instances {
            let value = payload(q);
            world.request(q, when(q, instance), &port, Propose { instance, value });
        }
    }
    world
}

fn lock_step(n: usize, crash: Option<(usize, Crash)>) -> (World, Report) {
    let oracle = Oracle::accurate(UNIT * DETECTION);
    let mut world = world(n, 1, Timed::lock_step(), &oracle, 1, |_, _| Time::ZERO);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    assert!(report.all_hold(), "n = {n}, {crash:?}: {report}");
    (world, report)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let (world, report) = lock_step(n as usize, None);
        assert_eq!(report.counts.messages, n * n - 1, "n = {n}");
        let follower = match n {
            1 => 0,
            2 | 3 => 1,
            _ => 2,
        };
        let leader = if n == 1 { 0 } else { 2 };
        let steps = each_steps(&world);
        assert_eq!(steps[0], Some(leader), "n = {n}");
        assert!(steps[1..].iter().all(|s| *s == Some(follower)), "{steps:?}");
    }
}

#[test]
fn costs_with_the_first_leader_dead_are_what_the_header_says() {
    for n in 3..=8_u64 {
        let (world, report) = lock_step(n as usize, Some((1, Crash::at(Time::ZERO))));
        let promises = (n - 1) + (n - 2);
        let agreed = (n - 2) + (n - 1) + (n - 2) * (n - 1);
        assert_eq!(
            report.counts.messages,
            (n - 1) + promises + agreed,
            "n = {n}"
        );
        let last = each_steps(&world).into_iter().flatten().max();
        assert_eq!(last, Some(u64::from(DETECTION) + 4), "n = {n}");
    }
}

#[test]
fn uc2_uniform_agreement_wherever_the_leader_crashes() {
    for n in 3..=5 {
        for k in 1..4 * n as u64 {
            for lose in LOSSES {
                lock_step(n, Some((1, Crash::before_output(k).losing(lose))));
            }
        }
    }
}

#[test]
fn uc2_and_uc4_hold_through_storms_of_false_suspicions() {
    for seed in 0..600 {
        let n = 2 + seed as usize % 6;
        let until = step(200);
        let membership = quorate_core::Membership::of_size(n).unwrap();
        let oracle = Oracle::accurate(UNIT * 2).erratic(&membership, seed, 12 * n, until);
        let when =
            |q: ProcessId, i: u64| step((seed as u32 + 7 * q.rank() as u32 + 11 * i as u32) % 150);
        let mut world = if seed % 2 == 0 {
            world(n, seed, Random::new(), &oracle, 4, when)
        } else {
            world(
                n,
                seed,
                Timed::uniform(UNIT / 4, UNIT * 8),
                &oracle,
                4,
                when,
            )
        };
        for rank in 1..=(n - 1) / 2 {
            let lose = losing(seed + rank as u64);
            let crash = Crash::before_output(1 + (seed / 3 * rank as u64) % 60);
            world.crash(p(rank), crash.losing(lose));
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}

#[test]
fn messages_survive_the_wire() {
    let ballot = ballots::Ballot {
        round: 3,
        leader: p(2),
    };
    let value = Bytes::from_static(b"value");
    let acceptance = ballots::Acceptance {
        instance: 4,
        ballot,
        value: value.clone(),
    };
    let messages = [
        ballots::Message::Prepare { ballot, from: 1 },
        ballots::Message::Promise {
            ballot,
            saying: 1,
            decided: 2,
            part: 0,
            parts: 1,
            accepted: Some(acceptance.clone()),
        },
        ballots::Message::Promise {
            ballot,
            saying: 1,
            decided: 2,
            part: 0,
            parts: 1,
            accepted: None,
        },
        ballots::Message::Nack { promised: ballot },
        ballots::Message::Accept {
            acceptance: acceptance.clone(),
            decided: 1,
        },
        ballots::Message::Accepted {
            acceptance,
            decided: 1,
        },
        ballots::Message::Decided {
            instance: 4,
            value: value.clone(),
        },
    ];
    let messages = messages.map(Message::Ballots);
    let forward = Message::Forward { instance: 1, value };
    for message in messages.into_iter().chain([forward]) {
        assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
    }
    let nack = Message::Ballots(ballots::Message::Nack { promised: ballot });
    let mut long = BytesMut::from(&wire::encode(&nack)[..]);
    long.extend_from_slice(b"tail");
    assert!(
        Message::decode(long.freeze()).is_err(),
        "a refusal has no tail"
    );
}

#[test]
fn what_lies_too_far_ahead_is_refused() {
    let world = World::new(1, 1, Timed::lock_step()).unwrap();
    let me = world.processes().next().unwrap();
    let mut alone = LeaderDriven::new(&world.host(me));
    let counters = quorate_core::Counters::default();
    let mut ctx = quorate_core::Context::new("consensus".into(), 1, counters);
    for instance in [u64::MAX, 1 << 40] {
        let value = Bytes::from_static(b"x");
        let message = Message::Forward {
            instance,
            value: value.clone(),
        };
        alone.upon(Event::Propose(Propose { instance, value }), &mut ctx);
        alone.upon(Event::Link(link::Deliver { from: me, message }), &mut ctx);
        assert!(alone.wanted.is_empty() && !alone.ballots.is_decided(instance));
    }
}
