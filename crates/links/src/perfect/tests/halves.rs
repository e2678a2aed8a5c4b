//! The two halves of a session, each by itself.
use super::harness::ms;
use crate::perfect::{
    congestion::{Congestion, RoundTrip},
    frame::{Acknowledged, Chunk, PACKET_HEADER, chunk_at},
    outbox::{MAXIMUM_BULK, Outbox, TURN},
    receiving::{Assembled, Fate, Opening, Receiving},
    sending::{NeverSent, Sending},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::lanes::LaneId;
use quorate_core::Time;

const PACKET: usize = 1000;

fn at(milliseconds: u64) -> Time {
    Time::ZERO + ms(milliseconds)
}

/// A sender that has `count` packets in flight, sent at 0.
fn sender(count: usize, stream: bool) -> Sending {
    let round_trip = RoundTrip::new(ms(30), ms(2000));
    let congestion = Congestion::new(1 << 20, PACKET, stream);
    let mut sending = Sending::new(round_trip, congestion, stream);
    for _ in 0..count {
        sending.sent(Bytes::from(vec![0; PACKET]), Time::ZERO);
    }
    sending
}

fn acknowledged(all: u64, ranges: &[(u64, u64)]) -> Acknowledged {
    Acknowledged {
        all,
        ranges: ranges.to_vec(),
        duplicates: 0,
    }
}

fn taken_again(sending: &mut Sending, now: Time) -> usize {
    let mut again = Vec::new();
    sending.take_lost(now, &mut again);
    again.len()
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let mut sending = sender(3, false);
    assert_eq!(
        sending.acknowledge(&acknowledged(4, &[]), at(1)),
        Err(NeverSent)
    );
    assert_eq!(
        sending.acknowledge(&acknowledged(0, &[(2, 9)]), at(1)),
        Err(NeverSent)
    );
    assert_eq!(sending.unacknowledged(), 3 * PACKET);
    assert_eq!(sending.acknowledge(&acknowledged(3, &[]), at(1)), Ok(true));
    assert_eq!(sending.acknowledge(&acknowledged(3, &[]), at(1)), Ok(false));
    assert!(sending.is_empty());
    assert_eq!(sending.next_number(), 4);
}

#[test]
fn a_packet_is_lost_once_it_is_overtaken_and_old_and_again_if_that_repeats() {
    let mut sending = sender(5, false);
    // The round trip is 40 ms: an overtaken packet counts as lost 50 ms after it was sent.
    sending
        .acknowledge(&acknowledged(0, &[(2, 5)]), at(40))
        .unwrap();
    assert!(!sending.has_lost(), "it may be late");
    assert_eq!(sending.deadline(), Some((at(50), false)));
    sending.detect_losses(at(49));
    assert!(!sending.has_lost() && !sending.is_overtaken(at(49)) && sending.is_overtaken(at(50)));
    sending.detect_losses(at(50));
    assert!(sending.has_lost());
    assert_eq!(taken_again(&mut sending, at(50)), 1);
    assert!(!sending.has_lost());
    // The age of the second transmission counts from its own time, and only later transmissions overtake it.
    sending.detect_losses(at(500));
    assert!(!sending.has_lost(), "nothing has overtaken it");
    sending.sent(Bytes::from(vec![0; PACKET]), at(60));
    sending
        .acknowledge(&acknowledged(0, &[(2, 6)]), at(100))
        .unwrap();
    assert!(sending.has_lost(), "it is 50 ms old");
}

#[test]
fn what_was_late_widens_the_window_and_takes_the_decrease_back() {
    let mut sending = sender(5, false);
    sending
        .acknowledge(&acknowledged(0, &[(2, 5)]), at(40))
        .unwrap();
    let room = sending.room();
    sending.detect_losses(at(50));
    assert!(sending.room() < room, "a loss is a sign of congestion");
    assert_eq!(taken_again(&mut sending, at(50)), 1);
    // The acknowledgement comes 10 ms after the retransmission, sooner than any round trip: it is for the
    // original.
    sending.acknowledge(&acknowledged(5, &[]), at(60)).unwrap();
    assert!(sending.room() >= room);
    for _ in 0..2 {
        sending.sent(Bytes::from(vec![0; PACKET]), at(100));
    }
    sending
        .acknowledge(&acknowledged(5, &[(7, 7)]), at(140))
        .unwrap();
    assert_eq!(
        sending.deadline(),
        Some((at(160), false)),
        "two quarters of 40 ms"
    );
}

#[test]
fn a_duplicate_tells_that_what_was_sent_again_was_late() {
    let mut sending = sender(5, false);
    sending
        .acknowledge(&acknowledged(0, &[(2, 5)]), at(40))
        .unwrap();
    sending.detect_losses(at(50));
    assert_eq!(taken_again(&mut sending, at(50)), 1);
    // The acknowledgement is so late that it may be for the second transmission.
    sending.acknowledge(&acknowledged(5, &[]), at(95)).unwrap();
    let all = Acknowledged {
        duplicates: 1,
        ..acknowledged(5, &[])
    };
    assert_eq!(sending.acknowledge(&all, at(96)), Ok(false));
    for _ in 0..2 {
        sending.sent(Bytes::from(vec![0; PACKET]), at(100));
    }
    let next = Acknowledged {
        duplicates: 1,
        ..acknowledged(5, &[(7, 7)])
    };
    sending.acknowledge(&next, at(140)).unwrap();
    assert_eq!(
        sending.deadline(),
        Some((at(160), false)),
        "two quarters of 40 ms, by one duplicate"
    );
}

#[test]
fn after_a_timeout_all_is_lost_and_two_packets_may_leave() {
    let mut sending = sender(20, false);
    sending.timed_out(at(100));
    assert_eq!(taken_again(&mut sending, at(100)), 2);
    assert_eq!(taken_again(&mut sending, at(100)), 0);
    assert_eq!(sending.room(), 0);
    sending.acknowledge(&acknowledged(2, &[]), at(110)).unwrap();
    assert!(taken_again(&mut sending, at(110)) >= 2);
}

#[test]
fn over_a_stream_a_timeout_asks_with_one_packet_and_an_interruption_repeats_all() {
    let mut sending = sender(20, true);
    sending.timed_out(at(5000));
    assert_eq!(taken_again(&mut sending, at(5000)), 1);
    sending.interrupted(at(6000));
    assert_eq!(taken_again(&mut sending, at(6000)), 20);
}

#[test]
fn the_back_off_grows_until_a_round_trip_is_measured() {
    let wait = |sending: &Sending, now: Time| sending.deadline().unwrap().0 - now;
    let mut sending = sender(1, false);
    let first = wait(&sending, at(0));
    sending.timed_out(at(100));
    assert_eq!(wait(&sending, at(100)), first * 2);
    assert_eq!(taken_again(&mut sending, at(100)), 1);
    // It is unknown which of the two transmissions this acknowledges.
    sending.acknowledge(&acknowledged(1, &[]), at(150)).unwrap();
    sending.sent(Bytes::from(vec![0; PACKET]), at(150));
    assert_eq!(wait(&sending, at(150)), first * 2);
    sending.acknowledge(&acknowledged(2, &[]), at(300)).unwrap();
    sending.sent(Bytes::from(vec![0; PACKET]), at(300));
    // 150 ms, plus four times a variation of 75 ms.
    assert_eq!(wait(&sending, at(300)), ms(450));
}

#[test]
fn retransmission_to_a_peer_that_is_gone_is_background_activity() {
    let mut sending = sender(1, false);
    let mut tries = 0;
    while let Some((now, false)) = sending.deadline() {
        sending.timed_out(now);
        taken_again(&mut sending, now);
        tries += 1;
    }
    assert_eq!(tries, 6);
    assert!(sending.is_fruitless());
    sending.encourage();
    assert_eq!(
        sending.deadline().map(|(_, background)| background),
        Some(false)
    );
}

#[test]
fn a_duplicate_of_an_early_packet_costs_nothing() {
    let mut receiving = Receiving::new(10_000, 1 << 20, 1);
    let packet = Bytes::from(vec![1; PACKET]);
    assert_eq!(receiving.arrive(3, &packet), Fate::Early);
    for _ in 0..5 {
        assert_eq!(receiving.arrive(3, &packet), Fate::Duplicate);
    }
    assert_eq!(receiving.bytes(), PACKET);
    let five = Acknowledged {
        duplicates: 5,
        ..acknowledged(0, &[(3, 3)])
    };
    assert_eq!(receiving.acknowledgement(), five);
    assert_eq!(receiving.owes(), None);
    assert_eq!(receiving.arrive(1, &packet), Fate::Next);
    assert_eq!(receiving.take_next(), None);
    assert_eq!(receiving.arrive(2, &packet), Fate::Next);
    assert_eq!(receiving.take_next(), Some(packet));
    assert_eq!((receiving.bytes(), receiving.contiguous()), (0, 3));
}

#[test]
fn fragments_out_of_place_are_refused() {
    let packet = Bytes::from_static(b"abcdef");
    let chunk = |lane, first, last| Chunk {
        lane: LaneId(lane),
        first,
        last,
        start: 2,
        end: 5,
    };
    let mut receiving = Receiving::new(10_000, 1 << 20, 2);
    let mut assemble = |lane, first, last| receiving.assemble(&packet, chunk(lane, first, last));
    assert_eq!(assemble(0, false, true), Assembled::Refused, "no beginning");
    assert_eq!(assemble(0, true, false), Assembled::Part);
    assert_eq!(
        assemble(1, true, true),
        Assembled::Whole("cde".into()),
        "another lane"
    );
    assert_eq!(
        assemble(0, true, false),
        Assembled::Refused,
        "a second beginning"
    );
    assert_eq!(assemble(0, true, false), Assembled::Part);
    assert_eq!(
        assemble(0, true, true),
        Assembled::Refused,
        "whole within a part"
    );
    assert_eq!(assemble(2, true, true), Assembled::Refused, "no such lane");
    assert_eq!(assemble(0, true, false), Assembled::Part);
    assert_eq!(assemble(0, false, true), Assembled::Whole("cdecde".into()));
    assert_eq!(receiving.bytes(), 0);
}

#[test]
fn an_incomplete_message_costs_only_what_has_arrived() {
    // The format announces no total length: a message's buffer grows with the bytes that arrive, up to the
    // limit.
    let mut receiving = Receiving::new(10_000, 1 << 20, 1);
    let packet = Bytes::from(vec![1; 1000]);
    let mut chunk = Chunk {
        lane: LaneId(0),
        first: true,
        last: false,
        start: 0,
        end: 1000,
    };
    for round in 1..=10 {
        assert_eq!(receiving.assemble(&packet, chunk), Assembled::Part);
        assert_eq!(receiving.bytes(), round * 1000);
        chunk.first = false;
    }
    assert_eq!(receiving.assemble(&packet, chunk), Assembled::Refused);
    assert_eq!(receiving.bytes(), 0);
}

#[test]
fn a_stream_that_is_opened_takes_what_was_incomplete_with_it() {
    let mut receiving = Receiving::new(10_000, 50_000, 1);
    let packet = Bytes::from(vec![1; 1000]);
    assert_eq!(receiving.arrive(1, &packet), Fate::Next);
    let chunk = Chunk {
        lane: LaneId(0),
        first: true,
        last: false,
        start: 0,
        end: 1000,
    };
    assert_eq!(receiving.assemble(&packet, chunk), Assembled::Part);
    assert_eq!(receiving.arrive(4, &packet), Fate::Early);
    assert_eq!(receiving.bytes(), 2000);
    assert_eq!(
        receiving.open(2, 1),
        Opening::Impossible,
        "a packet has been there"
    );
    assert_eq!(receiving.open(2, 6), Opening::Next);
    assert_eq!(receiving.stream(), (2, 1));
    assert_eq!((receiving.bytes(), receiving.owes()), (0, None));
    assert_eq!(receiving.arrive(4, &packet), Fate::Duplicate);
    assert_eq!(receiving.arrive(6, &packet), Fate::Next);
    assert_eq!(receiving.open(2, 6), Opening::Again);
    assert_eq!(receiving.open(2, 7), Opening::Impossible);
    assert_eq!(receiving.open(1, 6), Opening::Ended);
    assert_eq!(receiving.stream(), (2, 1), "repetitions change nothing");
    let chunk = Chunk {
        first: false,
        last: true,
        ..chunk
    };
    assert_eq!(
        receiving.assemble(&packet, chunk),
        Assembled::Refused,
        "no beginning"
    );
}

#[test]
fn a_stream_that_ends_frees_its_packets_and_their_numbers_go_on() {
    let mut sending = sender(5, false);
    sending
        .acknowledge(&acknowledged(2, &[(4, 4)]), at(1))
        .unwrap();
    sending.timed_out(at(100));
    assert_eq!(sending.end(), 2);
    assert!(sending.is_empty() && !sending.has_lost() && sending.deadline().is_none());
    assert_eq!((sending.unacknowledged(), sending.next_number()), (0, 6));
    assert!(sending.room() > 0);
    // A late acknowledgement of the packets that are gone.
    assert_eq!(
        sending.acknowledge(&acknowledged(5, &[]), at(101)),
        Ok(false)
    );
    assert_eq!(
        sending.acknowledge(&acknowledged(6, &[]), at(101)),
        Err(NeverSent)
    );
}

#[test]
fn early_packets_are_bounded() {
    let mut receiving = Receiving::new(10_000, 50_000, 1);
    let packet = Bytes::from(vec![1; 1000]);
    let mut fates = (2..10_000).map(|number| receiving.arrive(number, &packet));
    assert_eq!(
        fates
            .by_ref()
            .take_while(|fate| *fate == Fate::Early)
            .count(),
        100
    );
    assert!(fates.all(|fate| fate == Fate::Beyond));
    assert_eq!(receiving.arrive(u64::MAX, &Bytes::new()), Fate::Beyond);
    assert_eq!(receiving.bytes(), 100_000);
}

#[test]
fn an_early_packet_does_not_keep_what_it_arrived_with() {
    let mut receiving = Receiving::new(10_000, 50_000, 1);
    let arrived = Bytes::from(vec![1; 60_000]);
    assert_eq!(receiving.arrive(2, &arrived.slice(0..1000)), Fate::Early);
    assert!(arrived.is_unique());
    assert_eq!(receiving.arrive(1, &arrived.slice(0..0)), Fate::Next);
    assert_eq!(receiving.take_next(), Some(arrived.slice(0..1000)));
}

/// The chunks that an outbox puts into packets of 1200 bytes: lane, whether it begins and ends a message,
/// length.
fn emptied(outbox: &mut Outbox) -> Vec<(u16, bool, bool, usize)> {
    let mut chunks = Vec::new();
    while !outbox.is_empty() {
        let mut packet = BytesMut::zeroed(PACKET_HEADER);
        outbox.fill(&mut packet, 0, 1200);
        assert!(packet.len() == 1200 || outbox.is_empty() && packet.len() < 1200);
        let body = &packet[PACKET_HEADER..];
        let mut at = 0;
        while let Ok(Some(chunk)) = chunk_at(body, at) {
            let length = chunk.end - chunk.start;
            chunks.push((chunk.lane.0, chunk.first, chunk.last, length));
            at = chunk.end;
        }
    }
    assert_eq!(outbox.bytes(), 0);
    chunks
}

#[test]
fn only_so_many_long_messages_are_in_flight_at_once() {
    let mut outbox = Outbox::default();
    for lane in 0..9 {
        for _ in 0..2 {
            outbox.push(LaneId(lane), Bytes::from(vec![0; 10 * TURN]));
        }
        outbox.push(LaneId(lane), Bytes::from_static(b"short"));
    }
    let (mut open, mut most, mut bytes) = (0_usize, 0, 0);
    for (_, first, last, length) in emptied(&mut outbox) {
        open += usize::from(first);
        most = most.max(open);
        open -= usize::from(last);
        bytes += length;
    }
    assert!(most == MAXIMUM_BULK || most == MAXIMUM_BULK + 1, "{most}");
    assert_eq!((open, bytes), (0, 9 * (20 * TURN + 5)));
}

#[test]
fn lanes_take_turns() {
    let mut outbox = Outbox::default();
    outbox.push(LaneId(0), Bytes::from(vec![0; 1 << 20]));
    for lane in 1..4 {
        for _ in 0..1000 {
            outbox.push(LaneId(lane), Bytes::from(vec![0; 100]));
        }
    }
    let chunks = emptied(&mut outbox);
    let mut run = (0, 0);
    for (lane, _, _, length) in &chunks {
        run = (*lane, if run.0 == *lane { run.1 } else { 0 } + length);
        assert!(
            *lane == 0 || run.1 <= TURN + 100,
            "lane {lane} had {} bytes in a row",
            run.1
        );
    }
    let ends = |lane| chunks.iter().rposition(|(l, ..)| *l == lane).unwrap();
    assert!((1..4).all(|lane| ends(lane) < ends(0)), "the bulk is last");
}
