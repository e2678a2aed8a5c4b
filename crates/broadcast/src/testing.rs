//! What the tests of this crate share.
mod by_acknowledgements;

pub(crate) use by_acknowledgements::ByAcknowledgements;

use crate::data::Data;
use bytes::Bytes;
use quorate_core::{
    Addr, Incarnation, MessageId, ProcessId, Time,
    message::{Origin, fold},
};
pub(crate) use quorate_sim::testing::{Latencies, p};
use quorate_sim::{
    Crash, Exhaustive, Exploration, Lose, Random, Report, Timed, UNIT, Verdict, World,
    testing::losing,
};
use std::time::Duration;

/// The time this many units after the start.
pub(crate) fn at(units: u32) -> Time {
    Time::ZERO + UNIT * units
}

/// A world of 2 to 5 processes, paced by time or by choice, in which at most this many of n crash in
/// any way; `seed` says which.
pub(crate) fn turbulent_world(seed: u64, maximum: fn(u64) -> u64) -> World {
    let n = 2 + seed % 4;
    let draw = |what: u64, below: u64| fold(fold(seed, what), 1) % below;
    let world = if draw(1, 2) == 0 {
        let latency = Timed::uniform(Duration::from_micros(50), Duration::from_millis(2));
        World::new(n as usize, seed, latency).unwrap()
    } else {
        World::new(n as usize, seed, Random::new()).unwrap()
    };
    for victim in 0..draw(2, maximum(n) + 1) {
        let draw = |what: u64, below: u64| draw(10 * (victim + 1) + what, below);
        let crash = match draw(1, 3) {
            0 => Crash::at(Time::from_nanos(draw(2, 6_000_000))),
            1 => Crash::before_output(1 + draw(2, 12 * n)),
            _ => Crash::before_effect(1 + draw(2, 20 * n)),
        };
        world.crash(p(1 + draw(4, n) as usize), crash.losing(losing(draw(3, 3))));
    }
    world
}

/// Has everybody broadcast three payloads, some of which are equal.
pub(crate) fn request_some<B: Send + 'static>(
    world: &World,
    ports: &[Addr<B>],
    request: impl Fn(Bytes) -> B,
) {
    for (rank, port) in (1..).zip(ports) {
        for i in 0..3_u8 {
            let time = Time::from_nanos(u64::from(i) * 900_000 * rank as u64);
            world.request(p(rank), time, port, request(Bytes::from(vec![i])));
        }
    }
}

/// Searches the schedules of a world of `n` in which these processes broadcast the same payload.
pub(crate) fn explore<B: Send + 'static>(
    search: &Exhaustive,
    n: usize,
    senders: &[usize],
    wire: impl Fn(&World) -> Vec<Addr<B>>,
    request: impl Fn(Bytes) -> B,
) -> Exploration {
    let build = || {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world);
        for rank in senders {
            let payload = Bytes::from_static(b"x");
            world.request(p(*rank), Time::ZERO, &ports[rank - 1], request(payload));
        }
        world
    };
    search.explore(build)
}

/// All processes but one may crash.
pub(crate) fn all_but_one(n: u64) -> u64 {
    n - 1
}

/// Fewer than half may crash.
pub(crate) fn minority(n: u64) -> u64 {
    (n - 1) / 2
}

/// The report shows that the mutant violates this property.
#[track_caller]
pub(crate) fn assert_violates(report: &Report, tag: &str) {
    let verdict = report.verdict(tag);
    assert!(matches!(verdict, Some(Verdict::Violated(_))), "{report}");
}

/// The identifier of a message of a process of a simulated world.
pub(crate) fn id(rank: usize, sequence: u64) -> MessageId {
    let (process, incarnation) = (p(rank), Incarnation(rank as u64));
    let origin = Origin {
        process,
        incarnation,
    };
    MessageId { origin, sequence }
}

/// A message of a process of a simulated world.
pub(crate) fn data(rank: usize, sequence: u64) -> Data {
    let (id, payload) = (id(rank, sequence), Bytes::from_static(b"x"));
    Data { id, payload }
}
