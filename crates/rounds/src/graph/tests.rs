//! The sizes at which a chain exists, and the chain of the proof.
use super::*;
use crate::{execution::run, flood_set::FloodSet};

fn of(n: usize) -> Membership {
    Membership::of_size(n).unwrap()
}

#[test]
fn h5_a_chain_exists_where_rounds_are_too_few() {
    let found = |n, f, rounds| {
        let findings = explore(&of(n), f, rounds);
        (findings.executions, findings.chain.is_some())
    };
    assert_eq!(found(3, 1, 1), (104, true));
    assert!(!found(3, 1, 2).1);
    assert!(found(4, 1, 1).1);
    assert_eq!(found(4, 2, 2), (25_616, true));
}

#[test]
fn h5_e2_two_processes_need_no_second_round_for_one_crash() {
    assert!(explore(&of(2), 1, 1).chain.is_none());
    let chain = proof_chain(&of(2));
    assert!(chain.iter().skip(1).any(|link| link.similar_for.is_none()));
}

/// A chain leads from all 0 to all 1, and each link is seen the same by a process correct on both sides.
fn assert_chain(processes: &Membership, chain: &[Link], rounds: u64) {
    let (first, last) = (&chain[0].run, &chain[chain.len() - 1].run);
    assert_eq!(
        (first.ones, last.ones),
        (ProcessSet::EMPTY, processes.set())
    );
    assert_eq!(
        (&first.pattern, &last.pattern),
        (&last.pattern, &Pattern::failure_free())
    );
    let mut views = Views::default();
    for pair in chain.windows(2) {
        let p = pair[1].similar_for.unwrap();
        let [before, after] = [&pair[0], &pair[1]].map(|link| {
            assert!(link.run.correct(processes).contains(p), "H5-E3");
            link.run.views(processes, rounds, &mut views)[p.index()]
        });
        assert_eq!(before, after, "{} | {}", pair[0].run, pair[1].run);
    }
}

#[test]
fn the_chains_are_chains() {
    let (three, four) = (of(3), of(4));
    assert_chain(&three, &explore(&three, 1, 1).chain.unwrap(), 1);
    assert_chain(&four, &explore(&four, 2, 2).chain.unwrap(), 2);
    for n in 3..=6 {
        let processes = of(n);
        let chain = proof_chain(&processes);
        assert_chain(&processes, &chain, 1);
        assert_eq!(chain.len(), n * (2 * n - 1) + 1);
    }
}

#[test]
fn h5_e1_the_j_highest_lose_their_messages() {
    let chain = proof_chain(&of(4));
    let reached = |at: usize| chain[at].run.pattern.to_string();
    assert_eq!(reached(1), "p1 crashes in round 1, reaching p2 and p3");
    assert_eq!(reached(2), "p1 crashes in round 1, reaching p2");
    assert_eq!(reached(3), "p1 crashes in round 1, reaching nobody");
}

#[test]
fn an_algorithm_of_f_rounds_breaks_somewhere_in_the_chain() {
    let processes = of(4);
    let chain = explore(&processes, 2, 2).chain.unwrap();
    let decisions = chain.iter().map(|link| {
        let execution = run(&processes, &link.run.pattern, 2, |p| {
            // Decides after two rounds, where two processes may crash.
            FloodSet::new(1, u8::from(link.run.ones.contains(p)))
        });
        execution.outputs_of(execution.correct())
    });
    let decisions: Vec<_> = decisions.collect();
    assert_eq!(
        (&decisions[0], decisions.last()),
        (&[0].into(), Some(&[1].into()))
    );
    assert!(
        decisions.iter().any(|values| values.len() == 2),
        "agreement breaks"
    );
}
