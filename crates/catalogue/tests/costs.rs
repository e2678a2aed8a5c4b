//! Failure-free costs equal the catalogue's formulas, on ideal lower layers, in lock step.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::{consensus, link::Links, reliable, total_order, uniform};
use quorate_broadcast::{best_effort, by_consensus};
use quorate_catalogue::{algorithms, stack};
use quorate_core::{Addr, Layer, Observation, Observe, ProcessId, Time};
use quorate_sim::{Timed, UNIT, World};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

const SIZES: std::ops::RangeInclusive<usize> = 1..=8;

/// What a run cost: messages, and the step at which each process was done.
struct Paid {
    messages: u64,
    steps: Vec<u64>,
}

/// Runs what `build` wires at each process, with one request at p1 or everywhere, and counts.
fn pay<Request, Indication>(
    n: usize,
    build: impl Fn(&World, ProcessId, Addr<Indication>) -> Addr<Request>,
    requests: impl Fn(ProcessId) -> Option<Request>,
) -> Paid
where
    Request: Send + 'static,
    Indication: Observe + 'static,
{
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let done: Vec<Arc<AtomicU64>> = (0..n).map(|_| Arc::new(AtomicU64::new(u64::MAX))).collect();
    for p in world.processes() {
        let step = done[p.index()].clone();
        let up = world.application_with(p, move |_, now: Time| {
            step.store(now.as_nanos() / UNIT.as_nanos() as u64, Relaxed);
        });
        let door = build(&world, p, up);
        if let Some(request) = requests(p) {
            world.request(p, Time::ZERO, &door, request);
        }
    }
    let report = world.run();
    assert!(report.completion.complete);
    let steps = done.iter().map(|step| step.load(Relaxed)).collect();
    Paid {
        messages: report.counts.messages,
        steps,
    }
}

/// Asserts that `paid` is what the catalogue says of the algorithm at size `n`.
fn assert_paid(name: &str, n: usize, paid: &Paid) {
    let cost = algorithms::find(name).and_then(|a| a.cost).unwrap();
    assert_eq!(
        paid.messages,
        (cost.count)(n as u64),
        "{name}: messages at n = {n}"
    );
    let last = paid.steps.iter().max().copied();
    assert_eq!(
        last,
        Some((cost.depth)(n as u64)),
        "{name}: steps at n = {n}: {:?}",
        paid.steps
    );
}

fn only_p1<T>(p: ProcessId, request: T) -> Option<T> {
    (p.rank() == 1).then_some(request)
}

fn payload() -> Bytes {
    Bytes::from_static(b"one message")
}

#[derive(Debug)]
struct Seen;

impl Observe for Seen {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
    }
}

#[test]
fn best_effort_broadcast_costs_what_it_says() {
    for n in SIZES {
        let paid = pay(
            n,
            |world, p, up: Addr<Seen>| {
                let lane = world.links(p).at("best-effort").lane();
                let seen = up.with(|_: quorate_abstractions::best_effort::Deliver<Bytes>| Seen);
                best_effort::over(lane).attach(seen)
            },
            |p| only_p1(p, quorate_abstractions::best_effort::Broadcast(payload())),
        );
        assert_paid("best-effort", n, &paid);
    }
}

#[test]
fn eager_reliable_broadcast_costs_what_it_says() {
    for n in SIZES {
        let paid = pay(
            n,
            |world, p, up| stack::reliable(&world.host(p), &world.links(p), up),
            |p| only_p1(p, reliable::Broadcast { payload: payload() }),
        );
        assert_paid("eager", n, &paid);
    }
}

#[test]
fn majority_ack_uniform_broadcast_costs_what_it_says() {
    for n in SIZES {
        let paid = pay(
            n,
            |world, p, up| stack::uniform(&world.host(p), &world.links(p), up),
            |p| only_p1(p, uniform::Broadcast { payload: payload() }),
        );
        assert_paid("majority-ack", n, &paid);
        let receivers = &paid.steps[1..];
        let expected = if n <= 3 { 1 } else { 2 };
        assert!(
            receivers.iter().all(|step| *step == expected),
            "n = {n}: {:?}",
            paid.steps
        );
    }
}

#[test]
fn rotating_coordinator_consensus_costs_what_it_says() {
    for n in SIZES {
        let paid = pay(
            n,
            |world, p, up| stack::consensus(&world.host(p), &world.links(p), &Addr::nowhere(), up),
            |_| {
                Some(consensus::Propose {
                    instance: 1,
                    value: payload(),
                })
            },
        );
        assert_paid("rotating-coordinator", n, &paid);
        let coordinator = if n == 1 { 0 } else { 3 };
        assert_eq!(
            paid.steps[0], coordinator,
            "p1 coordinates and is done first"
        );
    }
}

#[test]
fn total_order_by_consensus_costs_what_it_says() {
    for n in SIZES {
        let paid = pay(
            n,
            |world, p, up: Addr<total_order::Deliver>| {
                let configuration = by_consensus::Configuration::default();
                let (host, links) = (world.host(p), world.links(p));
                stack::total_order(&host, &links, &Addr::nowhere(), configuration, up)
            },
            |p| only_p1(p, total_order::Broadcast { payload: payload() }),
        );
        assert_paid("by-consensus", n, &paid);
        if n >= 4 {
            assert_eq!(paid.steps[0], 5, "the coordinator is done a step earlier");
        }
    }
}
