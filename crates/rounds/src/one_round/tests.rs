//! Where it is enough, and where it is not.
use super::*;
use crate::{
    execution::run,
    failures::Pattern,
    properties::{Agreement, consensus},
};
use quorate_core::Membership;
use std::collections::BTreeMap;

#[test]
fn c1_one_round_is_enough_while_nothing_fails_and_not_with_one_crash() {
    let processes = Membership::of_size(3).unwrap();
    let proposals: BTreeMap<ProcessId, u8> = processes.iter().zip([0, 1, 1]).collect();
    let [p1, p2, p3] = [1, 2, 3].map(|round| processes.coordinator(round));
    let crash = Pattern::failure_free().crash(p1, 1, [p2].into_iter().collect());
    let broken = |pattern: &Pattern| {
        let execution = run(&processes, pattern, 1, |p| OneRound::new(proposals[&p]));
        let decisions = [p2, p3].map(|p| execution.output(p).map(|(_, value)| *value));
        let broken = consensus(&execution, &proposals, Agreement::Regular, 1);
        (decisions, broken.len())
    };
    assert_eq!(broken(&Pattern::failure_free()), ([Some(0), Some(0)], 0));
    assert_eq!(broken(&crash), ([Some(0), Some(1)], 1));
}
