use super::*;
use crate::{
    exchange::{Effect, Event},
    message::{Content, Held},
    phases::Phases,
    testing::{
        Latencies, REPORTED_UNEVENLY, X, assert_holds_in_every_schedule,
        assert_holds_in_turbulence, at, cost, mistaken, p, reaction, read, refusal, reported_after,
        wire, write,
    },
};
use bytes::Bytes;
use quorate_abstractions::link::Deliver;
use quorate_abstractions::register::{Refusal, Tag};
use quorate_core::{Algorithm, Ctx, ProcessSet, Time, message::LAST_NUMBER};
use quorate_sim::{Report, SimHost, Timed, World, properties, properties::Properties};

fn atomic(world: &World) -> Properties {
    let all = world.membership().set();
    properties::atomic_register("register", all)
}

fn by_p1(host: &SimHost) -> Phases<ReadImposeWriteConsultAll> {
    ReadImposeWriteConsultAll::new(host).written_by(p(1))
}

#[test]
fn costs_are_what_the_header_says() {
    let detect = reported_after(1);
    for n in 1..=8_u64 {
        for request in [read(1), write(1, 1)] {
            let paid = cost(n as usize, &detect, atomic, by_p1, request, None);
            let steps = if n > 1 { 2 } else { 0 };
            assert_eq!(paid, (2 * (n - 1), steps), "n = {n}");
        }
    }
    for n in 3..=8_u64 {
        let detect = reported_after(5);
        let paid = cost(
            n as usize,
            &detect,
            atomic,
            by_p1,
            write(1, 1),
            Some(n as usize),
        );
        assert_eq!(paid, (2 * n - 3, 5), "n = {n}");
    }
}

#[test]
fn every_property_holds_wherever_processes_crash() {
    let all_but_one = |world: &World| world.membership().n() - 1;
    assert_holds_in_turbulence(all_but_one, Some(p(1)), REPORTED_UNEVENLY, atomic, by_p1);
}

#[test]
fn every_schedule_is_right() {
    assert_holds_in_every_schedule(9, |_| 1, &reported_after(0), atomic, by_p1);
}

/// A process that was reported is back when the next operation begins; acknowledgements count for the
/// operation in flight, as published, or carry the number of their request.
struct Restored {
    own: Phases<ReadImposeWriteConsultAll>,
    anonymous: bool,
    all: ProcessSet,
}

impl Algorithm for Restored {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, mut event: Event, ctx: &mut Ctx<Self>) {
        if matches!(event, Event::Request(_)) {
            *self.own.correct() = self.all;
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

/// p1 reads, and suspects p2, whose acknowledgement is late; then p1 writes, which p2 gets even later; and p2
/// reads before that.
fn acknowledged_late(anonymous: bool) -> Report {
    let adversary = Latencies::default().way(1, 2, &[1, 30]).way(2, 1, &[10]);
    let mut world = World::new(2, 1, adversary).unwrap();
    let all = world.membership().set();
    let make = |host: &SimHost| Restored {
        own: by_p1(host),
        anonymous,
        all,
    };
    let ports = wire(&world, &mistaken(2, at(2), at(4)), atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], read(1));
    world.request(p(1), at(5), &ports[0], write(1, 2));
    world.request(p(2), at(20), &ports[1], read(1));
    world.run()
}

#[test]
fn e3_e1_an_acknowledgement_without_a_number_ends_another_operation() {
    let report = acknowledged_late(true);
    assert_eq!(report.violation().unwrap().tag, "ONAR2");
    acknowledged_late(false).assert_all_hold();
}

/// A request of process `by` to impose a value.
fn imposed(by: usize, timestamp: u64, writer: usize) -> Event {
    let held = Held {
        tag: Tag {
            timestamp,
            writer: Some(p(writer)),
        },
        value: Some(Bytes::from_static(b"v")),
    };
    let message = Message {
        request: 1,
        content: Content::Write { register: X, held },
    };
    let from = p(by);
    Event::Link(Deliver { from, message })
}

#[test]
fn e3_e2_only_the_writer_writes_and_readers_impose_only_what_it_wrote() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p2 = by_p1(&world.host(p(2)));
    let effects = reaction(&mut p2, Event::Request(write(2, 1)));
    assert_eq!(refusal(&effects), Some(Refusal::NotWriter));
    assert!(
        reaction(&mut p2, imposed(3, 1, 3)).is_empty(),
        "of a reader"
    );
    assert_eq!(
        reaction(&mut p2, imposed(3, 1, 1)).len(),
        1,
        "of the writer"
    );
}

#[test]
fn timestamps_that_are_used_up_are_said_so() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    assert_eq!(reaction(&mut p1, imposed(1, LAST_NUMBER, 1)).len(), 1);
    let effects = reaction(&mut p1, Event::Request(write(1, 1)));
    assert_eq!(refusal(&effects), Some(Refusal::Exhausted));
}
