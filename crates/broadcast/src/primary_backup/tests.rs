use super::*;
use crate::testing::*;
use quorate_abstractions::{Subscribe, link::Links};
use quorate_core::{Addr, Context, Counters, Time, wire};
use quorate_sim::{Crash, Exhaustive, Lose, Oracle, Report, Timed, UNIT, World, properties};

/// The algorithm with these rules at every process, over a detector of its own.
fn wire_as(
    world: &World,
    rules: Rules,
    detect: impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash>,
) -> Vec<Addr<Broadcast>> {
    world.check(properties::total_order(world.membership(), "tob"));
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("tob"), world.links(q).at("tob"));
        let (detector, up) = (detect(world, q), world.application(q));
        spawn_mutant(&host, rules, links.lane(), &links.status(), &detector, up)
    };
    world.processes().map(spawn_at).collect()
}

/// The algorithm, to which crashes are reported after so many steps.
fn wire_after(world: &World, steps: u32) -> Vec<Addr<Broadcast>> {
    wire_as(world, Rules::ALL, |world, q| world.perfect(q, UNIT * steps))
}

fn request(world: &World, ports: &[Addr<Broadcast>], rank: usize, time: Time) {
    let payload = Bytes::from_static(b"x");
    world.request(p(rank), time, &ports[rank - 1], Broadcast { payload });
}

/// The times of the first delivery at each process, in steps.
fn steps(world: &World) -> Vec<Option<u64>> {
    let first = |q| {
        let tally = world.tally(q, "tob", "Deliver")?;
        Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
    };
    world.processes().map(first).collect()
}

/// One broadcast in lock step; crashes are reported `detection` steps later.
fn run(n: usize, by: usize, detection: u32, crash: Option<(usize, Crash)>) -> (Report, World) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire_after(&world, detection);
    request(&world, &ports, by, Time::ZERO);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (report, world)
}

#[test]
fn costs_without_failures_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let (report, world) = run(n as usize, 1, 1, None);
        assert_eq!(report.counts.messages, 3 * (n - 1), "n = {n}");
        let expected = |rank| Some(if n == 1 { 0 } else { 2 + u64::from(rank > 1) });
        let expected: Vec<_> = (1..=n).map(expected).collect();
        assert_eq!(steps(&world), expected, "n = {n}");
        for by in 2..=n {
            let (report, world) = run(n as usize, by as usize, 1, None);
            assert_eq!(report.counts.messages, 3 * (n - 1) + 1, "n = {n}, p{by}");
            assert_eq!(steps(&world)[n as usize - 1], Some(4), "n = {n}, p{by}");
        }
    }
}

#[test]
fn costs_with_the_last_process_dead_are_what_the_header_says() {
    for (n, d) in (3..=8_u64).flat_map(|n| [1, 2, 3, 5].map(|d| (n, d))) {
        let dead = (n as usize, Crash::at(Time::ZERO));
        let (report, world) = run(n as usize, 1, d, Some(dead));
        assert_eq!(report.counts.messages, 3 * n - 5, "n = {n}, D = {d}");
        let last = steps(&world).into_iter().flatten().max();
        assert_eq!(last, Some(u64::from(d.max(2)) + 1), "n = {n}, D = {d}");
    }
}

#[test]
fn costs_with_the_primary_crashing_are_what_the_header_says() {
    for (n, k) in (2..=8_u64).flat_map(|n| (1..n).map(move |k| (n, k))) {
        for d in [1, 3, 5] {
            let crash = Crash::before_output(k + 1);
            let (report, world) = run(n as usize, 1, d, Some((1, crash)));
            let expected = 2 * k + 4 * (n - 2);
            assert_eq!(
                report.counts.messages, expected,
                "n = {n}, k = {k}, D = {d}"
            );
            assert!(
                steps(&world)[1..].iter().all(Option::is_some),
                "n = {n}, k = {k}"
            );
        }
    }
}

/// The positive half of the impossibility for two servers: where they only crash, one may.
#[test]
fn h1_two_processes_of_which_one_may_crash_are_right_in_every_schedule() {
    for senders in [&[1][..], &[2], &[1, 2]] {
        let search = Exhaustive::new().crashes(1);
        let wire = |world: &World| wire_after(world, 0);
        let found = explore(&search, 2, senders, wire, |payload| Broadcast { payload });
        assert!(
            found.found.is_none() && found.complete,
            "{senders:?}: {found}"
        );
    }
}

#[test]
fn every_schedule_of_three_processes_is_right_as_deep_as_is_looked() {
    for sender in [1, 3] {
        let search = Exhaustive::new().crashes(2).depth(8);
        let wire = |world: &World| wire_after(world, 0);
        let found = explore(&search, 3, &[sender], wire, |payload| Broadcast { payload });
        assert!(found.found.is_none(), "p{sender}: {found}");
    }
}

#[test]
fn tob1_to_5_hold_whoever_crashes() {
    for seed in 0..1000 {
        let mut world = turbulent_world(seed, all_but_one);
        let detect = |world: &World, q: ProcessId| {
            world.perfect(q, UNIT * ((seed as u32 + q.rank() as u32) % 4))
        };
        let ports = wire_as(&world, Rules::ALL, detect);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn tob4_uniform_agreement_wherever_the_primary_crashes() {
    for n in 2..=6 {
        for output in 1..=4 * n as u64 {
            for lose in [Lose::Nothing, Lose::Each(0.5), Lose::Everything] {
                for by in [1, n] {
                    let crash = Crash::before_output(output).losing(lose);
                    run(n, by, 2, Some((1, crash)));
                }
            }
        }
    }
}

/// p1, the primary, has sent both entries (outputs 2 and 3) and crashes with the copies that are in flight. The
/// mutant has delivered by then.
#[test]
fn tob4_is_broken_by_a_primary_that_does_not_wait_for_its_backups() {
    let run = |rules| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire_as(&world, rules, |world, q| world.perfect(q, UNIT));
        request(&world, &ports, 1, Time::ZERO);
        let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
        world.crash(p(1), crash);
        world.run()
    };
    assert_violates(&run(Rules::ANSWERS_AT_ONCE), "TOB4");
    run(Rules::ALL).assert_all_hold();
}

/// p1 crashes when p2 alone has its entry, which p3 has requested.
fn entry_at_one_backup(rules: Rules) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire_as(&world, rules, |world, q| world.perfect(q, UNIT * 2));
    request(&world, &ports, 3, Time::ZERO);
    world.crash(p(1), Crash::before_output(2));
    world.run()
}

#[test]
fn l9_a_backup_that_takes_over_first_sends_its_log_again() {
    assert_violates(&entry_at_one_backup(Rules::KEEPS_ITS_LOG), "TOB1");
    entry_at_one_backup(Rules::ALL).assert_all_hold();
}

#[test]
fn l9_a_request_that_is_repeated_is_ordered_once() {
    assert_violates(&entry_at_one_backup(Rules::ORDERS_AGAIN), "TOB2");
    entry_at_one_backup(Rules::ALL).assert_all_hold();
}

#[test]
fn a_detector_that_is_deaf_stops_it_and_one_that_errs_makes_two_primaries() {
    let deaf = |crash: bool| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire_as(&world, Rules::ALL, |_, _| Addr::nowhere());
        request(&world, &ports, 2, Time::ZERO);
        if crash {
            world.crash(p(1), Crash::at(Time::ZERO));
        }
        world.run()
    };
    assert_violates(&deaf(true), "TOB1");
    deaf(false).assert_all_hold();
    let later = Time::ZERO + UNIT;
    let oracle = Oracle::accurate(UNIT);
    let oracle = oracle.suspecting(p(1), p(2), Time::ZERO, later);
    let oracle = oracle.suspecting(p(2), p(1), Time::ZERO, later);
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire_as(&world, Rules::ALL, |world, q| {
        let suspicions = world.eventually_perfect(q, &oracle);
        suspicions.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                quorate_abstractions::eventually_perfect::Indication::Suspect(q) => {
                    up.send(perfect::Crash(q));
                }
                quorate_abstractions::eventually_perfect::Indication::Restore(_) => {}
            })
        })
    });
    for rank in [1, 2] {
        request(&world, &ports, rank, Time::ZERO + UNIT * 3);
    }
    let report = world.run();
    assert_violates(&report, "TOB5");
}

/// p2 takes over with the log of p1, in which an entry of p1 is that p3 alone holds: p3 forgets it.
#[test]
fn tob5_what_a_backup_holds_and_the_next_primary_lacks_is_replaced() {
    let late = Latencies::default().way(1, 2, &[9, 9, 9]);
    let mut world = World::new(3, 1, late).unwrap();
    let ports = wire_after(&world, 1);
    request(&world, &ports, 1, Time::ZERO);
    request(&world, &ports, 2, Time::ZERO + UNIT * 4);
    world.crash(p(1), Crash::at(Time::ZERO + UNIT * 2));
    let report = world.run();
    report.assert_all_hold();
    for rank in [2, 3] {
        let delivered = world.tally(p(rank), "tob", "Deliver").unwrap().count;
        assert_eq!(delivered, 1, "p{rank} delivers the broadcast of p2 alone");
    }
    assert_eq!(
        world.counters(p(2)).total("not a primary of this process"),
        0
    );
    assert_eq!(
        world.counters(p(2)).total("message of an earlier primary"),
        1
    );
}

#[test]
fn what_is_delivered_everywhere_is_forgotten() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire_after(&world, 1);
    for i in 0..2000_u32 {
        for rank in 1..=3 {
            request(&world, &ports, rank, Time::ZERO + UNIT / 4 * i);
        }
    }
    let report = world.run();
    report.assert_all_hold();
    let delivered = |q| world.tally(q, "tob", "Deliver").map(|tally| tally.count);
    assert!(world.processes().all(|q| delivered(q) == Some(6000)));
}

/// A process of n, alone: `upon` returns its effects.
fn alone(rank: usize, n: usize) -> (PrimaryBackup, Context<Event, Effect>, Counters) {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let counters = Counters::default();
    let ctx = Context::new("tob".into(), 1, counters.clone());
    (
        PrimaryBackup::new(&world.host(p(rank)), Rules::ALL),
        ctx,
        counters,
    )
}

fn hear(from: usize, message: Message) -> Event {
    let from = p(from);
    Event::Link(link::Deliver { from, message })
}

fn upon(
    (process, ctx, _): &mut (PrimaryBackup, Context<Event, Effect>, Counters),
    event: Event,
) -> Vec<Effect> {
    process.upon(event, ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    effects
}

const fn of(first: u64, last: u64) -> Inherited {
    Inherited { first, last }
}

/// What the first primary has at the start.
const FRESH: Inherited = of(1, 0);

fn entry(inherited: Inherited, place: u64, data: Data) -> Message {
    Message::Entry {
        inherited,
        place,
        data,
    }
}

fn stable(inherited: Inherited, upto: u64) -> Message {
    Message::Stable { inherited, upto }
}

/// The messages and the deliveries, in short: the place that is confirmed, or the number that is delivered.
fn brief(effects: &[Effect]) -> Vec<(&'static str, u64)> {
    let brief = |effect: &Effect| match effect {
        Effect::Deliver(deliver) => ("deliver", deliver.first),
        Effect::Link(link::SendRequest { message, .. }) => match message {
            Message::Request(data) => ("request", data.id.sequence),
            Message::Entry { place, .. } => ("entry", *place),
            Message::Held { upto } => ("held", *upto),
            Message::Stable { upto, .. } => ("stable", *upto),
        },
    };
    effects.iter().map(brief).collect()
}

/// All held the first two entries. p1 crashed, p2 took over with them and crashed when it had sent the second
/// alone; p3 had delivered both.
#[test]
fn what_everybody_held_is_kept_when_the_next_primary_crashes_before_it_has_sent_it_all() {
    let mut p4 = alone(4, 4);
    for place in [1, 2] {
        let effects = upon(&mut p4, hear(1, entry(FRESH, place, data(3, place))));
        assert_eq!(brief(&effects), [("held", place)]);
    }
    // Until the first entry comes, too, p4 confirms nothing to p2.
    assert!(upon(&mut p4, hear(2, stable(of(1, 2), 0))).is_empty());
    assert!(upon(&mut p4, hear(2, entry(of(1, 2), 2, data(3, 2)))).is_empty());
    assert!(
        upon(&mut p4, hear(1, stable(FRESH, 2))).is_empty(),
        "p1 is over"
    );
    let effects = upon(&mut p4, hear(3, stable(of(3, 2), 2)));
    assert_eq!(
        brief(&effects),
        [("held", 2), ("deliver", 1), ("deliver", 2)]
    );
    assert!(upon(&mut p4, hear(2, entry(of(1, 2), 1, data(3, 1)))).is_empty());
}

#[test]
fn a_backup_replaces_its_log_once_it_has_all_that_the_new_primary_inherited() {
    let mut p3 = alone(3, 3);
    upon(&mut p3, hear(1, entry(FRESH, 1, data(1, 1))));
    upon(&mut p3, hear(1, entry(FRESH, 2, data(1, 2))));
    // An entry that is not inherited may come first.
    assert!(upon(&mut p3, hear(2, entry(of(1, 1), 2, data(2, 1)))).is_empty());
    let effects = upon(&mut p3, hear(2, entry(of(1, 1), 1, data(1, 1))));
    assert_eq!(brief(&effects), [("held", 2)]);
    assert_eq!(p3.0.log[&2], data(2, 1));
    let effects = upon(&mut p3, hear(2, stable(of(1, 1), 2)));
    assert_eq!(brief(&effects), [("deliver", 1), ("deliver", 1)]);
}

/// p1 has crashed, and p2 has taken over with an entry of p1 that p3 lacked. The confirmation of p3 falls into a gap,
/// before p1 is reported to p3.
#[test]
fn tob1_a_backup_confirms_again_to_a_primary_that_it_was_not_told_of() {
    let begun = |rank| Event::Status(link::Status::Begun { peer: p(rank) });
    let mut p3 = alone(3, 3);
    upon(
        &mut p3,
        Event::Broadcast(Broadcast {
            payload: Bytes::new(),
        }),
    );
    let effects = upon(&mut p3, hear(2, entry(of(1, 1), 1, data(1, 1))));
    assert_eq!(brief(&effects), [("held", 1)]);
    let effects = upon(&mut p3, begun(2));
    assert_eq!(brief(&effects), [("held", 1)]);
    // To p1, which P has not reported, it still requests.
    assert_eq!(brief(&upon(&mut p3, begun(1))), [("request", 1)]);
    let effects = upon(&mut p3, Event::Crash(perfect::Crash(p(1))));
    assert_eq!(brief(&effects), [("request", 1)]);
    assert_eq!(
        brief(&upon(&mut p3, begun(2))),
        [("request", 1), ("held", 1)]
    );
}

#[test]
fn what_cannot_be_is_counted_and_dropped() {
    let mut p2 = alone(2, 3);
    let dropped = [
        hear(3, entry(FRESH, 1, data(3, 1))),
        hear(2, stable(FRESH, 9)),
        hear(1, entry(FRESH, 1 << 40, data(3, 1))),
        hear(1, entry(FRESH, 1, data(2, 1))),
        hear(1, entry(FRESH, 1, data(9, 1))),
        hear(3, Message::Request(data(1, 1))),
        hear(3, Message::Request(data(3, 0))),
        hear(3, Message::Request(data(3, 2 + WINDOW))),
        hear(3, Message::Held { upto: 1 << 40 }),
        hear(1, stable(of(0, u64::MAX), u64::MAX)),
    ];
    for event in dropped {
        let effects = upon(&mut p2, event);
        assert!(effects.is_empty(), "{effects:?}");
    }
    assert!(p2.0.log.is_empty() && p2.0.early.is_empty());
    for (reason, count) in [
        ("not a primary of this process", 2),
        ("place too far ahead", 1),
        ("impossible identifier", 4),
        ("identifier too far ahead", 1),
        ("confirmation for a primary", 1),
    ] {
        assert_eq!(p2.2.total(reason), count, "{reason}");
    }
    // The primary confirms nothing that it has not sent.
    let mut p1 = alone(1, 3);
    assert!(upon(&mut p1, hear(2, Message::Held { upto: 1 << 40 })).is_empty());
    assert!(upon(&mut p1, hear(3, Message::Held { upto: 1 << 40 })).is_empty());
    assert_eq!(p1.0.delivered, 0);
}

#[test]
fn requests_of_an_origin_are_ordered_in_their_order_and_once() {
    let mut p1 = alone(1, 3);
    assert!(upon(&mut p1, hear(2, Message::Request(data(2, 2)))).is_empty());
    let appended = upon(&mut p1, hear(2, Message::Request(data(2, 1))));
    let places = appended.iter().filter_map(|effect| match effect {
        Effect::Link(link::SendRequest {
            message: Message::Entry { place, data, .. },
            ..
        }) => Some((*place, data.id.sequence)),
        _ => None,
    });
    assert!(places.eq([(1, 1), (2, 2)]), "{appended:?}");
    assert!(upon(&mut p1, hear(2, Message::Request(data(2, 1)))).is_empty());
    assert!(p1.0.early.is_empty() && p1.0.queue.is_empty());
}

#[test]
fn the_primary_has_so_many_entries_in_flight_and_the_rest_waits() {
    let mut p1 = alone(1, 3);
    for sequence in 1..=ENTRIES as u64 + 5 {
        upon(&mut p1, hear(2, Message::Request(data(2, sequence))));
    }
    assert_eq!((p1.0.log.len(), p1.0.queue.len()), (ENTRIES, 5));
    for from in [2, 3] {
        upon(&mut p1, hear(from, Message::Held { upto: 7 }));
    }
    assert_eq!(
        (p1.0.delivered, p1.0.log.len(), p1.0.queue.len()),
        (7, ENTRIES - 2, 0)
    );
}

#[test]
fn messages_survive_the_wire() {
    use quorate_core::wire::Wire;
    let messages = [
        Message::Request(data(2, 7)),
        entry(of(3, 2), 300, data(2, 7)),
        Message::Held { upto: 300 },
        stable(of(3, 9), 300),
    ];
    for message in messages {
        assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
    }
    assert!(Message::decode(Bytes::from_static(&[9])).is_err());
}
