use super::*;
use crate::{
    exchange::{Effect, Event},
    message::Content,
    operations::Phase,
    testing::{
        Latencies, REPORTED_UNEVENLY, X, after, assert_holds_in_turbulence, at, cost, mistaken, p,
        reaction, read, refusal, reported_after, wire, write,
    },
};
use quorate_abstractions::{
    link::Deliver,
    register::{Refusal, Tag},
};
use quorate_core::{Algorithm, Context, Counters, Ctx, ProcessSet, Time};
use quorate_sim::{
    Crash, Exhaustive, Report, SimHost, Timed, UNIT, Verdict, World, properties,
    properties::Properties,
};

fn regular(world: &World) -> Properties {
    let all = world.membership().set();
    let mut properties = properties::regular_register("register", all);
    properties.extend(properties::ordered_for_one_reader("register", all));
    properties
}

fn by_p1(host: &SimHost) -> Phases<ReadOneWriteAll> {
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
    let all_but_one = |world: &World| world.membership().n() - 1;
    assert_holds_in_turbulence(all_but_one, Some(p(1)), REPORTED_UNEVENLY, regular, by_p1);
}

#[test]
fn every_schedule_is_right() {
    for n in [2, 3] {
        let build = || {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let ports = wire(&world, &reported_after(0), regular(&world), by_p1);
            world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
            world.request(p(2), Time::ZERO, &ports[1], read(1));
            world.request(p(n), Time::ZERO, &ports[n - 1], read(2));
            world
        };
        let found = Exhaustive::new().real_time().crashes(1).explore(build);
        assert!(found.found.is_none() && found.complete, "{found}");
    }
}

/// A process that was reported is back when the next write begins; acknowledgements count for the write in
/// flight, as published, or carry the number of their request.
struct Restored {
    own: Phases<ReadOneWriteAll>,
    anonymous: bool,
}

impl Algorithm for Restored {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, mut event: Event, ctx: &mut Ctx<Self>) {
        if matches!(event, Event::Request(_)) {
            *self.own.correct() = self.own.processes().set();
        }
        if let Event::Link(Deliver { message, .. }) = &mut event
            && self.anonymous
            && message.content == Content::Acknowledge
            && let Some(request) = self.own.operations().requests().first()
        {
            message.request = *request;
        }
        self.own.upon(event, ctx);
    }
}

/// p1 writes, and suspects p2, whose acknowledgement is late; then p1 writes again, which p2 gets even later;
/// and p2 reads before that.
fn acknowledged_late(anonymous: bool) -> Report {
    let adversary = Latencies::default().way(1, 2, &[1, 30]).way(2, 1, &[10]);
    let mut world = World::new(2, 1, adversary).unwrap();
    let make = |host: &SimHost| Restored {
        own: by_p1(host),
        anonymous,
    };
    let ports = wire(&world, &mistaken(2, at(2), at(4)), regular(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(1), at(5), &ports[0], write(1, 2));
    world.request(p(2), at(20), &ports[1], read(1));
    world.run()
}

#[test]
fn e1_e1_an_acknowledgement_without_a_number_ends_the_next_write() {
    let report = acknowledged_late(true);
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    acknowledged_late(false).assert_all_hold();
}

/// p1's write reaches p2 soon and p3 late. These processes read, one after the other, before it has reached p3.
fn reads_during_a_write(readers: &[usize]) -> Report {
    let world = World::new(3, 1, Latencies::default().way(1, 3, &[20])).unwrap();
    let all = world.membership().set();
    world.check(properties::atomic_register("register", all));
    world.check(properties::ordered_for_one_reader("register", all));
    let ports = wire(&world, &reported_after(1), regular(&world), by_p1);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    for (number, reader) in (1..).zip(readers) {
        let at = at(3 + 2 * number as u32);
        world.request(p(*reader), at, &ports[reader - 1], read(number));
    }
    world.go_on_after_violation().run()
}

#[test]
fn e1_e4_with_one_reader_it_is_atomic() {
    for reader in [2, 3] {
        reads_during_a_write(&[reader; 4]).assert_all_hold();
    }
}

#[test]
fn e1_e4_with_two_readers_the_new_value_and_then_the_old_one_is_not_atomic() {
    let report = reads_during_a_write(&[2, 3]);
    assert!(matches!(
        report.verdict("ONAR3"),
        Some(Verdict::Violated(_))
    ));
    // Each of the two by itself sees an atomic register, in the same run.
    assert_eq!(report.verdict("OOAR3"), Some(&Verdict::Holds));
    assert_eq!(report.verdict("ONRR2"), Some(&Verdict::Holds));
}

#[test]
fn e1_e2_and_e1_e3_a_report_ends_a_write_and_nothing_where_none_is_in_flight() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(7), regular(&world), by_p1);
    world.crash(p(3), Crash::at(after(0)));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
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
        register: X,
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

/// A crashed process is removed from the set, but the rule to return is not checked then (E1-E2).
struct Deaf(Phases<ReadOneWriteAll>);

impl Algorithm for Deaf {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Crash(perfect::Crash(q)) => drop(self.0.correct().remove(q)),
            Event::Request(_) | Event::Link(_) | Event::Status(_) => self.0.upon(event, ctx),
        }
    }
}

/// The rule to return does not check whether a write is in flight (E1-E3).
struct Unguarded {
    own: Phases<ReadOneWriteAll>,
    /// The indication with which the last write returns.
    last: Option<Indication>,
    stored: ProcessSet,
}

impl Unguarded {
    fn new(host: &SimHost) -> Self {
        Unguarded {
            own: by_p1(host),
            last: None,
            stored: ProcessSet::EMPTY,
        }
    }
}

impl Algorithm for Unguarded {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(Deliver { from, message }) = &event
            && message.content == Content::Acknowledge
            && let Some(operation) = self.own.operations().of(message.request)
            && let Phase::Imposing { outcome, .. } = &operation.phase
        {
            self.stored.insert(*from);
            self.last = Some(Indication {
                register: operation.register.clone(),
                operation: operation.number,
                outcome: outcome.clone(),
            });
        }
        let is_report = matches!(event, Event::Crash(_));
        self.own.upon(event, ctx);
        let is_idle = self.own.operations().requests().is_empty();
        if let Some(indication) = &self.last
            && is_report
            && is_idle
            && self.own.correct().is_subset(self.stored)
        {
            ctx.trigger(Effect::Indication(indication.clone()));
        }
    }
}

/// p1 of three writes, and p3 crashes this many half steps later; P reports it after three more steps.
fn a_reader_crashes<A: Algorithm<Event = Event, Effect = Effect>>(
    half_steps: u32,
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(3), regular(&world), make);
    world.crash(p(3), Crash::at(Time::ZERO + UNIT / 2 * half_steps));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.run()
}

#[test]
fn e1_e2_a_rule_that_is_not_looked_at_when_a_crash_is_reported_blocks() {
    let report = a_reader_crashes(1, |host| Deaf(by_p1(host)));
    assert_eq!(report.violation().unwrap().tag, "ONRR1");
    a_reader_crashes(1, by_p1).assert_all_hold();
}

#[test]
fn e1_e3_a_rule_that_does_not_ask_for_a_write_returns_one_twice() {
    let report = a_reader_crashes(7, Unguarded::new);
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    a_reader_crashes(7, by_p1).assert_all_hold();
}

/// Everybody writes, and writes from everybody are accepted (E1-E5).
struct TakenFromAnybody(Phases<ReadOneWriteAll>);

impl Algorithm for TakenFromAnybody {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match &event {
            Event::Request(_) => *self.0.writer() = None,
            Event::Link(Deliver { from, .. }) => *self.0.writer() = Some(*from),
            Event::Crash(_) | Event::Status(_) => {}
        }
        self.0.upon(event, ctx);
    }
}

/// p3 writes, then p1, and p2 reads.
fn two_writers<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(1), regular(&world), make);
    world.request(p(3), Time::ZERO, &ports[2], write(3, 1));
    world.request(p(1), at(5), &ports[0], write(1, 1));
    world.request(p(2), at(10), &ports[1], read(1));
    world.run()
}

#[test]
fn e1_e5_a_write_of_another_hides_those_of_the_writer() {
    let report = two_writers(|host| TakenFromAnybody(by_p1(host)));
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    two_writers(by_p1).assert_all_hold();
}

#[test]
fn timestamps_that_are_used_up_are_said_so() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    p1.rules().written.use_up(X);
    let effects = reaction(&mut p1, Event::Request(write(1, 1)));
    assert_eq!(refusal(&effects), Some(Refusal::Exhausted));
}
