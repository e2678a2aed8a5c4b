//! Rules as they were published, and some that seem obvious. Each has an execution in which it breaks a
//! property and the corrected rule does not.
use super::*;
use eventually_perfect::Indication;
use quorate_core::Addr;
use std::collections::BTreeSet;

/// Which rule of [`Lazy`] is replaced.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Messages are known by content (GE1, B2-E1).
    KnownByContent,
    /// The origin notes its message as delivered, and never delivers it (B2-E2).
    OriginDeliversNothing,
    /// Messages are kept by origin, and the suspicion of the relayer is tested (B2-E3).
    KeptByOrigin,
    /// Messages that arrive after the suspicion are kept (B2-E4).
    KeptAfterTheSuspicion,
    /// Only the first suspicion of a process counts (B2-E5).
    FirstSuspicionOnly,
    /// Suspected processes are taken for dead: nobody waits for their reports.
    SuspectedForDead,
    /// A message that leaves a full window is forgotten, not relayed.
    Forgetful,
}

impl Rule {
    const ALL: [Rule; 7] = [
        Rule::KnownByContent,
        Rule::OriginDeliversNothing,
        Rule::KeptByOrigin,
        Rule::KeptAfterTheSuspicion,
        Rule::FirstSuspicionOnly,
        Rule::SuspectedForDead,
        Rule::Forgetful,
    ];

    /// For the rules that bound memory, limits so narrow that a few messages show the effect.
    fn limits(self) -> Limits {
        match self {
            Rule::SuspectedForDead => FRUGAL,
            Rule::Forgetful => Limits {
                window: 1,
                ..LIMITS
            },
            Rule::KnownByContent
            | Rule::OriginDeliversNothing
            | Rule::KeptByOrigin
            | Rule::KeptAfterTheSuspicion
            | Rule::FirstSuspicionOnly => LIMITS,
        }
    }
}

struct Mutant {
    rule: Rule,
    inner: Lazy,
    contents: BTreeSet<Bytes>,
    suspicions: ProcessSet,
}

impl Mutant {
    fn with(rule: Rule) -> impl Fn(&SimHost) -> Self {
        move |host| Mutant {
            rule,
            inner: Lazy::with_limits(host, rule.limits()),
            contents: BTreeSet::new(),
            suspicions: ProcessSet::EMPTY,
        }
    }

    fn upon_data(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        match self.rule {
            Rule::KnownByContent if !self.contents.insert(data.payload.clone()) => {}
            Rule::KeptByOrigin => self.inner.upon_data_by_origin(from, data, ctx),
            Rule::KeptAfterTheSuspicion => self.inner.keep_as_from(from, data, ctx),
            Rule::Forgetful => {
                let kept = self.inner.from.entry(from).or_default();
                if kept.len() == self.inner.limits.window {
                    kept.pop_front();
                }
                self.inner.upon_data(from, data, ctx);
            }
            Rule::KnownByContent
            | Rule::OriginDeliversNothing
            | Rule::FirstSuspicionOnly
            | Rule::SuspectedForDead => self.inner.upon_data(from, data, ctx),
        }
    }
}

impl Algorithm for Mutant {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match (self.rule, event) {
            (
                _,
                Event::Link(link::Deliver {
                    from,
                    message: Message::Data(data),
                }),
            ) => self.upon_data(from, data, ctx),
            (Rule::OriginDeliversNothing, Event::Broadcast(request)) => {
                let data = self.inner.numbering.number(request.payload);
                self.inner.delivered.insert(data.id);
                let (to, message) = (To::All, Message::Data(data));
                ctx.trigger(Effect::Link(link::SendRequest { to, message }));
            }
            (Rule::FirstSuspicionOnly, Event::Detector(Indication::Suspect(p)))
                if !self.suspicions.insert(p) => {}
            (_, event) => self.inner.upon(event, ctx),
        }
        if let Rule::SuspectedForDead = self.rule {
            for from in self.inner.from.values_mut() {
                from.retain_mut(|kept| {
                    kept.missing = kept.missing.without(self.inner.suspected);
                    !kept.missing.is_empty()
                });
            }
        }
    }
}

/// Runs this schedule with the rule replaced and with the corrected algorithm.
fn both(
    n: usize,
    rule: Rule,
    detector: impl Fn(&World, ProcessId) -> Detector + Copy,
    schedule: impl Fn(&mut World, &[Addr<Broadcast>]),
    script: &Latencies,
) -> (Report, Report) {
    let mut world = World::new(n, 1, script.clone()).unwrap();
    let ports = wire(&world, detector, Mutant::with(rule));
    schedule(&mut world, &ports);
    let broken = world.run();
    let mut world = World::new(n, 1, script.clone()).unwrap();
    let ports = wire(&world, detector, |host| {
        Lazy::with_limits(host, rule.limits())
    });
    schedule(&mut world, &ports);
    (broken, world.run())
}

fn after_a_unit(world: &World, q: ProcessId) -> Detector {
    accurate(world, q, UNIT)
}

#[test]
fn rb1_is_broken_by_deliveries_known_by_content() {
    // p1 and p2 broadcast the same content: p3 takes the second message for the first.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        request(world, ports, 2, Time::ZERO);
    };
    let script = Latencies::default();
    let (broken, corrected) = both(3, Rule::KnownByContent, after_a_unit, schedule, &script);
    assert_violates(&broken, "RB1");
    corrected.assert_all_hold();
}

#[test]
fn rb1_is_broken_by_an_origin_that_only_notes_its_delivery() {
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
    };
    let (rule, script) = (Rule::OriginDeliversNothing, Latencies::default());
    let (broken, corrected) = both(2, rule, after_a_unit, schedule, &script);
    assert_violates(&broken, "RB1");
    corrected.assert_all_hold();
}

#[test]
fn rb4_is_broken_where_origins_are_kept_and_relayers_tested() {
    // p1 sends to p2 alone and crashes; p3 and p4 hear of the crash first. p2 relays to p3, and crashes
    // before its copy to p4: p3 keeps the message under p1, whose crash was reported before.
    let detector = |world: &World, q| {
        let delay = if q == p(2) { 2 } else { 1 };
        accurate(world, q, UNIT * delay)
    };
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(1), Crash::before_output(2));
        world.crash(p(2), Crash::at(at(4)).losing(Lose::Everything));
    };
    let script = Latencies::default().way(2, 4, &[99]);
    let (broken, corrected) = both(4, Rule::KeptByOrigin, detector, schedule, &script);
    assert_violates(&broken, "RB4");
    corrected.assert_all_hold();
}

#[test]
fn rb4_is_broken_where_nothing_is_relayed_after_the_suspicion() {
    // p1 sends to p2 alone and crashes; p2 hears of the crash before it gets the message.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(1), Crash::before_output(2));
    };
    let script = Latencies::default().way(1, 2, &[5]);
    let rule = Rule::KeptAfterTheSuspicion;
    let (broken, corrected) = both(3, rule, after_a_unit, schedule, &script);
    assert_violates(&broken, "RB4");
    corrected.assert_all_hold();
}

#[test]
fn rb4_is_broken_where_only_the_first_suspicion_counts() {
    // p2 suspects p1 for a while. Later p1 sends to p2 alone and crashes.
    let lies = Oracle::accurate(UNIT * 3).suspecting(p(2), p(1), at(1), at(2));
    let detector = |world: &World, q| world.eventually_perfect(q, &lies);
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, at(3));
        world.crash(p(1), Crash::before_output(2));
    };
    let (rule, script) = (Rule::FirstSuspicionOnly, Latencies::default());
    let (broken, corrected) = both(3, rule, detector, schedule, &script);
    assert_violates(&broken, "RB4");
    corrected.assert_all_hold();
}

#[test]
fn rb4_is_broken_where_the_suspected_are_taken_for_dead() {
    // p3 is suspected by p2 for a while, and p1's copy to it is slow. p2 forgets the message, since p1
    // reports that it holds it; then p1 crashes with its copy.
    let lies = Oracle::accurate(UNIT).suspecting(p(2), p(3), at(1), at(4));
    let detector = |world: &World, q| world.eventually_perfect(q, &lies);
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        world.crash(p(1), Crash::at(at(5)).losing(Lose::Everything));
    };
    let script = Latencies::default().way(1, 3, &[99]);
    let (broken, corrected) = both(3, Rule::SuspectedForDead, detector, schedule, &script);
    assert_violates(&broken, "RB4");
    corrected.assert_all_hold();
}

#[test]
fn rb4_is_broken_where_a_full_window_forgets() {
    // p1's copies to p3 are slow and are lost when p1 crashes. p2 keeps one message, and has two.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO);
        request(world, ports, 1, Time::ZERO);
        world.crash(p(1), Crash::at(at(5)).losing(Lose::Everything));
    };
    let script = Latencies::default().way(1, 3, &[99, 99]);
    let (broken, corrected) = both(3, Rule::Forgetful, after_a_unit, schedule, &script);
    assert_violates(&broken, "RB4");
    corrected.assert_all_hold();
}

/// The worlds full of faults can tell the mutants from the algorithm. The mutant that keeps by origin needs a
/// schedule that chance does not find in so few runs.
#[test]
fn chance_catches_the_mutants() {
    for rule in Rule::ALL {
        let is_caught = |seed| {
            let mut world = turbulent_world(seed, all_but_one);
            let lies = Oracle::accurate(UNIT).erratic(world.membership(), seed, 8, at(8));
            let detector = |world: &World, q| world.eventually_perfect(q, &lies);
            let ports = wire(&world, detector, Mutant::with(rule));
            request_some(&world, &ports, |payload| Broadcast { payload });
            world.run().violation().is_some()
        };
        let is_hard = matches!(rule, Rule::KeptByOrigin);
        assert!(is_hard || (0..2000).any(is_caught), "{rule:?}");
    }
}

/// All mutants but the one that keeps by origin, which the schedule above catches: that takes four processes
/// and two crashes, too many to search (iterative deepening finds nothing in 200,000 worlds, to a depth of
/// ten).
#[test]
fn the_search_of_every_schedule_finds_the_mutants() {
    let search = Exhaustive::new()
        .crashes(1)
        .of(ProcessSet::from_iter([p(1)]));
    for (rule, n, senders, lie) in [
        (Rule::KnownByContent, 2, vec![1, 2], None),
        (Rule::OriginDeliversNothing, 2, vec![1], None),
        (Rule::KeptAfterTheSuspicion, 3, vec![1], None),
        (Rule::FirstSuspicionOnly, 3, vec![1], Some((2, 1))),
        (Rule::SuspectedForDead, 3, vec![1], Some((2, 3))),
        (Rule::Forgetful, 3, vec![1, 1], None),
    ] {
        let accurate = Oracle::accurate(Duration::ZERO);
        let oracle = lie.map_or(accurate.clone(), |(by, of)| {
            accurate.suspecting(p(by), p(of), at(0), at(1))
        });
        let detector = |world: &World, q| world.eventually_perfect(q, &oracle);
        let mutant = |world: &World| wire(world, detector, Mutant::with(rule));
        let found = explore(&search, n, &senders, mutant, |payload| Broadcast {
            payload,
        });
        assert!(found.found.is_some(), "{rule:?}: {found}");
    }
}
