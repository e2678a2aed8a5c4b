use super::*;
use crate::testing::{Latencies, each_steps, p, payload, step};
use quorate_abstractions::{eventually_perfect, link::Links};
use quorate_broadcast::best_effort as over;
use quorate_core::Time;
use quorate_sim::{Adversary, Crash, Lose, Oracle, Random, Report, Timed, UNIT, World, properties};

/// The rule in force: this algorithm's, or one as published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Corrected,
    /// Whatever leader's value arrives counts for the present round.
    ArrivalIsTheRound,
    /// What is not of the present round is dropped.
    EarlyIsDropped,
}

/// The algorithm under a rule.
struct Ruled(Rule, Hierarchical);

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::BestEffort(best_effort::Deliver { from, message }) = event else {
            return self.1.upon(event, ctx);
        };
        let Entry::Live(instance) = self.1.0.at(message.instance) else {
            return;
        };
        let leader = p(instance.round().min(self.1.0.processes.n()));
        let from = match self.0 {
            Rule::EarlyIsDropped if from != leader => return,
            Rule::ArrivalIsTheRound if from != self.1.0.me => leader,
            Rule::Corrected | Rule::EarlyIsDropped | Rule::ArrivalIsTheRound => from,
        };
        let delivery = best_effort::Deliver { from, message };
        self.1.upon(Event::BestEffort(delivery), ctx);
    }
}

/// Everybody proposes its rank in instance 1; `detect` gives each process its detector.
fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    rule: Rule,
    detect: impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash>,
) -> World {
    let world = World::new(n, seed, adversary).unwrap().keep_trace();
    world.check(properties::regular_consensus(
        world.membership(),
        "consensus",
    ));
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let below = over::over(world.links(q).at("consensus").lane());
        let algorithm = Ruled(rule, Hierarchical::new(&host));
        let detector = detect(&world, q);
        let door = spawn_as(&host, algorithm, below, &detector, world.application(q));
        let (instance, value) = (1, payload(q));
        world.request(q, Time::ZERO, &door, Propose { instance, value });
    }
    world
}

/// The report of each crash takes so many steps.
fn reported_after(steps: u32) -> impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash> {
    move |world, q| world.perfect(q, UNIT * steps)
}

fn lock_step(n: usize, detection: u32, crash: Option<(usize, Crash)>) -> (World, Report) {
    let (adversary, detect) = (Timed::lock_step(), reported_after(detection));
    let mut world = world(n, 1, adversary, Rule::Corrected, detect);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (world, report)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let (world, report) = lock_step(n as usize, 5, None);
        assert_eq!(report.counts.messages, n * (n - 1), "n = {n}");
        let expected = |i: u64| i - 1;
        let expected: Vec<_> = (1..=n).map(|i| Some(expected(i))).collect();
        assert_eq!(each_steps(&world), expected, "n = {n}");
    }
}

#[test]
fn costs_with_p1_dead_are_what_the_header_says() {
    for n in 2..=8_u64 {
        let dead = (1, Crash::at(Time::ZERO));
        let (world, report) = lock_step(n as usize, 5, Some(dead));
        assert_eq!(report.counts.messages, (n - 1) * (n - 1), "n = {n}");
        let expected = |i: u64| 5 + i - 2;
        let expected: Vec<_> = (2..=n).map(|i| Some(expected(i))).collect();
        assert_eq!(each_steps(&world)[1..], expected, "n = {n}");
    }
}

#[test]
fn costs_with_a_leader_crashing_after_k_sends_are_what_the_header_says() {
    for (n, k) in (2..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let crash = (1, Crash::before_output(k + 1));
        let (_, report) = lock_step(n as usize, 1, Some(crash));
        assert_eq!(
            report.counts.messages,
            k + (n - 1) * (n - 1),
            "n = {n}, k = {k}"
        );
    }
}

#[test]
fn c2_agreement_wherever_processes_crash() {
    for seed in 0..400 {
        let n = 2 + seed as usize % 4;
        let detect =
            |world: &World, q: ProcessId| world.perfect(q, UNIT * (1 + q.rank() as u32 % 3));
        let mut world = if seed % 2 == 0 {
            world(n, seed, Random::new(), Rule::Corrected, detect)
        } else {
            let adversary = Timed::uniform(UNIT / 2, UNIT * 6);
            world(n, seed, adversary, Rule::Corrected, detect)
        };
        for rank in 1..n {
            let lose =
                [Lose::Nothing, Lose::Each(0.5), Lose::Everything][(seed as usize + rank) % 3];
            let crash = Crash::before_output(1 + (seed / 7 + rank as u64) % (n as u64 + 1));
            world.crash(p(rank), crash.losing(lose));
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}

/// p1's value reaches p4 alone, late: p2 and p3 have imposed another meanwhile, and p4 waits in the
/// third round for p3's.
fn stale_value(rule: Rule) -> Report {
    let adversary = Latencies(&[(1, 4, 6), (3, 4, 20)]);
    let mut world = world(4, 1, adversary, rule, reported_after(2));
    let lost = [p(2), p(3)].into_iter().collect();
    let crash = Crash::at(Time::ZERO + UNIT / 2).losing(Lose::To(lost));
    world.crash(p(1), crash);
    world.run()
}

#[test]
fn d1_e1_a_stale_value_that_counts_for_the_present_round_breaks_agreement() {
    let violation = stale_value(Rule::ArrivalIsTheRound);
    assert_eq!(violation.violation().unwrap().tag, "C2");
    stale_value(Rule::Corrected).assert_all_hold();
}

#[test]
fn c2_binds_correct_processes_only() {
    // p1 decides its own value and takes it along.
    let world = world(3, 1, Timed::lock_step(), Rule::Corrected, reported_after(2));
    world.check(properties::consensus(world.membership(), "consensus"));
    let crash = Crash::at(Time::ZERO + UNIT / 2).losing(Lose::Everything);
    world.crash(p(1), crash);
    let report = world.go_on_after_violation().run();
    assert_eq!(report.verdict("C2"), Some(&quorate_sim::Verdict::Holds));
    assert_eq!(report.violation().unwrap().tag, "UC2", "D1-E5");
}

#[test]
fn d1_e2_dropping_early_values_breaks_termination() {
    // p2 learns of p1's crash at once and leads; p3 is still waiting for p1.
    let run = |rule| {
        let detect =
            |world: &World, q: ProcessId| world.perfect(q, UNIT * if q == p(2) { 1 } else { 9 });
        let mut world = world(3, 1, Timed::lock_step(), rule, detect);
        world.crash(p(1), Crash::at(Time::ZERO));
        world.run()
    };
    let report = run(Rule::EarlyIsDropped);
    assert_eq!(report.violation().unwrap().tag, "C4");
    run(Rule::Corrected).assert_all_hold();
}

#[test]
fn d1_e6_a_detector_that_errs_breaks_agreement() {
    // The types forbid it; the test forges reports out of suspicions.
    let oracle = Oracle::accurate(UNIT).suspecting(p(2), p(1), step(0), step(3));
    let detect = |world: &World, q: ProcessId| {
        let detector = world.eventually_perfect(q, &oracle);
        detector.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                eventually_perfect::Indication::Suspect(q) => up.send(perfect::Crash(q)),
                eventually_perfect::Indication::Restore(_) => {}
            })
        })
    };
    let adversary = Latencies(&[(1, 2, 5)]);
    let report = world(2, 1, adversary, Rule::Corrected, detect).run();
    assert_eq!(report.violation().unwrap().tag, "C2");
}

#[test]
fn a_process_waits_for_its_own_proposal_and_finished_instances_are_pruned() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut ctx =
        quorate_core::Context::new("consensus".into(), 1, quorate_core::Counters::default());
    let mut p2 = Hierarchical::new(&world.host(p(2)));
    let mut upon = |p2: &mut Hierarchical, event| {
        p2.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    let crash = Event::Crash(perfect::Crash(p(1)));
    assert!(upon(&mut p2, crash).is_empty());
    let propose = |instance| {
        Event::Propose(Propose {
            instance,
            value: payload(p(2)),
        })
    };
    for instance in [1, 7] {
        let effects = upon(&mut p2, propose(instance));
        assert!(
            matches!(effects[..], [Effect::BestEffort(_), Effect::Decide(_)]),
            "{effects:?}"
        );
    }
    let message = Imposed {
        instance: 7,
        value: payload(p(1)),
    };
    let late = Event::BestEffort(best_effort::Deliver {
        from: p(1),
        message,
    });
    assert!(upon(&mut p2, late).is_empty());
    assert!(upon(&mut p2, propose(7)).is_empty());
    assert!(upon(&mut p2, propose(1 << 40)).is_empty(), "too far ahead");
    assert!(p2.0.instances.is_empty());
}
