use super::*;
use crate::testing::{Script, after, at, blind, cost, operate, p, read, turbulent, wire, write};
use quorate_core::{Context, Counters, Time};
use quorate_sim::{
    Crash, Exhaustive, Report, SimHost, Timed, World, properties, properties::Properties,
};

fn atomic(world: &World) -> Properties {
    let all = world.membership().set();
    properties::atomic_register(world.membership(), "register", all)
}

fn by_p1(host: &SimHost) -> ReadImposeWriteMajority {
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
    for seed in 0..400 {
        let mut world = turbulent(seed, |world| world.membership().minority());
        let properties = atomic(&world);
        operate(&world, seed, Some(p(1)), &blind, properties, by_p1);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

#[test]
fn every_schedule_is_right() {
    for (n, depth) in [(2, None), (3, Some(8))] {
        let build = || {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let doors = wire(&world, &blind, atomic(&world), by_p1);
            world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
            world.request(p(2), Time::ZERO, &doors[1], read(1));
            world
        };
        let crashes = (n - 1) / 2;
        let search = match depth {
            None => Exhaustive::new().real_time().crashes(crashes),
            Some(depth) => Exhaustive::new().real_time().crashes(crashes).depth(depth),
        };
        let found = search.explore(build);
        assert!(found.found.is_none(), "{found}");
        assert!(depth.is_some() || found.complete, "{found}");
    }
}

/// A read returns what is newest of a majority, and does not impose it (E4-E3).
struct WithoutImposing(ReadImposeWriteMajority);

impl Algorithm for WithoutImposing {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        self.0.upon(event, ctx);
        for request in self.0.operations.requests() {
            let Some(operation) = self.0.operations.of(request) else {
                continue;
            };
            if let Phase::Storing { outcome, .. } = &operation.phase
                && matches!(outcome, Outcome::Read { .. })
            {
                let outcome = outcome.clone();
                self.0.end(request, outcome, ctx);
            }
        }
    }
}

/// Of five, p1's write has reached p2 alone; p2 reads the new value, then p3 asks p3, p4 and p5. What the
/// first read sends then is slow.
fn reads_one_after_the_other<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let mut adversary = Script::default();
    for to in 3..=5 {
        adversary = adversary.way(1, to, &[60]).way(2, to, &[1, 40]);
    }
    let mut world = World::new(5, 1, adversary).unwrap();
    let doors = wire(&world, &blind, atomic(&world), make);
    world.request(p(1), Time::ZERO, &doors[0], write(1, 1));
    world.crash(p(1), Crash::at(after(2)));
    world.request(p(2), at(3), &doors[1], read(1));
    world.cut((p(3), p(2)), at(8), Some(at(30)));
    world.request(p(3), at(9), &doors[2], read(1));
    world.run()
}

#[test]
fn e4_e3_a_read_that_does_not_impose_breaks_the_order_of_reads() {
    let report = reads_one_after_the_other(|host| WithoutImposing(by_p1(host)));
    assert_eq!(report.violation().unwrap().tag, "ONAR3");
    reads_one_after_the_other(by_p1).assert_all_hold();
}

/// p1 of three, alone.
fn alone() -> impl FnMut(Event) -> Vec<Effect> {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = by_p1(&world.host(p(1)));
    let mut ctx = Context::new("register".into(), 1, Counters::default());
    move |event| {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    }
}

fn from(rank: usize, request: u64, content: Content) -> Event {
    let (from, message) = (p(rank), Message { request, content });
    Event::Link(Deliver { from, message })
}

#[test]
fn e4_e1_a_late_answer_does_not_have_a_read_impose_twice() {
    let mut upon = alone();
    let nothing = || Content::Value(Held::default());
    upon(Event::Request(read(1)));
    assert!(upon(from(1, 1, nothing())).is_empty());
    assert_eq!(upon(from(2, 1, nothing())).len(), 1, "imposes");
    assert!(upon(from(3, 1, nothing())).is_empty(), "late");
    assert!(upon(from(2, 1, nothing())).is_empty(), "a duplicate");
}

#[test]
fn e4_e2_what_a_read_imposes_is_not_confused_with_a_write_of_the_same_timestamp() {
    let mut upon = alone();
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
    // What still comes for the write is none for the read.
    assert!(upon(from(3, 1, Content::Acknowledge)).is_empty());
    assert!(upon(from(2, 1, Content::Acknowledge)).is_empty());
    assert!(upon(from(1, 3, Content::Acknowledge)).is_empty());
    assert_eq!(upon(from(2, 3, Content::Acknowledge)).len(), 1);
}

#[test]
fn e4_e4_what_was_never_written_is_an_answer_like_any_other() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let doors = wire(&world, &blind, atomic(&world), by_p1);
    world.request(p(2), Time::ZERO, &doors[1], read(1));
    world.run().assert_all_hold();
}
