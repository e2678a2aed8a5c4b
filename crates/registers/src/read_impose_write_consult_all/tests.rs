use super::*;
use crate::{
    exchange::{Effect, Event},
    message::Content,
    multi_writer::MultiWriter,
    operations::Phase,
    testing::{
        Latencies, REPORTED_UNEVENLY, after, assert_holds_in_every_schedule,
        assert_holds_in_turbulence, at, blind, cost, p, read, reported_after, returned, wire,
        write,
    },
};
use quorate_abstractions::link::Deliver;
use quorate_core::{Algorithm, Ctx, Time};
use quorate_sim::{Crash, Report, SimHost, Timed, World, properties, properties::Properties};

fn atomic(world: &World) -> Properties {
    let all = world.membership().set();
    properties::shared_register("register", all)
}

type Own = ReadImposeWriteConsultAll;

#[test]
fn costs_are_what_the_header_says() {
    let detect = reported_after(1);
    for n in 1..=8_u64 {
        for request in [read(1), write(1, 1)] {
            let paid = cost(n as usize, &detect, atomic, Own::new, request, None);
            let steps = if n > 1 { 2 } else { 0 };
            assert_eq!(paid, (2 * (n - 1), steps), "n = {n}");
        }
    }
    for (n, d) in (2..=8_u64).flat_map(|n| [1, 3, 5].map(|d| (n, d))) {
        for request in [read(1), write(1, 1)] {
            let detect = reported_after(d);
            let dead = Some(n as usize);
            let paid = cost(n as usize, &detect, atomic, Own::new, request, dead);
            let steps = u64::from(d).max(if n > 2 { 2 } else { 0 });
            assert_eq!(paid, (2 * n - 3, steps), "n = {n}, D = {d}");
        }
    }
}

#[test]
fn every_property_holds_wherever_processes_crash() {
    let all_but_one = |world: &World| world.membership().n() - 1;
    assert_holds_in_turbulence(all_but_one, None, REPORTED_UNEVENLY, atomic, Own::new);
}

#[test]
fn every_schedule_is_right() {
    assert_holds_in_every_schedule(9, |_| 1, &reported_after(0), atomic, Own::new);
}

/// The register transplanted to majorities: a majority that has acknowledged is taken for all (E5-E1).
struct OnMajorities(Phases<Own>);

impl Algorithm for OnMajorities {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        self.0.upon(event, ctx);
        for request in self.0.operations().requests() {
            let majority = self.0.processes().majority();
            let Some(operation) = self.0.operations().of(request) else {
                continue;
            };
            if let Phase::Imposing { stored, outcome } = &operation.phase
                && stored.len() >= majority
            {
                let outcome = outcome.clone();
                self.0.end(request, outcome, ctx);
            }
        }
    }
}

/// p1 writes twice, and p3 does not learn of it for long; then p3 writes, and p2 reads.
fn stale_writer<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Latencies::default().way(1, 3, &[90, 90])).unwrap();
    let ports = wire(&world, &reported_after(1), atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(1), at(95), &ports[0], write(1, 2));
    world.request(p(3), at(190), &ports[2], write(3, 1));
    world.request(p(2), at(300), &ports[1], read(1));
    world.run()
}

/// The same with majorities, where everything happens before p3 has learned of anything.
fn stale_writer_at_once<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Latencies::default().way(1, 3, &[90, 90])).unwrap();
    let ports = wire(&world, &reported_after(1), atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(1), at(5), &ports[0], write(1, 2));
    world.request(p(3), at(10), &ports[2], write(3, 1));
    world.request(p(2), at(20), &ports[1], read(1));
    world.run()
}

#[test]
fn e5_e1_the_own_copy_says_nothing_of_what_a_majority_holds() {
    let report = stale_writer_at_once(|host| OnMajorities(Own::new(host)));
    assert_eq!(report.violation().unwrap().tag, "NNAR2");
    // With majorities, a majority must be asked first.
    stale_writer_at_once(MultiWriter::new).assert_all_hold();
    stale_writer(Own::new).assert_all_hold();
}

#[test]
fn e1_e2_a_report_ends_an_operation_by_itself() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(7), atomic(&world), Own::new);
    world.crash(p(3), Crash::at(after(0)));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.run().assert_all_hold();
    assert_eq!(returned(&world, 1, "WriteReturn"), Some(7));
    // Without reports nobody ever learns of the crash.
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &blind, atomic(&world), Own::new);
    world.crash(p(3), Crash::at(after(0)));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    assert_eq!(world.run().violation().unwrap().tag, "NNAR1");
}

#[test]
fn e5_e4_two_operations_of_one_process_on_one_register_are_refused() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(1), atomic(&world), Own::new);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 2));
    world.run().assert_all_hold();
    assert_eq!(world.tally(p(1), "register", "Refused").unwrap().count, 1);
    assert_eq!(
        world.tally(p(1), "register", "WriteReturn").unwrap().count,
        1
    );
}

/// A process writes a register that it is writing already (E5-E4).
struct Concurrent(Phases<Own>);

impl Algorithm for Concurrent {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Request(Request {
            register,
            operation,
            action: Action::Write(value),
        }) = &event
            && self.0.operations().is_busy(register)
        {
            let own = self.0.replica().held(register);
            let write = Step::Write(Some(own.tag.timestamp + 1), value.clone());
            return self.0.proceed(register.clone(), *operation, write, ctx);
        }
        self.0.upon(event, ctx);
    }
}

/// p1 writes twice at once, which p2 and p3 get in different orders; then both read.
fn writes_at_once<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Latencies::default().way(1, 3, &[5])).unwrap();
    let ports = wire(&world, &reported_after(1), atomic(&world), make);
    let port = ports[0].clone();
    world.call(p(1), Time::ZERO, move || {
        port.send(write(1, 1));
        port.send(write(1, 2));
    });
    world.request(p(2), at(20), &ports[1], read(1));
    world.request(p(3), at(25), &ports[2], read(1));
    world.run()
}

#[test]
fn e5_e4_two_writes_of_one_process_at_once_would_have_one_tag() {
    let report = writes_at_once(|host| Concurrent(Own::new(host)));
    assert_eq!(report.violation().unwrap().tag, "NNAR2");
    writes_at_once(Own::new).assert_all_hold();
}

/// A value that is not newer than the value held is not acknowledged (E3-E3, E5-E2).
struct AcknowledgesNews(Phases<Own>);

impl Algorithm for AcknowledgesNews {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(Deliver { message, .. }) = &event
            && let Content::Write { register, held } = &message.content
            && held.tag <= self.0.replica().held(register).tag
        {
            return;
        }
        self.0.upon(event, ctx);
    }
}

/// p1 writes, and p2 reads a value that everybody holds.
fn nothing_new<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &reported_after(1), atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(2), at(5), &ports[1], read(1));
    world.run()
}

#[test]
fn e3_e3_and_e5_e2_what_is_not_acknowledged_for_being_old_never_returns() {
    let report = nothing_new(|host| AcknowledgesNews(Own::new(host)));
    assert_eq!(report.violation().unwrap().tag, "NNAR1");
    nothing_new(Own::new).assert_all_hold();
}
