//! Bounds: a peer that is gone costs a bounded queue, and a long run costs no more than a short one.
use super::harness::{Seen, World, ms, p};
use crate::perfect::{
    LinkSettings,
    frame::{Content, Frame, Stamped},
};
use bytes::Bytes;
use quorate_abstractions::{heartbeat::Beat, link::Status};
use quorate_core::{Addr, Time};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

fn limited() -> World {
    let mut world = World::new(3, 1);
    world.settings = LinkSettings {
        queue_limit: 1 << 20,
        ..LinkSettings::default()
    };
    world
}

fn has_ended(rank: usize) -> impl Fn(&Status) -> bool {
    move |status| *status == Status::Ended { peer: p(rank) }
}

#[test]
fn a_paused_peer_is_told_of_the_hole_before_anything_behind_it() {
    let mut world = limited();
    world.start_all();
    world.connect();
    world.send(1, 3, "small", "before");
    world.run(ms(50));
    world.pause(3, true);
    for _ in 0..200 {
        for to in [2, 3] {
            world.send(1, to, "bulk", vec![7; 10_000]);
        }
        world.run(ms(10));
    }
    world.run(3 * SECOND);
    assert!(world.process(1).has(has_ended(3)));
    assert!(!world.process(1).has(has_ended(2)));
    assert_eq!(world.process(2).from(1, "bulk").len(), 200);
    world.pause(3, false);
    world.run(10 * SECOND);
    world.send(1, 3, "small", "after");
    world.run(SECOND);
    assert!(!world.process(3).is_excluded());
    let received = world.process(3).from(1, "bulk").len();
    assert!(received < 200, "what had arrived when it was paused");
    assert_eq!(world.process(3).from(1, "small"), ["before", "after"]);
    let gap = Status::Gap { peer: p(1) };
    let last: Vec<Seen> = world.process(3).log.lock().unwrap().clone();
    assert_eq!(last[last.len() - 2], Seen::Status(gap));
    let statuses = world.process(1).statuses.lock().unwrap().clone();
    assert_eq!(
        statuses
            .iter()
            .filter(|status| has_ended(3)(status))
            .count(),
        1
    );
}

/// A message that reports when it is freed.
struct Watched(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_burst_beyond_the_limit_ends_no_stream_to_a_peer_that_acknowledges() {
    const MESSAGE: usize = 10 << 20;
    let mut world = World::new(2, 1);
    world.settings.datagram = 8192;
    world.start_all();
    world.connect();
    // One window per round trip: 10 MiB a second.
    world.faults.latency = ms(50);
    assert!(8 * MESSAGE > world.settings.queue_limit);
    let message = Bytes::from(vec![7; MESSAGE]);
    for _ in 0..8 {
        world.send(1, 2, "bulk", message.clone());
    }
    world.run_until(60 * SECOND, |world| world.process(2).delivered() == 8);
    assert!(world.now - Time::ZERO > 4 * SECOND, "the link was not slow");
    assert!(
        world
            .process(2)
            .from(1, "bulk")
            .iter()
            .all(|m| *m == message)
    );
    assert!(!world.process(1).has(has_ended(2)));
}

#[test]
fn the_stream_to_a_dead_peer_above_the_limit_ends_in_time_and_its_queue_is_freed() {
    for stream in [false, true] {
        let mut world = limited();
        world.settings.stream = stream;
        world.settings.window = Some(256 << 10);
        world.start_all();
        world.connect();
        world.crash(3);
        let freed = Arc::new(AtomicUsize::new(0));
        for _ in 0..200 {
            let message = Bytes::from_owner(Watched(vec![7; 10_000], freed.clone()));
            world.send(1, 3, "bulk", message);
        }
        world.run(SECOND);
        assert!(!world.process(1).has(has_ended(3)), "a second is not long");
        assert!(freed.load(Relaxed) < 200);
        // No other event happens that could remind the link of it.
        world.run(if stream { 6 * SECOND } else { 2 * SECOND });
        assert!(world.process(1).has(has_ended(3)));
        assert_eq!(freed.load(Relaxed), 200);
    }
}

#[test]
fn the_stream_to_a_peer_that_has_not_answered_for_long_ends_at_the_limit() {
    let mut world = limited();
    world.start_all();
    world.connect();
    world.crash(3);
    world.send(1, 3, "small", "to nobody");
    world.run(20 * SECOND);
    assert!(!world.process(1).has(has_ended(3)));
    world.send(1, 3, "bulk", vec![7; 2 << 20]);
    world.run(ms(1));
    assert!(world.process(1).has(has_ended(3)));
}

#[test]
fn a_queue_of_four_times_the_limit_ends_the_stream_to_whomever() {
    let mut world = limited();
    world.start_all();
    world.connect();
    for _ in 0..3 {
        world.send(1, 2, "bulk", vec![7; 1 << 20]);
    }
    for _ in 0..5 {
        world.send(1, 3, "bulk", vec![7; 1 << 20]);
    }
    world.run(ms(1));
    assert!(world.process(1).has(has_ended(3)));
    world.run(10 * SECOND);
    assert!(!world.process(1).has(has_ended(2)));
    assert_eq!(world.process(2).from(1, "bulk").len(), 3);
    assert!(!world.process(3).is_excluded());
    assert!(
        world
            .process(1)
            .has(|status| *status == Status::Begun { peer: p(3) })
    );
}

#[test]
fn a_process_that_was_held_up_ends_no_stream_for_it() {
    let mut world = limited();
    world.start_all();
    world.connect();
    world.send(1, 3, "bulk", vec![7; 2 << 20]);
    world.run(ms(2));
    world.pause(1, true);
    world.run(10 * SECOND);
    world.pause(1, false);
    world.run(10 * SECOND);
    assert!(!world.process(1).has(has_ended(3)));
    assert_eq!(world.process(3).from(1, "bulk").len(), 1);
}

#[test]
fn a_dead_peer_keeps_no_run_open() {
    let mut world = World::started(3, 1);
    world.connect();
    world.crash(3);
    world.send(1, 3, "small", "to nobody");
    let lasted = world.run_until_quiet(60 * SECOND);
    assert!(lasted < 20 * SECOND, "{lasted:?}");
}

#[test]
fn a_million_messages_leave_nothing_behind() {
    let mut world = World::started(2, 1);
    world.connect();
    let message = Bytes::from_static(&[1; 64]);
    let mut delivered = 0;
    for _ in 0..1000 {
        for _ in 0..1000 {
            world.send(1, 2, "small", message.clone());
        }
        world.run(ms(20));
        delivered += world.process(2).delivered();
        world.process(2).delivered.lock().unwrap().clear();
    }
    assert_eq!(delivered, 1_000_000);
    for rank in [1, 2] {
        let timers = world.timers(rank);
        assert!(timers <= 4, "{timers} timers");
    }
    let drained = Arc::new(AtomicBool::new(false));
    let reply = drained.clone();
    let reply = Addr::new(move |()| reply.store(true, Relaxed));
    world.process(1).drain.send(reply);
    world.run(ms(100));
    assert!(drained.load(Relaxed), "something is still owed");
}

#[test]
fn drained_waits_for_the_living_and_not_for_the_dead() {
    let mut world = World::started(3, 1);
    world.connect();
    let answered = Arc::new(Mutex::new(false));
    let ask = |world: &World| {
        *answered.lock().unwrap() = false;
        let answered = answered.clone();
        world
            .process(1)
            .drain
            .send(Addr::new(move |()| *answered.lock().unwrap() = true));
    };
    world.faults.latency = ms(20);
    world.send(1, 2, "bulk", vec![1; 100_000]);
    ask(&world);
    world.run(ms(10));
    assert!(!*answered.lock().unwrap());
    world.run(SECOND);
    assert!(*answered.lock().unwrap());
    world.crash(3);
    world.send(1, 3, "small", "to nobody");
    ask(&world);
    world.run(ms(100));
    assert!(!*answered.lock().unwrap());
    world.run(30 * SECOND);
    assert!(*answered.lock().unwrap());
}

#[test]
fn nobody_waits_for_who_is_about_to_stop() {
    let mut world = limited();
    world.start_all();
    world.connect();
    world.cuts = vec![(p(1), p(3))];
    world.send(1, 3, "small", "too late");
    world.run(ms(50));
    let drained = Arc::new(AtomicBool::new(false));
    let reply = drained.clone();
    let reply = Addr::new(move |()| reply.store(true, Relaxed));
    world.process(1).drain.send(reply);
    world.run(ms(50));
    assert!(!drained.load(Relaxed));
    let leaving = [p(3)].into_iter().collect();
    world.process(3).beat.send(Beat {
        leaving,
        ..Beat::default()
    });
    world.run(ms(50));
    assert!(drained.load(Relaxed));
}

/// Two detectors may use one link, and one of them does not know whom this process hears.
#[test]
fn a_second_detector_takes_nothing_back_of_what_the_first_one_says() {
    let mut world = World::started(3, 1);
    world.connect();
    world.record = Some(Vec::new());
    let beat = Beat {
        unheard: [p(2)].into_iter().collect(),
        cut_off: true,
        leaving: [p(3)].into_iter().collect(),
    };
    world.process(1).sign.send(Beat::default());
    world.process(1).beat.send(beat);
    world.process(1).sign.send(Beat::default());
    world.run(ms(50));
    let sent = world.record.take().unwrap();
    let to_p2 = sent
        .into_iter()
        .filter(|(from, t)| (*from, t.to) == (p(1), p(2)));
    let said = to_p2.filter_map(|(_, t)| match Frame::decode(t.bytes) {
        Ok(Frame::Stamped(Stamped {
            content: Content::Beat(beat),
            ..
        })) => Some(beat),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [Beat::default(), beat, beat]);
}
