//! Every pattern of crashes at small sizes, send omission at random, the errata, and exact costs.
use super::*;
use crate::{
    execution::{Execution, run},
    failures::{OmissionKind, Pattern},
    properties::{Agreement, Broken, early_stopping, terminating},
};
use quorate_core::Random;
use quorate_sim::testing::{p, set};
use rand::{RngExt, SeedableRng};
use std::{cell::Cell, collections::BTreeSet, rc::Rc};

/// A broadcast of p1.
fn broadcast(
    n: usize,
    f: usize,
    pattern: &Pattern,
    mutant: Option<Mutant>,
) -> Execution<Option<Delivery<char>>, Delivery<char>> {
    let processes = Membership::of_size(n).unwrap();
    run(&processes, pattern, f as u64 + 1, |q| {
        let algorithm = EarlyStopping::new(f, &processes, q, p(1), Some('m'));
        match mutant {
            Some(mutant) => algorithm.mutant(mutant),
            None => algorithm,
        }
    })
}

fn check(n: usize, f: usize, pattern: &Pattern, mutant: Option<Mutant>) -> Vec<Broken> {
    let execution = broadcast(n, f, pattern, mutant);
    terminating(
        &execution,
        p(1),
        Some(&'m'),
        Agreement::Regular,
        f as u64 + 1,
    )
}

const SIZES: [(usize, usize); 6] = [(2, 1), (3, 0), (3, 1), (3, 2), (4, 1), (4, 2)];

#[test]
fn trb1_to_trb4_and_early_stopping_hold_under_every_pattern_of_crashes() {
    for (n, f) in SIZES {
        let processes = Membership::of_size(n).unwrap();
        for pattern in Pattern::all_crashes(&processes, f, f as u64 + 1) {
            let mut broken = check(n, f, &pattern, None);
            broken.extend(early_stopping(&broadcast(n, f, &pattern, None), f));
            assert_eq!(broken, [], "n = {n}, f = {f}: {pattern}");
        }
    }
}

/// p1 omits to all in round 1, and sends to p2 alone in round 2.
fn said_again() -> Pattern {
    let pattern = Pattern::failure_free();
    let pattern = pattern.omit(p(1), 1, p(1), p(2)).omit(p(1), 1, p(1), p(3));
    pattern.omit(p(1), 2, p(1), p(3))
}

#[test]
fn c4_e1_a_sender_that_says_it_again_breaks_agreement_under_omission_alone() {
    let mutant = Some(Mutant::SenderSaysItAgain);
    assert_eq!(check(3, 1, &said_again(), None), []);
    let execution = broadcast(3, 1, &said_again(), mutant);
    assert_eq!(execution.output(p(2)), Some(&(2, Delivery::Message('m'))));
    assert_eq!(execution.output(p(3)), Some(&(2, Delivery::SenderFaulty)));
    for (n, f) in SIZES {
        for pattern in Pattern::all_crashes(&Membership::of_size(n).unwrap(), f, f as u64 + 1) {
            assert_eq!(
                check(n, f, &pattern, mutant),
                [],
                "redundant under crashes: {pattern}"
            );
        }
    }
}

/// Hears everybody but itself in round 1.
struct Deaf(EarlyStopping<char>, ProcessId);

impl RoundAlgorithm for Deaf {
    type Message = Option<Delivery<char>>;
    type Output = Delivery<char>;

    fn send(&mut self, round: u64) -> Vec<(To, Self::Message)> {
        self.0.send(round)
    }

    fn receive(
        &mut self,
        round: u64,
        received: &[(ProcessId, Self::Message)],
    ) -> Option<Delivery<char>> {
        let heard = received
            .iter()
            .filter(|(from, _)| round > 1 || *from != self.1);
        let heard: Vec<_> = heard.cloned().collect();
        self.0.receive(round, &heard)
    }

    fn is_halted(&self) -> bool {
        self.0.is_halted()
    }
}

#[test]
fn c4_e2_a_sender_that_does_not_hear_itself_breaks_agreement() {
    let processes = Membership::of_size(3).unwrap();
    // p1 reaches nobody in round 1, not even itself, and p2 alone in round 2.
    let execution = run(&processes, &said_again(), 2, |q| {
        Deaf(EarlyStopping::new(1, &processes, q, p(1), Some('m')), q)
    });
    let broken = terminating(&execution, p(1), Some(&'m'), Agreement::Regular, 2);
    assert_eq!(broken.first().map(|broken| broken.property), Some("TRB2"));
}

#[test]
fn c4_e3_the_silent_are_no_failure_detector() {
    // Nothing fails; whoever has halted is silent from then on. The processes of a second broadcast that
    // took over the set would find everybody faulty.
    let execution = broadcast(3, 2, &Pattern::failure_free(), None);
    assert_eq!((execution.rounds, execution.correct().len()), (2, 3));
    let late = execution.transmissions.iter().filter(|t| t.round > 2);
    assert_eq!(
        late.count(),
        0,
        "all are silent in round 3, and nobody has crashed"
    );
}

/// Notes how many were silent by round f + 1, and whether a message and the verdict met in a round.
struct Watched {
    inner: EarlyStopping<char>,
    silent: Rc<Cell<usize>>,
    met: Rc<Cell<bool>>,
}

impl RoundAlgorithm for Watched {
    type Message = Option<Delivery<char>>;
    type Output = Delivery<char>;

    fn send(&mut self, round: u64) -> Vec<(To, Self::Message)> {
        self.inner.send(round)
    }

    fn receive(
        &mut self,
        round: u64,
        received: &[(ProcessId, Self::Message)],
    ) -> Option<Delivery<char>> {
        let known: BTreeSet<_> = received
            .iter()
            .filter_map(|(_, said)| said.as_ref())
            .collect();
        self.met.set(self.met.get() || known.len() > 1);
        let output = self.inner.receive(round, received);
        if round > self.inner.f {
            self.silent
                .set(self.silent.get().max(self.inner.silent.len()));
        }
        output
    }

    fn is_halted(&self) -> bool {
        self.inner.is_halted()
    }
}

/// How many are silent at most by round f + 1, and whether a message ever meets the verdict.
fn watch(n: usize, f: usize, pattern: &Pattern) -> (usize, bool) {
    let processes = Membership::of_size(n).unwrap();
    let (silent, met) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    run(&processes, pattern, f as u64 + 1, |q| Watched {
        inner: EarlyStopping::new(f, &processes, q, p(1), Some('m')),
        silent: silent.clone(),
        met: met.clone(),
    });
    (silent.get(), met.get())
}

#[test]
fn c4_e4_the_verdict_is_passed_on_and_never_meets_the_message() {
    // p1 is dead: all find that out in round 2, say so in round 3, and halt.
    let dead = Pattern::failure_free().crash(p(1), 1, set(&[]));
    let execution = broadcast(4, 2, &dead, None);
    let said = execution.transmissions.iter().filter(|t| t.round == 3);
    let verdict = Some(Delivery::SenderFaulty);
    assert_eq!(said.filter(|t| t.message == verdict).count(), 9);
    for (n, f) in SIZES {
        for pattern in Pattern::all_crashes(&Membership::of_size(n).unwrap(), f, f as u64 + 1) {
            assert!(!watch(n, f, &pattern).1, "n = {n}, f = {f}: {pattern}");
        }
    }
}

#[test]
fn c4_e5_it_is_not_uniform_for_two_crashes() {
    let lost = Pattern::failure_free()
        .crash(p(1), 1, set(&[2]))
        .crash(p(2), 2, set(&[]));
    let execution = broadcast(4, 2, &lost, None);
    assert_eq!(execution.output(p(2)), Some(&(1, Delivery::Message('m'))));
    for rank in [3, 4] {
        assert_eq!(
            execution.output(p(rank)),
            Some(&(3, Delivery::SenderFaulty))
        );
    }
}

#[test]
fn c4_e6_no_more_than_f_are_silent_in_round_f_plus_one() {
    for (n, f) in SIZES {
        let patterns = Pattern::all_crashes(&Membership::of_size(n).unwrap(), f, f as u64 + 1);
        let most = patterns.iter().map(|pattern| watch(n, f, pattern).0).max();
        assert!(most <= Some(f), "n = {n}, f = {f}: {most:?}");
    }
    let two = Pattern::failure_free()
        .crash(p(1), 1, set(&[]))
        .crash(p(2), 1, set(&[]));
    assert_eq!(watch(4, 2, &two).0, 2, "f of them can be");
}

/// How many of so many random runs with send omission break something.
fn omissions(n: usize, runs: u64, mutant: Option<Mutant>) -> u64 {
    let processes = Membership::of_size(n).unwrap();
    let broken = (0..runs).filter(|seed| {
        let mut rng = Random::seed_from_u64(*seed);
        let (f, kind) = (rng.random_range(1..n), OmissionKind::Send);
        let pattern = Pattern::random_omissions(&processes, f, f as u64 + 1, kind, &mut rng);
        !check(n, f, &pattern, mutant).is_empty()
    });
    broken.count() as u64
}

#[test]
fn no_violation_is_known_under_send_omission() {
    for n in 3..=5 {
        assert_eq!(omissions(n, 2_000, None), 0, "n = {n}");
        let found = omissions(n, 2_000, Some(Mutant::SenderSaysItAgain));
        assert!(
            found > 0,
            "n = {n}: the sender that says it again is not found"
        );
    }
}

#[test]
#[ignore = "a hundred thousand runs a size: scripts/soak"]
fn omissions_a_hundred_thousand_times() {
    for n in 3..=5 {
        assert_eq!(omissions(n, 100_000, None), 0, "n = {n}");
    }
}

#[test]
fn every_mutant_is_found() {
    let patterns = Pattern::all_crashes(&Membership::of_size(4).unwrap(), 2, 3);
    let breaks = |mutant| {
        let mut found = patterns.iter().filter(|pattern| {
            let execution = broadcast(4, 2, pattern, Some(mutant));
            let early = early_stopping(&execution, 2);
            !early.is_empty() || !check(4, 2, pattern, Some(mutant)).is_empty()
        });
        found.next().is_some()
    };
    assert!(breaks(Mutant::Silent) && breaks(Mutant::StopsLate));
}

#[test]
fn the_cost_is_exact() {
    for n in 2..=8_usize {
        let (all, others) = (n as u64, n as u64 - 1);
        let free = broadcast(n, 0, &Pattern::failure_free(), None);
        assert_eq!(free.sent(), all * others);
        for f in 1..n {
            let execution = broadcast(n, f, &Pattern::failure_free(), None);
            assert_eq!((execution.sent(), execution.rounds), (2 * all * others, 2));
            assert_eq!(execution.to_oneself, 2 * all);
            let dead = Pattern::failure_free().crash(p(1), 1, set(&[]));
            let execution = broadcast(n, f, &dead, None);
            let rounds = if f == 1 { 2 } else { 3 };
            assert_eq!(
                execution.sent(),
                rounds * others * others,
                "n = {n}, f = {f}"
            );
            assert_eq!(execution.output(p(2)), Some(&(2, Delivery::SenderFaulty)));
        }
    }
}
