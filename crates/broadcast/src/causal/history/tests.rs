use super::*;
use crate::testing::{id, p};
use proptest::prelude::*;
use quorate_sim::{Timed, World};

fn message(rank: usize, sequence: u64) -> Data {
    let payload = Bytes::from_static(b"m");
    let id = id(rank, sequence);
    Data { id, payload }
}

/// The history of p1 of three.
fn history() -> History {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    History::new(&world.host(p(1)))
}

#[test]
fn a_broadcast_belongs_to_the_past_of_the_next_and_is_not_appended_again() {
    let mut history = history();
    assert_eq!(history.broadcast(&Bytes::from_static(b"m")), id(1, 1));
    assert!(history.deliver(&message(2, 1)));
    assert!(history.deliver(&message(1, 1)), "its own message");
    assert_eq!(history.past(), [message(1, 1), message(2, 1)]);
}

#[test]
fn what_was_delivered_stays_delivered_when_it_is_collected() {
    let mut history = history();
    for data in [message(2, 1), message(3, 1), message(2, 2)] {
        assert!(history.deliver(&data));
    }
    let mut counts = Clock::zero(history.numbering().processes());
    counts.set(p(2), 1);
    counts.set(p(3), 9);
    assert_eq!(history.collect(&counts), [id(2, 1), id(3, 1)]);
    assert_eq!(history.past(), [message(2, 2)]);
    assert!(!history.deliver(&message(2, 1)) && !history.deliver(&message(3, 1)));
    assert_eq!(history.past(), [message(2, 2)]);
}

#[test]
fn a_past_that_cannot_be_is_not_admitted() {
    let mut history = history();
    assert!(history.deliver(&message(2, 1)));
    let admits = |places: &[(usize, u64)]| {
        let messages = places
            .iter()
            .map(|(rank, sequence)| message(*rank, *sequence));
        history.admits(&messages.collect::<Vec<_>>())
    };
    assert!(admits(&[(2, 1), (2, 2), (3, 1), (2, 3)]));
    assert!(!admits(&[(2, 3)]), "a gap");
    assert!(!admits(&[(3, 2), (3, 1)]), "out of order");
    assert!(!admits(&[(4, 1)]), "outside the membership");
    assert!(!admits(&[(1, 1)]), "this process has broadcast nothing");
    assert!(!admits(&[(2, 0)]), "numbers begin at 1");
    assert!(!admits(&[(2, u64::MAX)]));
}

#[test]
fn an_entry_does_not_keep_the_message_that_carried_it() {
    let mut history = history();
    let carrier = Bytes::from(vec![7; 1000]);
    let (id, payload) = (id(2, 1), carrier.slice(10..20));
    assert!(history.deliver(&Data { id, payload }));
    assert!(carrier.is_unique(), "nobody shares the buffer any more");
}

#[test]
fn a_number_of_messages_that_are_not_there_is_refused_without_allocating() {
    let mut claim = BytesMut::new();
    wire::put_number(1 << 60, &mut claim);
    put_messages(&[], &mut claim);
    assert_eq!(take_messages(&mut claim.freeze()), Err(Undecodable));
    let mut long = BytesMut::new();
    wire::put_number(1, &mut long);
    wire::put_head(&id(2, 1), &mut long);
    wire::put_number(u64::MAX, &mut long);
    assert_eq!(take_messages(&mut long.freeze()), Err(Undecodable));
}

proptest! {
    #[test]
    fn messages_survive_the_wire(lengths in prop::collection::vec(0..300_usize, 0..20)) {
        let messages: Vec<Data> = (1..)
            .zip(&lengths)
            .map(|(sequence, length)| {
                let payload = Bytes::from(vec![sequence as u8; *length]);
                Data { id: id(2, sequence), payload }
            })
            .collect();
        let mut out = BytesMut::new();
        put_messages(&messages, &mut out);
        out.extend_from_slice(b"tail");
        let mut bytes = out.freeze();
        prop_assert_eq!(take_messages(&mut bytes), Ok(messages));
        prop_assert_eq!(bytes, Bytes::from_static(b"tail"));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = take_messages(&mut Bytes::from(bytes));
    }
}
