//! No deterministic algorithm decides in every asynchronous run (Fischer, Lynch, Paterson): a fair adversary
//! that chooses what ◇P says holds the rotating coordinator undecided for as long as it likes, although
//! nobody crashes and every message arrives in bounded time. When the adversary stops, the same run decides;
//! an algorithm that tosses coins decides under the same latencies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod support;

use quorate_sim::Verdict;
use support::{hold_undecided, toss};

#[test]
fn a_fair_adversary_holds_the_rotating_coordinator_undecided_as_long_as_it_likes() {
    for rounds in [5, 50, 500] {
        for (n, bound) in [(2, 1), (3, 1), (4, 1), (5, 1), (3, 4), (4, 4), (5, 4)] {
            for seed in 0..4 {
                let what = format!("{rounds} rounds, n = {n}, bound {bound}, seed {seed}");
                let outcome = hold_undecided(n, seed, bound, rounds);
                let [held, end] = outcome.reports;
                assert_eq!(outcome.foiled, rounds, "{what}");
                assert!(outcome.round > rounds, "{what}: a round is foiled once");
                assert!(held.violation().is_none(), "{what}: {held}");
                assert_eq!(held.verdict("UC4"), Some(&Verdict::Unknown), "{what}");
                assert_eq!(outcome.decided[0], vec![None; n], "{what}");
                assert_eq!(end.completion.correct.len(), n, "nobody has crashed");
                assert!(end.all_hold(), "{what}: {end}");
                assert!(outcome.decided[1].iter().all(Option::is_some), "{what}");
            }
        }
    }
}

#[test]
fn tossing_coins_decides_under_the_same_latencies() {
    for (n, bound) in [(2, 1), (3, 1), (4, 1), (5, 1), (3, 4), (4, 4), (5, 4)] {
        for seed in 0..100 {
            let (report, decided) = toss(n, seed, bound);
            assert!(report.all_hold(), "n = {n}, bound {bound}: {report}");
            assert!(decided.iter().all(Option::is_some), "{decided:?}");
        }
    }
}
