use super::*;
use crate::{
    exchange::{Effect, Event},
    message::Content,
    operations::Phase,
    testing::{
        Duplicating, Latencies, X, after, assert_holds_in_every_schedule,
        assert_holds_in_turbulence, at, blind, cost, p, reaction, read, refusal, wire, write,
    },
};
use quorate_abstractions::{
    link::Deliver,
    register::{Refusal, RegisterResponse, Tag},
};
use quorate_core::{Algorithm, Context, Counters, Ctx, ProcessSet, Time};
use quorate_sim::{
    Crash, Report, SimHost, Timed, Verdict, World, properties, properties::Properties,
};

fn regular(world: &World) -> Properties {
    let all = world.membership().set();
    properties::regular_register("register", all)
}

fn by_p1(host: &SimHost) -> Phases<MajorityVoting> {
    MajorityVoting::new(host, p(1))
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        for request in [read(1), write(1, 1)] {
            let paid = cost(n as usize, &blind, regular, by_p1, request, None);
            let steps = if n > 1 { 2 } else { 0 };
            assert_eq!(paid, (2 * (n - 1), steps), "n = {n}");
        }
    }
    for n in 3..=8_u64 {
        for request in [read(1), write(1, 1)] {
            let paid = cost(
                n as usize,
                &blind,
                regular,
                by_p1,
                request,
                Some(n as usize),
            );
            assert_eq!(paid, (2 * n - 3, 2), "n = {n}, one dead");
        }
    }
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    let minority = |world: &World| world.membership().minority();
    assert_holds_in_turbulence(minority, Some(p(1)), &blind, regular, by_p1);
}

#[test]
fn every_schedule_is_right() {
    assert_holds_in_every_schedule(9, |n| (n - 1) / 2, &blind, regular, by_p1);
}

/// Rules as they were published, or as they are often read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Corrected,
    /// Acknowledgements are counted (E2-E1).
    Counts,
    /// A half is enough (E2-E5).
    Half,
}

struct Ruled(Rule, Phases<MajorityVoting>, usize);

impl Ruled {
    fn by(rule: Rule) -> impl Fn(&SimHost) -> Self {
        move |host| Ruled(rule, by_p1(host), 0)
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::Link(Deliver { message, .. }) = &event else {
            return self.1.upon(event, ctx);
        };
        let request = message.request;
        let is_acknowledgement = message.content == Content::Acknowledge;
        let needed = match self.0 {
            Rule::Corrected => usize::MAX,
            Rule::Counts => self.1.processes().majority(),
            Rule::Half => self.1.processes().n() / 2,
        };
        if is_acknowledgement {
            self.2 += 1;
            if self.2 >= needed
                && let Some(operation) = self.1.operations().of(request)
                && let Phase::Imposing { outcome, .. } = &operation.phase
            {
                let outcome = outcome.clone();
                return self.1.end(request, outcome, ctx);
            }
        }
        self.1.upon(event, ctx);
    }
}

/// The write reaches the others late, and the writer's own copy twice; p2 reads from processes that have not
/// got it.
fn write_that_is_in_flight(rule: Rule, n: usize) -> Report {
    let adversary = (2..=n).fold(Latencies::default(), |script, to| script.way(1, to, &[20]));
    let mut world = World::new(n, 1, adversary).unwrap();
    let make = |host: &SimHost| Duplicating(Ruled::by(rule)(host));
    let ports = wire(&world, &blind, regular(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.request(p(2), at(3), &ports[1], read(1));
    world.cut((p(2), p(1)), at(2), Some(at(30)));
    world.run()
}

#[test]
fn e2_e1_acknowledgements_that_are_counted_end_a_write_too_early() {
    let report = write_that_is_in_flight(Rule::Counts, 3);
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    write_that_is_in_flight(Rule::Corrected, 3).assert_all_hold();
}

/// The acknowledgement that completes a majority makes the write return, and acknowledgements are counted
/// anew under the same number (E2-E2).
struct GathersAnew {
    own: Phases<MajorityVoting>,
    /// The last request, and the indication with which its write returns.
    last: Option<(u64, Indication)>,
    stored: ProcessSet,
}

impl GathersAnew {
    fn new(host: &SimHost) -> Self {
        GathersAnew {
            own: by_p1(host),
            last: None,
            stored: ProcessSet::EMPTY,
        }
    }
}

impl Algorithm for GathersAnew {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let (from, request) = match &event {
            Event::Link(Deliver { from, message }) if message.content == Content::Acknowledge => {
                (*from, message.request)
            }
            Event::Request(_) | Event::Link(_) | Event::Crash(_) | Event::Status(_) => {
                return self.own.upon(event, ctx);
            }
        };
        if let Some(operation) = self.own.operations().end(request)
            && let Phase::Imposing { outcome, .. } = &operation.phase
        {
            let outcome = outcome.clone();
            self.last = Some((request, operation.ends(outcome)));
        }
        if let Some((last, indication)) = &self.last
            && *last == request
            && self.stored.insert(from)
            && self.stored.len() >= self.own.processes().majority()
        {
            self.stored = ProcessSet::EMPTY;
            ctx.trigger(Effect::Indication(indication.clone()));
        }
    }
}

/// p1 of three writes.
fn one_write<A: Algorithm<Event = Event, Effect = Effect>>(make: impl Fn(&SimHost) -> A) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &blind, regular(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.run()
}

#[test]
fn e2_e2_acknowledgements_gathered_anew_return_a_write_twice() {
    let report = one_write(|host| Duplicating(GathersAnew::new(host)));
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    one_write(|host| Duplicating(by_p1(host))).assert_all_hold();
    // Late acknowledgements are less than a majority, and harmless if nothing is duplicated.
    one_write(GathersAnew::new).assert_all_hold();
}

/// An answer that nothing was written does not count as an answer (E2-E3).
struct HearsValuesOnly(Phases<MajorityVoting>);

impl Algorithm for HearsValuesOnly {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let nothing = Content::Value(Held::default());
        let is_nothing = matches!(&event, Event::Link(d) if d.message.content == nothing);
        if !is_nothing {
            self.0.upon(event, ctx);
        }
    }
}

/// p2 reads a register that nobody has written.
fn one_read<A: Algorithm<Event = Event, Effect = Effect>>(make: impl Fn(&SimHost) -> A) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &blind, regular(&world), make);
    world.request(p(2), Time::ZERO, &ports[1], read(1));
    world.run()
}

#[test]
fn e2_e3_that_nothing_was_written_is_an_answer_like_any_other() {
    let report = one_read(|host| HearsValuesOnly(by_p1(host)));
    assert_eq!(report.violation().unwrap().tag, "ONRR1");
    one_read(by_p1).assert_all_hold();
}

#[test]
fn timestamps_that_are_used_up_are_said_so() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    p1.rules().written.use_up(X);
    let effects = reaction(&mut p1, Event::Request(write(1, 1)));
    assert_eq!(refusal(&effects), Some(Refusal::Exhausted));
}

#[test]
fn e2_e5_a_half_of_an_even_number_is_no_majority() {
    let report = halves(Rule::Half);
    assert_eq!(report.violation().unwrap().tag, "ONRR2");
    halves(Rule::Corrected).assert_all_hold();
}

/// Of four processes, p1's write has reached p2; p3 and p4 read from each other.
fn halves(rule: Rule) -> Report {
    struct Reads(Ruled);
    impl Algorithm for Reads {
        type Event = Event;
        type Effect = Effect;
        fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
            let answered = match &event {
                Event::Link(Deliver { message, .. }) => Some(message.request),
                Event::Request(_) | Event::Crash(_) | Event::Status(_) => None,
            };
            self.0.upon(event, ctx);
            let half = self.0.1.processes().n() / 2;
            if self.0.0 == Rule::Half
                && let Some(request) = answered
                && let Some(operation) = self.0.1.operations().of(request)
                && let Phase::Querying {
                    answered, newest, ..
                } = &operation.phase
                && answered.len() >= half
            {
                let outcome = newest.clone().read();
                self.0.1.end(request, outcome, ctx);
            }
        }
    }
    let adversary = Latencies::default().way(1, 3, &[30]).way(1, 4, &[30]);
    let mut world = World::new(4, 1, adversary).unwrap();
    let make = |host: &SimHost| Reads(Ruled::by(rule)(host));
    let ports = wire(&world, &blind, regular(&world), make);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    for to in [1, 2] {
        world.cut((p(3), p(to)), at(3), Some(at(40)));
    }
    world.request(p(3), at(5), &ports[2], read(1));
    world.run()
}

#[test]
fn e2_e4_with_one_reader_it_is_not_atomic_the_later_read_may_be_older() {
    // p1's write has reached p2 alone when p3 reads from p2 and itself, then from itself and p1's others.
    let adversary = Latencies::default()
        .way(1, 3, &[60])
        .way(1, 4, &[60])
        .way(1, 5, &[60])
        // The second time, p2's answer is slow.
        .way(2, 3, &[1, 50]);
    let world = World::new(5, 1, adversary).unwrap();
    let all = world.membership().set();
    world.check(properties::atomic_register("register", all));
    world.check(properties::ordered_for_one_reader("register", all));
    let ports = wire(&world, &blind, regular(&world), by_p1);
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    world.crash(p(1), Crash::at(after(2)));
    world.cut((p(5), p(3)), at(2), Some(at(8)));
    world.request(p(3), at(3), &ports[2], read(1));
    world.request(p(3), at(9), &ports[2], read(2));
    let report = world.go_on_after_violation().run();
    // Not even for this one reader.
    assert!(matches!(
        report.verdict("OOAR3"),
        Some(Verdict::Violated(_))
    ));
    assert!(matches!(
        report.verdict("ONAR3"),
        Some(Verdict::Violated(_))
    ));
    assert_eq!(report.verdict("ONRR2"), Some(&Verdict::Holds));
}

#[test]
fn h4_without_a_majority_operations_block() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &blind, regular(&world), by_p1);
    world.crash(p(2), Crash::at(Time::ZERO));
    world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
    let report = world.run();
    assert_eq!(report.violation().unwrap().tag, "ONRR1");
}

#[test]
fn only_the_writer_writes() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p2 = by_p1(&world.host(p(2)));
    let mut ctx = Context::new("register".into(), 1, Counters::default());
    let mut upon = |event| {
        p2.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    let refused = upon(Event::Request(write(2, 1)));
    let Effect::Indication(indication) = &refused[0] else {
        panic!("{refused:?}");
    };
    assert_eq!(
        indication.outcome,
        RegisterResponse::Refused(Refusal::NotWriter)
    );
    let content = Content::Write {
        register: X,
        held: Held {
            tag: Tag {
                timestamp: 1,
                writer: Some(p(1)),
            },
            value: Some(Bytes::new()),
        },
    };
    let message = Message {
        request: 1,
        content,
    };
    let forged = Deliver {
        from: p(3),
        message: message.clone(),
    };
    assert!(upon(Event::Link(forged)).is_empty());
    let from = p(1);
    assert_eq!(upon(Event::Link(Deliver { from, message })).len(), 1);
}
