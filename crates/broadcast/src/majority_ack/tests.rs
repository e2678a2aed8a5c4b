use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::link::Links;
use quorate_core::wire::{self, BytesMut, Wire};
use quorate_core::{Addr, Incarnation, Time, message::Origin};
use quorate_sim::{Crash, Exhaustive, Lose, Report, Timed, World, properties, testing::LOSSES};

/// One broadcast by p1 in a world of `n` in which this befalls one process.
fn run(n: usize, quorum: usize, crash: Option<(usize, Crash)>) -> Report {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    world.check(properties::uniform(world.membership(), "urb"));
    for q in world.processes() {
        let host = world.host(q).at("urb");
        let lane = world.links(q).at("urb").lane();
        let port = spawn_mutant(
            &host,
            quorum,
            lane,
            &world.links(q).status(),
            world.application(q),
        );
        if q == p(1) {
            let payload = Bytes::from_static(b"m");
            world.request(q, Time::ZERO, &port, Broadcast { payload });
        }
    }
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    world.run()
}

fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// Majority-ack at every process.
fn wire(world: &World) -> Vec<Addr<Broadcast>> {
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        spawn(&host, lane, &world.links(q).status(), world.application(q))
    };
    world.processes().map(spawn_at).collect()
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
    // p1 has sent to both others (outputs 1 and 2) and delivers (3); it crashes before anything
    // else, and its copies are lost with it.
    let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    let broken = run(3, 1, Some((1, crash)));
    assert_violates(&broken, "URB4");
    run(3, 2, Some((1, crash))).assert_all_hold();
}

#[test]
fn costs_with_a_crash_are_what_the_header_says() {
    for n in 3..=8_usize {
        let others = n as u64 - 1;
        let dead = run(n, majority(n), Some((n, Crash::at(Time::ZERO))));
        dead.assert_all_hold();
        assert_eq!(
            dead.counts.messages,
            others * others,
            "another process is dead, n = {n}"
        );
        for k in 1..=others {
            let cut_short = run(n, majority(n), Some((1, Crash::before_output(k + 1))));
            cut_short.assert_all_hold();
            assert_eq!(
                cut_short.counts.messages,
                k + others * others,
                "n = {n}, k = {k}"
            );
        }
    }
}

#[test]
fn a_relay_to_a_holder_carries_the_identifier_alone() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap().keep_trace();
    for q in world.processes() {
        let lane = world.links(q).at("urb").lane();
        let port = spawn(
            &world.host(q).at("urb"),
            lane,
            &world.links(q).status(),
            world.application(q),
        );
        if q == p(1) {
            let payload = Bytes::from_static(b"m");
            world.request(q, Time::ZERO, &port, Broadcast { payload });
        }
    }
    world.run();
    let trace = world.trace();
    let to_the_origin: Vec<_> = trace
        .records()
        .iter()
        .filter_map(|record| match record.kind {
            quorate_sim::Kind::Send { to, label, .. } if to == p(1) => Some(label),
            _ => None,
        })
        .collect();
    assert_eq!(to_the_origin, ["Ack", "Ack"]);
}

#[test]
fn impossible_identifiers_are_counted_and_dropped() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let lane = world.links(p(1)).at("urb").lane();
    let (host, status) = (world.host(p(1)).at("urb"), world.links(p(1)).status());
    spawn(&host, lane, &status, world.application(p(1)));
    let id = |rank, incarnation, sequence| MessageId {
        origin: Origin {
            process: p(rank),
            incarnation: Incarnation(incarnation),
        },
        sequence,
    };
    let forged = [id(1, 1, 1), id(9, 9, 1), id(2, 2, 2 + WINDOW)];
    for q in [p(2), p(3)] {
        let link: Addr<link::SendRequest<Message>> = world.links(q).at("urb").open(Addr::nowhere());
        for id in forged {
            let message = Message::Data {
                id,
                payload: Bytes::new(),
            };
            world.request(
                q,
                Time::ZERO,
                &link,
                link::SendRequest {
                    to: To::One(p(1)),
                    message,
                },
            );
        }
    }
    world.run();
    let counters = world.counters(p(1));
    assert_eq!(counters.total("impossible identifier"), 4);
    assert_eq!(counters.total("identifier too far ahead"), 2);
    assert_eq!(
        world
            .tally(p(1), "urb", "Deliver")
            .map_or(0, |tally| tally.count),
        0
    );
}

#[test]
fn messages_survive_the_wire() {
    let origin = Origin {
        process: p(2),
        incarnation: Incarnation(7),
    };
    let id = MessageId {
        origin,
        sequence: 3,
    };
    let payload = Bytes::from_static(b"m");
    for message in [Message::Data { id, payload }, Message::Ack { id }] {
        assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
    }
    let mut long = BytesMut::new();
    Message::Ack { id }.encode(&mut long);
    long.extend_from_slice(b"x");
    assert!(Message::decode(long.freeze()).is_err());
}
