//! Fair-loss lanes: each direction works by itself, and nothing is kept.
use super::harness::{VOLATILE, World, ms, p};
use crate::perfect::{
    LinkSettings,
    frame::{self, CHECKSUM, Content, Frame, PacketHead, Stamped, Token},
    passage::Passage,
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    fair_loss::datagrams,
    heartbeat::Beat,
    lanes::LaneId,
    link::{SendRequest, Status, To},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);
/// The lanes in the order of their names: bulk, small, volatile.
const BULK: LaneId = LaneId(0);
const SMALL: LaneId = LaneId(1);
const LOSING: LaneId = LaneId(2);

fn limited(stream: bool) -> World {
    let mut world = World::new(3, 1);
    world.settings = LinkSettings {
        queue_limit: 100_000,
        stream,
        ..LinkSettings::default()
    };
    world.start_all();
    world.connect();
    world
}

/// Sends a kilobyte ten times a second, and lets every process send heartbeats.
fn send_for(world: &mut World, from: usize, to: usize, seconds: u32) {
    for number in 0..10 * seconds {
        let mut message = vec![0; 1024];
        message[..4].copy_from_slice(&number.to_le_bytes());
        world.send(from, to, VOLATILE, message);
        for process in world.processes.values() {
            process.beat.send(Beat::default());
        }
        world.run(ms(100));
    }
}

fn has_ended_any(world: &World, rank: usize) -> bool {
    let process = world.process(rank);
    process.is_excluded() || process.has(|status| matches!(status, Status::Ended { .. }))
}

/// The token between p1 and p2, and the stamp of the last DATAGRAM from p2.
fn overheard(world: &mut World) -> (Token, u64) {
    world.record = Some(Vec::new());
    world.send(2, 1, VOLATILE, "overheard");
    world.run(ms(50));
    let record = world.record.take().unwrap().into_iter();
    let frames = record
        .filter(|(from, transmit)| (*from, transmit.to) == (p(2), p(1)))
        .flat_map(|(_, transmit)| datagrams(transmit.bytes, transmit.segment))
        .filter_map(|datagram| match Frame::decode(datagram) {
            Ok(Frame::Stamped(Stamped {
                token,
                stamp,
                content: Content::Datagram { .. },
                ..
            })) => Some((token, stamp)),
            _ => None,
        });
    frames.last().unwrap()
}

#[test]
fn what_is_sent_arrives_once_each_way_and_at_oneself() {
    for stream in [false, true] {
        let mut world = limited(stream);
        world.record = Some(Vec::new());
        world.process(1).lanes[VOLATILE].send(SendRequest {
            to: To::All,
            message: Bytes::from_static(b"to all"),
        });
        world.send(2, 1, VOLATILE, "back");
        world.run(SECOND);
        for rank in 1..=3 {
            assert_eq!(world.process(rank).from(1, VOLATILE), ["to all"]);
        }
        assert_eq!(world.process(1).from(2, VOLATILE), ["back"]);
        // One frame per message and receiver, and no answer.
        let record = world.record.take().unwrap();
        let lengths = record.iter().map(|(_, transmit)| transmit.bytes.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [26 + 6, 26 + 6, 26 + 4]);
    }
}

#[test]
fn one_direction_is_enough_for_ever_and_nothing_is_kept() {
    let mut world = limited(false);
    world.cuts = vec![(p(2), p(1))];
    world.record = Some(Vec::new());
    send_for(&mut world, 1, 2, 60);
    let received = world.process(2).from(1, VOLATILE);
    assert_eq!(received.len(), 600, "six times the limit of a queue");
    assert!((1..=3).all(|rank| !has_ended_any(&world, rank)));
    let heard = world.process(2).heard.lock().unwrap();
    assert!(heard.iter().filter(|from| **from == p(1)).count() >= 600);
    drop(heard);
    // No process greets another anew, and nothing waits.
    let record = world.record.take().unwrap();
    assert!(record.iter().all(|(_, t)| t.bytes[0] != frame::HELLO));
    let drained = Arc::new(AtomicBool::new(false));
    let reply = drained.clone();
    let reply = quorate_core::Addr::new(move |()| reply.store(true, Relaxed));
    world.process(1).drain.send(reply);
    world.run(ms(1));
    assert!(drained.load(Relaxed));
    // The other direction is as it was when it heals.
    world.cuts.clear();
    world.send(2, 1, VOLATILE, "healed");
    world.send(2, 1, "small", "healed");
    world.run(SECOND);
    assert_eq!(world.process(1).from(2, VOLATILE), ["healed"]);
    assert_eq!(world.process(1).from(2, "small"), ["healed"]);
}

#[test]
fn whose_stream_ended_because_it_cannot_acknowledge_still_gets_datagrams() {
    for (from, to) in [(1, 2), (2, 1)] {
        let mut world = limited(false);
        world.cuts = vec![(p(to), p(from))];
        world.send(from, to, "bulk", vec![7; 200_000]);
        world.run(10 * SECOND);
        let ended = Status::Ended { peer: p(to) };
        assert!(world.process(from).has(|status| *status == ended));
        assert!(!world.process(to).is_excluded());
        send_for(&mut world, from, to, 60);
        assert_eq!(world.process(to).from(from, VOLATILE).len(), 600);
        // It still sends to that peer as to the others.
        for lane in [VOLATILE, "small"] {
            world.process(to).lanes[lane].send(SendRequest {
                to: To::All,
                message: Bytes::from_static(b"yes"),
            });
        }
        world.run(SECOND);
        for rank in [to, 3] {
            assert_eq!(world.process(rank).from(to, VOLATILE), ["yes"]);
            assert_eq!(world.process(rank).from(to, "small"), ["yes"]);
        }
        assert!(world.process(from).from(to, VOLATILE).is_empty(), "cut off");
        world.cuts.clear();
        world.send(to, from, VOLATILE, "healed");
        world.run(SECOND);
        assert_eq!(world.process(from).from(to, VOLATILE), ["healed"]);
    }
}

#[test]
fn a_datagram_is_a_sign_of_life_also_while_the_stream_back_has_ended() {
    let mut world = limited(false);
    world.cuts = vec![(p(1), p(2)), (p(2), p(1))];
    world.send(1, 2, "bulk", vec![7; 200_000]);
    world.run(10 * SECOND);
    world.cuts = vec![(p(1), p(2))];
    world.process(1).heard.lock().unwrap().clear();
    send_for(&mut world, 2, 1, 5);
    assert_eq!(world.process(1).from(2, VOLATILE).len(), 50);
    let heard = world.process(1).heard.lock().unwrap();
    assert!(heard.iter().filter(|from| **from == p(2)).count() >= 50);
}

#[test]
fn another_incarnation_gets_nothing_that_was_for_the_one_before() {
    let mut world = limited(false);
    world.cuts = vec![(p(2), p(1))];
    world.send(1, 2, "bulk", vec![7; 200_000]);
    world.run(10 * SECOND);
    world.cuts.clear();
    world.crash(2);
    world.start(2, 99);
    world.run(5 * SECOND);
    assert!(world.process(2).is_excluded());
    // Some messages in flight to the first incarnation may have arrived.
    let before = world.process(2).counters.total("excluded");
    world.send(1, 2, VOLATILE, "to the first");
    world.send(2, 1, VOLATILE, "from the second");
    world.run(SECOND);
    assert_eq!(world.process(1).counters.total("not met"), 1);
    let excluded = world.process(2).counters.total("excluded");
    assert_eq!(excluded - before, 1);
    assert!(world.process(2).from(1, VOLATILE).is_empty());
    assert!(world.process(1).from(2, VOLATILE).is_empty());
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let mut world = limited(false);
    let longest = world.settings.datagram_message();
    assert_eq!(longest, 1200 - 26);
    for length in [0, longest, longest + 1] {
        world.send(1, 2, VOLATILE, vec![1; length]);
        world.send(1, 1, VOLATILE, vec![1; length]);
    }
    world.run(SECOND);
    for rank in [1, 2] {
        let lengths = world.process(rank).from(1, VOLATILE);
        let lengths: Vec<usize> = lengths.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [0, longest]);
    }
    assert_eq!(world.process(1).counters.total("too long"), 2);
    let widest = LinkSettings {
        datagram: 64 * 1024,
        ..LinkSettings::default()
    };
    let message = vec![1; widest.datagram_message()];
    assert!(frame::datagram(p(1), Token(1), 1, LOSING, &message).is_some());
    let longer = vec![1; 70_000];
    assert!(frame::datagram(p(1), Token(1), 1, LOSING, &longer).is_none());
}

#[test]
fn before_two_have_met_only_what_one_sends_to_oneself_waits() {
    let mut world = World::started(2, 1);
    world.send(1, 2, VOLATILE, "early");
    world.send(1, 1, VOLATILE, "to oneself");
    world.run(Duration::ZERO);
    assert_eq!(world.process(1).delivered(), 0);
    world.connect();
    world.run(SECOND);
    assert_eq!(world.process(1).from(1, VOLATILE), ["to oneself"]);
    assert_eq!(world.process(2).delivered(), 0);
    assert_eq!(world.process(1).counters.total("not met"), 1);
}

#[test]
fn hostile_datagrams_change_nothing() {
    let mut world = limited(false);
    let (token, stamp) = overheard(&mut world);
    let delivered = world.process(1).delivered();
    let mut inject = |from, token, stamp, lane| {
        let frame = frame::datagram(p(from), token, stamp, lane, b"forged").unwrap();
        for length in 0..frame.len() - CHECKSUM {
            world.inject(1, frame::seal(BytesMut::from(&frame[..length])));
            world.inject(1, frame.slice(..length));
        }
        world.inject(1, frame);
    };
    inject(2, Token(token.0 ^ 1), stamp + 1, LOSING);
    inject(3, token, stamp + 1, LOSING);
    inject(1, token, stamp + 1, LOSING);
    inject(9, token, stamp + 1, LOSING);
    for lane in [BULK, SMALL, LaneId(3), LaneId(u16::MAX)] {
        inject(2, token, stamp + 1, lane);
    }
    inject(2, token, stamp, LOSING);
    inject(2, token, 0, LOSING);
    world.run(SECOND);
    let process = world.process(1);
    assert_eq!(process.delivered(), delivered);
    assert_eq!(process.counters.total("other session"), 2);
    assert_eq!(process.counters.total("no member"), 2);
    assert_eq!(process.counters.total("wrong lane"), 4);
    assert_eq!(process.counters.total("stale"), 2);
    assert_eq!(process.counters.total("malformed"), 10 * 28);
    assert_eq!(process.counters.total("damaged"), 10 * 27);
    // None of them takes the place of the next message, either.
    world.send(2, 1, VOLATILE, "next");
    world.run(SECOND);
    assert_eq!(world.process(1).from(2, VOLATILE).last().unwrap(), "next");
}

#[test]
fn a_chunk_on_a_fair_loss_lane_is_dropped() {
    let mut world = limited(false);
    let (token, _) = overheard(&mut world);
    let mut packet = BytesMut::new();
    let head = PacketHead {
        from: p(2),
        token,
        stream: 1,
        number: 1,
        acknowledged: 0,
    };
    frame::begin_packet(&mut packet, head);
    for lane in [LOSING, SMALL] {
        packet.put_u8(frame::chunk_key(lane, true, true) as u8);
        packet.put_slice(&[1, 7]);
    }
    frame::end_packet(&mut packet, 0);
    let before = world.process(1).delivered();
    world.inject(1, packet.freeze());
    world.run(SECOND);
    assert_eq!(world.process(1).delivered(), before + 1);
    assert_eq!(world.process(1).from(2, "small"), [&[7][..]]);
    assert_eq!(world.process(1).counters.total("wrong lane"), 1);
}

#[test]
fn a_copy_is_dropped_and_so_is_what_is_too_old_to_tell() {
    let mut passage = Passage::default();
    assert!(!passage.is_new(0), "no frame has this stamp");
    for stamp in [3, 1, 2, 130] {
        assert!(passage.is_new(stamp), "{stamp}");
        assert!(!passage.is_new(stamp), "{stamp}");
    }
    assert!(!passage.is_new(2), "too old");
    assert!(!passage.is_new(3), "a copy");
    assert!(passage.is_new(4));
    assert!(passage.is_new(u64::MAX));
    assert!(!passage.is_new(u64::MAX) && !passage.is_new(130));
}

#[test]
fn beside_them_a_perfect_lane_delivers_all_once_over_a_bad_network() {
    let mut world = limited(false);
    world.faults.loss = 0.3;
    world.faults.duplication = 0.3;
    world.faults.spread = ms(20);
    for number in 0..200_u8 {
        world.send(1, 2, "small", vec![number]);
        world.send(1, 2, VOLATILE, vec![number]);
        world.run(ms(5));
    }
    world.run(60 * SECOND);
    let all: Vec<Bytes> = (0..200_u8).map(|n| Bytes::from(vec![n])).collect();
    assert_eq!(world.process(2).from(1, "small"), all);
    let mut some = world.process(2).from(1, VOLATILE);
    assert!((80..200).contains(&some.len()), "{}", some.len());
    some.sort();
    some.dedup();
    assert!(some.iter().all(|message| all.contains(message)));
}

#[test]
fn whose_lanes_are_of_another_kind_is_refused() {
    let mut world = World::new(2, 1);
    let settings = LinkSettings::default();
    world.start_with(1, 10, 2, &["a", VOLATILE], &settings);
    world.start_with(2, 20, 2, &["a", "b"], &settings);
    world.run(SECOND);
    let reason = "lanes differ: only here \"volatile (fair-loss)\", only there \"b\"";
    assert_eq!(world.process(1).refusals(), [reason]);
}

/// A newcomer has no place in lanes where nothing makes up for the promises of the incarnation before it.
#[test]
fn where_newcomers_may_take_part_is_told_by_the_path_on_these_lanes_too() {
    for (path, arrive) in [("small", false), (VOLATILE, true)] {
        let mut world = World::new(3, 1);
        world.settings.rejoin = Some(path.to_owned());
        world.start_all();
        world.connect();
        world.crash(2);
        world.start(2, 99);
        world.run(SECOND);
        for rank in [1, 3] {
            world
                .process(rank)
                .adopt
                .send(quorate_abstractions::link::Adopt {
                    seat: p(2),
                    incarnation: quorate_core::Incarnation(99),
                    number: 1,
                });
        }
        world.run(5 * SECOND);
        assert!(world.process(2).is_admitted());
        world.send(1, 2, VOLATILE, "to the newcomer");
        world.send(2, 1, VOLATILE, "from the newcomer");
        world.run(SECOND);
        assert_eq!(
            world.process(2).from(1, VOLATILE).len(),
            usize::from(arrive)
        );
        assert_eq!(
            world.process(1).from(2, VOLATILE).len(),
            usize::from(arrive)
        );
    }
}
