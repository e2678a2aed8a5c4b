//! Each clause is shown to fail.
use super::*;
use crate::{execution::run, failures::Pattern, one_round::OneRound};
use quorate_core::Membership;

fn three() -> Membership {
    Membership::of_size(3).unwrap()
}

/// An execution of one round in which the processes output these, one after the other.
fn outputs<O: Clone + Ord>(outputs: [&[O]; 3], pattern: &Pattern) -> Execution<usize, O> {
    let processes = three();
    let execution = run(&processes, pattern, 1, |p| OneRound::new(p.rank()));
    let by = processes.iter().zip(outputs);
    let by = by.map(|(p, outputs)| (p, outputs.iter().map(|o| (1, o.clone())).collect()));
    Execution {
        outputs: by.collect(),
        processes: execution.processes,
        pattern: execution.pattern,
        rounds: execution.rounds,
        halted: execution.halted,
        transmissions: execution.transmissions,
        to_oneself: execution.to_oneself,
    }
}

fn tags(broken: &[Broken]) -> Vec<&'static str> {
    broken.iter().map(|broken| broken.property).collect()
}

#[test]
fn each_clause_of_consensus_is_checked() {
    let proposals = |values: [u8; 3]| three().iter().zip(values).collect::<BTreeMap<_, _>>();
    let none = Pattern::failure_free();
    let check = |outputs: &Execution<usize, u8>, values, agreement| {
        tags(&consensus(outputs, &proposals(values), agreement, 1))
    };
    let regular = Agreement::Regular;
    assert!(check(&outputs([&[0], &[0], &[0]], &none), [0, 1, 1], regular).is_empty());
    assert_eq!(
        check(&outputs([&[0], &[1], &[0]], &none), [0, 1, 1], regular),
        ["C2"]
    );
    assert_eq!(
        check(&outputs([&[0], &[0, 0], &[0]], &none), [0, 1, 1], regular),
        ["C3"]
    );
    assert_eq!(
        check(&outputs([&[2], &[2], &[2]], &none), [0, 1, 1], regular),
        ["C3"; 3]
    );
    assert_eq!(
        check(&outputs([&[0], &[], &[0]], &none), [0, 1, 1], regular),
        ["C4"]
    );
    assert_eq!(
        check(&outputs([&[0], &[0], &[0]], &none), [1, 1, 1], regular),
        ["C1"; 3]
    );
    // p1 crashes after all: its decision counts for uniform agreement alone.
    let p1 = three().coordinator(1);
    let crash = Pattern::failure_free().crash(p1, 1, ProcessSet::EMPTY);
    let differs = outputs([&[0], &[1], &[1]], &crash);
    assert!(check(&differs, [0, 1, 1], regular).is_empty());
    assert_eq!(check(&differs, [0, 1, 1], Agreement::Uniform), ["C2"]);
}

#[test]
fn each_clause_of_terminating_broadcast_is_checked() {
    let p1 = three().coordinator(1);
    let none = Pattern::failure_free();
    let (m, faulty) = (Delivery::Message('m'), Delivery::SenderFaulty);
    let check = |[a, b, c]: [&[Delivery<char>]; 3], message: Option<&char>| {
        let execution = outputs([a, b, c], &none);
        tags(&terminating(&execution, p1, message, Agreement::Regular, 1))
    };
    let (said, nothing) = ([m.clone()], [faulty.clone()]);
    assert!(check([&said, &said, &said], Some(&'m')).is_empty());
    assert!(check([&nothing, &nothing, &nothing], None).is_empty());
    assert_eq!(
        check([&nothing, &nothing, &nothing], Some(&'m')),
        ["TRB1"; 3]
    );
    assert_eq!(
        check([&said, &nothing, &said], Some(&'m')),
        ["TRB2", "TRB1"]
    );
    assert_eq!(
        check([&said, &[m.clone(), m.clone()], &said], Some(&'m')),
        ["TRB3"]
    );
    assert_eq!(check([&said, &said, &said], Some(&'x')), ["TRB3"; 3]);
    assert_eq!(check([&said, &said, &[]], Some(&'m')), ["TRB4"]);
}

#[test]
fn early_stopping_is_checked() {
    let none = Pattern::failure_free();
    let mut execution = outputs([&[0], &[0], &[0]], &none);
    assert_eq!(early_stopping(&execution, 2), []);
    for (p, outputs) in &mut execution.outputs {
        outputs[0].0 = p.rank() as u64;
    }
    execution.halted = three().iter().map(|p| (p, 3)).collect();
    // p2 and p3 deliver late, and all three halt late.
    assert_eq!(tags(&early_stopping(&execution, 2)), ["ES"; 5]);
}
