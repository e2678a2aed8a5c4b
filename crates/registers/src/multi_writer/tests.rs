use super::*;
use crate::{
    exchange::{Effect, Event, send},
    message::Content,
    operations::Phase,
    testing::{
        Latencies, X, after, alone, assert_holds_in_turbulence, at, blind, cost, from, p, read,
        refusal, returned, wire, write,
    },
};
use quorate_abstractions::{
    link::{Deliver, Status, To},
    register::{Refusal, Tag},
};
use quorate_core::{Algorithm, Ctx, ProcessId, Time, message::LAST_NUMBER};
use quorate_sim::{
    Crash, Exhaustive, Gap, Report, SimHost, Timed, World, properties, properties::Properties,
};

fn atomic(world: &World) -> Properties {
    let all = world.membership().set();
    properties::shared_register("register", all)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let pay = |request| cost(n as usize, &blind, atomic, MultiWriter::new, request, None);
        let steps = |steps| if n > 1 { steps } else { 0 };
        assert_eq!(pay(write(1, 1)), (4 * (n - 1), steps(4)), "write, n = {n}");
        assert_eq!(pay(read(1)), (2 * (n - 1), steps(2)), "read, n = {n}");
    }
}

#[test]
fn costs_with_one_dead_are_what_the_header_says() {
    for n in 3..=8_u64 {
        let dead = Some(n as usize);
        let pay = |request| cost(n as usize, &blind, atomic, MultiWriter::new, request, dead);
        assert_eq!(pay(write(1, 1)), (4 * n - 6, 4), "write, n = {n}");
        assert_eq!(pay(read(1)), (2 * n - 3, 2), "read, n = {n}");
    }
}

#[test]
fn a_read_of_a_majority_that_agrees_on_what_was_written_takes_one_round_trip() {
    for n in 2..=8_u64 {
        let mut world = World::new(n as usize, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, &blind, atomic(&world), MultiWriter::new);
        world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
        world.request(p(2), at(20), &ports[1], read(1));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(returned(&world, 2, "ReadReturn"), Some(20 + 2), "n = {n}");
        assert_eq!(report.counts.messages, 6 * (n - 1), "n = {n}");
    }
}

/// p1 writes, and its value reaches p2 late; p3 learns it from one of the majority that it asks.
#[test]
fn a_read_of_a_majority_that_does_not_agree_writes_back() {
    let mut world = World::new(3, 1, Latencies::default().way(1, 2, &[1, 30])).unwrap();
    let ports = wire(&world, &blind, atomic(&world), MultiWriter::new);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.crash(p(1), Crash::at(after(3)));
    world.request(p(3), at(5), &ports[2], read(1));
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(returned(&world, 3, "ReadReturn"), Some(5 + 4));
    // The writer asked and was answered, then stored, and was answered by p3 after its crash: 2 + 2 + 2 + 1;
    // the reader sends twice as much as one that finds agreement, without the answers of the dead process: 2
    // · 3.
    assert_eq!(report.counts.messages, 7 + 6 + 1);
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    let minority = |world: &World| world.membership().minority();
    assert_holds_in_turbulence(minority, None, &blind, atomic, MultiWriter::new);
}

#[test]
fn every_schedule_of_two_processes_is_right() {
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, &blind, atomic(&world), MultiWriter::new);
        world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
        world.request(p(2), Time::ZERO, &ports[1], read(1));
        world
    };
    let found = Exhaustive::new().real_time().explore(build);
    assert!(found.found.is_none() && found.complete, "{found}");
}

#[test]
fn every_schedule_of_three_processes_is_right_as_deep_as_is_looked() {
    let build = || {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, &blind, atomic(&world), MultiWriter::new);
        world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
        world.request(p(2), Time::ZERO, &ports[1], read(1));
        world
    };
    let found = Exhaustive::new()
        .real_time()
        .crashes(1)
        .depth(8)
        .explore(build);
    assert!(found.found.is_none(), "{found}");
}

/// p1's write has reached p2 alone; p2 reads the new value; p3 asks itself and p1, whose own copy is late.
fn new_and_then_old<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let adversary = Latencies::default()
        .way(1, 3, &[1, 60])
        .way(1, 4, &[1, 60])
        .way(1, 5, &[1, 60]);
    let mut world = World::new(5, 1, adversary).unwrap();
    let ports = wire(&world, &blind, atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.crash(p(1), Crash::at(after(3)));
    world.request(p(2), at(6), &ports[1], read(1));
    // p3's question to p2 is slow: p3, p4 and p5 are a majority that knows nothing.
    world.cut((p(2), p(3)), at(8), Some(at(30)));
    world.request(p(3), at(12), &ports[2], read(1));
    world.run()
}

#[test]
fn a_read_that_does_not_write_back_is_not_atomic() {
    let report = new_and_then_old(|host| WithoutWriteBack(MultiWriter::new(host)));
    assert_eq!(report.violation().unwrap().tag, "NNAR2");
    new_and_then_old(MultiWriter::new).assert_all_hold();
}

/// A read returns the newest value of a majority, without writing it back.
struct WithoutWriteBack(Phases<MultiWriter>);

impl Algorithm for WithoutWriteBack {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let answered = match &event {
            Event::Link(Deliver { message, .. }) => Some(message.request),
            Event::Request(_) | Event::Crash(_) | Event::Status(_) => None,
        };
        let majority = self.0.processes().majority();
        let newest = answered.and_then(|request| {
            let operation = self.0.operations().of(request)?;
            match (&operation.phase, &event) {
                (
                    Phase::Querying {
                        answered,
                        newest,
                        action: Action::Read,
                        ..
                    },
                    Event::Link(Deliver { message, .. }),
                ) if answered.len() + 1 == majority => match &message.content {
                    Content::Value(held) => Some((request, held.clone().max_with(newest))),
                    _ => None,
                },
                _ => None,
            }
        });
        match newest {
            Some((request, newest)) => self.0.end(request, newest.read(), ctx),
            None => self.0.upon(event, ctx),
        }
    }
}

impl Held {
    fn max_with(self, other: &Held) -> Held {
        if other.tag > self.tag {
            other.clone()
        } else {
            self
        }
    }
}

fn nothing() -> Content {
    Content::Value(Held::default())
}

#[test]
fn e5_e4_a_register_is_sequential_at_a_process_and_others_do_not_wait() {
    let mut upon = alone(MultiWriter::new);
    assert_eq!(upon(Event::Request(read(1))).len(), 1);
    let busy = upon(Event::Request(write(1, 2)));
    assert_eq!(refusal(&busy), Some(Refusal::Busy));
    let other = Request {
        register: Bytes::from_static(b"y"),
        ..write(1, 3)
    };
    assert!(matches!(upon(Event::Request(other))[..], [Effect::Link(_)]));
    // The first read returns, and the register is free again.
    assert!(upon(from(1, 1, nothing())).is_empty());
    assert!(matches!(
        upon(from(2, 1, nothing()))[..],
        [Effect::Indication(_)]
    ));
    assert!(matches!(
        upon(Event::Request(write(1, 4)))[..],
        [Effect::Link(_)]
    ));
}

#[test]
fn e2_e1_an_answer_that_comes_twice_counts_once_and_a_late_one_not_at_all() {
    let mut upon = alone(MultiWriter::new);
    upon(Event::Request(write(1, 1)));
    assert!(upon(from(2, 1, nothing())).is_empty());
    assert!(
        upon(from(2, 1, nothing())).is_empty(),
        "the same answer again"
    );
    assert_eq!(upon(from(3, 1, nothing())).len(), 1, "stores");
    // E4-E1: an answer of the first phase, in the second.
    assert!(upon(from(1, 1, nothing())).is_empty());
    assert!(
        upon(from(2, 1, Content::Acknowledge)).is_empty(),
        "of the first request"
    );
    assert!(upon(from(2, 2, Content::Acknowledge)).is_empty());
    assert!(
        upon(from(2, 2, Content::Acknowledge)).is_empty(),
        "the same again"
    );
    assert!(matches!(
        upon(from(3, 2, Content::Acknowledge))[..],
        [Effect::Indication(_)]
    ));
    assert!(
        upon(from(1, 2, Content::Acknowledge)).is_empty(),
        "E2-E2: once"
    );
}

#[test]
fn what_nobody_can_have_written_is_dropped() {
    let mut upon = alone(MultiWriter::new);
    let held = |timestamp, rank: usize, value: Option<&'static [u8]>| Held {
        tag: Tag {
            timestamp,
            writer: ProcessId::from_rank(rank),
        },
        value: value.map(Bytes::from_static),
    };
    for bad in [
        held(1, 4, Some(b"v")),
        held(0, 1, Some(b"v")),
        held(LAST_NUMBER + 1, 1, Some(b"v")),
        held(u64::MAX, 1, Some(b"v")),
        held(1, 1, None),
        held(1, 0, Some(b"v")),
    ] {
        let register = X;
        let write = Content::Write {
            register,
            held: bad,
        };
        assert!(upon(from(2, 1, write)).is_empty());
    }
    let register = X;
    let write = Content::Write {
        register,
        held: held(LAST_NUMBER, 2, Some(b"v")),
    };
    assert_eq!(
        upon(from(2, 1, write)).len(),
        1,
        "possible, and acknowledged"
    );
}

#[test]
fn timestamps_that_are_used_up_are_said_so() {
    let mut upon = alone(MultiWriter::new);
    upon(Event::Request(write(1, 1)));
    let last = Content::Value(Held {
        tag: Tag {
            timestamp: LAST_NUMBER,
            writer: Some(p(2)),
        },
        value: Some(Bytes::from_static(b"v")),
    });
    assert!(upon(from(2, 1, last)).is_empty());
    let exhausted = upon(from(3, 1, nothing()));
    assert_eq!(refusal(&exhausted), Some(Refusal::Exhausted));
}

/// A process that repeats a write gives it a new tag, as if it came after all values written meanwhile.
struct TagsAnew(Phases<MultiWriter>);

impl Algorithm for TagsAnew {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::Status(Status::Begun { peer }) = event else {
            return self.0.upon(event, ctx);
        };
        for (request, content) in self.0.operations().asked() {
            let content = match content {
                Content::Write { register, mut held } => {
                    held.tag.timestamp += 2;
                    Content::Write { register, held }
                }
                other => other,
            };
            send(To::One(peer), request, content, ctx);
        }
    }
}

/// p1's write reaches p3, whose answer is slow, and is lost on its way to p2. p2 reads it from p3, and
/// overwrites it. Then p1's stream to p2 begins anew, and p2 reads again.
fn overwritten_and_repeated<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let adversary = Latencies::default().way(2, 1, &[1, 30]).way(3, 1, &[1, 60]);
    let mut world = World::new(3, 1, adversary).unwrap();
    let ports = wire(&world, &blind, atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.gap((p(1), p(2)), Gap::at(after(2)));
    world.request(p(2), at(5), &ports[1], read(1));
    world.request(p(2), at(12), &ports[1], write(2, 2));
    world.request(p(2), at(40), &ports[1], read(3));
    world.run()
}

#[test]
fn nnar2_is_broken_where_a_repeated_write_has_a_new_tag() {
    let report = overwritten_and_repeated(|host| TagsAnew(MultiWriter::new(host)));
    assert_eq!(
        report.violation().map(|v| &v.tag[..]),
        Some("NNAR2"),
        "{report}"
    );
    overwritten_and_repeated(MultiWriter::new).assert_all_hold();
}
