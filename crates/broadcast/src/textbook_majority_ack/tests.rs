use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Incarnation, Time, message::Origin};
use quorate_sim::{Crash, Exhaustive, Lose, Report, Timed, World, properties, testing::LOSSES};

fn wire_with(world: &World, quorum: usize) -> Vec<Addr<Broadcast>> {
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        let below = crate::best_effort::over(lane);
        spawn_mutant(&host, quorum, below, world.application(q))
    };
    world.processes().map(spawn_at).collect()
}

/// The algorithm at every process.
fn wire(world: &World) -> Vec<Addr<Broadcast>> {
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        let below = crate::best_effort::over(lane);
        spawn(&host, below, world.application(q))
    };
    world.processes().map(spawn_at).collect()
}

/// One broadcast by p1 in a world of `n` in which this befalls one process.
fn run(n: usize, quorum: usize, crash: Option<(usize, Crash)>) -> Report {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let ports = wire_with(&world, quorum);
    let payload = Bytes::from_static(b"m");
    world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    world.run()
}

fn majority(n: usize) -> usize {
    n / 2 + 1
}

#[test]
fn urb1_to_4_hold_in_every_schedule_with_a_crash() {
    let every = |n, crashes, senders: &[usize]| {
        let search = Exhaustive::new().crashes(crashes);
        let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
        all.assert_all_hold();
        all.executions
    };
    assert_eq!(every(2, 0, &[1, 2]), 7);
    assert_eq!(every(3, 1, &[1]), 139);
}

#[test]
fn urb1_to_4_hold_whoever_of_a_minority_crashes() {
    for seed in 0..1000 {
        let mut world = turbulent_world(seed, minority);
        let ports = wire(&world);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn urb4_uniform_agreement_wherever_the_sender_crashes() {
    for n in 3..=7 {
        for k in 1..2 * n as u64 {
            for lose in LOSSES {
                let crash = Crash::before_output(k).losing(lose);
                run(n, majority(n), Some((1, crash))).assert_all_hold();
            }
        }
    }
}

#[test]
fn urb4_is_broken_by_delivery_on_one_acknowledgement() {
    // p1 has sent to all and delivers; it crashes before anything else, and its copies are lost with it.
    let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    let broken = run(3, 1, Some((1, crash)));
    assert_violates(&broken, "URB4");
    run(3, 2, Some((1, crash))).assert_all_hold();
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 3..=8_usize {
        let others = n as u64 - 1;
        let undisturbed = run(n, majority(n), None);
        undisturbed.assert_all_hold();
        assert_eq!(undisturbed.counts.messages, n as u64 * others, "n = {n}");
        let dead = run(n, majority(n), Some((n, Crash::at(Time::ZERO))));
        dead.assert_all_hold();
        assert_eq!(
            dead.counts.messages,
            others * others,
            "a dead process, n = {n}"
        );
        for k in 1..=others {
            let cut_short = run(n, majority(n), Some((1, Crash::before_output(k + 1))));
            cut_short.assert_all_hold();
            let messages = cut_short.counts.messages;
            assert_eq!(messages, k + others * others, "n = {n}, k = {k}");
        }
    }
}

/// What nobody may say is counted, and makes nobody remember anything.
#[test]
fn what_cannot_be_is_refused_and_what_is_over_is_forgotten() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut algorithm = TextbookMajorityAck::new(&world.host(p(3)), 2);
    let mut ctx = quorate_core::Context::new("urb".into(), 1, quorate_core::Counters::default());
    let origin = Origin {
        process: p(1),
        incarnation: Incarnation(1),
    };
    let mut hears = |algorithm: &mut TextbookMajorityAck, from, sequence| {
        let id = MessageId { origin, sequence };
        let payload = Bytes::from_static(b"m");
        let message = Data { id, payload };
        let deliver = best_effort::Deliver { from, message };
        algorithm.upon(Event::BestEffort(deliver), &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    assert!(
        hears(&mut algorithm, p(1), WINDOW + 1).is_empty(),
        "too far ahead"
    );
    assert!(hears(&mut algorithm, p(1), 0).is_empty(), "no number");
    assert!(algorithm.pending.is_empty());
    let relayed = hears(&mut algorithm, p(1), 1);
    assert!(
        matches!(relayed[..], [Effect::BestEffort(_)]),
        "{relayed:?}"
    );
    let delivered = hears(&mut algorithm, p(2), 1);
    assert!(
        matches!(delivered[..], [Effect::Deliver(_)]),
        "{delivered:?}"
    );
    assert!(hears(&mut algorithm, p(3), 1).is_empty(), "it is delivered");
    assert!(algorithm.pending.is_empty());
    // One message stays away for good while its origin goes on: it is given up, and forgotten.
    hears(&mut algorithm, p(1), 2);
    assert_eq!(algorithm.pending.len(), 1);
    for sequence in 3..=WINDOW + 2 {
        hears(&mut algorithm, p(1), sequence);
        hears(&mut algorithm, p(2), sequence);
    }
    hears(&mut algorithm, p(1), WINDOW + 3);
    let pending: Vec<u64> = algorithm.pending.keys().map(|id| id.sequence).collect();
    assert_eq!(pending, [WINDOW + 3]);
}
