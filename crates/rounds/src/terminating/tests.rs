//! Every pattern of crashes at small sizes, the errata, and exact costs.
use super::*;
use crate::{
    execution::{Execution, run},
    failures::Pattern,
    properties::{Agreement, terminating},
};
use quorate_core::{Membership, ProcessSet};
use quorate_sim::testing::{p, set};

/// A broadcast of p1, or none.
fn broadcast(
    n: usize,
    f: usize,
    pattern: &Pattern,
    message: Option<char>,
) -> Execution<char, Delivery<char>> {
    let processes = Membership::of_size(n).unwrap();
    run(&processes, pattern, f as u64 + 1, |q| {
        Terminating::new(f, q, p(1), message)
    })
}

#[test]
fn trb1_to_trb4_hold_under_every_pattern_of_crashes() {
    for (n, f) in [(2, 1), (3, 0), (3, 1), (3, 2), (4, 1), (4, 2)] {
        let processes = Membership::of_size(n).unwrap();
        for pattern in Pattern::all_crashes(&processes, f, f as u64 + 1) {
            for message in [Some('m'), None] {
                let execution = broadcast(n, f, &pattern, message);
                let latest = f as u64 + 1;
                let broken = terminating(
                    &execution,
                    p(1),
                    message.as_ref(),
                    Agreement::Regular,
                    latest,
                );
                assert_eq!(broken, [], "n = {n}, f = {f}: {pattern}");
            }
        }
    }
}

#[test]
fn c3_e1_without_self_delivery_a_correct_sender_finds_itself_faulty() {
    /// Hears everybody but itself, as a loop over the others has it.
    struct Deaf(Terminating<char>, ProcessId);

    impl RoundAlgorithm for Deaf {
        type Message = char;
        type Output = Delivery<char>;

        fn send(&mut self, round: u64) -> Vec<(To, char)> {
            self.0.send(round)
        }

        fn receive(&mut self, round: u64, got: &[(ProcessId, char)]) -> Option<Delivery<char>> {
            let others = got.iter().filter(|(from, _)| *from != self.1).copied();
            let others: Vec<_> = others.collect();
            self.0.receive(round, &others)
        }

        fn is_halted(&self) -> bool {
            self.0.is_halted()
        }
    }

    let processes = Membership::of_size(3).unwrap();
    let start = |q| Deaf(Terminating::new(0, q, p(1), Some('m')), q);
    let execution = run(&processes, &Pattern::failure_free(), 1, start);
    let broken = terminating(&execution, p(1), Some(&'m'), Agreement::Regular, 1);
    let tags: Vec<_> = broken.iter().map(|broken| broken.property).collect();
    assert_eq!(tags, ["TRB2", "TRB1"]);
}

#[test]
fn c3_e2_it_is_not_uniform_for_two_crashes_and_is_for_one() {
    let lost = Pattern::failure_free()
        .crash(p(1), 1, set(&[2]))
        .crash(p(2), 2, set(&[]));
    let execution = broadcast(4, 2, &lost, Some('m'));
    assert_eq!(execution.output(p(2)), Some(&(1, Delivery::Message('m'))));
    for rank in [3, 4] {
        assert_eq!(
            execution.output(p(rank)),
            Some(&(3, Delivery::SenderFaulty))
        );
    }
    for pattern in Pattern::all_crashes(&Membership::of_size(4).unwrap(), 1, 2) {
        let execution = broadcast(4, 1, &pattern, Some('m'));
        let broken = terminating(&execution, p(1), Some(&'m'), Agreement::Uniform, 2);
        assert_eq!(broken, [], "{pattern}");
    }
}

#[test]
fn c3_e3_of_a_sender_with_nothing_to_say_all_deliver_that_it_is_faulty() {
    let execution = broadcast(3, 1, &Pattern::failure_free(), None);
    let outputs = execution.outputs_of(execution.correct());
    assert_eq!(outputs, [Delivery::SenderFaulty].into());
    assert_eq!(execution.sent(), 0);
}

#[test]
fn c3_e4_of_several_copies_in_a_round_one_is_delivered() {
    // p1 reaches p2 and p3 only; both relay to p4 in round 2.
    let pattern = Pattern::failure_free().crash(p(1), 1, set(&[2, 3]));
    let execution = broadcast(4, 1, &pattern, Some('m'));
    assert_eq!(execution.outputs[&p(4)], [(2, Delivery::Message('m'))]);
}

#[test]
fn the_cost_is_exact() {
    for n in 2..=8_usize {
        let others = n as u64 - 1;
        let cost = |f, pattern: &Pattern| broadcast(n, f, pattern, Some('m')).sent();
        assert_eq!(cost(0, &Pattern::failure_free()), others);
        for f in 1..n {
            let execution = broadcast(n, f, &Pattern::failure_free(), Some('m'));
            assert_eq!(execution.sent(), n as u64 * others);
            assert_eq!(execution.sent() + execution.to_oneself, (n * n) as u64);
            assert_eq!((execution.rounds, execution.halted[&p(1)]), (2, 2));
            let dead = Pattern::failure_free().crash(p(1), 1, ProcessSet::EMPTY);
            let execution = broadcast(n, f, &dead, Some('m'));
            assert_eq!((execution.sent(), execution.rounds), (0, f as u64 + 1));
            let other = Pattern::failure_free().crash(p(n), 1, ProcessSet::EMPTY);
            assert_eq!(cost(f, &other), others * others);
        }
    }
}
