use super::*;
use crate::testing::{each_steps, p, step};
use quorate_abstractions::link::Links;
use quorate_core::{Context, Counters, Time, wire::Wire};
use quorate_sim::{
    Adversary, Crash, Exhaustive, Lose, Random, Report, Script, Timed, UNIT, Verdict, World,
    properties,
    testing::{LOSSES, losing},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The rule in force: this algorithm's, or a mutant's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Correct,
    /// A bit that one process proposes is decided.
    OneIsEnough,
    /// A bit that fewer than f + 1 propose is not adopted: a coin is tossed.
    OwnCoin,
}

/// The algorithm under a rule, with the last round that any process may enter.
struct Ruled {
    rule: Rule,
    algorithm: Randomised,
    last: Arc<AtomicU64>,
}

impl Ruled {
    /// Changes the proposals that end the round of this process as the rule requires, `proposed` among them.
    fn spoil(&mut self, number: u64, round: u64, proposed: Option<bool>) -> Option<bool> {
        let processes = &self.algorithm.processes;
        let (enough, faulty) = (enough(processes), processes.minority());
        let Some(instance) = self.algorithm.instances.get(number) else {
            return proposed;
        };
        let heard = instance.proposals.values().copied().chain([proposed]);
        let bits: Vec<bool> = heard.flatten().collect();
        let ends = instance.round == round && instance.proposals.len() + 1 >= enough;
        let spoiled = match (self.rule, bits.first()) {
            _ if !ends => return proposed,
            (Rule::OneIsEnough, Some(bit)) => Some(*bit),
            (Rule::OwnCoin, Some(_)) if bits.len() <= faulty => None,
            _ => return proposed,
        };
        instance.proposals.values_mut().for_each(|p| *p = spoiled);
        spoiled
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, mut event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(link::Deliver { message, .. }) = &mut event
            && let Content::Proposal {
                round, proposed, ..
            } = &mut message.content
        {
            *proposed = self.spoil(message.instance, *round, *proposed);
        }
        self.algorithm.upon(event, ctx);
        for number in self.algorithm.instances.numbers() {
            let round = self.algorithm.instances.get(number).map_or(0, |i| i.round);
            self.last.fetch_max(round, Relaxed);
        }
    }
}

/// The bit that a process proposes where proposals differ: 1, 0, 1, …
fn split(q: ProcessId) -> u8 {
    q.rank() as u8 & 1
}

/// Everybody proposes in instance 1 at the beginning; `last` is the last round that any process may enter.
fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    rule: Rule,
    bit: impl Fn(ProcessId) -> u8,
) -> (World, Arc<AtomicU64>) {
    let world = World::new(n, seed, adversary).unwrap().keep_trace();
    world.check(properties::consensus(world.membership(), "consensus"));
    let last = Arc::new(AtomicU64::new(0));
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let algorithm = Ruled {
            rule,
            algorithm: Randomised::new(&host),
            last: last.clone(),
        };
        let links = world.links(q).at("consensus");
        let (lane, status) = (links.lane(), links.status());
        let port = spawn_as(&host, algorithm, lane, &status, world.application(q));
        let (instance, value) = (1, Bytes::from(vec![bit(q)]));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    }
    (world, last)
}

fn lock_step(n: usize, crash: Option<(usize, Crash)>) -> (World, Report) {
    let (mut world, last) = world(n, 1, Timed::lock_step(), Rule::Correct, |_| 1);
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(
        last.load(Relaxed),
        1,
        "a bit that all propose is decided in round 1"
    );
    (world, report)
}

#[test]
fn costs_of_a_unanimous_decision_are_what_the_header_says() {
    for n in 1..=8_u64 {
        let (world, report) = lock_step(n as usize, None);
        assert_eq!(report.counts.messages, 3 * n * (n - 1), "n = {n}");
        let step = if n == 1 { 0 } else { 2 };
        assert_eq!(each_steps(&world), vec![Some(step); n as usize], "n = {n}");
    }
}

#[test]
fn costs_with_one_dead_are_what_the_header_says() {
    for (n, dead) in (3..=8_u64).flat_map(|n| [1, n].map(|dead| (n, dead as usize))) {
        let (world, report) = lock_step(n as usize, Some((dead, Crash::at(Time::ZERO))));
        assert_eq!(report.counts.messages, 3 * (n - 1) * (n - 1), "n = {n}");
        let mut steps = each_steps(&world);
        assert_eq!(steps.remove(dead - 1), None);
        assert_eq!(steps, vec![Some(2); n as usize - 1], "n = {n}");
    }
}

#[test]
fn costs_with_one_crashing_after_k_reports_are_what_the_header_says() {
    for (n, k) in (3..=8_u64).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let (world, report) = lock_step(n as usize, Some((1, Crash::before_output(k + 1))));
        let messages = k + 3 * (n - 1) * (n - 1);
        assert_eq!(report.counts.messages, messages, "n = {n}, k = {k}");
        assert_eq!(each_steps(&world)[1..], vec![Some(2); n as usize - 1]);
    }
}

#[test]
fn uc2_uniform_agreement_wherever_processes_crash() {
    for n in 3..=5 {
        for k in 1..8 * n as u64 {
            for lose in LOSSES {
                for rank in [1, 2] {
                    let (mut world, _) = world(n, k, Timed::lock_step(), Rule::Correct, split);
                    world.crash(p(rank), Crash::before_output(k).losing(lose));
                    world.run().assert_all_hold();
                }
            }
        }
    }
}

/// Runs split proposals under a seed, which also chooses adversary and crashes. Returns the number of rounds.
fn rounds(n: usize, seed: u64) -> u64 {
    let (mut world, last) = match seed % 3 {
        0 => world(n, seed, Random::new(), Rule::Correct, split),
        1 => world(
            n,
            seed,
            Timed::uniform(UNIT / 2, UNIT * 6),
            Rule::Correct,
            split,
        ),
        _ => world(n, seed, Timed::lock_step(), Rule::Correct, split),
    };
    let crashes = seed as usize / 3 % ((n - 1) / 2 + 1);
    for rank in 1..=crashes {
        let lose = losing(seed + rank as u64);
        let crash = Crash::before_output(1 + (seed / 7 * rank as u64) % (6 * n as u64));
        world.crash(p(rank), crash.losing(lose));
    }
    let report = world.run();
    assert!(report.all_hold(), "n = {n}, {report}");
    last.load(Relaxed)
}

#[test]
fn uc4_termination_under_every_seed_in_a_few_rounds() {
    for (n, mean) in [(3, 4), (4, 6), (5, 6), (7, 9)] {
        let mut distribution: BTreeMap<u64, u64> = BTreeMap::new();
        for seed in 0..300 {
            *distribution.entry(rounds(n, seed)).or_default() += 1;
        }
        let total: u64 = distribution
            .iter()
            .map(|(rounds, runs)| rounds * runs)
            .sum();
        println!(
            "n = {n}: {}.{:02} rounds on average; rounds: runs {distribution:?}",
            total / 300,
            total % 300 / 3
        );
        assert!(total <= mean * 300, "n = {n}: {distribution:?}");
        assert!(distribution.len() > 1, "luck matters: {distribution:?}");
    }
}

#[test]
fn everything_holds_in_every_schedule_of_two_and_as_deep_as_is_looked_of_three() {
    let world = |n, seed, bit: fn(ProcessId) -> u8| {
        move || world(n, seed, Timed::lock_step(), Rule::Correct, bit).0
    };
    // Two processes that propose the same, and two whose coins agree at once: the search covers everything.
    for (seed, bit) in [(1, (|_| 1) as fn(ProcessId) -> u8), (2, split)] {
        let found = Exhaustive::new().explore(world(2, seed, bit));
        println!("n = 2, seed {seed}: {found}");
        found.assert_all_hold();
    }
    for seed in [0, 1, 3] {
        let found = Exhaustive::new().depth(13).explore(world(2, seed, split));
        println!("n = 2, seed {seed}: {found}");
        assert!(found.found.is_none(), "{found}");
    }
    for (crashes, depth) in [(0, 8), (1, 6)] {
        let search = Exhaustive::new().crashes(crashes).depth(depth);
        let found = search.explore(world(3, 1, split));
        println!("n = 3, {crashes} crashes, depth {depth}: {found}");
        assert!(found.found.is_none(), "{found}");
    }
}

/// Three processes, of which p2 proposes 0, along this schedule.
fn along(schedule: &str, rule: Rule, seed: u64) -> Report {
    let script: Script = schedule.parse().unwrap();
    let (world, _) = world(3, seed, Timed::lock_step(), rule, split);
    script.run(world).unwrap().report
}

/// Whether the schedule breaks uniform agreement under some coins, by that rule alone.
fn breaks_agreement(schedule: &str, rule: Rule) -> bool {
    let broken = |seed| {
        let report = along(schedule, rule, seed);
        matches!(report.verdict("UC2"), Some(Verdict::Violated(_)))
    };
    for seed in 0..32 {
        let report = along(schedule, Rule::Correct, seed);
        assert!(report.all_hold(), "{report}");
    }
    (0..32).any(broken)
}

#[test]
fn uc2_is_broken_where_one_proposal_is_enough() {
    // p1 alone hears 1 twice, and proposes it; the others toss 0 and decide that.
    let schedule = "request p1\nrequest p2\nrequest p3\n\
                    deliver p3>p1 #1\ndeliver p1>p2 #1\ndeliver p2>p3 #1\n\
                    deliver p2>p1 #2\ndeliver p3>p2 #2\ndeliver p2>p3 #2\n\
                    deliver p2>p3 #3\ndeliver p3>p2 #3\ndeliver p3>p2 #4\n";
    assert!(breaks_agreement(schedule, Rule::OneIsEnough));
}

#[test]
fn uc2_is_broken_where_the_coin_is_tossed_instead_of_adopting_what_one_proposed() {
    // p1 and p3 propose 1, and p1 decides it; the others each hear one of the two.
    let schedule = "request p1\nrequest p2\nrequest p3\n\
                    deliver p3>p1 #1\ndeliver p1>p3 #1\ndeliver p1>p2 #1\n\
                    deliver p3>p1 #2\ndeliver p2>p3 #2\ndeliver p3>p2 #2\n\
                    deliver p2>p3 #3\ndeliver p3>p2 #3\ndeliver p3>p2 #4\n";
    assert!(breaks_agreement(schedule, Rule::OwnCoin));
}

#[test]
fn random_schedules_find_the_mutants_too() {
    // p1, which may have decided, crashes, and its messages are lost with it.
    let breaks = |rule, seed| {
        let adversary = Timed::uniform(UNIT / 2, UNIT * 6);
        let (mut world, _) = world(3, seed, adversary, rule, split);
        let crash = Crash::at(step(4 + seed as u32 % 12));
        world.crash(p(1), crash.losing(Lose::Everything));
        matches!(world.run().verdict("UC2"), Some(Verdict::Violated(_)))
    };
    for rule in [Rule::OneIsEnough, Rule::OwnCoin] {
        let seed = (0..3000).find(|seed| breaks(rule, *seed));
        println!("{rule:?}: seed {seed:?}");
        assert!(
            seed.is_some_and(|seed| !breaks(Rule::Correct, seed)),
            "{rule:?}"
        );
    }
}

/// One process of three, p3, driven by hand.
struct Alone {
    algorithm: Randomised,
    ctx: Ctx<Randomised>,
    counters: Counters,
}

impl Alone {
    fn new() -> Self {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let counters = Counters::default();
        Alone {
            algorithm: Randomised::new(&world.host(p(3))),
            ctx: Context::new("consensus".into(), 1, counters.clone()),
            counters,
        }
    }

    /// The messages that it sends in answer, and its decision.
    fn upon(&mut self, event: Event) -> (Vec<Content>, Option<Bytes>) {
        self.algorithm.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        let mut answer = (Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Link(link::SendRequest { message, .. }) => answer.0.push(message.content),
                Effect::Decide(Decide { value, .. }) => answer.1 = Some(value),
            }
        }
        answer
    }

    fn proposes(&mut self, instance: u64, value: &'static [u8]) -> Vec<Content> {
        let value = Bytes::from_static(value);
        self.upon(Event::Propose(Propose { instance, value })).0
    }

    fn hears(&mut self, from: usize, content: Content) -> (Vec<Content>, Option<Bytes>) {
        let message = Message {
            instance: 1,
            content,
        };
        let from = p(from);
        self.upon(Event::Link(link::Deliver { from, message }))
    }
}

fn reported(round: u64, estimate: bool) -> Content {
    Content::Report { round, estimate }
}

fn proposal(round: u64, estimate: bool, proposed: Option<bool>) -> Content {
    Content::Proposal {
        round,
        estimate,
        proposed,
    }
}

#[test]
fn a_later_round_is_entered_with_the_estimate_that_comes_from_it() {
    let mut p3 = Alone::new();
    assert_eq!(p3.proposes(1, &[0]), [reported(1, false)]);
    assert_eq!(p3.hears(1, reported(9, true)).0, [reported(9, true)]);
    assert!(p3.hears(2, reported(1, false)).0.is_empty(), "left");
    assert!(p3.hears(2, proposal(8, false, None)).0.is_empty(), "left");
    let (said, decided) = p3.hears(2, proposal(12, false, Some(true)));
    assert_eq!(said, [reported(12, false)], "a proposal takes there, too");
    assert_eq!(decided, None);
    let (said, _) = p3.hears(3, reported(12, false));
    assert_eq!(said, [proposal(12, false, Some(false))], "two of three");
    let (said, _) = p3.hears(1, proposal(12, true, None));
    assert_eq!(said, [reported(13, true)], "one has proposed it");
}

#[test]
fn who_has_not_proposed_hears_the_first_round_and_is_taken_to_later_ones() {
    let mut p3 = Alone::new();
    for from in [1, 2] {
        assert!(p3.hears(from, proposal(1, true, Some(true))).0.is_empty());
    }
    let propose = Propose {
        instance: 1,
        value: Bytes::from_static(&[0]),
    };
    let (said, decided) = p3.upon(Event::Propose(propose));
    assert_eq!(
        said[..2],
        [reported(1, false), proposal(1, false, Some(true))]
    );
    assert_eq!(decided, Some(Bytes::from_static(&[1])));
    let mut p3 = Alone::new();
    assert_eq!(p3.hears(1, reported(2, true)).0, [reported(2, true)]);
    assert!(p3.proposes(1, &[0]).is_empty(), "it has an estimate");
}

#[test]
fn a_decided_instance_is_told_once_and_pruned() {
    let mut p3 = Alone::new();
    p3.proposes(1, &[0]);
    let decided = Content::Decided { value: true };
    let told = (vec![decided], Some(Bytes::from_static(&[1])));
    assert_eq!(p3.hears(1, decided), told);
    assert!(p3.algorithm.instances.is_empty());
    let nothing = (Vec::new(), None);
    assert_eq!(p3.hears(2, Content::Decided { value: true }), nothing);
    assert_eq!(p3.hears(2, proposal(7, true, None)), nothing);
    assert!(p3.proposes(1, &[1]).is_empty());
    assert!(
        p3.algorithm.instances.is_empty(),
        "a late message revives nothing"
    );
}

#[test]
fn what_makes_no_sense_is_dropped_and_counted() {
    let mut p3 = Alone::new();
    for value in [&[2][..], &[], &[0, 0]] {
        assert!(p3.proposes(1, value).is_empty());
    }
    assert_eq!(p3.counters.total("not a bit"), 3);
    assert!(p3.proposes(1 << 40, &[0]).is_empty());
    assert_eq!(p3.counters.total("instance too far ahead"), 1);
    p3.proposes(1, &[0]);
    assert!(
        p3.hears(1, reported(0, true)).0.is_empty(),
        "there is no round 0"
    );
    assert!(p3.hears(1, reported(u64::MAX, true)).0.is_empty());
    assert!(p3.hears(1, proposal(u64::MAX, true, None)).0.is_empty());
    assert_eq!(p3.counters.total("round too far ahead"), 2);
    assert_eq!(
        p3.hears(1, reported(1 << 32, true)).0.len(),
        1,
        "just near enough"
    );
}

#[test]
fn what_one_says_twice_counts_once() {
    let mut p3 = Alone::new();
    p3.proposes(1, &[1]);
    for _ in 0..2 {
        assert!(p3.hears(1, reported(1, true)).0.is_empty());
    }
    let (said, _) = p3.hears(3, reported(1, true));
    assert_eq!(said, [proposal(1, true, Some(true))]);
    for _ in 0..2 {
        let (said, decided) = p3.hears(1, proposal(1, true, Some(true)));
        assert!(said.is_empty() && decided.is_none());
    }
    let (_, decided) = p3.hears(3, proposal(1, true, Some(true)));
    assert_eq!(decided, Some(Bytes::from_static(&[1])));
}

#[test]
fn messages_survive_the_wire() {
    for content in [
        reported(9, true),
        proposal(9, false, None),
        proposal(9, false, Some(true)),
        Content::Decided { value: false },
    ] {
        let message = Message {
            instance: 3,
            content,
        };
        assert_eq!(
            Message::decode(quorate_core::wire::encode(&message)),
            Ok(message)
        );
    }
    let decided = quorate_core::wire::encode(&Message {
        instance: 3,
        content: Content::Decided { value: true },
    });
    let mut forged = decided.to_vec();
    *forged.last_mut().unwrap() = 2;
    assert!(Message::decode(Bytes::from(forged)).is_err(), "2 is no bit");
}

#[test]
fn instances_do_not_wait_for_each_other() {
    for seed in 0..60 {
        let n = 3 + seed as usize % 3;
        let mut world = World::new(n, seed, Random::new()).unwrap();
        world.check(properties::consensus(world.membership(), "consensus"));
        for q in world.processes() {
            let host = world.host(q).at("consensus");
            let links = world.links(q).at("consensus");
            let (lane, status) = (links.lane(), links.status());
            let port = spawn(&host, lane, &status, world.application(q));
            for instance in 1..=6 {
                let time = step((seed as u32 + 7 * q.rank() as u32 + 11 * instance as u32) % 40);
                let value = Bytes::from(vec![(q.rank() as u8 + instance as u8) & 1]);
                world.request(q, time, &port, Propose { instance, value });
            }
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}
