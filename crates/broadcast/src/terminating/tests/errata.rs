//! Rules as they were published. Each has an execution in which it breaks a property and the corrected rule
//! does not.
use super::*;

/// Which rule of [`Terminating`] is replaced by the published one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// A process proposes whenever it has a proposal (D4-E1).
    ProposesForEver,
    /// A crash affects the instance in flight alone (D4-E2).
    CrashesAreForgotten,
    /// Data counts for any source that is awaited (D4-E3): here, for p1.
    AnybodysData,
    /// A payload, `f`, says that the source is faulty (D4-E4).
    FaultyIsAPayload,
}

struct Mutant(Rule, Terminating);

impl Mutant {
    fn with(rule: Rule) -> impl Fn(&SimHost) -> Self {
        move |host| Mutant(rule, Terminating::new(host))
    }
}

impl Algorithm for Mutant {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Mutant(rule, inner) = self;
        match (*rule, event) {
            (Rule::ProposesForEver, Event::BestEffort(delivery)) => {
                if let Some(source) = inner.sources.get_mut(&delivery.from)
                    && let Entry::Live(instance) = source
                        .instances
                        .at(delivery.message.number, Instance::default)
                {
                    instance.proposed = false;
                }
                // The guard is still true: the rule fires again.
                ctx.after(UNIT, Event::BestEffort(delivery.clone()));
                inner.upon(Event::BestEffort(delivery), ctx);
            }
            (Rule::CrashesAreForgotten, Event::Crash(perfect::Crash(p))) => {
                inner.upon_crash(p, ctx);
                inner.crashed.remove(p);
            }
            (Rule::AnybodysData, Event::BestEffort(delivery)) => {
                let from = p(1);
                inner.upon(
                    Event::BestEffort(best_effort::Deliver { from, ..delivery }),
                    ctx,
                );
            }
            (Rule::FaultyIsAPayload, Event::Decide(source, decision))
                if decision.value == encode(&message(b"f")) =>
            {
                let value = encode(&Content::SenderFaulty);
                inner.upon(Event::Decide(source, Decide { value, ..decision }), ctx);
            }
            (_, event) => inner.upon(event, ctx),
        }
    }
}

/// Runs this schedule with the mutant and with the corrected algorithm, crashes being reported after
/// this many units.
fn both(rule: Rule, delay: u32, schedule: impl Fn(&mut World, &[Addr<Broadcast>])) -> [Ended; 2] {
    let mut world = limited();
    let ports = wire_as(&world, |_| UNIT * delay, Mutant::with(rule));
    schedule(&mut world, &ports);
    let broken = end(world);
    let mut world = limited();
    let ports = wire(&world, UNIT * delay);
    schedule(&mut world, &ports);
    let corrected = end(world);
    corrected.report.assert_all_hold();
    [broken, corrected]
}

struct Ended {
    report: Report,
    world: World,
}

fn limited() -> World {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.go_on_after_violation().maximum_time(at(200))
}

fn end(mut world: World) -> Ended {
    let report = world.run();
    Ended { report, world }
}

#[test]
fn d4_e1_a_proposal_that_stays_enabled_is_proposed_for_ever() {
    let schedule =
        |world: &mut World, ports: &[Addr<Broadcast>]| request(world, ports, 1, Time::ZERO, b"x");
    let [broken, corrected] = both(Rule::ProposesForEver, 1, schedule);
    assert!(corrected.report.completion.complete);
    assert!(!broken.report.completion.complete, "it never comes to rest");
    let verdict = broken.report.verdict("TRB4");
    assert_eq!(verdict, Some(&quorate_sim::Verdict::Unknown));
    assert!(broken.report.steps > 10 * corrected.report.steps);
}

#[test]
fn d4_e2_a_crash_reported_before_the_instance_began_leaves_it_open_for_ever() {
    // p1 crashes after the first copies of its message. When the crash is reported, the others are in the
    // first instance, where they have proposed the message; the second begins after it.
    let schedule = |world: &mut World, ports: &[Addr<Broadcast>]| {
        request(world, ports, 1, Time::ZERO, b"x");
        world.crash(p(1), Crash::before_output(3));
    };
    let [broken, corrected] = both(Rule::CrashesAreForgotten, 3, schedule);
    assert_violates(&broken.report, "TRB4");
    assert_eq!(
        broken.report.verdict("TRB2"),
        corrected.report.verdict("TRB2")
    );
    for rank in [2, 3] {
        assert!(broken.world.tally(p(rank), "trb", "Deliver").is_some());
        assert!(broken.world.tally(p(rank), "trb", "SenderFaulty").is_none());
    }
}

#[test]
fn d4_e3_data_of_another_that_counts_is_delivered_as_the_sources() {
    let schedule =
        |world: &mut World, ports: &[Addr<Broadcast>]| request(world, ports, 2, Time::ZERO, b"x");
    let [broken, _] = both(Rule::AnybodysData, 1, schedule);
    assert_violates(&broken.report, "TRB3");
}

#[test]
fn d4_e4_a_payload_that_looks_like_the_report_is_delivered_as_one() {
    let schedule =
        |world: &mut World, ports: &[Addr<Broadcast>]| request(world, ports, 1, Time::ZERO, b"f");
    let [broken, corrected] = both(Rule::FaultyIsAPayload, 1, schedule);
    assert_violates(&broken.report, "TRB3");
    let delivered = corrected.world.tally(p(2), "trb", "Deliver");
    assert_eq!(delivered.unwrap().count, 1);
    // No other payload is mistaken either, not even the encoding of the report.
    let payloads = [
        &[FAULTY][..],
        &[MESSAGE],
        b"",
        b"f",
        b"faulty",
        b"SenderFaulty",
    ];
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, UNIT);
    for payload in payloads {
        request(&world, &ports, 1, Time::ZERO, payload);
    }
    world.run().assert_all_hold();
    let delivered = world.tally(p(2), "trb", "Deliver").unwrap();
    assert_eq!(delivered.count, payloads.len() as u64);
    assert!(world.tally(p(2), "trb", "SenderFaulty").is_none());
}

#[test]
fn d4_e5_nobody_terminates_where_a_correct_source_never_broadcasts() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    wire(&world, UNIT);
    let report = world.run();
    // This is the caller's obligation: TRB4 requires that the source broadcasts or crashes.
    report.assert_all_hold();
    assert_eq!(report.counts.messages, 0);
    for q in world.processes() {
        assert!(world.tally(q, "trb", "Deliver").is_none());
        assert!(world.tally(q, "trb", "SenderFaulty").is_none());
    }
}
