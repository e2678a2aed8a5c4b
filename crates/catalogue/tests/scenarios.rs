//! Every stack keeps its promises under the adversaries, on ideal layers and on the real ones; a
//! broken twin is caught; the same seed is the same run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_catalogue::scenario::{Layers, Scenario, Subject};
use quorate_sim::Verdict;

/// Runs the seeds, and asserts that every property holds, for certain.
#[track_caller]
fn holds(scenario: &Scenario, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = scenario.run(seed, false).unwrap();
        let report = &outcome.report;
        assert!(
            report.all_hold(),
            "{scenario:?} on {:?}: {report}",
            outcome.layers
        );
    }
}

fn scenario(subject: Subject, processes: usize, crashes: usize) -> Scenario {
    Scenario {
        subject,
        processes,
        crashes,
        layers: Layers::Ideal,
        ..Scenario::default()
    }
}

#[test]
fn reliable_broadcast_survives_any_crashes() {
    for (n, crashes) in [(1, 0), (2, 1), (3, 2), (5, 4)] {
        holds(&scenario(Subject::Reliable, n, crashes), 0..60);
    }
}

#[test]
fn uniform_broadcast_survives_a_minority_of_crashes() {
    for (n, crashes) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
        holds(&scenario(Subject::Uniform, n, crashes), 0..60);
    }
}

#[test]
fn consensus_survives_a_minority_of_crashes_and_false_suspicions() {
    for (n, crashes) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
        holds(&scenario(Subject::Consensus, n, crashes), 0..60);
    }
}

#[test]
fn total_order_survives_a_minority_of_crashes_and_false_suspicions() {
    for (n, crashes) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
        holds(&scenario(Subject::TotalOrder, n, crashes), 0..40);
    }
}

#[test]
fn full_stacks_keep_the_same_promises_under_loss_and_duplication() {
    for (subject, crashes) in [
        (Subject::Reliable, 1),
        (Subject::Uniform, 1),
        (Subject::Consensus, 1),
        (Subject::TotalOrder, 1),
    ] {
        let ideal = scenario(subject, 3, crashes);
        let full = Scenario {
            layers: Layers::Full,
            loss: 0.1,
            duplication: 0.05,
            ..ideal
        };
        holds(&full, 0..12);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for layers in [Layers::Ideal, Layers::Full] {
        let scenario = Scenario {
            layers,
            crashes: 1,
            loss: 0.1,
            duplication: 0.1,
            ..scenario(Subject::TotalOrder, 3, 1)
        };
        let scenario = Scenario { layers, ..scenario };
        for seed in 0..6 {
            let hash = |keep| scenario.run(seed, keep).unwrap().report.hash;
            assert_eq!(hash(false), hash(true), "{layers:?}, seed {seed}");
        }
        let hash = |seed| scenario.run(seed, false).unwrap().report.hash;
        assert_ne!(hash(1), hash(2));
    }
}

#[test]
fn delivering_on_one_acknowledgement_breaks_uniform_agreement() {
    let broken = scenario(Subject::UniformOnOneAck, 3, 1);
    let violated = (0..200).find_map(|seed| {
        let report = broken.run(seed, false).unwrap().report;
        report
            .violation()
            .map(|violation| (seed, violation.tag.clone()))
    });
    let (seed, tag) = violated.expect("the checker catches the broken twin");
    assert_eq!(tag, "URB4");
    // The same schedule does not break the algorithm that waits for a majority.
    let report = scenario(Subject::Uniform, 3, 1)
        .run(seed, false)
        .unwrap()
        .report;
    assert_eq!(report.verdict("URB4"), Some(&Verdict::Holds));
}

#[test]
fn senseless_scenarios_are_refused() {
    assert!(scenario(Subject::TotalOrder, 4, 2).run(0, false).is_err());
    assert!(scenario(Subject::TotalOrder, 0, 0).run(0, false).is_err());
    let lossy = Scenario {
        loss: 1.5,
        ..scenario(Subject::Uniform, 3, 0)
    };
    assert!(lossy.run(0, false).is_err());
}
