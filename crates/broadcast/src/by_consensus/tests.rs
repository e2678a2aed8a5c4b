mod costs;
mod exhaustive;

use super::*;
use crate::{best_effort, eager, majority_ack, testing::Latencies};
use quorate_abstractions::{link::Links, regular_consensus, reliable};
use quorate_consensus::{hierarchical, rotating};
use quorate_core::{Addr, Time};
use quorate_sim::testing::p;
use quorate_sim::{Crash, Lose, Oracle, Report, Timed, Verdict, World, properties};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

fn at(microseconds: u64) -> Time {
    Time::from_nanos(microseconds * 1000)
}

/// The consensus below total order.
#[derive(Clone, Copy, PartialEq)]
enum Consensus {
    Uniform,
    /// Uniform consensus, whose decisions are applied in the order in which they arrive (B7-E1).
    Renumbered,
    /// A consensus that is not uniform (B7-E6).
    Regular,
}

/// Total order at every process of `world`, over the given consensus.
fn wire(world: &World, consensus: Consensus, settings: OrderSettings) -> Vec<Addr<Broadcast>> {
    let oracle = Oracle::accurate(Duration::from_millis(3));
    wire_with(world, &oracle, consensus, settings)
}

fn wire_with(
    world: &World,
    oracle: &Oracle,
    consensus: Consensus,
    settings: OrderSettings,
) -> Vec<Addr<Broadcast>> {
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("tob"), world.links(q));
        let detector = world.eventually_perfect(q, oracle);
        let decisions = |up: Addr<Decide>| -> Addr<Propose> {
            let (host, link) = (host.at("consensus"), links.at("consensus"));
            match consensus {
                Consensus::Uniform => rotating_over(&host, &link, &detector, up),
                Consensus::Renumbered => {
                    let taken = Arc::new(AtomicU64::new(0));
                    let renumber = move |decision: Decide| Decide {
                        instance: taken.fetch_add(1, Relaxed) + 1,
                        ..decision
                    };
                    rotating_over(&host, &link, &detector, up.with(renumber))
                }
                Consensus::Regular => {
                    // The regular consensus poses as a uniform one: no adapter allows this.
                    let decided =
                        |regular_consensus::Decide { instance, value }| Decide { instance, value };
                    let perfect = world.perfect(q, Duration::from_millis(3));
                    let regular = hierarchical::spawn(
                        &host,
                        link.lane(),
                        &link.status(),
                        &perfect,
                        up.with(decided),
                    );
                    regular.with(|Propose { instance, value }| regular_consensus::Propose {
                        instance,
                        value,
                    })
                }
            }
        };
        let uniform = |up: Addr<uniform::Deliver>| {
            majority_ack::spawn(
                &host.at("uniform"),
                links.at("uniform").lane(),
                &links.status(),
                up,
            )
        };
        spawn(&host, settings, uniform, decisions, world.application(q))
    };
    world.processes().map(spawn_at).collect()
}

pub(crate) fn rotating_over<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &quorate_abstractions::Subscribe<
        quorate_abstractions::eventually_perfect::Indication,
    >,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let reliable = |up: Addr<reliable::Deliver>| {
        let lane = links.at("reliable").lane();
        eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
    };
    rotating::spawn(host, links.lane(), &links.status(), reliable, detector, up)
}

/// Everybody broadcasts a few messages; p1 crashes somewhere in between, with all its copies.
fn run(consensus: Consensus, seed: u64) -> Report {
    let latency = Timed::uniform(Duration::from_micros(50), Duration::from_millis(2));
    let mut world = World::new(3, seed, latency).unwrap();
    world.check(properties::total_order(world.membership(), "tob"));
    let ports = wire(&world, consensus, OrderSettings::default());
    for (rank, port) in (1..).zip(&ports) {
        for i in 0..6 {
            let payload = Bytes::from(vec![rank as u8, i as u8]);
            world.request(
                p(rank),
                at(seed % 7 * 100 + i * 700),
                port,
                Broadcast { payload },
            );
        }
    }
    if consensus == Consensus::Regular || seed.is_multiple_of(2) {
        let crash = Crash::before_output(1 + seed % 97).losing(Lose::Everything);
        world.crash(p(1), crash);
    }
    world.run()
}

#[test]
fn tob5_uniform_total_order_holds_over_uniform_consensus() {
    for seed in 0..300 {
        run(Consensus::Uniform, seed).assert_all_hold();
    }
}

#[test]
fn tob5_is_broken_by_decisions_taken_in_the_order_in_which_they_come() {
    let broken = (0..300).find(|seed| {
        let report = run(Consensus::Renumbered, *seed);
        matches!(report.verdict("TOB5"), Some(Verdict::Violated(_)))
    });
    assert!(broken.is_some(), "the checker catches the mutant");
}

#[test]
fn tob5_is_broken_by_a_consensus_that_is_not_uniform() {
    let broken = (0..2000).find(|seed| {
        let report = run(Consensus::Regular, *seed);
        matches!(report.verdict("TOB5"), Some(Verdict::Violated(_)))
    });
    assert!(broken.is_some(), "the checker catches the mutant");
}

/// Eager broadcast, which is not uniform, poses as uniform: no adapter allows this.
fn eager_as_uniform<H: Host>(
    host: &H,
    links: &impl Links,
    up: Addr<uniform::Deliver>,
) -> Addr<uniform::Broadcast> {
    let delivered = |reliable::Deliver { id, payload }| uniform::Deliver { id, payload };
    eager::spawn(host, best_effort::over(links.lane()), up.with(delivered))
        .with(|uniform::Broadcast { payload }| reliable::Broadcast { payload })
}

/// p1 and p2 broadcast. The first copies that p1 sends are slow: p1 alone holds its message when it might be
/// decided, and crashes, losing those copies.
fn held_by_one(is_uniform: bool) -> Report {
    let slow = Latencies::default().way(1, 2, &[100]).way(1, 3, &[100]);
    let mut world = World::new(3, 1, slow).unwrap();
    world.check(properties::total_order(world.membership(), "tob"));
    for q in world.processes() {
        let (host, links) = (world.host(q).at("tob"), world.links(q));
        let detector = world.eventually_perfect(q, &Oracle::accurate(Duration::from_millis(3)));
        let uniform = |up: Addr<uniform::Deliver>| {
            let (host, links) = (host.at("uniform"), links.at("uniform"));
            if is_uniform {
                majority_ack::spawn(&host, links.lane(), &links.status(), up)
            } else {
                eager_as_uniform(&host, &links, up)
            }
        };
        let consensus = |up: Addr<Decide>| {
            rotating_over(&host.at("consensus"), &links.at("consensus"), &detector, up)
        };
        let up = world.application(q);
        let port = spawn(&host, OrderSettings::default(), uniform, consensus, up);
        if q != p(3) {
            let payload = Bytes::from_static(b"m");
            world.request(q, Time::ZERO, &port, Broadcast { payload });
        }
    }
    world.crash(p(1), Crash::at(at(10_000)).losing(Lose::Everything));
    world.run()
}

/// Shown by this schedule only: three processes, two messages and all of the rotating coordinator's copies
/// are too many to search (iterative deepening finds nothing in 60,000 worlds, to a depth of seven).
#[test]
fn tob1_is_broken_over_a_broadcast_that_is_not_uniform() {
    let broken = held_by_one(false);
    let verdict = broken.verdict("TOB1");
    assert!(matches!(verdict, Some(Verdict::Violated(_))), "{broken}");
    held_by_one(true).assert_all_hold();
}

/// p1 broadcasts `count` messages at once, in lock step. Returns the number of messages over the links.
fn burst(count: u64, settings: OrderSettings) -> Report {
    let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
    world.check(properties::total_order(world.membership(), "tob"));
    let ports = wire(&world, Consensus::Uniform, settings);
    for i in 0..count {
        let payload = Bytes::from(i.to_le_bytes().to_vec());
        world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
    }
    let report = world.run();
    report.assert_all_hold();
    for q in world.processes() {
        assert!(world.tally(q, "tob", "Deliver").is_some());
    }
    report
}

#[test]
fn what_waits_together_is_ordered_together() {
    let n = 4;
    let one = (2 * n + 3) * (n - 1);
    let together = burst(100, OrderSettings::default()).counts.messages;
    assert_eq!(together, one, "a hundred messages cost what one does");
    let split = OrderSettings {
        batch_bytes: 10,
        batches: 2,
        ..OrderSettings::default()
    };
    let apart = burst(100, split).counts.messages;
    assert!(apart > 10 * one, "batches of a message or two: {apart}");
}

#[test]
fn a_large_message_travels_alone() {
    let world = World::new(1, 1, Timed::lock_step()).unwrap();
    let settings = OrderSettings {
        batch_bytes: 100,
        batches: 5,
        ..OrderSettings::default()
    };
    let mut tob = ByConsensus::new(&world.host(p(1)), settings);
    let mut ctx = quorate_core::Context::new("tob".into(), 1, quorate_core::Counters::default());
    for size in [40, 40, 5000, 10, 100, 1] {
        let payload = Bytes::from(vec![0; size]);
        tob.upon(Event::Broadcast(Broadcast { payload }), &mut ctx);
    }
    let batches: Vec<_> = std::iter::from_fn(|| tob.outgoing.next_batch())
        .map(|batch| {
            wire::take_batch(batch)
                .unwrap()
                .iter()
                .map(Bytes::len)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        batches,
        [vec![40, 40], vec![5000], vec![10], vec![100], vec![1]]
    );
}

#[test]
fn what_is_large_goes_one_by_one() {
    let large = OrderSettings {
        batch_bytes: 1,
        bytes_in_flight: 1,
        ..OrderSettings::default()
    };
    let together = burst(
        8,
        OrderSettings {
            bytes_in_flight: 100,
            ..large
        },
    );
    let one_by_one = burst(8, large);
    assert!(one_by_one.completion.time > together.completion.time);
    let batches = |report: &Report| report.counts.below("uniform") / (4 * 3);
    assert_eq!(batches(&one_by_one), 8);
}

#[test]
fn a_proposal_is_limited_in_size() {
    let split = OrderSettings {
        batch_bytes: 1,
        batches: 64,
        proposal: 1,
        ..OrderSettings::default()
    };
    let report = burst(64, split);
    let instances = report.counts.below("consensus");
    let (n, one) = (4, 3 * 3 + 4 * 3);
    assert!(
        instances >= 64 * one,
        "one batch an instance at n = {n}: {instances}"
    );
}

#[test]
fn what_does_not_decode_is_counted_and_changes_nothing_else() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let counters = quorate_core::Counters::default();
    let mut ctx = quorate_core::Context::new("tob".into(), 1, counters.clone());
    let mut tob = ByConsensus::new(&world.host(p(1)), OrderSettings::default());
    let origin = tob.me;
    let id = MessageId {
        origin,
        sequence: 1,
    };
    let garbage = Bytes::from_static(&[200, 1, 2]);
    tob.upon(
        Event::Uniform(uniform::Deliver {
            id,
            payload: garbage.clone(),
        }),
        &mut ctx,
    );
    tob.upon(
        Event::Decide(Decide {
            instance: 1,
            value: garbage,
        }),
        &mut ctx,
    );
    let cut = wire::encode(&Cut(BTreeMap::from([(origin, 1)])));
    tob.upon(
        Event::Decide(Decide {
            instance: 2,
            value: cut,
        }),
        &mut ctx,
    );
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    assert!(effects.is_empty());
    assert_eq!(counters.total("undecodable decision"), 1);
    assert_eq!(counters.total("undecodable batch"), 1);
    assert_eq!(tob.applied, 2, "the order goes on");
}

#[test]
fn a_late_copy_of_an_ordered_batch_is_not_held() {
    let mut stream = Stream::default();
    stream.hold(1, Bytes::new());
    stream.held.remove(&1);
    stream.ordered = 1;
    stream.hold(1, Bytes::new());
    assert!(stream.held.is_empty());
}

/// The instances in which a process proposes when `batches` have come, each of which needs an instance, and
/// these decisions, which wait for a batch of p3. At most two instances are in flight at a time.
fn proposed_in(batches: u64, decided: &[u64]) -> Vec<u64> {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut ctx = quorate_core::Context::new("tob".into(), 1, quorate_core::Counters::default());
    let settings = OrderSettings {
        instances: 2,
        proposal: 1,
        ..OrderSettings::default()
    };
    let mut tob = ByConsensus::new(&world.host(p(1)), settings);
    let origin = |rank| Origin {
        process: p(rank),
        incarnation: quorate_core::Incarnation(1),
    };
    let missing = wire::encode(&Cut(BTreeMap::from([(origin(3), 1)])));
    for instance in decided.iter().copied() {
        let value = missing.clone();
        tob.upon(Event::Decide(Decide { instance, value }), &mut ctx);
    }
    for sequence in 1..=batches {
        let (origin, payload) = (origin(2), Bytes::new());
        let id = MessageId { origin, sequence };
        tob.upon(Event::Uniform(uniform::Deliver { id, payload }), &mut ctx);
    }
    tob.upon_idle(&mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    let instance = |effect: Effect| match effect {
        Effect::Propose(Propose { instance, .. }) => Some(instance),
        Effect::Uniform(_) | Effect::Deliver(_) => None,
    };
    effects.into_iter().filter_map(instance).collect()
}

#[test]
fn as_many_instances_are_in_flight_as_the_settings_say() {
    assert_eq!(proposed_in(5, &[]), [1, 2]);
    assert_eq!(proposed_in(1, &[]), [1]);
    assert_eq!(proposed_in(5, &[1]), [2], "what waits is in flight, too");
    assert_eq!(proposed_in(5, &[1, 2]), [], "what waits is in flight, too");
    assert_eq!(proposed_in(5, &[1, 2, 3]), [], "nor beyond them");
}
