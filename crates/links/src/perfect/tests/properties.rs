//! PL1–3, and the order of a lane, under an adverse network.
use super::harness::{Faults, Process, World, ms, p};
use crate::perfect::LinkSettings;
use bytes::Bytes;
use quorate_abstractions::{fair_loss::Indication, heartbeat::Beat};
use std::time::Duration;

fn numbered(count: u32) -> Vec<Bytes> {
    (0..count)
        .map(|i| Bytes::copy_from_slice(&i.to_le_bytes()))
        .collect()
}

/// Bytes with a pattern that shows misplaced fragments.
fn patterned(length: usize) -> Bytes {
    (0..length).map(|i| (i / 251 + i % 251) as u8).collect()
}

const LONG: Duration = Duration::from_mins(10);

#[test]
fn processes_connect_and_talk() {
    let mut world = World::started(3, 1);
    world.connect();
    world.send(1, 2, "small", "hello");
    world.send(2, 2, "small", "myself");
    world.run(ms(20));
    assert_eq!(world.process(2).from(1, "small"), ["hello"]);
    assert_eq!(world.process(2).from(2, "small"), ["myself"]);
    assert_eq!(world.process(3).delivered(), 0);
}

#[test]
fn pl1_pl2_pl3_and_the_order_of_a_lane_hold_under_loss_duplication_and_reordering() {
    for seed in 0..60 {
        let mut world = World::new(3, seed);
        world.faults = Faults {
            loss: 0.3,
            duplication: 0.2,
            spread: ms(5),
            ..Faults::default()
        };
        world.start_all();
        let messages = numbered(500);
        let pairs = [(1, 2), (2, 1), (1, 3), (3, 3)];
        for (at, message) in messages.iter().enumerate() {
            for (from, to) in pairs {
                world.send(from, to, "small", message.clone());
            }
            world.run(ms(at as u64 % 3));
        }
        let all = |world: &World| {
            world
                .processes
                .values()
                .map(Process::delivered)
                .sum::<usize>()
        };
        world.run_until(LONG, |world| all(world) >= 2000);
        world.run(LONG);
        for (from, to) in pairs {
            assert_eq!(
                world.process(to).from(from, "small"),
                messages,
                "seed {seed}"
            );
        }
        assert_eq!(all(&world), 2000);
        let again = world.process(1).counters.total("packets sent again");
        assert!(again > 0, "nothing was lost");
    }
}

#[test]
fn a_run_without_faults_sends_each_packet_once_and_becomes_quiet() {
    let mut world = World::started(2, 3);
    world.connect();
    world.record = Some(Vec::new());
    for message in numbered(10_000) {
        world.send(1, 2, "small", message);
    }
    let lasted = world.run_until_quiet(LONG);
    assert!(lasted < ms(500), "{lasted:?}");
    assert_eq!(world.process(2).from(1, "small").len(), 10_000);
    assert_eq!(world.process(1).counters.total("packets sent again"), 0);
    // 10,000 messages of 4 bytes and a head of 2 each fill 52 datagrams.
    let record = world.record.unwrap();
    let bytes: usize = record
        .iter()
        .filter(|(from, _)| *from == p(1))
        .map(|(_, t)| t.bytes.len())
        .sum();
    assert!(bytes < 66_000, "{bytes}");
    let transmissions = record.iter().filter(|(from, _)| *from == p(1)).count();
    assert!(transmissions <= 4, "{transmissions}");
}

#[test]
fn datagrams_of_a_transmission_are_of_equal_length_but_the_last() {
    let mut world = World::started(2, 3);
    world.connect();
    world.record = Some(Vec::new());
    for i in 0..3000 {
        world.send(1, 2, "small", patterned(i * 37 % 700));
        world.send(1, 2, "bulk", patterned(i * 91 % 3000));
    }
    world.run_until_quiet(LONG);
    assert_eq!(world.process(2).delivered(), 6000);
    for (_, transmit) in world.record.unwrap() {
        assert!(transmit.bytes.len() <= 60 * 1024);
        assert!(transmit.bytes.len().div_ceil(transmit.segment) <= 64);
        assert!(transmit.segment <= 1200);
    }
}

#[test]
fn messages_of_every_length_survive() {
    let mut world = World::started(2, 9);
    world.connect();
    let lengths: Vec<usize> = (0..2600).chain([16_383, 16_384, 16_385, 70_000]).collect();
    for length in &lengths {
        world.send(1, 2, "small", patterned(*length));
    }
    world.run_until_quiet(LONG);
    let received = world.process(2).from(1, "small");
    assert_eq!(received.len(), lengths.len());
    for (length, message) in lengths.iter().zip(received) {
        assert_eq!(message, patterned(*length));
    }
}

#[test]
fn a_message_of_the_largest_size_survives_loss_and_a_larger_one_is_refused() {
    let mut world = World::new(2, 5);
    world.faults.loss = 0.1;
    world.start_all();
    world.connect();
    let large = patterned(16 << 20);
    world.send(1, 2, "bulk", large.clone());
    world.send(1, 2, "bulk", vec![0; (16 << 20) + 1]);
    world.send(1, 2, "bulk", "after");
    world.run_until(LONG, |world| world.process(2).delivered() == 2);
    let received = world.process(2).from(1, "bulk");
    assert!(received[0] == large && received[1] == "after");
    assert_eq!(world.process(1).counters.total("too long"), 1);
}

#[test]
fn small_messages_overtake_a_bulk_transfer_on_another_lane() {
    let mut world = World::started(2, 5);
    world.connect();
    for _ in 0..8 {
        world.send(1, 2, "bulk", patterned(4 << 20));
    }
    world.send(1, 2, "small", "quick");
    world.run_until(LONG, |world| !world.process(2).from(1, "small").is_empty());
    assert_eq!(world.process(2).delivered(), 1, "the bulk came first");
    world.run_until(LONG, |world| world.process(2).delivered() == 9);
}

#[test]
fn pl1_a_cut_in_one_direction_that_heals_loses_nothing() {
    for seed in 0..10 {
        let mut world = World::started(2, seed);
        world.connect();
        world.cuts = vec![(p(1), p(2))];
        let messages = numbered(2000);
        for message in &messages {
            world.send(1, 2, "small", message.clone());
        }
        world.run(Duration::from_secs(20));
        assert_eq!(world.process(2).delivered(), 0);
        world.cuts.clear();
        world.run(Duration::from_secs(3));
        assert_eq!(world.process(2).from(1, "small"), messages);
    }
}

#[test]
fn pl1_after_a_silence_the_first_sign_of_life_brings_everything() {
    let mut world = World::started(2, 4);
    world.connect();
    world.cuts = vec![(p(1), p(2)), (p(2), p(1))];
    let messages = numbered(2000);
    for message in &messages {
        world.send(1, 2, "small", message.clone());
    }
    world.run(Duration::from_secs(20));
    world.cuts.clear();
    world.process(2).beat.send(Beat::default());
    world.run(ms(200));
    assert_eq!(world.process(2).from(1, "small"), messages);
}

#[test]
fn a_process_that_was_held_up_reads_its_post_before_it_blames_the_network() {
    let mut world = World::started(2, 4);
    world.connect();
    for round in 1..=5 {
        for message in numbered(200) {
            world.send(1, 2, "small", message);
        }
        world.run(Duration::from_micros(500));
        world.pause(1, true);
        world.run(ms(500));
        world.pause(1, false);
        world.run(ms(100));
        assert_eq!(world.process(2).delivered(), round * 200);
    }
    assert_eq!(world.process(1).counters.total("packets sent again"), 0);
}

#[test]
fn a_round_trip_longer_than_the_first_timeout_is_learned() {
    let mut world = World::new(2, 4);
    world.faults.latency = ms(150);
    world.start_all();
    world.connect();
    for message in numbered(50) {
        world.send(1, 2, "small", message);
        world.run(ms(400));
    }
    assert_eq!(world.process(2).delivered(), 50);
    let again = world.process(1).counters.total("packets sent again");
    assert!(again < 10, "{again}");
}

#[test]
fn pl1_a_cut_of_the_acknowledgements_delivers_once() {
    let mut world = World::started(2, 4);
    world.connect();
    world.cuts = vec![(p(2), p(1))];
    let messages = numbered(2000);
    for message in &messages {
        world.send(1, 2, "small", message.clone());
    }
    world.run(Duration::from_secs(10));
    world.cuts.clear();
    world.run(Duration::from_secs(10));
    assert_eq!(world.process(2).from(1, "small"), messages);
    assert!(world.process(2).counters.total("duplicate") > 0);
}

/// p1 sends p2 300 kB a second for half a minute, while the network reorders. Returns how many bytes are late
/// in the end, and how many of a thousand packets were sent again.
fn reordered(latency: u64, spread: u64) -> (usize, u64) {
    let mut world = World::new(2, 8);
    world.faults.latency = ms(latency);
    world.faults.spread = ms(spread);
    world.start_all();
    world.connect();
    for _ in 0..3000 {
        world.send(1, 2, "bulk", patterned(3000));
        world.run(ms(10));
    }
    let received = world.process(2).from(1, "bulk").len();
    let counters = &world.process(1).counters;
    let (sent, again) = (
        counters.total("packets sent"),
        counters.total("packets sent again"),
    );
    ((3000 - received) * 3000, again * 1000 / sent)
}

#[test]
fn what_is_reordered_is_not_taken_for_lost() {
    for (latency, spread) in [(20, 20), (20, 5), (5, 40), (1, 10)] {
        let (behind, again) = reordered(latency, spread);
        // Data sent in the last 200 ms may still be in flight.
        assert!(behind < 60_000, "{latency} {spread}: {behind} bytes behind");
        assert!(again < 20, "{latency} {spread}: {again} of 1000 sent again");
    }
}

#[test]
fn what_is_lost_is_sent_again_within_two_round_trips() {
    let mut world = World::new(2, 8);
    world.faults.latency = ms(50);
    world.start_all();
    world.connect();
    for _ in 0..20 {
        world.send(1, 2, "small", patterned(1000));
        world.run(ms(20));
    }
    let timeouts = |world: &World| world.process(1).counters.total("timeouts");
    let before = timeouts(&world);
    for lost in [true, false, false, false] {
        world.cuts = if lost { vec![(p(1), p(2))] } else { Vec::new() };
        world.send(1, 2, "small", patterned(1000));
        world.run(ms(20));
    }
    // The packet is overtaken after 20 + 50 ms, is older than 100 + 25 ms soon after the sender learns that,
    // and arrives.
    world.run(ms(130));
    assert_eq!(world.process(2).delivered(), 24);
    assert_eq!(timeouts(&world), before);
}

#[test]
fn over_a_stream_nothing_is_sent_again_until_it_is_interrupted() {
    let mut world = World::new(2, 6);
    world.settings = LinkSettings {
        stream: true,
        datagram: 16 << 10,
        ..LinkSettings::default()
    };
    world.start_all();
    world.connect();
    world.pause(2, true);
    for _ in 0..100 {
        world.send(1, 2, "bulk", patterned(100_000));
    }
    world.run(ms(1500));
    assert_eq!(world.process(1).counters.total("packets sent again"), 0);
    world.pause(2, false);
    world.run(ms(1));
    // The connection breaks: everything in flight is lost.
    world.cuts = vec![(p(1), p(2)), (p(2), p(1))];
    world.run(ms(1000));
    assert_eq!(world.process(1).counters.total("packets sent again"), 0);
    world.cuts.clear();
    for (here, there) in [(1, 2), (2, 1)] {
        world
            .process(here)
            .arrivals
            .send(Indication::Reopened(p(there)));
    }
    world.run(ms(200));
    assert!(world.process(1).counters.total("packets sent again") > 0);
    let received = world.process(2).from(1, "bulk");
    assert_eq!(received.len(), 100);
    assert!(
        received
            .iter()
            .all(|message| *message == patterned(100_000))
    );
}

#[test]
fn the_same_seed_gives_the_same_execution() {
    let run = |seed| {
        let mut world = World::new(3, seed);
        world.faults = Faults {
            loss: 0.2,
            duplication: 0.1,
            spread: ms(3),
            ..Faults::default()
        };
        world.record = Some(Vec::new());
        world.start_all();
        for message in numbered(300) {
            world.send(1, 2, "small", message.clone());
            world.send(2, 3, "bulk", message);
        }
        world.run(Duration::from_secs(5));
        world.record.unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
