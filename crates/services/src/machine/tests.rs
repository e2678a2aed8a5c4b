use super::*;
use crate::kv::Command;
use proptest::prelude::*;

fn id(sequence: u64) -> MessageId {
    let origin = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    };
    MessageId { origin, sequence }
}

fn set(key: &str, value: &str) -> Bytes {
    let mut payload = commands();
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Command::Set(copy(key), copy(value)).encode(&mut payload);
    payload.freeze()
}

#[test]
fn a_message_is_for_whom_it_says() {
    let mut machine = Machine::default();
    let answer = machine.deliver(id(1), &set("k", "v"), true);
    assert_eq!(answer, Answer::Replies(vec![Reply::Ok]));
    let decided = Answer::Outcome(Outcome::Decided(Bytes::from_static(b"a")));
    assert_eq!(machine.deliver(id(2), &proposal(1, b"a"), true), decided);
    assert_eq!(machine.deliver(id(3), &proposal(1, b"b"), true), decided);
    assert_eq!((machine.kv().applied(), machine.decisions().len()), (1, 1));
    assert_eq!(machine.log().delivered(), 3);
}

#[test]
fn an_undecodable_payload_is_logged_counted_and_changes_nothing() {
    let mut machine = Machine::default();
    let half = &set("k", "v")[..3];
    let payloads: [&[u8]; 4] = [b"", &[9], &[2], half];
    for (sequence, payload) in (1..).zip(payloads) {
        let payload = Bytes::copy_from_slice(payload);
        assert_eq!(
            machine.deliver(id(sequence), &payload, true),
            Answer::Nothing
        );
    }
    assert_eq!((machine.undecodable(), machine.log().delivered()), (4, 4));
    assert!(machine.kv().store().is_empty() && machine.decisions().is_empty());
}

/// A machine that has seen something of everything.
fn busy() -> Machine {
    let mut machine = Machine::default();
    machine.deliver(id(1), &set("k", "v"), false);
    machine.deliver(id(2), &proposal(7, b"a"), false);
    machine.deliver(id(3), &Bytes::from_static(&[9]), false);
    machine
}

#[test]
fn who_takes_a_state_over_goes_on_like_who_gave_it() {
    let mut giver = busy();
    let mut taker = Machine::restore(giver.snapshot()).unwrap();
    assert_eq!(taker, giver);
    for payload in [set("k", "w"), proposal(7, b"b"), proposal(8, b"c")] {
        let there = giver.deliver(id(4), &payload, true);
        assert_eq!(taker.deliver(id(4), &payload, true), there);
    }
    assert_eq!(taker, giver);
    assert_eq!(taker.snapshot(), giver.snapshot());
}

#[test]
fn a_state_tells_how_much_of_each_incarnation_it_stands_for() {
    let machine = Machine::restore(busy().snapshot()).unwrap();
    let first = id(1).origin;
    assert_eq!(machine.delivered_of(first), 3);
    let second = Origin {
        incarnation: Incarnation(2),
        ..first
    };
    assert_eq!(machine.delivered_of(second), 0);
    let other = Origin {
        process: ProcessId::from_rank(2).unwrap(),
        ..first
    };
    assert_eq!(machine.delivered_of(other), 0);
}

#[test]
fn what_is_no_snapshot_is_an_error() {
    let good = busy().snapshot();
    for length in 0..good.len() {
        assert!(Machine::restore(good.slice(..length)).is_err(), "{length}");
    }
    assert!(Machine::restore([&good[..], &[0]].concat().into()).is_err());
    let mut newer = good.to_vec();
    newer[0] = 2;
    assert!(Machine::restore(newer.into()).is_err());
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        Machine::default().deliver(id(1), &bytes, true);
        let _ = Machine::restore(bytes);
    }

    #[test]
    fn a_damaged_snapshot_never_panics(place in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut bytes = busy().snapshot().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        let _ = Machine::restore(bytes.into());
    }
}
