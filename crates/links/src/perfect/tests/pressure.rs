//! Pressure between real links: the memory of a relay is bounded if origins honour it.
use super::harness::{Shared, World, ms, p};
use bytes::Bytes;
use quorate_abstractions::{
    heartbeat::Beat,
    link::Status,
    pressure::{Backlog, Hindrance, Room, Wait},
};
use quorate_core::ProcessSet;
use std::time::Duration;

/// The length of each message in bytes.
const LENGTH: usize = 1000;
/// What a peer may owe a module in these worlds, in bytes.
const MOST: usize = 100_000;

/// Three processes that know each other, and whose links have small limits.
fn world(seed: u64) -> World {
    let mut world = World::new(3, seed);
    world.settings.queue_limit = 8 * MOST;
    world.settings.window = Some(20_000);
    world.start_all();
    world.connect();
    world
}

fn now(told: &Shared<Vec<Room>>) -> Room {
    *told.lock().unwrap().last().unwrap()
}

fn beat(world: &World) {
    for process in world.processes.values() {
        process.beat.send(Beat::default());
    }
}

/// Whether an origin sends, given what it was told.
type Honours = fn(Room) -> bool;

fn all(room: Room) -> bool {
    room == Room::Open
}

/// The mutant ignores the relays' room.
fn own_queues_only(room: Room) -> bool {
    !matches!(
        room,
        Room::Full(Hindrance {
            announced: false,
            ..
        })
    )
}

/// p1 sends to both others as much as it may for 5 seconds, p2 passes everything on to p3, and the channel
/// between these two is cut. Returns how many bytes p2 has taken on.
fn taken_on_by_the_relay(world: &mut World, honours: Honours) -> usize {
    world.cuts = vec![(p(2), p(3)), (p(3), p(2))];
    let room = world.process(1).room("bulk", Wait::default());
    let _relay = world.process(2).room("bulk", Wait::default());
    world.run(ms(1));
    let mut passed_on = 0;
    for time in 0..1000 {
        for _ in 0..10 {
            if honours(now(&room)) {
                for to in [2, 3] {
                    world.send(1, to, "bulk", vec![7; LENGTH]);
                }
            }
        }
        if time % 20 == 0 {
            beat(world);
        }
        world.run(ms(5));
        let arrived = world.process(2).delivered.lock().unwrap().len();
        for _ in passed_on..arrived {
            world.send(2, 3, "bulk", vec![7; LENGTH]);
        }
        passed_on = arrived;
    }
    passed_on * LENGTH
}

#[test]
fn a_relay_s_queue_counts_at_the_origin() {
    let mut world = world(1);
    let taken = taken_on_by_the_relay(&mut world, all);
    assert!(taken > MOST / 2 && taken < 3 * MOST, "{taken}");
    world.cuts.clear();
    for _ in 0..50 {
        beat(&world);
        world.run(ms(100));
    }
    let room = world.process(1).room("bulk", Wait::default());
    world.run(ms(1));
    assert_eq!(now(&room), Room::Open, "nobody is slowed any more");
    let arrived = world.process(3).delivered.lock().unwrap().len();
    assert_eq!(arrived, 2 * taken / LENGTH, "from both, nothing is lost");
}

#[test]
fn without_the_relay_s_room_its_queue_grows() {
    let taken = taken_on_by_the_relay(&mut world(1), own_queues_only);
    assert!(taken > 10 * MOST, "{taken}");
}

#[test]
fn a_user_that_does_not_read_slows_everybody_for_a_while() {
    let mut world = world(2);
    let room = world.process(1).room("small", Wait::default());
    let _reader = world.process(3).room("small", Wait::default());
    world.process(3).backlog("small", Backlog::Full);
    world.run(ms(10));
    let by = |room| match room {
        Room::Full(hindrance) => Some((hindrance.by, hindrance.announced)),
        Room::Open => None,
    };
    assert_eq!(by(now(&room)), Some((p(3), true)));
    // The user reads, slowly.
    for _ in 0..150 {
        world.process(3).backlog("small", Backlog::Full);
        beat(&world);
        world.run(ms(100));
    }
    assert_eq!(by(now(&room)), Some((p(3), true)));
    // The user stops reading.
    for _ in 0..101 {
        beat(&world);
        world.run(ms(100));
    }
    assert_eq!(now(&room), Room::Open);
}

#[test]
fn nothing_is_taken_for_a_user_that_stands_still_and_nothing_is_lost() {
    let mut world = world(5);
    world.process(3).backlog("small", Backlog::Stuck);
    world.send(1, 3, "bulk", vec![7; LENGTH]);
    world.process(3).beat.send(Beat::default());
    world.run(ms(5000));
    assert!(world.process(3).delivered.lock().unwrap().is_empty());
    assert!(world.process(3).counters.total("user stands still") > 1);
    world.process(3).backlog("small", Backlog::Open);
    world.run(ms(5000));
    assert_eq!(world.process(3).delivered.lock().unwrap().len(), 1);
}

/// Three processes over byte streams, where a packet that is not acknowledged is sent again after 2 s, then
/// ever more slowly, up to 20 s. The user of p3 stands still for the given time, p1 sends meanwhile, and both
/// send heartbeats.
fn after_a_user_stood_still(length: usize, duration: Duration) -> World {
    let mut world = World::new(3, 6);
    world.settings.queue_limit = 8 * MOST;
    world.settings.stream = true;
    world.start_all();
    world.connect();
    let _reader = world.process(3).room("small", Wait::default());
    world.run(ms(1));
    world.process(3).backlog("small", Backlog::Stuck);
    world.send(1, 3, "bulk", vec![7; length]);
    for _ in 0..duration.as_millis() / 100 {
        beat(&world);
        world.run(ms(100));
    }
    assert!(world.process(3).delivered.lock().unwrap().is_empty());
    world
}

fn times(world: &World, rank: usize, wanted: &Status) -> usize {
    let statuses = world.process(rank).statuses.lock().unwrap();
    statuses.iter().filter(|status| *status == wanted).count()
}

#[test]
fn once_a_user_reads_again_what_was_not_taken_comes_at_once() {
    let mut world = after_a_user_stood_still(LENGTH, ms(60_000));
    world.process(3).backlog("small", Backlog::Open);
    beat(&world);
    world.run(ms(10));
    assert_eq!(world.process(3).delivered(), 1);
}

#[test]
fn once_a_user_reads_again_the_next_stream_is_opened_at_once() {
    let mut world = after_a_user_stood_still(20 * MOST, ms(60_000));
    assert_eq!(times(&world, 1, &Status::Ended { peer: p(3) }), 1);
    assert_eq!(times(&world, 1, &Status::Begun { peer: p(3) }), 0);
    world.process(3).backlog("small", Backlog::Open);
    beat(&world);
    world.run(ms(10));
    assert_eq!(times(&world, 1, &Status::Begun { peer: p(3) }), 1);
    world.send(1, 3, "bulk", vec![7; LENGTH]);
    world.run(ms(10));
    assert_eq!(world.process(3).delivered(), 1);
}

#[test]
fn room_at_the_user_lets_a_held_message_in_at_once() {
    // Not so long that this process says that it waits for its user no more.
    let mut world = after_a_user_stood_still(LENGTH, ms(9000));
    world.process(3).backlog("small", Backlog::Open);
    world.run(ms(10));
    assert_eq!(world.process(3).delivered(), 1);
}

fn beat_of(unheard: ProcessSet, cut_off: bool) -> Beat {
    Beat {
        unheard,
        cut_off,
        ..Beat::default()
    }
}

#[test]
fn who_did_not_hear_this_process_and_does_again_is_sent_at_once_what_it_lacks() {
    let mut world = world(8);
    world.cuts = vec![(p(1), p(3))];
    world.send(1, 3, "bulk", vec![7; LENGTH]);
    let unheard = [p(1)].into_iter().collect();
    for _ in 0..100 {
        let cut_off = false;
        world.process(3).beat.send(beat_of(unheard, cut_off));
        world.run(ms(100));
    }
    world.cuts.clear();
    let before = world.process(1).counters.total("packets sent again");
    world.process(3).beat.send(Beat::default());
    world.run(ms(3));
    assert_eq!(world.process(3).delivered(), 1);
    // A peer that is heard all the time, and has lost nothing, is sent nothing twice.
    let again = world.process(1).counters.total("packets sent again");
    assert_eq!(again - before, 1);
    world.run(ms(1000));
    for cut_off in [true, false] {
        let unheard = [p(1), p(2)].into_iter().collect();
        world.process(3).beat.send(beat_of(unheard, cut_off));
        world.send(1, 3, "bulk", vec![7; LENGTH]);
        world.process(3).beat.send(Beat::default());
        world.run(ms(1000));
    }
    assert_eq!(world.process(3).delivered(), 3);
    assert_eq!(world.process(1).counters.total("packets sent again"), again);
}

#[test]
fn a_lost_notice_of_room_is_said_again_with_the_heartbeat() {
    let mut world = world(3);
    let room = world.process(1).room("small", Wait::default());
    let _reader = world.process(3).room("small", Wait::default());
    world.process(3).backlog("small", Backlog::Full);
    world.run(ms(10));
    assert_ne!(now(&room), Room::Open);
    world.cuts = vec![(p(3), p(1))];
    world.process(3).backlog("small", Backlog::Open);
    world.run(ms(10));
    world.cuts.clear();
    assert_ne!(now(&room), Room::Open);
    beat(&world);
    world.run(ms(10));
    assert_eq!(now(&room), Room::Open, "said again with the heartbeat");
}

#[test]
fn nothing_is_said_where_nobody_asks() {
    let mut world = world(4);
    world.cuts = vec![(p(1), p(2)), (p(2), p(1))];
    world.record = Some(Vec::new());
    for _ in 0..200 {
        world.send(1, 2, "bulk", Bytes::from(vec![7; LENGTH]));
    }
    beat(&world);
    world.run(ms(1));
    let said = world.record.take().unwrap();
    assert!(!said.iter().any(|(_, transmit)| transmit.bytes[0] == 7));
}
