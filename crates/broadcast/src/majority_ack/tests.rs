use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::link::Links;
use quorate_core::wire::{self, BytesMut, Wire};
use quorate_core::{Addr, Incarnation, Time, message::Origin};
use quorate_sim::{Timed, World};

const SUBJECT: ByAcknowledgements = ByAcknowledgements(|world, q, quorum| {
    let (host, links) = (world.host(q).at("urb"), world.links(q));
    let (lane, status, up) = (links.at("urb").lane(), links.status(), world.application(q));
    match quorum {
        None => spawn(&host, lane, &status, up),
        Some(quorum) => spawn_mutant(&host, quorum, lane, &status, up),
    }
});

#[test]
fn urb1_to_4_hold_in_every_schedule_with_a_crash() {
    SUBJECT.assert_holds_in_every_schedule();
}

#[test]
fn urb1_to_4_hold_whoever_of_a_minority_crashes() {
    SUBJECT.assert_holds_whoever_crashes();
}

#[test]
fn urb4_uniform_agreement_wherever_the_sender_crashes() {
    SUBJECT.assert_holds_wherever_the_sender_crashes();
}

#[test]
fn urb4_is_broken_by_delivery_on_one_acknowledgement() {
    SUBJECT.assert_one_acknowledgement_is_too_few();
}

#[test]
fn costs_with_a_crash_are_what_the_header_says() {
    SUBJECT.assert_costs_with_a_crash();
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
