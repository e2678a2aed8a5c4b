//! Storms of false suspicions: ◇P suspects and restores at random for a long time. No safety property may
//! break meanwhile, and after the storm every run decides, or delivers.
//!
//! `cargo test` runs two hundred seeds per algorithm and size, the ignored test ten thousand, which
//! `scripts/soak` runs. The seed chooses the adversary (short or long latencies, or any enabled step), the
//! storm, and the crashes of a minority.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "the runs are independent, and take as long as they take"
)]

use quorate_laboratory::scenario::{Faults, Layers, Scenario};
use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// The algorithms that are led by a process that is not suspected.
const SUBJECTS: [&str; 5] = [
    "rotating-coordinator",
    "leader-driven",
    "by-leader",
    "by-consensus",
    "by-consensus-on-messages",
];
const SIZES: [usize; 3] = [3, 4, 5];

/// The scenario in which as many processes crash as may.
fn stormy(subject: &str, processes: usize) -> Scenario {
    Scenario {
        processes,
        layers: Layers::Ideal,
        faults: Faults {
            crashes: (processes - 1) / 2,
            storm: true,
            ..Faults::NONE
        },
        ..Scenario::of(subject.parse().unwrap())
    }
}

/// The messages of all runs, and a report and a replay of each run in which a property did not hold.
fn run(scenario: &Scenario, seeds: u64) -> (u64, Vec<String>) {
    let (next, messages) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds {
                return;
            }
            let report = scenario.run(seed, false).unwrap().report;
            messages.fetch_add(report.counts.messages, Relaxed);
            if !report.all_hold() {
                let failure = format!("{report}replay: {}\n", scenario.command(seed));
                failures.lock().unwrap().push(failure);
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(worker))));
    (messages.into_inner(), failures.into_inner().unwrap())
}

/// Runs every algorithm and size under this many seeds.
fn check(seeds: u64) {
    let mut failures = Vec::new();
    let mut out = std::io::stdout();
    for (subject, n) in SUBJECTS
        .iter()
        .flat_map(|subject| SIZES.map(|n| (subject, n)))
    {
        let begun = Instant::now();
        let (messages, failed) = run(&stormy(subject, n), seeds);
        // Not by `println!`, whose output the test runner captures.
        writeln!(
            out,
            "{subject}, n = {n}: {seeds} storms, {} did not hold, {} messages a run, {:.1} s",
            failed.len(),
            messages / seeds,
            begun.elapsed().as_secs_f64()
        )
        .unwrap();
        failures.extend(failed);
    }
    for failure in failures.iter().take(20) {
        writeln!(out, "{failure}").unwrap();
    }
    assert!(failures.is_empty(), "{} runs did not hold", failures.len());
}

#[test]
fn consensus_and_total_order_survive_storms_of_false_suspicions() {
    check(200);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn consensus_and_total_order_survive_ten_thousand_storms() {
    check(10_000);
}

#[test]
fn a_storm_costs_half_as_many_messages_again() {
    for subject in SUBJECTS {
        let storm = Scenario {
            processes: 5,
            ..stormy(subject, 3)
        };
        let mut calm = storm.clone();
        (calm.faults.storm, calm.faults.accurate) = (false, true);
        let (felt, _) = run(&storm, 60);
        let (quiet, _) = run(&calm, 60);
        assert!(
            2 * felt > 3 * quiet,
            "{subject}: {felt} messages, {quiet} in calm"
        );
    }
}
