//! What the tests of the algorithms share.
use crate::hierarchy::{Hierarchy, Imposed};
use bytes::Bytes;
use quorate_abstractions::{Subscribe, best_effort, eventually_perfect, perfect};
use quorate_core::{
    Addr, Algorithm, Context, Counters, Membership, ProcessId, Time, instances::Entry,
};
pub(crate) use quorate_sim::testing::{Latencies, p};
use quorate_sim::{
    Adversary, Crash, Lose, Oracle, Report, SimHost, Timed, UNIT, World,
    properties::Properties,
    testing::{any_pace, losing},
};

pub(crate) fn step(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// The value that a process proposes: its rank.
pub(crate) fn payload(p: ProcessId) -> Bytes {
    Bytes::from(vec![p.rank() as u8])
}

/// The step at which each process decided.
pub(crate) fn each_steps(world: &World) -> Vec<Option<u64>> {
    let decided = |q| {
        let tally = world.tally(q, "consensus", "Decide")?;
        Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
    };
    world.processes().map(decided).collect()
}

/// The rule of a hierarchy that is in force: the corrected one, or one as published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Corrected,
    /// The value of any leader counts for the present round when it arrives.
    ArrivalIsTheRound,
    /// A value that is not of the present round is dropped.
    EarlyIsDropped,
}

impl Rule {
    /// The leader whose value this one of `from` counts as; `None` if it is dropped.
    pub(crate) fn counts_as(
        self,
        hierarchy: &mut Hierarchy,
        number: u64,
        from: ProcessId,
    ) -> Option<ProcessId> {
        let (n, me) = (hierarchy.processes.n(), hierarchy.me);
        let Entry::Live(instance) = hierarchy.at(number) else {
            return None;
        };
        let leader = p(instance.round().min(n));
        match self {
            Rule::EarlyIsDropped if from != leader => None,
            Rule::ArrivalIsTheRound if from != me => Some(leader),
            Rule::Corrected | Rule::EarlyIsDropped | Rule::ArrivalIsTheRound => Some(from),
        }
    }
}

/// The differences between the two hierarchical consensus algorithms, for the tests that they share.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    /// Starts the algorithm at a process, under a rule and with this detector, and makes it propose its rank
    /// in instance 1.
    pub(crate) start: fn(&World, ProcessId, Rule, &Subscribe<perfect::Crash>),
    pub(crate) properties: fn(&Membership, &str) -> Properties,
}

impl Subject {
    /// Everybody proposes; `detect` gives each process its detector.
    pub(crate) fn world(
        self,
        n: usize,
        seed: u64,
        adversary: impl Adversary + 'static,
        rule: Rule,
        detect: impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash>,
    ) -> World {
        let world = World::new(n, seed, adversary).unwrap().keep_trace();
        world.check((self.properties)(world.membership(), "consensus"));
        for q in world.processes() {
            (self.start)(&world, q, rule, &detect(&world, q));
        }
        world
    }

    /// In lock step, with crashes reported after this many steps, all properties hold.
    pub(crate) fn lock_step(
        self,
        n: usize,
        detection: u32,
        crash: Option<(usize, Crash)>,
    ) -> (World, Report) {
        let (adversary, detect) = (Timed::lock_step(), reported_after(detection));
        let mut world = self.world(n, 1, adversary, Rule::Corrected, detect);
        if let Some((rank, crash)) = crash {
            world.crash(p(rank), crash);
        }
        let report = world.run();
        report.assert_all_hold();
        (world, report)
    }

    /// All proposals cost n · (n − 1) messages, and each process decides at the step that is expected of `n` and its rank.
    pub(crate) fn assert_costs(self, step: fn(u64, u64) -> u64) {
        for n in 1..=8_u64 {
            let (world, report) = self.lock_step(n as usize, 5, None);
            assert_eq!(report.counts.messages, n * (n - 1), "n = {n}");
            let expected: Vec<_> = (1..=n).map(|rank| Some(step(n, rank))).collect();
            assert_eq!(each_steps(&world), expected, "n = {n}");
        }
    }

    /// …(n − 1)² where p1 is dead, and known to be after 5 steps.
    pub(crate) fn assert_costs_with_p1_dead(self, step: fn(u64, u64) -> u64) {
        for n in 2..=8_u64 {
            let dead = (1, Crash::at(Time::ZERO));
            let (world, report) = self.lock_step(n as usize, 5, Some(dead));
            assert_eq!(report.counts.messages, (n - 1) * (n - 1), "n = {n}");
            let expected: Vec<_> = (2..=n).map(|rank| Some(step(n, rank))).collect();
            assert_eq!(each_steps(&world)[1..], expected, "n = {n}");
        }
    }

    /// A leader that crashes after k sends costs those, and a run of the others.
    pub(crate) fn assert_costs_with_a_leader_crashing(self) {
        for (n, k) in (2..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
            let crash = (1, Crash::before_output(k + 1));
            let (_, report) = self.lock_step(n as usize, 1, Some(crash));
            let messages = k + (n - 1) * (n - 1);
            assert_eq!(report.counts.messages, messages, "n = {n}, k = {k}");
        }
    }

    /// All properties hold, wherever all but one crash.
    pub(crate) fn assert_holds_wherever_processes_crash(self) {
        for seed in 0..400 {
            let n = 2 + seed as usize % 4;
            let detect =
                |world: &World, q: ProcessId| world.perfect(q, UNIT * (1 + q.rank() as u32 % 3));
            let mut world = self.world(n, seed, any_pace(seed), Rule::Corrected, detect);
            for rank in 1..n {
                let lose = losing(seed + rank as u64);
                let crash = Crash::before_output(1 + (seed / 7 + rank as u64) % (n as u64 + 1));
                world.crash(p(rank), crash.losing(lose));
            }
            let report = world.run();
            assert!(report.all_hold(), "n = {n}, {report}");
        }
    }

    /// Of three processes, p2 learns of p1's crash at once, and leads; p3 is still waiting for p1.
    pub(crate) fn early_value(self, rule: Rule) -> Report {
        let detect =
            |world: &World, q: ProcessId| world.perfect(q, UNIT * if q == p(2) { 1 } else { 9 });
        let mut world = self.world(3, 1, Timed::lock_step(), rule, detect);
        world.crash(p(1), Crash::at(Time::ZERO));
        world.run()
    }

    /// Of four processes, p1's value reaches p4 alone, late, after p2 and p3 have imposed another; p3's takes
    /// even longer. The test determines what else happens.
    pub(crate) fn stale_value(self, rule: Rule) -> World {
        let adversary = Latencies::each(&[(1, 4, 6), (3, 4, 20)]);
        let world = self.world(4, 1, adversary, rule, reported_after(2));
        let lost = [p(2), p(3)].into_iter().collect();
        let crash = Crash::at(Time::ZERO + UNIT / 2).losing(Lose::To(lost));
        world.crash(p(1), crash);
        world
    }
}

/// What p2 of two does where p1 is dead: it waits for a proposal of its own, decides in two instances, and lets nothing
/// that is late, repeated or too far ahead make it do more. Given back is p2 after that.
pub(crate) fn waits_for_its_own_proposal<A: Algorithm>(
    new: fn(&SimHost) -> A,
    propose: fn(u64, Bytes) -> A::Event,
    hear: fn(best_effort::Deliver<Imposed>) -> A::Event,
    crash: fn(perfect::Crash) -> A::Event,
    imposes_and_decides: fn(&[A::Effect]) -> bool,
) -> A
where
    A::Effect: std::fmt::Debug,
{
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut ctx = Context::new("consensus".into(), 1, Counters::default());
    let mut p2 = new(&world.host(p(2)));
    let mut upon = |event| {
        p2.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    assert!(upon(crash(perfect::Crash(p(1)))).is_empty());
    let proposal = |instance| propose(instance, payload(p(2)));
    for instance in [1, 7] {
        let effects = upon(proposal(instance));
        assert!(imposes_and_decides(&effects), "{effects:?}");
    }
    let (instance, value) = (7, payload(p(1)));
    let (from, message) = (p(1), Imposed { instance, value });
    let late = best_effort::Deliver { from, message };
    assert!(upon(hear(late)).is_empty());
    assert!(upon(proposal(7)).is_empty());
    assert!(upon(proposal(1 << 40)).is_empty(), "too far ahead");
    p2
}

/// The report of each crash takes so many steps.
pub(crate) fn reported_after(
    steps: u32,
) -> impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash> {
    move |world, q| world.perfect(q, UNIT * steps)
}

/// A detector that errs and poses as P. The types forbid it: reports are forged out of suspicions.
pub(crate) fn posing(oracle: Oracle) -> impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash> {
    move |world, q| {
        let detector = world.eventually_perfect(q, &oracle);
        detector.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                eventually_perfect::Indication::Suspect(q) => up.send(perfect::Crash(q)),
                eventually_perfect::Indication::Restore(_) => {}
            })
        })
    }
}
