use super::*;
use proptest::prelude::*;

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn the_first_proposal_of_an_instance_decides_it() {
    let mut decisions = Decisions::default();
    let first = Outcome::Decided(value("a"));
    assert_eq!(decisions.outcome(7), None);
    assert_eq!(decisions.propose(7, &value("a")), first);
    assert_eq!(decisions.propose(7, &value("b")), first);
    assert_eq!(decisions.outcome(7), Some(first));
    assert_eq!(
        decisions.propose(8, &value("b")),
        Outcome::Decided(value("b"))
    );
}

#[test]
fn what_is_no_proposal_is_refused_and_changes_nothing() {
    let mut decisions = Decisions::default();
    assert_eq!(decisions.propose(0, &value("a")), Outcome::Refused);
    let long = Bytes::from(vec![0; MAXIMUM_VALUE + 1]);
    assert_eq!(decisions.propose(1, &long), Outcome::Refused);
    assert_eq!(decisions, Decisions::default());
    let longest = Bytes::from(vec![0; MAXIMUM_VALUE]);
    assert_eq!(
        decisions.propose(1, &longest),
        Outcome::Decided(longest.clone())
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
    let forgotten = Outcome::Forgotten { up_to: 10 };
    for instance in 1..=10 {
        assert_eq!(decisions.propose(instance, &value("again")), forgotten);
    }
    let known = Outcome::Decided(value("first"));
    assert_eq!(decisions.propose(11, &value("again")), known);
}

#[test]
fn the_highest_instance_of_all_takes_one_place() {
    let mut decisions = Decisions::default();
    decisions.propose(u64::MAX, &value("last"));
    assert_eq!(
        decisions.propose(1, &value("a")),
        Outcome::Decided(value("a"))
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

#[test]
fn a_snapshot_tells_what_was_forgotten() {
    let proposals: Vec<_> = (1..=REMEMBERED as u64 + 3).map(|i| (i, vec![])).collect();
    let mut restored = Decisions::restore(decided(&proposals).snapshot()).unwrap();
    assert_eq!(restored, decided(&proposals));
    assert_eq!(
        restored.propose(2, &value("again")),
        Outcome::Forgotten { up_to: 3 }
    );
}

#[test]
fn what_is_no_snapshot_is_an_error() {
    let good = decided(&[(3, b"c".to_vec()), (5, b"e".to_vec())]).snapshot();
    for length in 0..good.len() {
        assert!(
            Decisions::restore(good.slice(..length)).is_err(),
            "{length}"
        );
    }
    let longer = [&good[..], b"x"].concat();
    assert!(Decisions::restore(longer.into()).is_err());
    // Version, forgotten, count, then instances and values.
    let bad: [&[u8]; 5] = [
        &[2, 0, 0],
        &[1, 3, 1, 3, 0],
        &[1, 0, 2, 5, 0, 5, 0],
        &[1, 0, 2, 5, 0, 4, 0],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    for bytes in bad {
        assert!(
            Decisions::restore(Bytes::copy_from_slice(bytes)).is_err(),
            "{bytes:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_snapshot_round_trips(
        proposals in prop::collection::vec((0..20_u64, prop::collection::vec(any::<u8>(), 0..9)), 0..40)
    ) {
        let decisions = decided(&proposals);
        let snapshot = decisions.snapshot();
        let restored = Decisions::restore(snapshot.clone()).unwrap();
        prop_assert_eq!(&restored, &decisions);
        prop_assert_eq!(restored.snapshot(), snapshot);
    }

    #[test]
    fn garbage_is_an_error_or_a_state_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        let _ = Decisions::restore(bytes.into());
    }
}
