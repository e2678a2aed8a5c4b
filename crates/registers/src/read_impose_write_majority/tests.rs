use super::*;
use crate::{
    exchange::{Effect, Event, send},
    message::Content,
    operations::{Operation, Phase},
    testing::{
        Duplicating, Latencies, X, after, alone, assert_holds_in_every_schedule,
        assert_holds_in_turbulence, at, blind, cost, from, p, reaction, read, refusal, wire, write,
    },
};
use quorate_abstractions::{
    link::{Deliver, To},
    register::{Refusal, RegisterResponse, Tag},
};
use quorate_core::{Algorithm, Ctx, ProcessSet, Time};
use quorate_sim::{
    Crash, Report, SimHost, Timed, Verdict, World, properties, properties::Properties,
};

fn atomic(world: &World) -> Properties {
    let all = world.membership().set();
    properties::atomic_register("register", all)
}

fn by_p1(host: &SimHost) -> Phases<ReadImposeWriteMajority> {
    ReadImposeWriteMajority::new(host, p(1))
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let pay = |request| cost(n as usize, &blind, atomic, by_p1, request, None);
        let steps = |steps| if n > 1 { steps } else { 0 };
        assert_eq!(pay(write(1, 1)), (2 * (n - 1), steps(2)), "write, n = {n}");
        assert_eq!(pay(read(1)), (4 * (n - 1), steps(4)), "read, n = {n}");
    }
    for n in 3..=8_u64 {
        let dead = Some(n as usize);
        let pay = |request| cost(n as usize, &blind, atomic, by_p1, request, dead);
        assert_eq!(pay(write(1, 1)), (2 * n - 3, 2), "write, n = {n}");
        assert_eq!(pay(read(1)), (4 * n - 6, 4), "read, n = {n}");
    }
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    let minority = |world: &World| world.membership().minority();
    assert_holds_in_turbulence(minority, Some(p(1)), &blind, atomic, by_p1);
}

#[test]
fn every_schedule_is_right() {
    assert_holds_in_every_schedule(8, |n| (n - 1) / 2, &blind, atomic, by_p1);
}

/// A read returns the newest value of a majority, and does not impose it (E4-E3).
struct WithoutImposing(Phases<ReadImposeWriteMajority>);

impl Algorithm for WithoutImposing {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        self.0.upon(event, ctx);
        for request in self.0.operations().requests() {
            let Some(operation) = self.0.operations().of(request) else {
                continue;
            };
            if let Phase::Imposing { outcome, .. } = &operation.phase
                && matches!(outcome, RegisterResponse::Read { .. })
            {
                let outcome = outcome.clone();
                self.0.end(request, outcome, ctx);
            }
        }
    }
}

/// Of five processes, p1's write has reached p2 alone; p2 reads the new value, then p3 asks p3, p4 and p5.
/// The messages that the first read then sends are slow.
fn reads_one_after_the_other<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut adversary = Latencies::default();
    for to in 3..=5 {
        adversary = adversary.way(1, to, &[60]).way(2, to, &[1, 40]);
    }
    let mut world = World::new(5, 1, adversary).unwrap();
    let ports = wire(&world, &blind, atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.crash(p(1), Crash::at(after(2)));
    world.request(p(2), at(3), &ports[1], read(1));
    world.cut((p(3), p(2)), at(8), Some(at(30)));
    world.request(p(3), at(9), &ports[2], read(1));
    world.run()
}

#[test]
fn e4_e3_a_read_that_does_not_impose_breaks_the_order_of_reads() {
    let report = reads_one_after_the_other(|host| WithoutImposing(by_p1(host)));
    assert_eq!(report.violation().unwrap().tag, "ONAR3");
    reads_one_after_the_other(by_p1).assert_all_hold();
}

#[test]
fn e4_e1_a_late_answer_does_not_have_a_read_impose_twice() {
    let mut upon = alone(by_p1);
    let nothing = || Content::Value(Held::default());
    upon(Event::Request(read(1)));
    assert!(upon(from(1, 1, nothing())).is_empty());
    assert_eq!(upon(from(2, 1, nothing())).len(), 1, "imposes");
    assert!(upon(from(3, 1, nothing())).is_empty(), "late");
    assert!(upon(from(2, 1, nothing())).is_empty(), "a duplicate");
}

#[test]
fn e4_e2_what_a_read_imposes_is_not_confused_with_a_write_of_the_same_timestamp() {
    let mut upon = alone(by_p1);
    let holds = || {
        Content::Value(Held {
            tag: Tag {
                timestamp: 1,
                writer: Some(p(1)),
            },
            value: Some(Bytes::from_static(b"1.1")),
        })
    };
    // The write of timestamp 1 has returned, and a read imposes it again.
    upon(Event::Request(write(1, 1)));
    upon(from(1, 1, Content::Acknowledge));
    assert_eq!(upon(from(2, 1, Content::Acknowledge)).len(), 1);
    upon(Event::Request(read(2)));
    upon(from(1, 2, holds()));
    assert_eq!(upon(from(2, 2, holds())).len(), 1, "imposes");
    // Late acknowledgements of the write do not count for the read.
    assert!(upon(from(3, 1, Content::Acknowledge)).is_empty());
    assert!(upon(from(2, 1, Content::Acknowledge)).is_empty());
    assert!(upon(from(1, 3, Content::Acknowledge)).is_empty());
    assert_eq!(upon(from(2, 3, Content::Acknowledge)).len(), 1);
}

#[test]
fn e4_e4_what_was_never_written_is_an_answer_like_any_other() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &blind, atomic(&world), by_p1);
    world.request(p(2), Time::ZERO, &ports[1], read(1));
    world.run().assert_all_hold();
}

/// A read counts answers anew once it imposes, and imposes again when they are a majority again, all under
/// one number (E4-E1).
struct ImposesAgain {
    own: Phases<ReadImposeWriteMajority>,
    /// The read, and its number.
    read: Option<(u64, Operation)>,
    answered: ProcessSet,
    newest: Held,
    stored: ProcessSet,
}

impl ImposesAgain {
    fn new(host: &SimHost) -> Self {
        ImposesAgain {
            own: by_p1(host),
            read: None,
            answered: ProcessSet::EMPTY,
            newest: Held::default(),
            stored: ProcessSet::EMPTY,
        }
    }

    /// After a majority of answers, imposes the newest; after a majority of acknowledgements, ends the read.
    fn upon_answer(&mut self, from: ProcessId, content: Content, ctx: &mut Ctx<Self>) {
        let Some((request, operation)) = &self.read else {
            return;
        };
        let majority = self.own.processes().majority();
        match content {
            Content::Value(held) => {
                if self.newest.tag < held.tag {
                    self.newest = held;
                }
                if self.answered.insert(from) && self.answered.len() == majority {
                    (self.answered, self.stored) = (ProcessSet::EMPTY, ProcessSet::EMPTY);
                    let (register, held) = (operation.register.clone(), self.newest.clone());
                    send(To::All, *request, Content::Write { register, held }, ctx);
                }
            }
            Content::Acknowledge => {
                if self.stored.insert(from) && self.stored.len() == majority {
                    let Held { tag, value } = self.newest.clone();
                    ctx.trigger(Effect::Indication(Indication {
                        register: operation.register.clone(),
                        operation: operation.number,
                        outcome: RegisterResponse::Read { tag, value },
                    }));
                }
            }
            Content::Read { .. } | Content::Write { .. } | Content::Resumed => {}
        }
    }
}

impl Algorithm for ImposesAgain {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(Deliver { from, message }) = &event
            && matches!(message.content, Content::Value(_) | Content::Acknowledge)
        {
            return self.upon_answer(*from, message.content.clone(), ctx);
        }
        self.own.upon(event, ctx);
        for request in self.own.operations().requests() {
            let begun = self.own.operations().end(request);
            self.read = begun.map(|operation| (request, operation));
        }
    }
}

/// p2 of three reads, and the answers of p3 come when the read has returned.
fn one_read<A: Algorithm<Event = Event, Effect = Effect>>(make: impl Fn(&SimHost) -> A) -> Report {
    let mut world = World::new(3, 1, Latencies::default().way(3, 2, &[10, 10])).unwrap();
    let ports = wire(&world, &blind, atomic(&world), make);
    world.request(p(2), Time::ZERO, &ports[1], read(1));
    world.run()
}

#[test]
fn e4_e1_a_read_that_imposes_twice_returns_twice() {
    let report = one_read(|host| Duplicating(ImposesAgain::new(host)));
    assert_eq!(report.violation().unwrap().tag, "ONAR2");
    one_read(|host| Duplicating(by_p1(host))).assert_all_hold();
    // If nothing is duplicated, late answers are less than a majority.
    one_read(ImposesAgain::new).assert_all_hold();
}

/// Acknowledgements say which timestamp they are for, and one for the timestamp of the last write counts for
/// that write (E4-E2).
struct ByTimestamp {
    own: Phases<ReadImposeWriteMajority>,
    /// The last write, and the indication with which it returns.
    written: Option<(Tag, Indication)>,
}

impl ByTimestamp {
    fn new(host: &SimHost) -> Self {
        ByTimestamp {
            own: by_p1(host),
            written: None,
        }
    }
}

impl Algorithm for ByTimestamp {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::Link(Deliver { from, message }) = &event else {
            return self.own.upon(event, ctx);
        };
        if message.content == Content::Acknowledge
            && let Some(operation) = self.own.operations().of(message.request)
            && let Phase::Imposing { stored, outcome } = &mut operation.phase
        {
            match (&*outcome, &self.written) {
                (RegisterResponse::Written { tag }, _) => {
                    let indication = Indication {
                        register: operation.register.clone(),
                        operation: operation.number,
                        outcome: outcome.clone(),
                    };
                    self.written = Some((*tag, indication));
                }
                (RegisterResponse::Read { tag, .. }, Some((last, indication))) if tag == last => {
                    if stored.insert(*from) && stored.len() == self.own.processes().majority() {
                        ctx.trigger(Effect::Indication(indication.clone()));
                    }
                    return;
                }
                (RegisterResponse::Read { .. } | RegisterResponse::Refused(_), _) => {}
            }
        }
        self.own.upon(event, ctx);
    }
}

/// p1 of three processes writes, and reads the value that it wrote.
fn own_write_read<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
    go_on: bool,
) -> Report {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut world = if go_on {
        world.go_on_after_violation()
    } else {
        world
    };
    let ports = wire(&world, &blind, atomic(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(1), at(5), &ports[0], read(2));
    world.run()
}

#[test]
fn e4_e2_by_timestamp_what_a_read_imposes_ends_the_write_again_and_never_the_read() {
    let report = own_write_read(ByTimestamp::new, false);
    assert_eq!(report.violation().unwrap().tag, "ONAR2");
    let report = own_write_read(ByTimestamp::new, true);
    assert!(matches!(
        report.verdict("ONAR1"),
        Some(Verdict::Violated(_))
    ));
    own_write_read(by_p1, false).assert_all_hold();
}

#[test]
fn timestamps_that_are_used_up_are_said_so() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    p1.rules().written.use_up(X);
    let effects = reaction(&mut p1, Event::Request(write(1, 1)));
    assert_eq!(refusal(&effects), Some(Refusal::Exhausted));
}
