use super::*;
use proptest::prelude::*;

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn the_first_proposal_of_an_instance_decides_it() {
    let mut decisions = Decisions::default();
    let first = ProposalResult::Decided(value("a"));
    assert_eq!(decisions.outcome(7), None);
    assert_eq!(decisions.propose(7, &value("a")), first);
    assert_eq!(decisions.propose(7, &value("b")), first);
    assert_eq!(decisions.outcome(7), Some(first));
    assert_eq!(
        decisions.propose(8, &value("b")),
        ProposalResult::Decided(value("b"))
    );
}

#[test]
fn what_is_no_proposal_is_refused_and_changes_nothing() {
    let mut decisions = Decisions::default();
    assert_eq!(decisions.propose(0, &value("a")), ProposalResult::Refused);
    let long = Bytes::from(vec![0; MAXIMUM_VALUE + 1]);
    assert_eq!(decisions.propose(1, &long), ProposalResult::Refused);
    assert_eq!(decisions, Decisions::default());
    let longest = Bytes::from(vec![0; MAXIMUM_VALUE]);
    assert_eq!(
        decisions.propose(1, &longest),
        ProposalResult::Decided(longest.clone())
    );
}

#[test]
fn memory_is_bounded_and_what_was_forgotten_is_never_decided_again() {
    let mut decisions = Decisions::default();
    let count = REMEMBERED as u64;
    for instance in 1..=count + 10 {
        decisions.propose(instance, &value("first"));
    }
    assert_eq!(decisions.len(), REMEMBERED);
    let forgotten = ProposalResult::Forgotten { up_to: 10 };
    for instance in 1..=10 {
        assert_eq!(decisions.propose(instance, &value("again")), forgotten);
    }
    let known = ProposalResult::Decided(value("first"));
    assert_eq!(decisions.propose(11, &value("again")), known);
}

#[test]
fn the_highest_instance_of_all_takes_one_place() {
    let mut decisions = Decisions::default();
    decisions.propose(u64::MAX, &value("last"));
    assert_eq!(
        decisions.propose(1, &value("a")),
        ProposalResult::Decided(value("a"))
    );
    assert_eq!(decisions.len(), 2);
}

fn decided(proposals: &[(u64, Vec<u8>)]) -> Decisions {
    let mut decisions = Decisions::default();
    for (instance, value) in proposals {
        decisions.propose(*instance, &Bytes::copy_from_slice(value));
    }
    decisions
}

fn restored(forgotten: u64, all: &[(u64, Bytes)]) -> Result<Decisions, Undecodable> {
    let mut decisions = Decisions::restoring(forgotten);
    for (instance, value) in all {
        decisions.restore(*instance, value)?;
    }
    Ok(decisions)
}

#[test]
fn what_is_restored_knows_what_was_forgotten() {
    let proposals: Vec<_> = (1..=REMEMBERED as u64 + 3).map(|i| (i, vec![])).collect();
    let decisions = decided(&proposals);
    let all: Vec<_> = decisions.all().collect();
    let mut restored = restored(decisions.forgotten(), &all).unwrap();
    assert_eq!(restored, decisions);
    assert_eq!(
        restored.propose(2, &value("again")),
        ProposalResult::Forgotten { up_to: 3 }
    );
}

#[test]
fn what_no_decisions_are_is_not_restored() {
    let long = Bytes::from(vec![0; MAXIMUM_VALUE + 1]);
    // These are refused: an instance that is forgotten, a duplicate, one out of order, and a value that is
    // too long.
    assert!(restored(3, &[(3, value("c"))]).is_err());
    assert!(restored(0, &[(5, value("e")), (5, value("e"))]).is_err());
    assert!(restored(0, &[(5, value("e")), (4, value("d"))]).is_err());
    assert!(restored(0, &[(5, long)]).is_err());
    let many: Vec<_> = (1..=REMEMBERED as u64 + 1)
        .map(|i| (i, value("x")))
        .collect();
    assert!(restored(0, &many).is_err());
    assert!(restored(0, &many[1..]).is_ok());
}

proptest! {
    #[test]
    fn decisions_round_trip(
        proposals in prop::collection::vec((0..20_u64, prop::collection::vec(any::<u8>(), 0..9)), 0..40)
    ) {
        let decisions = decided(&proposals);
        let all: Vec<_> = decisions.all().collect();
        prop_assert_eq!(restored(decisions.forgotten(), &all), Ok(decisions));
    }
}
