//! Gaps of ideal links: which messages are lost, which processes are told, in which order; and that a search
//! finds an algorithm that does not react.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use bytes::Bytes;
use quorate_abstractions::link::{Deliver, Links, SendRequest, Status, To};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, Time};
use quorate_sim::{
    Adversary, Completion, Crash, Exhaustive, Gap, Keep, Kind, Loss, Property, Random, Record,
    Report, Script, Timed, UNIT, Verdict, Violation, Walk, World,
};
use std::sync::{Arc, Mutex};
use support::p;

fn at(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// An indication at one end of the links.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Delivered(u8),
    Status(Status),
}

type Log = Arc<Mutex<Vec<Told>>>;

/// A world of two processes, the lane from p1 to p2, and the indications at each end.
fn world(
    seed: u64,
    adversary: impl Adversary + 'static,
) -> (World, Addr<SendRequest<Bytes>>, [Log; 2]) {
    let world = World::new(2, seed, adversary).unwrap().keep_trace();
    let logs: [Log; 2] = std::array::from_fn(|_| Arc::default());
    let ports: Vec<_> = world
        .processes()
        .map(|q| {
            let links = world.links(q);
            let (log, other) = (logs[q.index()].clone(), logs[q.index()].clone());
            links.status().send(Addr::new(move |status| {
                log.lock().unwrap().push(Told::Status(status));
            }));
            let up = move |deliver: Deliver<Bytes>| {
                let told = Told::Delivered(deliver.message[0]);
                other.lock().unwrap().push(told);
            };
            links.at("lane").open(Addr::new(up))
        })
        .collect();
    (world, ports[0].clone(), logs)
}

fn say(world: &World, port: &Addr<SendRequest<Bytes>>, time: Time, k: u8) {
    let (to, message) = (To::One(p(2)), Bytes::copy_from_slice(&[k]));
    world.request(p(1), time, port, SendRequest { to, message });
}

fn delivered(log: &Log) -> Vec<u8> {
    let log = log.lock().unwrap();
    let delivered = log.iter().filter_map(|told| match told {
        Told::Delivered(k) => Some(*k),
        Told::Status(_) => None,
    });
    delivered.collect()
}

fn gap() -> Told {
    Told::Status(Status::Gap { peer: p(1) })
}

/// p1 sends twenty messages, none of which arrives before its stream ends; then it sends one more in every
/// step.
fn across(seed: u64, keep: Keep, adversary: impl Adversary + 'static) -> (Report, [Log; 2]) {
    let (mut world, port, logs) = world(seed, adversary);
    for k in 0..20 {
        say(&world, &port, Time::ZERO, k);
    }
    for k in 20..60 {
        say(&world, &port, at(u32::from(k) - 18), k);
    }
    world.gap((p(1), p(2)), Gap::at(at(1)).keeping(keep));
    let report = world.run();
    assert!(report.completion.complete, "{report}");
    (report, logs)
}

#[test]
fn of_what_is_in_flight_a_beginning_gets_through_before_the_gap() {
    let mut kept = [false; 21];
    for seed in 0..300 {
        let slow = Timed::uniform(2 * UNIT, 9 * UNIT);
        let (report, [sender, receiver]) = across(seed, Keep::Drawn, slow);
        let ended = Told::Status(Status::Ended { peer: p(2) });
        let begun = Told::Status(Status::Begun { peer: p(2) });
        assert_eq!(*sender.lock().unwrap(), [ended, begun]);
        let told = receiver.lock().unwrap().clone();
        let place = told.iter().position(|told| *told == gap()).unwrap();
        let mut before = delivered(&Arc::new(Mutex::new(told[..place].to_vec())));
        before.sort_unstable();
        let through = before.len() as u8;
        assert_eq!(before, (0..through).collect::<Vec<_>>(), "a beginning");
        kept[usize::from(through)] = true;
        let mut after = delivered(&Arc::new(Mutex::new(told[place + 1..].to_vec())));
        after.sort_unstable();
        let first = after[0];
        assert!(
            first > 22,
            "nothing arrives that was sent before the next stream has begun"
        );
        assert_eq!(
            after,
            (first..60).collect::<Vec<_>>(),
            "all that was sent later"
        );
        assert_eq!(report.counts.lost, 60 - (before.len() + after.len()) as u64);
    }
    assert!(
        kept.iter().all(|k| *k),
        "every beginning, the empty one and the whole: {kept:?}"
    );
}

#[test]
fn a_gap_keeps_as_much_as_it_says() {
    for (keep, through) in [
        (Keep::Nothing, 0),
        (Keep::First(7), 7),
        (Keep::First(99), 20),
    ] {
        let (_, [_, receiver]) = across(1, keep, Timed::uniform(2 * UNIT, 9 * UNIT));
        let told = receiver.lock().unwrap().clone();
        assert_eq!(told.iter().position(|told| *told == gap()), Some(through));
    }
}

#[test]
fn whatever_the_order_of_steps_a_gap_comes_after_what_got_through() {
    let mut through = false;
    for seed in 0..200 {
        let (_, [_, receiver]) = across(seed, Keep::Drawn, Random::new());
        let told = receiver.lock().unwrap().clone();
        let place = told.iter().position(|told| *told == gap()).unwrap();
        let sent_before = |told: &Told| matches!(told, Told::Delivered(k) if *k < 20);
        through |= told[..place].iter().any(sent_before);
        assert!(!told[place..].iter().any(sent_before), "{told:?}");
    }
    assert!(through);
}

#[test]
fn the_next_stream_waits_for_the_way_and_for_the_process() {
    let time_of = |world: &World, kind: Kind| {
        let trace = world.trace();
        let mut records = trace.records().iter();
        records.find(|record| record.kind == kind).unwrap().time
    };
    let (gap, begin) = (Kind::Gap { from: p(1) }, Kind::Begin { to: p(2) });
    let run = |spoil: &dyn Fn(&World)| {
        let (mut world, port, logs) = world(1, Timed::lock_step());
        say(&world, &port, at(4), 1);
        say(&world, &port, at(90), 2);
        world.gap((p(1), p(2)), Gap::at(at(5)).keeping(Keep::Drawn));
        spoil(&world);
        assert!(world.run().completion.complete);
        assert!(delivered(&logs[1]).contains(&2));
        (time_of(&world, gap), time_of(&world, begin))
    };
    assert_eq!(run(&|_| {}), (at(6), at(7)));
    let ways = [(p(1), p(2)), (p(2), p(1))];
    assert_eq!(
        run(&|w| w.cut(ways[0], at(2), Some(at(50)))),
        (at(51), at(52))
    );
    assert_eq!(
        run(&|w| w.cut(ways[1], at(2), Some(at(50)))),
        (at(6), at(51))
    );
    assert_eq!(
        run(&|w| w.pause(p(2), at(2), Some(at(50)))),
        (at(50), at(51))
    );
    assert_eq!(
        run(&|w| w.pause(p(1), at(6), Some(at(50)))),
        (at(6), at(50))
    );
}

#[test]
fn a_crash_ends_a_gap() {
    for rank in [1, 2] {
        let (mut world, port, logs) = world(1, Timed::lock_step());
        say(&world, &port, at(4), 1);
        world.gap((p(1), p(2)), Gap::at(at(5)));
        world.crash(p(rank), Crash::at(at(6)));
        assert!(world.run().completion.complete);
        assert_eq!(
            logs[0].lock().unwrap().len(),
            1,
            "it has ended, and does not begin"
        );
        assert!(!logs[1].lock().unwrap().contains(&gap()));
    }
}

#[test]
fn a_diagram_shows_a_gap_and_what_it_costs() {
    let (mut world, port, _) = world(1, Timed::lock_step());
    say(&world, &port, at(0), 1);
    world.gap((p(1), p(2)), Gap::at(at(1)));
    world.run();
    let diagram = world.diagram();
    for words in ["p2 ended", "p1 gap", "p2 begun", "p2 lost"] {
        assert!(diagram.contains(words), "{words}: {diagram}");
    }
    let lost = |record: &Record| {
        matches!(
            record.kind,
            Kind::Drop {
                loss: Loss::Gap,
                ..
            }
        )
    };
    assert!(world.trace().records().iter().any(lost));
}

/// When a sender repeats its open messages.
#[derive(Clone, Copy, PartialEq)]
enum Repeat {
    Never,
    AtTheEnd,
    AtTheBeginning,
}

/// Sends each message to p2, which delivers it once.
struct Repeater {
    repeat: Repeat,
    open: Vec<Bytes>,
    delivered: Vec<Bytes>,
}

enum Event {
    Say(Bytes),
    Link(Deliver<Bytes>),
    Status(Status),
}

enum Effect {
    Heard,
    Link(SendRequest<Bytes>),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        match self {
            Event::Say(_) => Observation::request("Say"),
            Event::Link(deliver) => Observation::internal("Data").peer(deliver.from),
            Event::Status(status) => status.observe(),
        }
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        match self {
            Effect::Heard => Observation::indication("Heard"),
            Effect::Link(_) => Observation::internal("Data"),
        }
    }
}

impl Algorithm for Repeater {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let due = match &event {
            Event::Status(Status::Ended { .. }) => Repeat::AtTheEnd,
            Event::Status(Status::Begun { .. }) => Repeat::AtTheBeginning,
            _ => Repeat::Never,
        };
        let to = To::One(p(2));
        match event {
            Event::Say(message) => {
                self.open.push(message.clone());
                ctx.trigger(Effect::Link(SendRequest { to, message }));
            }
            Event::Link(Deliver { message, .. }) => {
                if !self.delivered.contains(&message) {
                    self.delivered.push(message);
                    ctx.trigger(Effect::Heard);
                }
            }
            Event::Status(_) if due != Repeat::Never && due == self.repeat => {
                for message in self.open.clone() {
                    ctx.trigger(Effect::Link(SendRequest { to, message }));
                }
            }
            Event::Status(_) => {}
        }
    }
}

/// Each message of p1 arrives at p2, if p1 does not crash.
#[derive(Default)]
struct Heard {
    missing: usize,
}

impl Property for Heard {
    fn tag(&self) -> &'static str {
        "HEARD"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        let said = record.kind.request().is_some_and(|o| o.label == "Say");
        let heard = record.kind.indication().is_some_and(|o| o.label == "Heard");
        self.missing += usize::from(said);
        self.missing -= usize::from(heard);
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        let broken = (self.missing > 0).then(|| format!("{} are missing", self.missing));
        completion.judge("HEARD", broken)
    }
}

/// p1 sends two messages to p2.
fn repeating(repeat: Repeat) -> World {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    for q in world.processes() {
        let host = world.host(q).at("repeater");
        let mailbox = host.mailbox();
        let links = world.links(q).at("repeater");
        links.status().send(mailbox.addr().with(Event::Status));
        let link = links.open(mailbox.addr().with(Event::Link));
        let up = world.application::<Word>(q);
        for message in [&b"a"[..], b"b"] {
            if q == p(1) {
                let message = Bytes::from_static(message);
                world.request(q, Time::ZERO, &mailbox.addr().with(Event::Say), message);
            }
        }
        let repeater = Repeater {
            repeat,
            open: Vec::new(),
            delivered: Vec::new(),
        };
        host.start(mailbox, repeater, move |effect| match effect {
            Effect::Heard => up.send(Word),
            Effect::Link(send) => link.send(send),
        });
    }
    let property: Box<dyn Property> = Box::new(Heard::default());
    world.check([property]);
    world
}

struct Word;

impl Observe for Word {
    fn observe(&self) -> Observation {
        Observation::indication("Heard")
    }
}

#[test]
fn a_search_tries_a_gap_at_every_step_and_finds_what_is_not_said_again() {
    let search = Exhaustive::new().gaps(2);
    let mended = || repeating(Repeat::AtTheBeginning);
    search.explore(mended).assert_all_hold();
    for repeat in [Repeat::Never, Repeat::AtTheEnd] {
        Exhaustive::new()
            .explore(|| repeating(repeat))
            .assert_all_hold();
        let along = Exhaustive::new().gaps(1).along([(p(2), p(1))]);
        along.explore(|| repeating(repeat)).assert_all_hold();
        let found = search.explore(|| repeating(repeat)).found.unwrap();
        let script = found.shrunk(|| repeating(repeat)).to_string();
        assert!(script.contains("end p1>p2"), "{script}");
        assert!(
            script
                .parse::<Script>()
                .unwrap()
                .run(repeating(repeat))
                .unwrap()
                .violates("HEARD")
        );
        assert!(
            Walk::new(1)
                .gaps(1)
                .hunt(100, || repeating(repeat))
                .is_some()
        );
        Walk::new(1).assert_none_breaks(100, || repeating(repeat));
    }
    Walk::new(1).gaps(2).assert_none_breaks(300, mended);
}

#[test]
fn the_reduction_misses_no_gap() {
    let ends = |search: &Exhaustive| {
        let mut ends = std::collections::BTreeSet::new();
        search.search(|| repeating(Repeat::Never), &mut |end| {
            ends.insert((
                end.report.counts.lost,
                end.report.counts.messages,
                end.report.all_hold(),
            ));
            true
        });
        ends
    };
    let search = Exhaustive::new().gaps(1).crashes(1);
    assert_eq!(ends(&search), ends(&search.clone().without_reduction()));
}

#[test]
fn a_script_says_where_a_stream_ends() {
    let script: Script =
        "request p1\nend p1>p2\nrequest p1\ngap p1>p2\nbegin p1>p2\nexpect HEARD violated"
            .parse()
            .unwrap();
    let run = script.run(repeating(Repeat::Never)).unwrap();
    script.judge(&run.report).unwrap();
    assert_eq!(run.report.counts.lost, 2);
    let run = script.run(repeating(Repeat::AtTheBeginning)).unwrap();
    run.report.assert_all_hold();
    let early: Script = "end p1>p2\nbegin p1>p2".parse().unwrap();
    assert!(
        early.run(repeating(Repeat::Never)).is_err(),
        "the receiver is told first"
    );
}
