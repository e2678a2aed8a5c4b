//! Authenticated links against somebody on the network who forges, alters, repeats and misdirects datagrams.
//!
//! `cargo test` runs a few seeds for each size, the ignored test thousands, which `scripts/soak` runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_laboratory::scenario::{Faults, Scenario};

fn tampered(processes: usize, subject: &str) -> Scenario {
    Scenario {
        processes,
        faults: Faults {
            loss: 0.1,
            duplication: 0.1,
            tampering: 0.7,
            ..Faults::NONE
        },
        ..Scenario::of(subject.parse().unwrap())
    }
}

fn run(seeds: u64) {
    for processes in 2..=4 {
        let scenario = tampered(processes, "sealed");
        for seed in 0..seeds {
            let report = scenario.run(seed, false).unwrap().report;
            assert!(
                report.all_hold(),
                "{report}replay: {}",
                scenario.command(seed)
            );
        }
    }
}

#[test]
fn authenticated_links_keep_their_promises() {
    run(20);
}

#[test]
#[ignore = "takes minutes"]
fn authenticated_links_keep_their_promises_in_thousands_of_runs() {
    run(2000);
}

#[test]
fn what_is_not_authenticated_does_not() {
    let scenario = tampered(3, "stubborn");
    let mut runs = (0..20).map(|seed| scenario.run(seed, false).unwrap().report);
    assert!(runs.any(|report| !report.all_hold()));
}

#[test]
fn tampering_is_drawn_from_the_seed_and_moves_no_other_draw() {
    let hash = |scenario: &Scenario| scenario.run(7, false).unwrap().report.hash;
    let scenario = tampered(3, "sealed");
    assert_eq!(hash(&scenario), hash(&scenario));
    let mut without = scenario.clone();
    without.faults.tampering = 0.0;
    assert_ne!(hash(&scenario), hash(&without));
}
