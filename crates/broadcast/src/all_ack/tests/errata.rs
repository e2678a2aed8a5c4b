//! Rules as they were published. Each has an execution in which it breaks a property and the corrected rule
//! does not.
use super::*;
use crate::majority_ack;
use quorate_abstractions::Subscribe;
use quorate_abstractions::eventually_perfect::Indication;
use quorate_core::Addr;
use quorate_sim::{Lose, Oracle};
use std::collections::BTreeSet;

/// Messages, acknowledgements and deliveries are known by content (GE1, B3-E1).
struct ByContent {
    numbering: Numbering,
    correct: ProcessSet,
    pending: BTreeMap<MessageId, Bytes>,
    ack: BTreeMap<Bytes, ProcessSet>,
    delivered: BTreeSet<Bytes>,
}

impl ByContent {
    fn new(host: &impl Host) -> Self {
        ByContent {
            numbering: Numbering::new(host),
            correct: host.processes().set(),
            pending: BTreeMap::new(),
            ack: BTreeMap::new(),
            delivered: BTreeSet::new(),
        }
    }
}

impl Algorithm for ByContent {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => {
                let data = self.numbering.number(payload);
                self.pending.insert(data.id, data.payload.clone());
                let message = Message::Data(data);
                ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
            }
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                let (Message::Data(data) | Message::Again(data)) = &message else {
                    return;
                };
                let (id, payload) = (data.id, data.payload.clone());
                let ack = self.ack.entry(payload.clone()).or_default();
                ack.insert(from);
                if self.pending.insert(id, payload).is_none() {
                    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
                }
            }
            Event::Detector(perfect::Crash(p)) => {
                self.correct.remove(p);
            }
            Event::Status(_) => {}
        }
        for (id, payload) in &self.pending {
            let ack = self.ack.get(payload).copied().unwrap_or_default();
            if self.correct.is_subset(ack) && self.delivered.insert(payload.clone()) {
                let (id, payload) = (*id, payload.clone());
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
            }
        }
    }
}

/// Which rule of [`AllAck`] is replaced by the published one.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The delivery condition is checked only when a message arrives (B3-E2).
    CrashesWakeNobody,
    /// A delivered message leaves the pending set, and may enter it again (B3-E3).
    PendingAgain,
    /// The origin delivers as soon as it broadcasts (B3-E5, B2-E2).
    DeliversAtOnce,
}

struct Mutant {
    rule: Rule,
    inner: AllAck,
    again: WatermarkSet,
}

impl Mutant {
    fn with(rule: Rule) -> impl Fn(&quorate_sim::SimHost) -> Self {
        move |host| Mutant {
            rule,
            inner: AllAck::new(host),
            again: WatermarkSet::default(),
        }
    }
}

impl Algorithm for Mutant {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match (self.rule, event) {
            (Rule::CrashesWakeNobody, Event::Detector(perfect::Crash(p))) => {
                self.inner.correct.remove(p);
            }
            (
                Rule::PendingAgain,
                Event::BestEffort(best_effort::Deliver {
                    message: Message::Data(data),
                    ..
                }),
            ) if self.inner.delivered.contains(data.id) => {
                if self.again.insert(data.id) {
                    let message = Message::Data(data);
                    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
                }
            }
            (Rule::DeliversAtOnce, Event::Broadcast(Broadcast { payload })) => {
                let data = self.inner.numbering.number(payload);
                self.inner.delivered.insert(data.id);
                let Data { id, payload } = data.clone();
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
                let message = Message::Data(data);
                ctx.trigger(Effect::BestEffort(best_effort::Broadcast(message)));
            }
            (_, event) => self.inner.upon(event, ctx),
        }
    }
}

/// Runs this schedule with the mutant and with the corrected algorithm.
fn both<A: Algorithm<Event = Event, Effect = Effect>>(
    mutant: impl Fn(&quorate_sim::SimHost) -> A,
    delay: impl Fn(ProcessId) -> Duration + Copy,
    schedule: impl Fn(&mut World, &[Addr<Broadcast>]),
    script: &Latencies,
) -> (Report, Report) {
    let mut world = World::new(3, 1, script.clone()).unwrap();
    let ports = wire_as(&world, delay, mutant);
    schedule(&mut world, &ports);
    let broken = world.run();
    let mut world = World::new(3, 1, script.clone()).unwrap();
    let ports = wire_as(&world, delay, AllAck::new);
    schedule(&mut world, &ports);
    (broken, world.run())
}

#[test]
fn urb1_is_broken_by_deliveries_known_by_content() {
    // p1 and p2 broadcast the same content: the second message is taken for the first.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        request(world, ports, 2, Time::ZERO);
    };
    let (broken, corrected) = both(ByContent::new, |_| UNIT, schedule, &Latencies::default());
    assert_violates(&broken, "URB1");
    corrected.assert_all_hold();
}

#[test]
fn urb4_is_broken_by_acknowledgements_known_by_content() {
    // p2 broadcasts x; p1 holds it, and p3's relay is slow. p1 broadcasts x of its own, which reaches
    // nobody before p1 crashes. When p3's relay arrives, all three seem to hold what p1 broadcast.
    let script = Latencies::default()
        .way(3, 1, &[3])
        .way(1, 2, &[1, 99])
        .way(1, 3, &[1, 99]);
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 2, Time::ZERO);
        request(world, ports, 1, at(2));
        world.crash(p(1), Crash::at(at(5)).losing(Lose::Everything));
    };
    let (broken, corrected) = both(ByContent::new, |_| UNIT, schedule, &script);
    assert_violates(&broken, "URB4");
    corrected.assert_all_hold();
}

#[test]
fn urb1_and_urb4_are_broken_where_a_crash_wakes_nobody() {
    // p3 is dead. p2 learns this before p1's message arrives, p1 only after all the others hold the message.
    let delay = |q| UNIT * if q == p(1) { 5 } else { 1 };
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(3), Crash::at(Time::ZERO));
    };
    let mutant = Mutant::with(Rule::CrashesWakeNobody);
    let (broken, corrected) = both(mutant, delay, schedule, &Latencies::default());
    assert_violates(&broken, "URB1");
    assert_violates(&broken, "URB4");
    corrected.assert_all_hold();
}

#[test]
fn what_is_pending_again_is_relayed_again() {
    // p3 crashes after its relay, which reaches p1 long after p1 has delivered.
    let script = Latencies::default().way(3, 1, &[20]);
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(3), Crash::at(at(2)));
    };
    let mutant = Mutant::with(Rule::PendingAgain);
    let (broken, corrected) = both(mutant, |_| UNIT, schedule, &script);
    corrected.assert_all_hold();
    assert_eq!(corrected.counts.messages, 6, "n(n−1)");
    assert_eq!(broken.counts.messages, 10, "both survivors relay once more");
}

#[test]
fn urb4_is_broken_by_delivery_at_the_broadcast() {
    // p1 delivers, and crashes before its first copy leaves.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(1), Crash::before_output(2).losing(Lose::Everything));
    };
    let mutant = Mutant::with(Rule::DeliversAtOnce);
    let (broken, corrected) = both(mutant, |_| UNIT, schedule, &Latencies::default());
    assert_violates(&broken, "URB4");
    corrected.assert_all_hold();
}

/// Does what no settings can do: passes suspicions, true or false, off as crashes.
fn taken_for_crashes(detector: Subscribe<Indication>) -> Subscribe<perfect::Crash> {
    Addr::new(move |up: Addr<perfect::Crash>| {
        detector.send(Addr::new(move |indication| match indication {
            Indication::Suspect(p) => up.send(perfect::Crash(p)),
            Indication::Restore(_) => {}
        }));
    })
}

/// All-ack over the suspicions of ◇P (B3-E4).
fn wire_over_suspicions(world: &World, oracle: &Oracle) -> Vec<Addr<Broadcast>> {
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        let detector = taken_for_crashes(world.eventually_perfect(q, oracle));
        spawn(
            &host,
            lane,
            &world.links(q).status(),
            &detector,
            world.application(q),
        )
    };
    world.processes().map(spawn_at).collect()
}

#[test]
fn urb4_is_broken_by_a_false_suspicion() {
    // p1 suspects both others, delivers alone, and crashes with all its copies.
    let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    let oracle = Oracle::accurate(UNIT)
        .suspecting(p(1), p(2), Time::ZERO, at(9))
        .suspecting(p(1), p(3), Time::ZERO, at(9));
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire_over_suspicions(&world, &oracle);
    request(&world, &ports, 1, Time::ZERO);
    world.crash(p(1), crash);
    assert_violates(&world.run(), "URB4");

    run(3, 1, Some((1, crash)));
}

#[test]
fn urb4_holds_in_the_same_run_where_a_majority_is_waited_for() {
    let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::uniform(world.membership(), "urb"));
    let spawn_at = |q| {
        let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
        majority_ack::spawn(&host, lane, &world.links(q).status(), world.application(q))
    };
    let ports: Vec<_> = world.processes().map(spawn_at).collect();
    request(&world, &ports, 1, Time::ZERO);
    world.crash(p(1), crash);
    world.run().assert_all_hold();
}

/// The worlds full of faults can tell the mutants from the algorithm.
#[test]
fn chance_catches_the_mutants() {
    for rule in [Rule::CrashesWakeNobody, Rule::DeliversAtOnce] {
        let is_caught = |seed| {
            let mut world = turbulent_world(seed, all_but_one);
            let ports = wire_as(&world, |_| UNIT, Mutant::with(rule));
            request_some(&world, &ports, |payload| Broadcast { payload });
            world.run().violation().is_some()
        };
        assert!((0..1000).any(is_caught), "{rule:?}");
    }
}

#[test]
fn the_search_of_every_schedule_finds_the_mutants() {
    let search = Exhaustive::new().crashes(1);
    let request = |payload| Broadcast { payload };
    let by_content = |world: &World| wire_as(world, |_| Duration::ZERO, ByContent::new);
    let found = explore(&search, 2, &[1, 2], by_content, request).found;
    assert_eq!(found.unwrap().violation.tag, "URB1");
    for (rule, tag) in [
        (Rule::CrashesWakeNobody, "URB1"),
        (Rule::DeliversAtOnce, "URB4"),
    ] {
        let mutant = |world: &World| wire_as(world, |_| Duration::ZERO, Mutant::with(rule));
        let found = explore(&search, 3, &[1], mutant, request).found;
        assert_eq!(found.unwrap().violation.tag, tag, "{rule:?}");
    }
    let oracle = Oracle::accurate(Duration::ZERO).suspecting(p(1), p(2), at(0), at(1));
    let suspicious = |world: &World| wire_over_suspicions(world, &oracle);
    let found = explore(&search, 2, &[1], suspicious, request).found;
    assert_eq!(found.unwrap().violation.tag, "URB4");
}
