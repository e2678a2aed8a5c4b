//! Arbitrary datagrams from a socket change nothing but counters.
use super::harness::{VOLATILE, World, ms, p};
use crate::perfect::frame::{
    self, CHECKSUM, Content, Frame, Malformed, PacketHead, Stamped, Token, Verdict, Voter,
};
use crate::perfect::hello::Hello;
use crate::perfect::pressure::Modules;
use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use quorate_abstractions::{fair_loss::datagrams, heartbeat::Beat, lanes::LaneId, link::Status};
use quorate_core::Incarnation;
use std::time::Duration;

fn voter(incarnation: u64) -> Voter {
    Voter {
        incarnation: Incarnation(incarnation),
        number: 0,
    }
}

/// The head of a packet of p2.
fn head(token: Token, number: u64) -> PacketHead {
    PacketHead {
        from: p(2),
        token,
        stream: 1,
        number,
        acknowledged: 0,
    }
}

/// The frame without its checksum, with `more` appended, and sealed again.
fn resealed(frame: Bytes, more: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&frame[..]);
    out.put_slice(more);
    frame::seal(out)
}

/// Two processes in the middle of a conversation, and every datagram sent so far.
fn conversation() -> (World, Vec<(usize, Bytes)>) {
    let mut world = World::new(2, 77);
    world.record = Some(Vec::new());
    world.start_all();
    world.connect();
    for i in 0..50_u8 {
        world.send(1, 2, "small", vec![i; 30]);
        world.send(2, 1, "bulk", vec![i; 3000]);
        world.send(1, 2, VOLATILE, vec![i; 40]);
        world.send(2, 1, VOLATILE, vec![i; 50]);
        world.process(1).beat.send(Beat::default());
        world.run(ms(2));
    }
    world.run(Duration::from_secs(2));
    let record = world.record.take().unwrap();
    let corpus = record
        .into_iter()
        .flat_map(|(_, t)| datagrams(t.bytes, t.segment).map(move |d| (t.to.rank(), d)))
        .collect();
    (world, corpus)
}

/// After the attack: nothing was indicated, nobody was excluded, and the conversation goes on.
fn goes_on(world: &mut World, before: [(usize, usize); 2]) -> bool {
    world.run(ms(200));
    let unchanged = observed(world) == before;
    world.send(1, 2, "small", "still there?");
    world.send(2, 1, "small", "yes");
    world.send(1, 2, VOLATILE, "and here?");
    world.run(ms(500));
    unchanged
        && world.process(2).from(1, "small").last().unwrap() == "still there?"
        && world.process(1).from(2, "small").last().unwrap() == "yes"
        && world.process(2).from(1, VOLATILE).last().unwrap() == "and here?"
}

/// How many indications the layers above have seen.
fn observed(world: &World) -> [(usize, usize); 2] {
    [1, 2].map(|rank| {
        let process = world.process(rank);
        (process.delivered(), process.statuses.lock().unwrap().len())
    })
}

#[test]
fn a_replay_of_everything_changes_nothing() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    for process in world.processes.values() {
        process.heard.lock().unwrap().clear();
    }
    for _ in 0..3 {
        for (to, datagram) in &corpus {
            world.inject(*to, datagram.clone());
        }
        world.run(ms(50));
    }
    // A replay is no sign of life of the quoted sender. The answers to it are signs of life of those who
    // answer.
    assert!(world.process(1).counters.total("duplicate") > 0);
    assert!(
        world.process(1).counters.total("stale") + world.process(2).counters.total("stale") > 0
    );
    assert!(goes_on(&mut world, before));
}

#[test]
fn a_replay_to_the_wrong_process_changes_nothing() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    for (to, datagram) in &corpus {
        world.inject(3 - to, datagram.clone());
    }
    assert!(goes_on(&mut world, before));
}

#[test]
fn truncated_and_lengthened_datagrams_change_nothing() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    for (to, datagram) in &corpus {
        for length in (0..datagram.len()).step_by(datagram.len() / 40 + 1) {
            world.inject(*to, datagram.slice(..length));
            world.inject(*to, resealed(datagram.slice(..length), &[]));
        }
        let mut longer = BytesMut::from(&datagram[..]);
        longer.put_bytes(1, 5);
        world.inject(*to, longer.freeze());
        world.inject(
            *to,
            resealed(datagram.slice(..datagram.len() - CHECKSUM), &[1; 5]),
        );
    }
    assert!(goes_on(&mut world, before));
    assert!(world.process(1).counters.total("malformed") > 100);
    assert!(world.process(1).counters.total("damaged") > 100);
}

#[test]
fn a_frame_is_neither_shorter_nor_longer_than_it_says() {
    let (_, corpus) = conversation();
    let frames = corpus
        .iter()
        .filter(|(_, datagram)| datagram[0] != frame::HELLO);
    for (_, datagram) in frames.step_by(7) {
        assert!(Frame::decode(datagram.clone()).is_ok());
        let frame = datagram.slice(..datagram.len() - CHECKSUM);
        assert!(Frame::decode(resealed(frame.clone(), &[7])).is_err());
        // A shorter acknowledgement may be a valid one with fewer gaps.
        let shortest = frame.len().min(34);
        let shorter = |end| Frame::decode(resealed(frame.slice(..end), &[]));
        assert!((0..shortest).all(|end| shorter(end).is_err()));
    }
}

#[test]
fn oversized_datagrams_change_nothing() {
    let (mut world, _) = conversation();
    let before = observed(&world);
    for first in 0..=9 {
        let mut datagram = vec![first; 100_000];
        datagram[1] = 2;
        world.inject(1, datagram.into());
    }
    world.inject(1, Bytes::new());
    assert!(goes_on(&mut world, before));
    assert_eq!(world.process(1).counters.total("oversized"), 10);
}

/// Recorded greetings of p2, changed as if another incarnation sent them.
fn forged_greetings(corpus: &[(usize, Bytes)]) -> Vec<Hello> {
    let greetings =
        corpus.iter().filter_map(
            |(to, datagram)| match (to, Frame::decode(datagram.clone())) {
                (1, Ok(Frame::Hello(hello))) => Some(hello),
                _ => None,
            },
        );
    greetings.collect()
}

#[test]
fn a_forged_higher_incarnation_changes_nothing() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    for mut hello in forged_greetings(&corpus) {
        hello.incarnation = Incarnation(u64::MAX);
        hello.nonce = 4711;
        // An attacker that is not on the path does not know the nonce of p1.
        hello.echo ^= 1;
        hello.voters = vec![(p(1), voter(99)), (p(2), voter(u64::MAX))];
        world.inject(1, hello.encode(1200));
        hello.echo = 0;
        world.inject(1, hello.encode(1200));
    }
    for token in [0, 1, u64::MAX] {
        let mut packet = BytesMut::new();
        frame::begin_packet(&mut packet, head(Token(token), 1));
        packet.put_slice(&[4 + 3, 1, 7]);
        frame::end_packet(&mut packet, 0);
        world.inject(1, packet.freeze());
        world.inject(
            1,
            frame::beat(p(2), Token(token), u64::MAX, Beat::default()),
        );
        let datagram = frame::datagram(p(2), Token(token), 9, LaneId(2), b"7");
        world.inject(1, datagram.unwrap());
        world.inject(1, frame::open(p(2), Token(token), 9, 2, 1));
        world.inject(1, frame::opened(p(2), Token(token), 9, 2, 0));
    }
    for verdict in [Verdict::KnownOtherwise, Verdict::Superseded] {
        let forged = frame::excluded(p(2), Incarnation(20), 12345, voter(9), verdict);
        world.inject(1, forged);
    }
    assert!(goes_on(&mut world, before));
    assert!(world.process(1).counters.total("unverified") > 0);
    assert_eq!(world.process(1).counters.total("other session"), 15);
}

/// A failure detector must not take the successor of a crashed process for the process itself.
#[test]
fn a_heartbeat_of_another_incarnation_is_no_sign_of_life() {
    let (mut world, corpus) = conversation();
    let tokens = corpus
        .iter()
        .filter_map(|(to, d)| match (to, Frame::decode(d.clone())) {
            (
                2,
                Ok(Frame::Stamped(Stamped {
                    token,
                    content: Content::Beat(_),
                    ..
                })),
            ) => Some(token),
            _ => None,
        });
    let token = tokens.last().unwrap();
    world.crash(1);
    world.run(ms(500));
    let heard = |world: &mut World, token| {
        world.process(2).heard.lock().unwrap().clear();
        world.inject(2, frame::beat(p(1), token, u64::MAX, Beat::default()));
        world.run(ms(500));
        world.process(2).heard.lock().unwrap().clone()
    };
    assert_eq!(heard(&mut world, Token(token.0 ^ 1)), []);
    assert_eq!(world.process(2).counters.total("other session"), 1);
    assert_eq!(heard(&mut world, token), [p(1)], "the last of its own");
}

#[test]
fn a_packet_that_makes_no_sense_is_not_acknowledged_even_from_a_peer() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    let packets =
        corpus.iter().filter_map(
            |(to, datagram)| match (to, Frame::decode(datagram.clone())) {
                (1, Ok(Frame::Packet { head, .. })) => Some((head.token, head.number)),
                _ => None,
            },
        );
    let (token, last) = packets.max_by_key(|(_, number)| *number).unwrap();
    world.record = Some(Vec::new());
    // A lane that does not exist; a length beyond the end; a number without an end.
    for chunks in [
        &[4 * 4 + 3, 1, 7][..],
        &[4 + 3, 9, 7],
        &[0x80, 0x80],
        &[4 + 3],
    ] {
        for number in [last + 1, 0] {
            let mut packet = BytesMut::new();
            frame::begin_packet(&mut packet, head(token, number));
            packet.put_slice(chunks);
            frame::end_packet(&mut packet, 0);
            world.inject(1, packet.freeze());
        }
    }
    world.run(ms(100));
    assert_eq!(world.process(1).counters.total("malformed"), 8);
    assert_eq!(world.record.take().unwrap().len(), 0, "no answer");
    assert!(goes_on(&mut world, before));
}

/// A number near the maximum of its type would prevent every later adoption.
#[test]
fn a_voter_with_an_impossible_number_is_not_believed() {
    let number = frame::MOST_ADOPTIONS;
    for (number, is_possible) in [(number - 1, true), (number, false), (u32::MAX, false)] {
        let known = Voter { number, ..voter(9) };
        let bytes = frame::excluded(p(2), Incarnation(20), 1, known, Verdict::Taken);
        assert_eq!(Frame::decode(bytes).is_ok(), is_possible, "{number}");
        let mut hello = forged_greetings(&conversation().1).pop().unwrap();
        hello.voters = vec![(p(1), known)];
        assert_eq!(
            Frame::decode(hello.encode(1200)).is_ok(),
            is_possible,
            "{number}"
        );
    }
}

#[test]
fn a_greeting_from_elsewhere_does_not_disturb_who_is_connected() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    for (round, mut hello) in forged_greetings(&corpus).into_iter().enumerate() {
        hello.cluster = format!("other {round}");
        world.inject(1, hello.encode(1200));
        hello.from = p(1);
        hello.to = p(2);
        world.inject(2, hello.encode(1200));
    }
    assert!(goes_on(&mut world, before));
}

#[test]
fn a_flood_of_greetings_is_answered_once_a_batch() {
    let (mut world, corpus) = conversation();
    let greeting = forged_greetings(&corpus).pop().unwrap();
    world.record = Some(Vec::new());
    for nonce in 0..1000 {
        let mut hello = greeting.clone();
        hello.echo = nonce;
        world.inject(1, hello.encode(1200));
    }
    world.run(ms(1));
    assert_eq!(world.record.as_ref().unwrap().len(), 1);
}

#[test]
fn refusals_of_strangers_are_indicated_sparingly() {
    let mut world = World::new(3, 5);
    world.start_all();
    world.cuts = (1..=3)
        .flat_map(|a| (1..=3).map(move |b| (p(a), p(b))))
        .collect();
    let (_, corpus) = conversation();
    let greeting = forged_greetings(&corpus).pop().unwrap();
    for round in 0..200 {
        let mut hello = greeting.clone();
        hello.cluster = format!("cluster {round}");
        world.inject(1, hello.encode(1200));
        world.run(ms(10));
    }
    let refusals = world.process(1).refusals();
    assert!((1..=3).contains(&refusals.len()), "{}", refusals.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_changes_nothing(
        datagrams in prop::collection::vec((1..3_usize, prop::collection::vec(any::<u8>(), 0..200)), 1..50)
    ) {
        let (mut world, _) = conversation();
        let before = observed(&world);
        for (to, datagram) in datagrams {
            world.inject(to, frame::seal(BytesMut::from(&datagram[..])));
            world.inject(to, datagram.into());
        }
        prop_assert!(goes_on(&mut world, before));
    }

    #[test]
    fn damaged_heads_change_nothing(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..10_usize, 1..=255_u8), 1..50)
    ) {
        let (mut world, corpus) = conversation();
        let before = observed(&world);
        for (which, position, bits) in damage {
            let (to, datagram) = &corpus[which.index(corpus.len())];
            let mut damaged = BytesMut::from(&datagram[..]);
            let position = position % damaged.len();
            damaged[position] ^= bits;
            world.inject(*to, damaged.clone().freeze());
            // The checksum is made valid again, as if a peer had sent the damaged frame.
            damaged.truncate(damaged.len() - CHECKSUM);
            world.inject(*to, frame::seal(damaged));
        }
        prop_assert!(goes_on(&mut world, before));
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..10_u8) {
        let mut datagram = vec![kind];
        datagram.extend(bytes);
        let _ = Frame::decode(datagram.clone().into());
        let _ = Frame::decode(frame::seal(BytesMut::from(&datagram[..])));
        let mut hello = b"\x01quorate\x04".to_vec();
        hello.extend(&datagram);
        let _ = Frame::decode(frame::seal(BytesMut::from(&hello[..])));
        let _ = Frame::decode(hello.into());
        let _ = frame::are_well_formed(&datagram, 3);
    }

    #[test]
    fn datagrams_survive(
        stamp: u64, lane: u16, token: u64, message in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let bytes = frame::datagram(p(3), Token(token), stamp, LaneId(lane), &message).unwrap();
        prop_assert_eq!(bytes.len(), frame::DATAGRAM_OVERHEAD + message.len());
        let frame = Frame::decode(bytes.clone());
        let Ok(Frame::Stamped(Stamped { from, token: t, stamp: s, content: Content::Datagram { lane: l, message: m } })) = frame else {
            return Err(TestCaseError::fail("undecodable"));
        };
        prop_assert_eq!((from, t, s, l), (p(3), Token(token), stamp, LaneId(lane)));
        prop_assert_eq!(&m[..], &message[..]);
        prop_assert!((0..bytes.len()).all(|end| Frame::decode(bytes.slice(..end)).is_err()));
        let shorter = |end| Frame::decode(resealed(bytes.slice(..end), &[]));
        prop_assert!((0..bytes.len() - CHECKSUM).all(|end| shorter(end).is_err()));
    }

    #[test]
    fn acknowledgements_survive(all in 0..1000_u64, gaps in prop::collection::vec((1..50_u64, 1..50_u64), 0..30)) {
        let mut ranges = Vec::new();
        let mut before = all;
        for (gap, length) in gaps {
            ranges.push((before + gap + 1, before + gap + length));
            before += gap + length;
        }
        let acknowledged = frame::Acknowledged { all, ranges, duplicates: 6 };
        let bytes = frame::acknowledge(p(1), Token(3), 4, 5, &acknowledged);
        match Frame::decode(bytes) {
            Ok(Frame::Stamped(Stamped { content: Content::Acknowledge { acknowledged: decoded, .. }, .. })) => prop_assert_eq!(decoded, acknowledged),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// A frame of each kind.
fn every_kind() -> Vec<Bytes> {
    let (_, corpus) = conversation();
    let mut kinds = std::collections::BTreeMap::new();
    for (_, datagram) in corpus {
        kinds.entry(datagram[0]).or_insert(datagram);
    }
    let token = Token(77);
    for frame in [
        frame::excluded(p(2), Incarnation(20), 12345, voter(9), Verdict::Superseded),
        frame::open(p(2), token, 9, 2, 1),
        frame::opened(p(2), token, 9, 2, 0),
        frame::room(p(2), token, 9, Modules(5)),
    ] {
        kinds.entry(frame[0]).or_insert(frame);
    }
    kinds.into_values().collect()
}

#[test]
fn a_bit_that_is_flipped_anywhere_in_a_frame_is_found() {
    let kinds = every_kind();
    assert_eq!(kinds.len(), 9);
    for frame in kinds {
        assert!(Frame::decode(frame.clone()).is_ok());
        for byte in 0..frame.len() {
            for bit in 0..8 {
                let mut damaged = BytesMut::from(&frame[..]);
                damaged[byte] ^= 1 << bit;
                let decoded = Frame::decode(damaged.freeze());
                assert!(matches!(decoded, Err(Malformed::Damaged)), "{byte} {bit}");
            }
        }
    }
}

#[test]
fn damaged_frames_are_counted_and_change_nothing() {
    let (mut world, corpus) = conversation();
    let before = observed(&world);
    let counted = |world: &World| [1, 2].map(|rank| world.process(rank).counters.total("damaged"));
    assert_eq!(counted(&world), [0, 0]);
    for (at, (to, datagram)) in corpus.iter().enumerate() {
        let mut damaged = BytesMut::from(&datagram[..]);
        let byte = at * 7 % damaged.len();
        damaged[byte] ^= 1 << (at % 8);
        world.inject(*to, damaged.freeze());
    }
    world.run(ms(50));
    assert_eq!(counted(&world).iter().sum::<u64>(), corpus.len() as u64);
    assert!(goes_on(&mut world, before));
}

#[test]
fn greetings_survive_and_fit() {
    let (_, corpus) = conversation();
    let mut hello = forged_greetings(&corpus).pop().unwrap();
    hello.voters = (1..=128)
        .map(|rank| (p(rank), voter(rank as u64)))
        .collect();
    hello.lanes = (0..300).map(|i| format!("lane {i}")).collect();
    for limit in [512, 1200, 65_000] {
        let bytes = hello.encode(limit);
        assert!(bytes.len() <= limit);
        let Ok(Frame::Hello(decoded)) = Frame::decode(bytes) else {
            panic!("undecodable")
        };
        assert_eq!(decoded.voters[..], hello.voters[..decoded.voters.len()]);
        assert_eq!(decoded.lanes[..], hello.lanes[..decoded.lanes.len()]);
        assert_eq!(limit == 65_000, decoded == hello);
    }
    let _ = Status::Admitted;
}
