//! Every algorithm keeps its promises under the adversaries, on ideal layers and on the real ones; every
//! mutant is caught; the same seed gives the same run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_core::{ProcessId, Time};
use quorate_laboratory::{
    algorithm::Bound,
    algorithms,
    scenario::{Cut, Faults, Layers, Moment, Refused, Scenario, Subject},
};
use quorate_sim::Verdict;
use std::time::Duration;

/// Runs the seeds, and asserts that every property certainly holds.
#[track_caller]
fn holds(scenario: &Scenario, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = scenario.run(seed, false).unwrap();
        let report = &outcome.report;
        assert!(report.all_hold(), "{}\n{report}", scenario.command(seed));
    }
}

fn scenario(subject: Subject, processes: usize, crashes: usize) -> Scenario {
    Scenario {
        processes,
        layers: Layers::Ideal,
        faults: Faults {
            crashes,
            ..Faults::NONE
        },
        ..Scenario::of(subject)
    }
}

fn named(name: &str) -> Subject {
    name.parse().unwrap()
}

/// Every algorithm, as a subject.
fn sound() -> impl Iterator<Item = Subject> {
    Subject::all().filter(|subject| subject.mutant.is_none())
}

#[test]
fn every_algorithm_survives_as_many_crashes_as_it_says() {
    for subject in sound() {
        for n in [1, 2, 3, 4, 5, 7] {
            let mut scenario = scenario(subject, n, 0);
            let bound = subject.algorithm.bound;
            let most = bound.most(&scenario.validate().unwrap()).min(n - 1);
            scenario.faults.crashes = most;
            if scenario.validate().is_err() {
                scenario.faults.crashes = (n - 1) / 2;
            }
            holds(&scenario, 0..20);
        }
    }
}

#[test]
fn full_stacks_keep_the_same_promises_under_loss_and_duplication() {
    for subject in sound() {
        let mut full = scenario(subject, 3, 1);
        full.layers = Layers::Full;
        (full.faults.loss, full.faults.duplication) = (0.1, 0.05);
        if full.validate() == Err(Refused::Lossless(subject)) {
            continue;
        }
        holds(&full, 0..6);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for layers in [Layers::Ideal, Layers::Full] {
        let mut scenario = scenario(named("by-consensus"), 3, 1);
        scenario.layers = layers;
        (scenario.faults.loss, scenario.faults.duplication) = (0.1, 0.1);
        (scenario.faults.cuts, scenario.faults.pauses) = (1, 1);
        for seed in 0..6 {
            let hash = |keep| scenario.run(seed, keep).unwrap().report.hash;
            assert_eq!(hash(false), hash(true), "{layers:?}, seed {seed}");
        }
        let hash = |seed| scenario.run(seed, false).unwrap().report.hash;
        assert_ne!(hash(1), hash(2));
    }
}

/// Under the faults of the mutant's entry, some seed shows that the mutant breaks the property named in the
/// entry, while the algorithm itself keeps it under that seed. (`checkers.rs` has all mutants.)
#[test]
fn every_mutant_is_caught_by_the_property_that_it_breaks() {
    for (algorithm, mutant) in algorithms::changed() {
        let broken = Scenario::of(named(mutant.name));
        let breaks = |seed: &u64| {
            let report = broken.run(*seed, false).unwrap().report;
            matches!(report.verdict(mutant.breaks), Some(Verdict::Violated(_)))
        };
        let seed = (0..2000).find(breaks);
        let seed = seed.unwrap_or_else(|| panic!("{} is not caught", mutant.name));
        let sound = Scenario {
            subject: named(algorithm.name),
            ..broken
        };
        let report = sound.run(seed, false).unwrap().report;
        assert_eq!(report.verdict(mutant.breaks), Some(&Verdict::Holds));
    }
}

#[test]
fn processes_leave_every_group_wherever_others_crash() {
    for subject in sound().filter(|subject| subject.algorithm.is_group()) {
        for n in [1, 2, 3, 4, 5] {
            for leaves in [1, 2, n] {
                let mut leaving = scenario(subject, n, 0);
                leaving.faults.leaves = leaves;
                holds(&leaving, 0..20);
                // Where views need a majority, who has left counts like who has crashed.
                let needs_majority = subject.algorithm.bound == Bound::Minority;
                let gone = if needs_majority { leaves } else { 0 };
                leaving.faults.crashes = ((n - 1) / 2).saturating_sub(gone);
                holds(&leaving, 20..40);
                leaving.faults.gaps = usize::from(n > 1);
                holds(&leaving, 40..60);
            }
        }
        let mut full = scenario(subject, 3, 0);
        full.layers = Layers::Full;
        full.faults.leaves = 1;
        (full.faults.loss, full.faults.duplication) = (0.1, 0.05);
        holds(&full, 0..6);
    }
    let refused = Scenario {
        faults: Faults::ONE_LEAVES,
        ..Scenario::of(named("eager"))
    };
    let refused = refused.run(0, false).unwrap_err();
    assert_eq!(refused, Refused::NotAGroup(named("eager")));
}

#[test]
fn a_crash_before_an_output_may_be_before_any_of_them() {
    let mut scenario = scenario(named("eager"), 3, 1);
    scenario.faults.moment = Moment::Output;
    scenario.requests = 1;
    let mut crashed_after: Vec<u64> = (0..200)
        .map(|seed| {
            let report = scenario.run(seed, false).unwrap().report;
            let correct = report.completion.correct;
            let mut processes = (1..=3).filter_map(ProcessId::from_rank);
            let crashed = processes.find(|p| !correct.contains(*p)).unwrap();
            report.counts.by_process[crashed.index()]
        })
        .collect();
    crashed_after.sort_unstable();
    crashed_after.dedup();
    // Each sends two copies of its own message and relays two of others'.
    assert_eq!(crashed_after, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn who_restarts_comes_back_where_processes_rejoin_and_only_there() {
    for (name, rejoins) in [("by-leader", true), ("by-consensus", false)] {
        let mut scenario = scenario(named(name), 3, 0);
        scenario.faults.restarts = 1;
        for seed in 0..10 {
            let report = scenario.run(seed, false).unwrap().report;
            assert!(report.all_hold(), "{}\n{report}", scenario.command(seed));
            assert_eq!(report.completion.correct.len(), 2, "one has crashed");
            assert_eq!(report.verdict("REJOIN").is_some(), rejoins);
        }
    }
}

#[test]
fn weight_makes_runs_longer() {
    let light = Scenario {
        layers: Layers::Full,
        requests: 20,
        ..scenario(named("majority-ack"), 3, 0)
    };
    let mut heavy = light.clone();
    heavy.faults.bandwidth = 5_000;
    let end = |scenario: &Scenario| {
        let outcome = scenario.run(3, true).unwrap();
        let delivered = outcome.trace.records().iter();
        let mut delivered =
            delivered.filter(|r| r.kind.indication().is_some_and(|o| o.label == "Deliver"));
        delivered.next_back().unwrap().time
    };
    assert!(end(&heavy) > end(&light) + Duration::from_millis(200));
}

#[test]
fn the_old_names_are_still_known() {
    for (old, new) in [
        ("reliable", "eager"),
        ("uniform", "majority-ack"),
        ("consensus", "rotating-coordinator"),
        ("total-order", "by-consensus"),
        ("broken-uniform", "one-ack"),
    ] {
        assert_eq!(named(old).name(), new);
    }
    assert!("unheard-of".parse::<Subject>().is_err());
}

#[test]
fn senseless_scenarios_are_refused() {
    let refused = |scenario: Scenario| scenario.run(0, false).is_err();
    assert!(refused(scenario(named("by-consensus"), 4, 2)));
    assert!(refused(scenario(named("by-consensus"), 0, 0)));
    let mut lossy = scenario(named("majority-ack"), 3, 0);
    lossy.faults.loss = 1.5;
    assert!(refused(lossy));
    let mut lossless = scenario(named("quorum-access-generalized"), 3, 0);
    lossless.faults.loss = 0.1;
    assert!(refused(lossless), "ideal links lose nothing");
    let mut paused = scenario(named("hierarchical"), 3, 0);
    paused.faults.pauses = 1;
    assert!(refused(paused.clone()), "P takes who pauses for crashed");
    paused.faults.pauses = 0;
    paused.faults.late = 1;
    assert!(refused(paused), "nor who is late");
    let mut broken = scenario(named("best-effort"), 3, 0);
    broken.faults.gaps = 1;
    assert!(refused(broken), "nobody says again what a gap has lost");
    let mut restarted = scenario(named("by-leader"), 3, 0);
    restarted.faults.restarts = 2;
    assert!(refused(restarted), "a majority must live");
    let mut late = scenario(named("majority-ack"), 3, 0);
    late.starts
        .push((ProcessId::from_rank(4).unwrap(), Time::ZERO));
    assert!(refused(late), "there is no p4");
    let mut cut = scenario(named("majority-ack"), 3, 0);
    let p1 = ProcessId::from_rank(1).unwrap();
    cut.cuts.push(Cut {
        from: p1,
        to: p1,
        begin: Time::ZERO,
        end: Some(Time::ZERO + Duration::from_secs(1)),
    });
    assert!(refused(cut));
}
