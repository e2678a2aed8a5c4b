use super::*;
use bytes::Bytes;
use quorate_abstractions::link::Links;
use quorate_core::{Observation, Observe, ProcessId, Time};
use quorate_sim::{
    Crash, Timed, World,
    properties::{self, Channel},
};

struct Seen;

impl Observe for Seen {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
    }
}

/// One broadcast by p1 of `n`, which crashes before its `k`-th send. Returns the number of messages that
/// left.
fn messages(n: usize, crash_before: Option<u64>) -> u64 {
    let mut world = World::new(n, 3, Timed::lock_step()).unwrap();
    world.check(properties::perfect_links(&Channel::Lane("beb".to_owned())));
    let p1 = ProcessId::from_rank(1).unwrap();
    for p in world.processes() {
        let up = world.application::<Seen>(p).with(|_: Deliver<Bytes>| Seen);
        let port = over(world.links(p).at("beb").lane()).attach(up);
        if p == p1 {
            world.request(p, Time::ZERO, &port, Broadcast(Bytes::from_static(b"m")));
        }
    }
    if let Some(k) = crash_before {
        world.crash(p1, Crash::before_output(k));
    }
    let report = world.run();
    report.assert_all_hold();
    report.counts.messages
}

#[test]
fn beb1_validity_everybody_is_sent_to() {
    for n in 1..=8 {
        assert_eq!(messages(n, None), n as u64 - 1);
    }
}

#[test]
fn a_sender_that_crashes_after_k_sends_has_sent_k() {
    for k in 0..4 {
        assert_eq!(messages(5, Some(k + 1)), k);
    }
}
