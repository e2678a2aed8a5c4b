use super::*;
use crate::testing::*;
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Incarnation, MessageId, Time, message::Origin};
use quorate_sim::{Crash, Exhaustive, Lose, Report, SimHost, Timed, World, properties};
use std::collections::BTreeSet;

const P1: usize = 1;

/// This algorithm at every process.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    algorithm: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Broadcast>> {
    world.check(properties::reliable(world.membership(), "rb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("rb"), world.links(q).at("rb").lane());
        let (below, up) = (crate::best_effort::over(lane), world.application(q));
        spawn_as(&host, algorithm(&host), below, up)
    };
    world.processes().map(spawn_at).collect()
}

fn request(world: &World, ports: &[Addr<Broadcast>], rank: usize) {
    let payload = Bytes::from_static(b"m");
    world.request(p(rank), Time::ZERO, &ports[rank - 1], Broadcast { payload });
}

/// One broadcast by p1 in a world of `n` in which one process crashes as given.
fn run(n: usize, crash: Option<(usize, Crash)>) -> Report {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let ports = wire(&world, Eager::new);
    request(&world, &ports, P1);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    report
}

#[test]
fn rb1_to_4_hold_whoever_crashes() {
    for seed in 0..1000 {
        let mut world = turbulent_world(seed, all_but_one);
        let ports = wire(&world, Eager::new);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

/// Messages are known by content (GE1).
struct ByContent {
    inner: Eager,
    delivered: BTreeSet<Bytes>,
}

impl Algorithm for ByContent {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let is_new = match &event {
            Event::Broadcast(_) => true,
            Event::BestEffort(best_effort::Deliver { message, .. }) => {
                self.delivered.insert(message.payload.clone())
            }
        };
        if is_new {
            self.inner.upon(event, ctx);
        }
    }
}

#[test]
fn rb1_is_broken_by_deliveries_known_by_content() {
    // A process takes the second of two equal payloads for the first: two processes broadcast it, or one does
    // so twice.
    for senders in [[1, 2], [1, 1]] {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, |host| ByContent {
            inner: Eager::new(host),
            delivered: BTreeSet::new(),
        });
        for rank in senders {
            request(&world, &ports, rank);
        }
        assert_violates(&world.run(), "RB1");

        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, Eager::new);
        for rank in senders {
            request(&world, &ports, rank);
        }
        world.run().assert_all_hold();
    }
}

#[test]
fn rb3_no_creation_impossible_identifiers_are_counted_and_dropped() {
    use quorate_abstractions::link::{SendRequest, To};
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let (host, lane) = (world.host(p(1)).at("rb"), world.links(p(1)).at("rb").lane());
    let below = crate::best_effort::over(lane);
    spawn(&host, below, world.application(p(1)));
    let link: Addr<SendRequest<Data>> = world.links(p(2)).at("rb").open(Addr::nowhere());
    for (rank, sequence) in [(1, 1), (9, 1), (2, 0)] {
        let origin = Origin {
            process: p(rank),
            incarnation: Incarnation(rank as u64),
        };
        let id = MessageId { origin, sequence };
        let payload = Bytes::new();
        let (to, message) = (To::One(p(1)), Data { id, payload });
        world.request(p(2), Time::ZERO, &link, SendRequest { to, message });
    }
    world.run();
    assert_eq!(world.counters(p(1)).total("impossible identifier"), 3);
    assert!(world.tally(p(1), "rb", "Deliver").is_none());
}

#[test]
fn rb4_agreement_whoever_of_the_sender_crashes() {
    for n in 2..=6 {
        for k in 1..2 * n as u64 {
            run(n, Some((P1, Crash::before_output(k))));
            run(
                n,
                Some((P1, Crash::before_output(k).losing(Lose::Everything))),
            );
        }
    }
}

#[test]
fn costs_with_a_crash_are_what_the_header_says() {
    for n in 2..=8_usize {
        let others = n as u64 - 1;
        let dead = run(n, Some((n, Crash::at(Time::ZERO))));
        let expected = if n == 2 { 1 } else { others * others };
        assert_eq!(
            dead.counts.messages, expected,
            "another process is dead, n = {n}"
        );
        for k in 1..=others {
            let cut_short = run(n, Some((P1, Crash::before_output(k + 1))));
            assert_eq!(
                cut_short.counts.messages,
                k + others * others,
                "n = {n}, k = {k}"
            );
        }
    }
}

#[test]
fn rb1_to_4_hold_in_every_schedule_with_a_crash() {
    let search = Exhaustive::new().crashes(1);
    let every = |n, senders: &[usize]| {
        let wire = |world: &World| wire(world, Eager::new);
        let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
        all.assert_all_hold();
        all.executions
    };
    assert_eq!(every(2, &[1]), 12);
    assert_eq!(every(3, &[1]), 145);
    assert_eq!(every(2, &[1, 2]), 113);
}
