//! The checkers of atomic commit.
use super::*;

fn vote(by: usize, yes: bool) -> (usize, Kind) {
    propose(by, 1, u64::from(yes))
}

fn end(by: usize, commit: bool) -> (usize, Kind) {
    decide(by, 1, u64::from(commit))
}

fn found(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(atomic_commit(&three(), "m"), trace)
}

fn all_vote_yes() -> Vec<(usize, Kind)> {
    everyone(|q| vote(q, true)).collect()
}

#[test]
fn a_commit_of_all_and_an_abort_with_a_reason_pass() {
    let mut trace = all_vote_yes();
    trace.extend(everyone(|q| end(q, true)));
    assert!(found(&trace).is_empty());
    let mut trace = vec![vote(1, true), vote(2, false), vote(3, true)];
    trace.extend(everyone(|q| end(q, false)));
    assert!(found(&trace).is_empty());
    let mut trace = vec![vote(1, true), vote(2, true), crash(3)];
    trace.extend([end(1, false), end(2, false)]);
    assert!(found(&trace).is_empty());
}

#[test]
fn nbac1_uniform_agreement() {
    let mut trace = all_vote_yes();
    trace.extend([end(1, true), crash(1), end(2, false), end(3, false)]);
    assert_eq!(found(&trace), ["NBAC1"]);
}

#[test]
fn nbac2_termination_where_every_correct_process_votes() {
    let mut trace = vec![vote(1, true), vote(2, false), end(1, false)];
    assert!(found(&trace).is_empty());
    trace.push(crash(3));
    assert_eq!(found(&trace), ["NBAC2"]);
}

#[test]
fn nbac2_c_termination_where_the_coordinator_and_every_other_correct_process_vote() {
    let blocking = |trace: &[(usize, Kind)]| broken(blocking_commit(&three(), "m"), trace);
    let mut trace = vec![vote(1, true), vote(2, true)];
    assert!(blocking(&trace).is_empty(), "p3 has not voted");
    trace.push(crash(3));
    assert_eq!(blocking(&trace), ["NBAC2-C"]);
    let mut trace = all_vote_yes();
    trace.push(crash(2));
    assert_eq!(blocking(&trace), ["NBAC2-C"]);
    trace.push(crash(1));
    assert!(
        blocking(&trace).is_empty(),
        "nobody is owed an outcome without the coordinator"
    );
}

#[test]
fn nbac2_is_unknown_of_a_truncated_run() {
    let verdicts = judge_with(atomic_commit(&three(), "m"), &all_vote_yes(), false, "m");
    let (tag, verdict) = &verdicts[1];
    assert_eq!((&tag[..], verdict), ("NBAC2", &Verdict::Unknown));
}

#[test]
fn nbac3_commit_validity() {
    let mut trace = vec![vote(1, true), vote(2, true)];
    trace.push(end(1, true));
    assert_eq!(found(&trace), ["NBAC3"], "one has not voted");
    let mut trace = vec![vote(1, true), vote(2, true), vote(3, false), vote(3, true)];
    trace.extend(everyone(|q| end(q, true)));
    assert_eq!(found(&trace), ["NBAC3"], "the first vote counts");
}

#[test]
fn nbac4_abort_validity() {
    let mut trace = all_vote_yes();
    trace.extend(everyone(|q| end(q, false)));
    trace.push(crash(3));
    assert_eq!(
        found(&trace),
        ["NBAC4"],
        "a crash after the decision is late"
    );
}

#[test]
fn nbac5_integrity() {
    let mut trace = all_vote_yes();
    trace.extend(everyone(|q| end(q, true)));
    trace.push(end(2, true));
    assert_eq!(found(&trace), ["NBAC5"]);
}
