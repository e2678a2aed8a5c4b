mod errata;

use super::*;
use crate::{best_effort as basic, eager, testing::*};
use quorate_abstractions::link::{self, Links, To};
use quorate_consensus::{hierarchical, rotating, uniform_hierarchical};
use quorate_core::{Context, Counters, Time, message::fold};
use quorate_sim::{
    Crash, Exhaustive, Report, SimHost, Timed, UNIT, World, properties, testing::LOSSES,
};
use std::time::Duration;

/// The path of the consensus on the messages of a source.
fn path(source: ProcessId) -> String {
    format!("trb/{source}/consensus")
}

/// Terminating broadcast at every process over uniform hierarchical consensus; P reports a crash after
/// `delay`.
fn wire(world: &World, delay: Duration) -> Vec<Addr<Broadcast>> {
    wire_as(world, |_| delay, Terminating::new)
}

/// This algorithm at every process; each detector has its own delay.
fn wire_as<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    delay: impl Fn(ProcessId) -> Duration,
    algorithm: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Broadcast>> {
    let processes = world.membership();
    world.check(properties::terminating(processes, "trb"));
    for source in world.processes() {
        world.check(properties::consensus(processes, &path(source)));
    }
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("trb"), world.links(q).at("trb"));
        let detector = world.perfect(q, delay(q));
        let consensus = |source: ProcessId, up| {
            let (host, links) = (host.at(&source.to_string()), links.at(&source.to_string()));
            let (lane, status) = (links.at("consensus").lane(), links.status());
            uniform_hierarchical::spawn(&host.at("consensus"), lane, &status, &detector, up)
        };
        let (lane, up) = (links.lane(), world.application(q));
        spawn_as(
            &host,
            algorithm(&host),
            lane,
            &world.links(q).status(),
            consensus,
            &detector,
            up,
        )
    };
    world.processes().map(spawn_at).collect()
}

fn request(world: &World, ports: &[Addr<Broadcast>], rank: usize, time: Time, payload: &[u8]) {
    let payload = Bytes::copy_from_slice(payload);
    world.request(p(rank), time, &ports[rank - 1], Broadcast { payload });
}

/// One broadcast by the process of rank `source` in lock step, crashes being reported `delay` units
/// later.
fn run(n: usize, source: usize, delay: u32, crash: Option<(usize, Crash)>) -> (Report, World) {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let ports = wire(&world, UNIT * delay);
    request(&world, &ports, source, Time::ZERO, b"x");
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (report, world)
}

/// The step at which a process delivered an event with this label: a message, or that a source is faulty.
fn step_of(world: &World, rank: usize, label: &str) -> u64 {
    let tally = world.tally(p(rank), "trb", label).unwrap();
    assert_eq!(tally.count, 1);
    tally.last.as_nanos() / UNIT.as_nanos() as u64
}

#[test]
fn trb1_to_4_hold_whoever_crashes() {
    for seed in 0..600 {
        let mut world = turbulent_world(seed, all_but_one);
        let ports = wire(&world, Duration::from_micros(seed % 5 * 800));
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn trb2_uniform_agreement_wherever_the_source_crashes() {
    for (n, source) in (2..=5).flat_map(|n| [(n, 1), (n, n)]) {
        for k in 1..4 * n as u64 {
            for lose in LOSSES {
                run(
                    n,
                    source,
                    3,
                    Some((source, Crash::before_output(k).losing(lose))),
                );
            }
        }
    }
}

#[test]
fn costs_without_failures_are_what_the_header_says() {
    for n in 1..=8_usize {
        for source in 1..=n {
            let (report, world) = run(n, source, 1, None);
            let expected = (n * n - 1) as u64;
            assert_eq!(report.counts.messages, expected, "n = {n}, p{source}");
            for rank in 1..=n {
                let all = if source == 1 { n } else { n + 1 } as u64;
                let steps = if rank == n { all - 1 } else { all };
                assert_eq!(
                    step_of(&world, rank, "Deliver"),
                    steps,
                    "n = {n}, p{source}"
                );
            }
        }
    }
}

#[test]
fn costs_with_the_source_dead_are_what_the_header_says() {
    for (n, source) in (2..=8_usize).flat_map(|n| [(n, 1), (n, n)]) {
        for delay in [1, 3, 5] {
            let dead = Crash::at(Time::ZERO);
            let (report, world) = run(n, source, delay, Some((source, dead)));
            let others = n as u64 - 1;
            assert_eq!(report.counts.messages, others * others, "n = {n}");
            let survivors = (1..=n).filter(|rank| *rank != source);
            let steps = survivors.map(|rank| step_of(&world, rank, "SenderFaulty"));
            let last = if n == 2 { 0 } else { others };
            assert_eq!(steps.max(), Some(u64::from(delay) + last), "n = {n}");
        }
    }
}

#[test]
fn costs_with_the_source_crashing_are_what_the_header_says() {
    for (n, delay) in (2..=8_usize).flat_map(|n| [(n, 1), (n, 4)]) {
        let others = n as u64 - 1;
        for k in 1..=others {
            let crash = Crash::before_output(k + 1);
            let (report, world) = run(n, 1, delay, Some((1, crash)));
            let expected = k + 2 * others * others;
            assert_eq!(report.counts.messages, expected, "n = {n}, k = {k}");
            for rank in 2..=n {
                let (message, report) = ("Deliver", "SenderFaulty");
                assert!(step_of(&world, rank, message) <= step_of(&world, rank, report));
            }
        }
    }
}

#[test]
fn a_source_broadcasts_its_next_message_when_it_has_delivered_the_last() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap().keep_trace();
    let ports = wire(&world, UNIT);
    for payload in [b"a", b"b", b"c"] {
        request(&world, &ports, 1, Time::ZERO, payload);
    }
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(report.counts.messages, 3 * 8);
    let tally = world.tally(p(2), "trb", "Deliver").unwrap();
    assert_eq!((tally.count, tally.first, tally.last), (3, at(3), at(9)));
}

#[test]
fn who_is_several_instances_behind_catches_up() {
    // What p3 says to p2 about p1's first message is slow. The others go on without p2, which adopts what
    // others impose and holds several decisions when its turn comes.
    let script = Latencies::default().way(3, 2, &[40]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire(&world, UNIT);
    for number in 0..5_u8 {
        request(&world, &ports, 1, Time::ZERO, &[number]);
    }
    world.run().assert_all_hold();
    let tally = world.tally(p(3), "trb", "Deliver").unwrap();
    assert_eq!((tally.count, tally.last < at(20)), (5, true));
    let tally = world.tally(p(2), "trb", "Deliver").unwrap();
    assert_eq!((tally.count, tally.first >= at(40)), (5, true));
}

/// Over regular hierarchical consensus at every process; P reports a crash after `delay`.
fn wire_regular(world: &World, delay: Duration) -> Vec<Addr<Broadcast>> {
    world.check(properties::regular_terminating(world.membership(), "trb"));
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("trb"), world.links(q).at("trb"));
        let detector = world.perfect(q, delay);
        let consensus = |source: ProcessId, up| {
            let (host, links) = (host.at(&source.to_string()), links.at(&source.to_string()));
            hierarchical::spawn(&host, links.lane(), &links.status(), &detector, up)
        };
        let (lane, up) = (links.lane(), world.application(q));
        spawn_regular(&host, lane, &links.status(), consensus, &detector, up)
    };
    world.processes().map(spawn_at).collect()
}

#[test]
fn trb1_to_4_hold_over_regular_consensus_for_correct_processes() {
    for seed in 0..300 {
        let mut world = turbulent_world(seed, all_but_one);
        let ports = wire_regular(&world, Duration::from_micros(seed % 5 * 800));
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

/// Over a different consensus, which decides with a majority: decisions overtake proposals.
#[test]
fn trb1_to_4_hold_over_the_rotating_coordinator() {
    for seed in 0..200 {
        let mut world = turbulent_world(seed, minority);
        let delay = Duration::from_micros(seed % 5 * 800);
        world.check(properties::terminating(world.membership(), "trb"));
        let spawn_at = |q| {
            let (host, links) = (world.host(q).at("trb"), world.links(q).at("trb"));
            let detector = world.perfect(q, delay);
            let suspicions = perfect::as_eventually_perfect(&detector);
            let consensus = |source: ProcessId, up| {
                let (host, links) = (host.at(&source.to_string()), links.at(&source.to_string()));
                let lane = basic::over(links.at("decisions").lane());
                let decisions = |up| eager::spawn(&host.at("decisions"), lane, up);
                let status = links.status();
                rotating::spawn(&host, links.lane(), &status, decisions, &suspicions, up)
            };
            let (lane, up) = (links.lane(), world.application(q));
            spawn(
                &host,
                lane,
                &world.links(q).status(),
                consensus,
                &detector,
                up,
            )
        };
        let ports: Vec<_> = world.processes().map(spawn_at).collect();
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn costs_over_regular_consensus_are_what_the_header_says() {
    for (n, source) in (1..=8_usize).flat_map(|n| (1..=n).map(move |source| (n, source))) {
        let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
        let ports = wire_regular(&world, UNIT);
        request(&world, &ports, source, Time::ZERO, b"x");
        let report = world.run();
        report.assert_all_hold();
        let expected = (n * n - 1) as u64;
        assert_eq!(report.counts.messages, expected, "n = {n}, p{source}");
        for rank in 1..=n {
            let steps = if source == 1 { rank - 1 } else { rank } as u64;
            assert_eq!(
                step_of(&world, rank, "Deliver"),
                steps,
                "n = {n}, p{source}"
            );
        }
    }
}

/// p3 is dead from the start and p2 broadcasts nothing: neither leaves a hole anywhere.
#[test]
fn thousands_of_messages_after_a_source_has_died_leave_nothing_behind() {
    let messages = 23_000_u64; // times n: more than consensus allows between two of its instances.
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, UNIT);
    world.crash(p(3), Crash::at(Time::ZERO));
    for _ in 0..messages {
        request(&world, &ports, 1, Time::ZERO, b"x");
    }
    world.run().assert_all_hold();
    for rank in [1, 2] {
        let delivered = world.tally(p(rank), "trb", "Deliver").unwrap();
        assert_eq!(delivered.count, messages);
        let counted = world.counters(p(rank)).snapshot();
        assert!(counted.iter().all(|(_, _, count)| *count == 0));
    }
}

/// One process without a world around it.
struct Alone {
    trb: Terminating,
    ctx: Context<Event, Effect>,
}

impl Alone {
    /// p2 of three.
    fn new() -> Self {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        Alone {
            trb: Terminating::new(&world.host(p(2))),
            ctx: Context::new("trb".into(), 1, Counters::default()),
        }
    }

    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.trb.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn data(&mut self, from: usize, number: u64, payload: &'static [u8]) -> Vec<Effect> {
        let (from, payload) = (p(from), Bytes::from_static(payload));
        let message = Data { number, payload };
        self.upon(Event::BestEffort(best_effort::Deliver { from, message }))
    }

    fn decide(&mut self, source: usize, instance: u64, value: Bytes) -> Vec<Effect> {
        self.upon(Event::Decide(p(source), Decide { instance, value }))
    }

    fn held(&self) -> usize {
        let sources = self.trb.sources.values();
        sources.map(|source| source.instances.len()).sum()
    }
}

fn message(payload: &'static [u8]) -> Content {
    Content::Message(Bytes::from_static(payload))
}

#[test]
fn proposals_of_a_source_are_numbered_without_holes_and_nothing_is_remembered() {
    let mut alone = Alone::new();
    let crash = alone.upon(Event::Crash(perfect::Crash(p(3))));
    assert!(matches!(&crash[..], [Effect::Propose(q, Propose { instance: 1, .. })] if *q == p(3)));
    let end = alone.decide(3, 1, encode(&Content::SenderFaulty));
    assert!(matches!(&end[..], [Effect::Deliver(_)]), "{end:?}");
    for number in 1..=5000 {
        let effects = alone.data(1, number, b"x");
        let [Effect::Propose(source, request)] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!((*source, request.instance), (p(1), number));
        let effects = alone.decide(1, number, request.value.clone());
        assert!(matches!(&effects[..], [Effect::Deliver(_)]), "{effects:?}");
        assert!(alone.held() <= 1);
        assert!(alone.data(3, number + 1, b"late").is_empty());
    }
    assert_eq!(alone.trb.sources.len(), 2);
}

#[test]
fn a_decision_that_comes_before_the_proposal_is_proposed() {
    let mut alone = Alone::new();
    assert!(
        alone.decide(1, 2, encode(&message(b"b"))).is_empty(),
        "its turn has not come"
    );
    let effects = alone.decide(1, 1, encode(&message(b"a")));
    let numbers: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Propose(_, request) => ("propose", request.instance),
            Effect::Deliver(delivery) => ("deliver", delivery.number),
            Effect::BestEffort(_) | Effect::Link(_) => ("broadcast", 0),
        })
        .collect();
    let expected = [
        ("propose", 1),
        ("deliver", 1),
        ("propose", 2),
        ("deliver", 2),
    ];
    assert_eq!(numbers, expected);
}

#[test]
fn bad_input_is_counted_and_dropped() {
    let mut alone = Alone::new();
    for number in [0, 2 + INSTANCES_AHEAD, u64::MAX] {
        assert!(alone.data(1, number, b"x").is_empty());
        assert!(
            alone
                .decide(1, number, encode(&Content::SenderFaulty))
                .is_empty()
        );
    }
    for value in [&b""[..], &[FAULTY, 0], &[2, 3]] {
        assert!(alone.decide(1, 1, Bytes::from_static(value)).is_empty());
    }
    assert!(alone.data(9, 1, b"of nobody").is_empty());
    assert_eq!(alone.held(), 0);
}

#[test]
fn messages_from_the_wire_never_break_it() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire_somewhere(&world, p(1));
    for q in [p(2), p(3)] {
        let link: Addr<link::SendRequest<Data>> = world.links(q).at("trb").open(Addr::nowhere());
        for number in [0, 1, 1, u64::MAX] {
            let payload = Bytes::from_static(b"x");
            let send = link::SendRequest {
                to: To::One(p(1)),
                message: Data { number, payload },
            };
            world.request(q, Time::ZERO, &link, send);
        }
    }
    drop(ports);
    world.run();
    assert_eq!(world.counters(p(1)).total("message too far ahead"), 2);
}

/// The algorithm at one process alone, over a consensus that says nothing.
fn wire_somewhere(world: &World, q: ProcessId) -> Addr<Broadcast> {
    let (host, lane) = (world.host(q).at("trb"), world.links(q).at("trb").lane());
    let (detector, up) = (world.perfect(q, UNIT), world.application(q));
    let silent = |_, _: Addr<Decide>| Addr::nowhere();
    spawn(&host, lane, &world.links(q).status(), silent, &detector, up)
}

#[test]
fn whoever_is_delivered_as_faulty_broadcasts_nothing_more() {
    // Only a detector that errs brings a live process into this state.
    let mut alone = Alone::new();
    let request = |payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        Event::Broadcast(Broadcast { payload })
    };
    assert_eq!(alone.upon(request(b"a")).len(), 1);
    assert!(
        alone.upon(request(b"b")).is_empty(),
        "it waits for the first"
    );
    assert_eq!(alone.decide(2, 1, encode(&Content::SenderFaulty)).len(), 2);
    assert!(alone.upon(request(b"c")).is_empty());
    assert!(alone.trb.requested.is_empty());
}

#[test]
fn trb1_to_4_hold_in_every_schedule_with_a_crash() {
    let search = Exhaustive::new().crashes(1);
    let every = |n, senders: &[usize]| {
        let wire = |world: &World| wire(world, Duration::ZERO);
        let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
        all.assert_all_hold();
        all.executions
    };
    assert_eq!(every(2, &[1]), 39);
    assert_eq!(every(2, &[1, 2]), 1213);
    assert_eq!(every(3, &[1]), 19812);
}

#[test]
fn outcomes_survive_their_encoding() {
    for seed in 0..200 {
        let length = fold(seed, 1) % 5;
        let payload: Vec<u8> = (0..length).map(|i| (fold(seed, i) % 3) as u8).collect();
        let outcome = Content::Message(Bytes::from(payload));
        assert_eq!(decode(&encode(&outcome)), Ok(outcome));
    }
    let faulty = Content::SenderFaulty;
    assert_eq!(decode(&encode(&faulty)), Ok(faulty));
}
