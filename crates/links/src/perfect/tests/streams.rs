//! Streams that end and begin anew: both ends learn of it once, and no process is excluded for it.
use super::harness::{Seen, Tamper, World, ms, p};
use crate::perfect::{
    AdmissionRule, LinkSettings,
    frame::{self, Content, Frame, PacketHead, Stamped, Token},
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    fair_loss::datagrams,
    link::{SendRequest, Status, To},
};
use quorate_core::ProcessId;
use std::{collections::BTreeMap, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn limited(queue_limit: usize) -> World {
    let mut world = World::new(3, 1);
    world.settings = LinkSettings {
        queue_limit,
        ..LinkSettings::default()
    };
    world
}

fn cut(world: &mut World, a: usize, b: usize) {
    world.cuts = vec![(p(a), p(b)), (p(b), p(a))];
}

fn times(world: &World, rank: usize, wanted: &Status) -> usize {
    let statuses = world.process(rank).statuses.lock().unwrap();
    statuses.iter().filter(|status| *status == wanted).count()
}

fn ended(peer: usize) -> Status {
    Status::Ended { peer: p(peer) }
}

fn begun(peer: usize) -> Status {
    Status::Begun { peer: p(peer) }
}

fn gap(peer: usize) -> Status {
    Status::Gap { peer: p(peer) }
}

fn all_are_members(world: &World) -> bool {
    let mut processes = world.processes.values();
    processes.all(|process| process.is_admitted() && !process.is_excluded())
}

#[test]
fn a_cut_of_minutes_under_load_ends_a_stream_and_no_membership() {
    for (from, to) in [(1, 3), (3, 1), (1, 2)] {
        for stream in [false, true] {
            let mut world = limited(1 << 20);
            world.settings.stream = stream;
            world.start_all();
            world.connect();
            world.send(from, to, "small", "before");
            world.run(ms(50));
            cut(&mut world, from, to);
            for _ in 0..300 {
                world.send(from, to, "bulk", vec![7; 20_000]);
                world.send(from, to, "small", "in between");
                world.run(SECOND);
            }
            assert_eq!(times(&world, from, &ended(to)), 1);
            assert_eq!(times(&world, to, &gap(from)), 0);
            world.cuts.clear();
            world.run(if stream { 30 * SECOND } else { 3 * SECOND });
            assert_eq!(times(&world, from, &ended(to)), 1);
            assert_eq!(times(&world, from, &begun(to)), 1);
            assert_eq!(times(&world, to, &gap(from)), 1);
            world.send(from, to, "small", "after");
            world.send(to, from, "small", "back");
            world.run(SECOND);
            assert!(all_are_members(&world));
            assert_eq!(world.process(to).from(from, "small"), ["before", "after"]);
            assert_eq!(world.process(from).from(to, "small"), ["back"]);
            let log = world.process(to).log.lock().unwrap();
            let at = |wanted: &Seen| log.iter().position(|seen| seen == wanted).unwrap();
            let delivery = |text: &'static str| Seen::Deliver("small", p(from), text.into());
            assert!(at(&delivery("before")) < at(&Seen::Status(gap(from))));
            assert!(at(&Seen::Status(gap(from))) < at(&delivery("after")));
            for rank in 1..=3 {
                let told = world.process(rank).statuses.lock().unwrap();
                let streams = |s: &&Status| {
                    matches!(
                        s,
                        Status::Ended { .. } | Status::Begun { .. } | Status::Gap { .. }
                    )
                };
                let expected = 2 * usize::from(rank == from) + usize::from(rank == to);
                assert_eq!(told.iter().filter(streams).count(), expected);
            }
        }
    }
}

#[test]
fn both_directions_end_and_begin_by_themselves() {
    for apart in 0..6 {
        let mut world = limited(1 << 20);
        world.start_all();
        world.connect();
        world.faults.latency = ms(3);
        // Five times the limit: the stream ends at once.
        world.send(1, 3, "bulk", vec![7; 5 << 20]);
        world.run(ms(apart));
        world.send(3, 1, "bulk", vec![7; 5 << 20]);
        world.run(10 * SECOND);
        for (here, there) in [(1, 3), (3, 1)] {
            assert_eq!(times(&world, here, &ended(there)), 1);
            assert_eq!(times(&world, here, &begun(there)), 1);
            assert_eq!(times(&world, here, &gap(there)), 1);
            world.send(here, there, "small", "after");
        }
        world.run(SECOND);
        assert!(all_are_members(&world));
        assert_eq!(world.process(1).from(3, "small"), ["after"]);
        assert_eq!(world.process(3).from(1, "small"), ["after"]);
    }
}

#[test]
fn who_comes_late_for_the_first_time_gets_in_and_both_learn_of_the_gap() {
    let mut world = World::new(5, 1);
    world.settings.queue_limit = 1 << 20;
    for rank in 1..=4 {
        world.start(rank, 10 * rank as u64);
    }
    world.run(5 * SECOND);
    for _ in 0..200 {
        for rank in 1..=4 {
            world.send(rank, 5, "bulk", vec![7; 10_000]);
        }
        world.run(ms(1));
    }
    assert_eq!(times(&world, 1, &ended(5)), 0, "it may be late");
    world.run(3 * SECOND);
    assert_eq!(times(&world, 1, &ended(5)), 1);
    world.send(1, 5, "small", "in between");
    world.start(5, 50);
    world.run(5 * SECOND);
    assert!(all_are_members(&world));
    for rank in 1..=4 {
        assert_eq!(times(&world, rank, &begun(5)), 1);
        assert_eq!(times(&world, 5, &gap(rank)), 1);
        world.send(rank, 5, "small", "after");
        world.send(5, rank, "small", "of the late one");
    }
    world.run(SECOND);
    assert_eq!(world.process(5).delivered(), 4);
    for rank in 1..=4 {
        assert_eq!(world.process(5).from(rank, "small"), ["after"]);
        assert_eq!(world.process(rank).from(5, "small"), ["of the late one"]);
    }
}

#[test]
fn what_two_owed_each_other_before_they_met_ends_in_a_gap_on_both_sides() {
    let mut world = limited(1 << 20);
    // With three processes, only the majority rule admits two that have not met the third.
    world.settings.admission = AdmissionRule::CrashStop;
    cut(&mut world, 1, 3);
    world.start_all();
    world.run(5 * SECOND);
    world.send(1, 3, "bulk", vec![7; 2 << 20]);
    world.send(3, 1, "bulk", vec![7; 2 << 20]);
    world.run(30 * SECOND);
    world.cuts.clear();
    world.run(5 * SECOND);
    assert!(all_are_members(&world));
    for (here, there) in [(1, 3), (3, 1)] {
        assert_eq!(times(&world, here, &begun(there)), 1);
        assert_eq!(times(&world, here, &gap(there)), 1);
        assert_eq!(world.process(here).from(there, "bulk").len(), 0);
    }
}

#[test]
fn what_a_process_sends_to_itself_too_early_ends_in_a_gap_to_itself() {
    let mut world = limited(10_000);
    world.start(1, 10);
    for number in 0..100_u8 {
        world.send(1, 1, "small", vec![number; 1000]);
    }
    world.run(SECOND);
    assert_eq!(world.process(1).delivered(), 0);
    assert_eq!(times(&world, 1, &ended(1)), 1);
    let kept = 10_000 / 1064;
    let refused = world.process(1).counters.total("stream ended");
    assert_eq!(refused, 100 - kept as u64);
    world.start(2, 20);
    world.start(3, 30);
    world.run(SECOND);
    world.send(1, 1, "small", "after");
    world.run(SECOND);
    assert!(all_are_members(&world));
    let received = world.process(1).from(1, "small");
    assert_eq!(received.len(), kept + 1);
    assert!(received.iter().zip(0..kept as u8).all(|(m, n)| m[0] == n));
    let log = world.process(1).log.lock().unwrap();
    let of_oneself = |seen: &&Seen| match seen {
        Seen::Deliver(..) => true,
        Seen::Status(status) => [ended(1), gap(1), begun(1)].contains(status),
        Seen::Sent(..) => false,
    };
    let log: Vec<&Seen> = log.iter().filter(of_oneself).collect();
    assert_eq!(log[0], &Seen::Status(ended(1)));
    assert_eq!(log[kept + 1], &Seen::Status(gap(1)));
    assert_eq!(log[kept + 2], &Seen::Status(begun(1)));
    assert_eq!(log.len(), kept + 4);
}

#[test]
fn an_ended_stream_to_a_dead_peer_costs_one_frame_in_two_seconds() {
    let mut world = limited(1 << 20);
    world.start_all();
    world.connect();
    world.crash(3);
    world.send(1, 3, "bulk", vec![7; 2 << 20]);
    world.run_until_quiet(60 * SECOND);
    assert_eq!(times(&world, 1, &ended(3)), 1);
    world.record = Some(Vec::new());
    for _ in 0..60 {
        world.send(1, 3, "bulk", vec![7; 2 << 20]);
        world.run(SECOND);
    }
    let frames = world.record.take().unwrap().len();
    assert!((20..=32).contains(&frames), "{frames} frames");
    assert_eq!(times(&world, 1, &ended(3)), 1);
}

#[test]
fn another_incarnation_knows_nothing_of_the_streams_before_it() {
    let mut world = limited(1 << 20);
    world.settings.rejoin = Some("small".to_owned());
    world.start_all();
    world.connect();
    world.crash(3);
    world.send(1, 3, "bulk", vec![7; 5 << 20]);
    world.run(SECOND);
    assert_eq!(times(&world, 1, &ended(3)), 1);
    world.start(3, 31);
    world.run(SECOND);
    for rank in [1, 2] {
        world
            .process(rank)
            .adopt
            .send(quorate_abstractions::link::Adopt {
                seat: p(3),
                incarnation: quorate_core::Incarnation(31),
                number: 1,
            });
    }
    world.run(3 * SECOND);
    world.send(1, 3, "small", "to the second");
    world.run(SECOND);
    assert_eq!(world.process(3).from(1, "small"), ["to the second"]);
    assert_eq!(times(&world, 3, &gap(1)) + times(&world, 1, &begun(3)), 0);
}

/// p3 draws a new nonce for p1, as if it had taken another process for p1 in between. So the session is over,
/// and with it the stream, unless the stream has ended before.
#[test]
fn a_session_that_is_followed_by_another_ends_a_stream_once() {
    for is_over in [false, true] {
        let mut world = limited(1 << 20);
        world.record = Some(Vec::new());
        world.start_all();
        world.connect();
        world.send(1, 3, "small", "in use");
        world.run(SECOND);
        let record = world.record.take().unwrap().into_iter();
        let mut greetings =
            record.filter_map(|(from, transmit)| match Frame::decode(transmit.bytes) {
                Ok(Frame::Hello(hello)) if (from, transmit.to) == (p(3), p(1)) => Some(hello),
                _ => None,
            });
        let mut greeting = greetings.find(|hello| hello.echo != 0).unwrap();
        (greeting.nonce, greeting.draw) = (4711, greeting.draw + 1);
        cut(&mut world, 1, 3);
        if is_over {
            world.send(1, 3, "bulk", vec![7; 5 << 20]);
            world.run(SECOND);
        }
        assert_eq!(times(&world, 1, &ended(3)), usize::from(is_over));
        world.inject(1, greeting.encode(1200));
        world.run(SECOND);
        assert_eq!(times(&world, 1, &ended(3)), 1, "over before: {is_over}");
        assert_eq!(times(&world, 1, &begun(3)), 0);
        assert_eq!(world.process(1).counters.total("streams ended"), 1);
    }
}

/// The token of p1 and p3 and the last packet of p1 to p3.
fn overheard(world: &mut World) -> (Token, u64) {
    world.record = Some(Vec::new());
    world.send(1, 3, "small", "overheard");
    world.run(ms(50));
    let record = world.record.take().unwrap().into_iter();
    let mut heads = record
        .filter(|(from, t)| (*from, t.to) == (p(1), p(3)))
        .flat_map(|(_, t)| datagrams(t.bytes, t.segment))
        .filter_map(|datagram| match Frame::decode(datagram) {
            Ok(Frame::Packet { head, .. }) => Some((head.token, head.number)),
            _ => None,
        });
    heads.next().unwrap()
}

#[test]
fn a_peer_that_breaks_the_rules_of_streams_changes_nothing() {
    let mut world = limited(1 << 20);
    world.start_all();
    world.connect();
    let (token, last) = overheard(&mut world);
    let next = last + 1;
    let logs = |world: &World| [1, 3].map(|rank| world.process(rank).log.lock().unwrap().len());
    let before = logs(&world);
    for (stream, first) in [
        (1, 1),
        (0, next),
        (2, last),
        (2, 0),
        (2, next + 4097),
        (2, u64::MAX),
        (3, next),
        (u32::MAX, next),
        (u32::MAX, u64::MAX),
    ] {
        world.inject(3, frame::open(p(1), token, 1000, stream, first));
    }
    for (stream, upto) in [(1, 0), (2, 0), (2, last), (u32::MAX, u64::MAX), (0, 0)] {
        world.inject(1, frame::opened(p(3), token, 1000, stream, upto));
    }
    for stream in [0, 2, u32::MAX] {
        let mut packet = BytesMut::new();
        let head = PacketHead {
            from: p(1),
            token,
            stream,
            number: next,
            acknowledged: 0,
        };
        frame::begin_packet(&mut packet, head);
        packet.put_slice(&[8 + 3, 1, 7]);
        frame::end_packet(&mut packet, 0);
        world.inject(3, packet.freeze());
        let all = frame::Acknowledged::default();
        world.inject(1, frame::acknowledge(p(3), token, 1001, stream, &all));
    }
    world.run(SECOND);
    assert_eq!(logs(&world), before);
    assert_eq!(world.process(3).counters.total("malformed"), 8);
    assert_eq!(world.process(3).counters.total("of another stream"), 1 + 3);
    assert_eq!(world.process(1).counters.total("of another stream"), 5 + 3);
    world.send(1, 3, "small", "still here");
    world.run(SECOND);
    assert_eq!(
        world.process(3).from(1, "small").last().unwrap(),
        "still here"
    );
}

#[test]
fn an_answer_that_cannot_be_begins_nothing() {
    let mut world = limited(1 << 20);
    world.start_all();
    world.connect();
    let (token, last) = overheard(&mut world);
    cut(&mut world, 1, 3);
    world.send(1, 3, "bulk", vec![7; 5 << 20]);
    world.run(SECOND);
    assert_eq!(times(&world, 1, &ended(3)), 1);
    for (stream, upto) in [
        (2, last - 1),
        (2, last + 5000),
        (2, u64::MAX),
        (1, last),
        (3, last),
    ] {
        world.inject(1, frame::opened(p(3), token, 1000, stream, upto));
    }
    world.run(SECOND);
    assert_eq!(times(&world, 1, &begun(3)), 0);
    world.cuts.clear();
    world.run(5 * SECOND);
    assert_eq!(times(&world, 1, &begun(3)), 1);
}

/// p1 and p2 exchange messages over a bad network, with cuts and bursts in which streams end. Returns `Err`
/// if the rules of streams are violated.
fn conversation(seed: u64, tamper: Option<Box<dyn Tamper>>) -> Result<usize, String> {
    let mut world = World::new(2, seed);
    world.settings.queue_limit = 20_000;
    world.start_all();
    world.connect();
    world.tamper = tamper;
    world.record = Some(Vec::new());
    world.faults.loss = 0.2;
    world.faults.duplication = 0.3;
    world.faults.spread = ms(30);
    for phase in 0..4_u64 {
        world.run(SECOND);
        // Some messages are in flight when the channel is cut, so that late copies come from an earlier
        // stream.
        for step in 0..12 {
            for (from, to) in [(1, 2), (2, 1)] {
                world.say(from, to, if step % 3 == 0 { 3000 } else { 20 });
            }
            world.run(ms(step));
        }
        let both = (seed + phase).is_multiple_of(3);
        world.cuts = vec![(p(1), p(2))];
        if both || phase == 2 {
            world.cuts.push((p(2), p(1)));
        }
        for _ in 0..20 {
            world.say(1, 2, 3000);
            world.say(2, 1, if both { 3000 } else { 10 });
            world.run(ms(100));
        }
        world.run(ms(1000 * (phase + 2)));
        // Bursts on top of unacknowledged messages end a stream at once.
        world.say(1, 2, 90_000);
        world.cuts.clear();
        world.run(ms(700 * phase));
    }
    world.run(20 * SECOND);
    world.say(1, 2, 10);
    world.say(2, 1, 10);
    world.run(10 * SECOND);
    let mut ends = 0;
    for (from, to) in [(1, 2), (2, 1)] {
        ends += obeys(&world, from, to)?;
    }
    let logs = |world: &World| [1, 2].map(|rank| world.process(rank).log.lock().unwrap().len());
    let before = logs(&world);
    let record = world.record.take().unwrap();
    for (_, transmit) in record.into_iter().rev() {
        for datagram in datagrams(transmit.bytes, transmit.segment) {
            world.inject(transmit.to.rank(), datagram);
        }
    }
    world.run(10 * SECOND);
    if logs(&world) != before {
        return Err("old frames were believed".to_owned());
    }
    world.say(1, 2, 10);
    world.run(SECOND);
    obeys(&world, 1, 2)?;
    Ok(ends)
}

/// Each stream is a prefix of the messages sent in it, and the last stream has all of them. Both ends learn
/// of each end once.
fn obeys(world: &World, from: usize, to: usize) -> Result<usize, String> {
    let mut sent = vec![Vec::new()];
    let (mut flows, mut ends) = (true, 0);
    for seen in world.process(from).log.lock().unwrap().iter() {
        match seen {
            Seen::Sent(receiver, number) if *receiver == p(to) && flows => {
                sent.last_mut().unwrap().push(*number);
            }
            Seen::Status(status) if *status == ended(to) => {
                if !std::mem::replace(&mut flows, false) {
                    return Err("a stream ended twice".to_owned());
                }
                ends += 1;
            }
            Seen::Status(status) if *status == begun(to) => {
                if std::mem::replace(&mut flows, true) {
                    return Err("a stream began twice".to_owned());
                }
                sent.push(Vec::new());
            }
            _ => {}
        }
    }
    let mut received = vec![Vec::new()];
    for seen in world.process(to).log.lock().unwrap().iter() {
        match seen {
            Seen::Deliver(_, sender, message) if *sender == p(from) => {
                let number = message[..4].try_into().unwrap();
                received
                    .last_mut()
                    .unwrap()
                    .push(u32::from_le_bytes(number));
            }
            Seen::Status(status) if *status == gap(from) => received.push(Vec::new()),
            _ => {}
        }
    }
    if !flows || received.len() != sent.len() {
        let (ended, gaps) = (ends, received.len() - 1);
        return Err(format!(
            "{from}-{to}: {ended} ended, {gaps} gaps, begun: {flows}"
        ));
    }
    for (received, sent) in received.iter().zip(&sent) {
        if !sent.starts_with(received) {
            return Err(format!("{from}-{to}: sent {sent:?}, received {received:?}"));
        }
    }
    if received.last() != sent.last() {
        return Err(format!("{from}-{to}: the last stream is not whole"));
    }
    Ok(ends)
}

#[test]
fn every_stream_is_a_prefix_and_both_ends_learn_of_its_end_once() {
    let ends: usize = (0..40).map(|seed| conversation(seed, None).unwrap()).sum();
    assert!(ends > 120, "only {ends} streams ended");
}

/// A mutant, and the streams that it has seen in the frames of a run.
#[derive(Default)]
struct Mutant {
    rule: Rule,
    /// The first packet, by direction and stream.
    first: BTreeMap<(ProcessId, u32), u64>,
    /// The stream that the receiver has opened, by direction.
    open: BTreeMap<ProcessId, u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Rule {
    /// Nothing is altered.
    #[default]
    Sound,
    /// Packet numbers begin again with each stream, and packets do not name theirs.
    Nameless,
    /// A process that opens a stream claims that all of the one before it had arrived.
    Inexact,
    /// A stream is in use before the receiver knows of it.
    Hasty,
}

impl Tamper for Mutant {
    fn leave(&mut self, from: ProcessId, to: ProcessId, frame: Bytes) -> Vec<(ProcessId, Bytes)> {
        match Frame::decode(frame.clone()) {
            Ok(Frame::Stamped(Stamped {
                token,
                stamp,
                content: Content::Open { stream, first },
                ..
            })) => {
                self.first.insert((from, stream), first);
                if self.rule == Rule::Hasty {
                    let answer = frame::opened(to, token, stamp, stream, first - 1);
                    return vec![(from, answer), (to, frame)];
                }
            }
            Ok(Frame::Stamped(Stamped {
                token,
                stamp,
                content: Content::Opened { stream, .. },
                ..
            })) if self.rule == Rule::Inexact => {
                let upto = self.first[&(to, stream)] - 1;
                return vec![(to, frame::opened(from, token, stamp, stream, upto))];
            }
            _ => {}
        }
        vec![(to, frame)]
    }

    fn arrive(&mut self, frame: Bytes) -> Bytes {
        match Frame::decode(frame.clone()) {
            Ok(Frame::Stamped(Stamped {
                from,
                content: Content::Open { stream, .. },
                ..
            })) => {
                let open = self.open.entry(from).or_insert(1);
                *open = stream.max(*open);
            }
            Ok(Frame::Packet { mut head, chunks }) if self.rule == Rule::Nameless => {
                let open = self.open.get(&head.from).copied().unwrap_or(1);
                let first = |stream| self.first.get(&(head.from, stream)).copied().unwrap_or(1);
                head.number = first(open) + head.number - first(head.stream);
                head.stream = open;
                let mut packet = BytesMut::new();
                frame::begin_packet(&mut packet, head);
                packet.put_slice(&chunks);
                frame::end_packet(&mut packet, 0);
                return packet.freeze();
            }
            _ => {}
        }
        frame
    }
}

#[test]
fn mutants_of_the_rules_of_streams_are_found() {
    for rule in [Rule::Sound, Rule::Nameless, Rule::Hasty] {
        let found = (0..40).find_map(|seed| {
            let mutant = Mutant {
                rule,
                ..Mutant::default()
            };
            conversation(seed, Some(Box::new(mutant))).err()
        });
        assert_eq!(found.is_some(), rule != Rule::Sound, "{rule:?}: {found:?}");
    }
}

/// One packet of five arrives before the stream ends. Returns how many the sender takes for missing.
fn missing(rule: Rule) -> u64 {
    let mut world = limited(100_000);
    world.start_all();
    world.connect();
    let mutant = Mutant {
        rule,
        ..Mutant::default()
    };
    world.tamper = Some(Box::new(mutant));
    world.send(1, 3, "small", "arrives");
    world.run(ms(1));
    // The packet is not acknowledged: from here on nothing comes back.
    world.cuts = vec![(p(3), p(1))];
    world.run(ms(3));
    world.cuts.push((p(1), p(3)));
    for _ in 0..4 {
        world.send(1, 3, "small", vec![7; 1100]);
        world.run(ms(1));
    }
    world.send(1, 3, "bulk", vec![7; 500_000]);
    world.run(SECOND);
    world.cuts.clear();
    // Messages of the next stream do not change the count of the last one, nor does a repetition.
    world.faults.duplication = 1.0;
    world.process(1).lanes["small"].send(SendRequest {
        to: To::All,
        message: Bytes::from_static(b"dropped"),
    });
    world.run(5 * SECOND);
    assert_eq!(times(&world, 1, &begun(3)), 1);
    assert_eq!(world.process(3).from(1, "small"), ["arrives"]);
    world
        .process(1)
        .counters
        .total("packets lost with their stream")
}

#[test]
fn how_far_a_stream_had_got_is_exact() {
    assert_eq!(missing(Rule::Sound), 4);
    assert_ne!(missing(Rule::Inexact), 4);
}
