//! Runs a fair adversary against consensus: shows how long it holds the rotating coordinator undecided, and
//! how long the algorithm with coins takes under the same latencies.
//!
//! ```text
//! cargo run --release -p quorate-consensus --example undecided -- [ROUNDS [PROCESSES [BOUND [SEED]]]]
//! ```
#![allow(
    clippy::unwrap_used,
    reason = "a demonstration ends with what went wrong"
)]
#[path = "../tests/support/mod.rs"]
mod support;

use quorate_core::Time;
use quorate_sim::UNIT;
use support::{hold_undecided, toss};

fn steps(times: &[Option<Time>]) -> String {
    let step = |time: &Option<Time>| match time {
        Some(time) => format!("{:.1}", time.as_nanos() as f64 / UNIT.as_nanos() as f64),
        None => "–".to_owned(),
    };
    times.iter().map(step).collect::<Vec<_>>().join(" ")
}

fn main() {
    let given: Vec<u64> = std::env::args()
        .skip(1)
        .map_while(|argument| argument.parse().ok())
        .collect();
    let given = |place: usize, default: u64| given.get(place).copied().unwrap_or(default);
    let (rounds, n) = (given(0, 50), given(1, 3) as usize);
    let (bound, seed) = (given(2, 1) as u32, given(3, 1));
    println!("{n} processes, nobody crashes, every message arrives within {bound} steps");
    let outcome = hold_undecided(n, seed, bound, rounds);
    let [held, end] = &outcome.reports;
    println!(
        "rotating coordinator: {} coordinators suspected just in time, up to round {}, {} messages",
        outcome.foiled, outcome.round, held.counts.messages
    );
    println!("  decided, by step: {}", steps(&outcome.decided[0]));
    println!("the adversary stops: {end}");
    println!("  decided, by step: {}", steps(&outcome.decided[1]));
    let (report, decided) = toss(n, seed, bound);
    println!("randomised, under the same latencies: {report}");
    println!("  decided, by step: {}", steps(&decided));
}
