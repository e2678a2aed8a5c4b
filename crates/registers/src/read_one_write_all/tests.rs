use super::*;
use crate::testing::{
    Script, after, at, cost, mistaken, operate, p, read, reported_after, turbulent, wire, write,
};
use quorate_core::{Context, Counters, Time};
use quorate_sim::{
    Crash, Exhaustive, Report, SimHost, Timed, UNIT, Verdict, World, properties,
    properties::Properties,
};

fn regular(world: &World) -> Properties {
    let all = world.membership().set();
    properties::regular_register(world.membership(), "register", all)
}

fn by_p1(host: &SimHost) -> ReadOneWriteAll {
    ReadOneWriteAll::new(host, p(1))
}

#[test]
fn costs_are_what_the_header_says() {
    let detect = reported_after(1);
    for n in 1..=8_u64 {
        let pay = |request| cost(n as usize, &detect, regular, by_p1, request, None);
        assert_eq!(pay(read(1)), (0, 0), "read, n = {n}");
        let steps = if n > 1 { 2 } else { 0 };
        assert_eq!(pay(write(1, 1)), (2 * (n - 1), steps), "write, n = {n}");
    }
    for (n, d) in (3..=8_u64).flat_map(|n| [1, 3, 5].map(|d| (n, d))) {
        let detect = reported_after(d);
        let paid = cost(
            n as usize,
            &detect,
            regular,
            by_p1,
            write(1, 1),
            Some(n as usize),
        );
        assert_eq!(paid, (2 * n - 3, u64::from(d).max(2)), "n = {n}, D = {d}");
    }
}

#[test]
fn every_property_holds_wherever_processes_crash() {
    for seed in 0..400 {
        let mut world = turbulent(seed, |world| world.membership().n() - 1);
        let properties = regular(&world);
        let detect =
            |world: &World, q: ProcessId| Some(world.perfect(q, UNIT * (1 + q.rank() as u32 % 3)));
        operate(&world, seed, Some(p(1)), &detect, properties, by_p1);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

#[test]
fn every_schedule_is_right() {
    for n in [2, 3] {
        let build = || {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let doors = wire(&world, &reported_after(0), regular(&world), by_p1);
            world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
            world.request(p(2), Time::ZERO, &doors[1], read(1));
            world.request(p(n), Time::ZERO, &doors[n - 1], read(2));
            world
        };
        let found = Exhaustive::new().real_time().crashes(1).explore(build);
        assert!(found.found.is_none() && found.complete, "{found}");
    }
}

/// Who was reported is back when the next write begins; and acknowledgements count for whatever is under
/// way, as published, or carry the number of their request.
struct Restored {
    own: ReadOneWriteAll,
    anonymous: bool,
}

impl Algorithm for Restored {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, mut event: Event, ctx: &mut Ctx<Self>) {
        if matches!(event, Event::Request(_)) {
            self.own.correct = self.own.processes.set();
        }
        if let Event::Link(Deliver { message, .. }) = &mut event
            && self.anonymous
            && message.content == Content::Acknowledge
            && let Some(request) = self.own.operations.requests().first()
        {
            message.request = *request;
        }
        self.own.upon(event, ctx);
    }
}

/// p1 writes, and suspects p2, whose acknowledgement is late; then p1 writes again, which p2 gets later
/// still; and p2 reads before that.
fn acknowledged_late(anonymous: bool) -> Report {
    let adversary = Script::default().way(1, 2, &[1, 30]).way(2, 1, &[10]);
    let mut world = World::new(2, 1, adversary).unwrap();
    let make = |host: &SimHost| Restored {
        own: by_p1(host),
        anonymous,
    };
    let doors = wire(&world, &mistaken(2, at(2), at(4)), regular(&world), make);
    world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
    world.request(p(1), at(5), &doors[0], write(1, 2));
    world.request(p(2), at(20), &doors[1], read(1));
    world.run()
}

#[test]
fn e1_e1_an_acknowledgement_without_a_number_ends_the_next_write() {
    let report = acknowledged_late(true);
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    acknowledged_late(false).assert_all_hold();
}

#[test]
fn e1_e4_the_new_value_and_then_the_old_one_is_not_atomic() {
    let world = World::new(3, 1, Script::default().way(1, 3, &[20])).unwrap();
    let all = world.membership().set();
    world.check(properties::atomic_register(
        world.membership(),
        "register",
        all,
    ));
    let doors = wire(&world, &reported_after(1), regular(&world), by_p1);
    world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
    world.request(p(2), at(3), &doors[1], read(1));
    world.request(p(3), at(5), &doors[2], read(1));
    let report = world.go_on_after_violation().run();
    assert!(matches!(
        report.verdict("ONAR3"),
        Some(Verdict::Violated(_))
    ));
    assert_eq!(report.verdict("ONRR2"), Some(&Verdict::Holds));
}

#[test]
fn e1_e2_and_e1_e3_a_report_ends_a_write_and_nothing_where_none_is_under_way() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let doors = wire(&world, &reported_after(7), regular(&world), by_p1);
    world.crash(p(3), Crash::at(after(0)));
    world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
    world.run().assert_all_hold();
    assert_eq!(
        world.tally(p(1), "register", "WriteReturn").unwrap().count,
        1
    );

    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    let mut ctx = Context::new("register".into(), 1, Counters::default());
    for q in 1..=3 {
        p1.upon(Event::Crash(perfect::Crash(p(q))), &mut ctx);
    }
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn e1_e5_a_write_that_does_not_come_from_the_writer_is_dropped() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let counters = Counters::default();
    let mut p2 = by_p1(&world.host(p(2)));
    let mut ctx = Context::new("register".into(), 1, counters.clone());
    let content = Content::Write {
        register: crate::testing::X,
        held: Held {
            tag: Tag {
                timestamp: 9,
                writer: Some(p(1)),
            },
            value: Some(Bytes::new()),
        },
    };
    let message = Message {
        request: 1,
        content,
    };
    let from = p(3);
    p2.upon(Event::Link(Deliver { from, message }), &mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    assert!(effects.is_empty());
    let counted = counters.snapshot();
    assert!(
        counted
            .iter()
            .any(|(_, reason, count)| *reason == "not from the writer" && *count == 1)
    );
}
