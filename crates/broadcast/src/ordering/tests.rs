use super::*;
use quorate_core::{Incarnation, ProcessId};

fn origin(rank: usize) -> Origin {
    Origin {
        process: ProcessId::from_rank(rank).unwrap(),
        incarnation: Incarnation(1),
    }
}

/// At most two batches of at most ten bytes each; no further one while twelve bytes are in flight.
fn outgoing() -> Outgoing {
    Outgoing::new(&OrderSettings {
        batches: 2,
        batch_bytes: 10,
        bytes_in_flight: 12,
        ..OrderSettings::default()
    })
}

/// Requests payloads of these lengths; each takes one byte more, for its length.
fn request(outgoing: &mut Outgoing, lengths: &[usize]) {
    for length in lengths {
        outgoing.request(Bytes::from(vec![7; *length]));
    }
}

fn next_length(outgoing: &mut Outgoing) -> Option<usize> {
    outgoing.next_batch().map(|batch| batch.len())
}

#[test]
fn a_cut_is_raised_where_the_other_is_higher() {
    let cut =
        |ups: &[(usize, u64)]| Cut(ups.iter().map(|(rank, up)| (origin(*rank), *up)).collect());
    let mut mine = cut(&[(1, 5), (2, 3)]);
    mine.raise(&cut(&[(1, 4), (2, 7), (3, 2)]));
    assert_eq!(mine, cut(&[(1, 5), (2, 7), (3, 2)]));
    assert_eq!((mine.up_to(origin(2)), mine.up_to(origin(4))), (7, 0));
}

#[test]
fn a_batch_takes_no_message_that_would_make_it_longer_than_its_limit() {
    for (second, first) in [(6, 4 + 7), (7, 4)] {
        let mut outgoing = outgoing();
        request(&mut outgoing, &[3, second]);
        assert_eq!(next_length(&mut outgoing), Some(first), "3 and {second}");
    }
}

#[test]
fn a_large_message_travels_alone() {
    let mut outgoing = outgoing();
    request(&mut outgoing, &[100, 1]);
    assert_eq!(next_length(&mut outgoing), Some(101));
}

#[test]
fn no_more_batches_are_in_flight_than_the_limit() {
    let mut outgoing = outgoing();
    for _ in 0..2 {
        request(&mut outgoing, &[1]);
        assert_eq!(next_length(&mut outgoing), Some(2));
    }
    request(&mut outgoing, &[1]);
    assert_eq!(next_length(&mut outgoing), None, "two are in flight");
    outgoing.upon_return(1);
    assert_eq!(next_length(&mut outgoing), Some(2));
    outgoing.upon_return(1);
    request(&mut outgoing, &[1]);
    assert_eq!(next_length(&mut outgoing), None, "a return counts once");
    outgoing.upon_return(3);
    assert_eq!(next_length(&mut outgoing), Some(2), "both have returned");
}

#[test]
fn no_batch_leaves_while_as_many_bytes_as_the_limit_are_in_flight() {
    for (length, leaves) in [(10, Some(2)), (11, None), (12, None)] {
        let mut outgoing = outgoing();
        request(&mut outgoing, &[length]);
        assert_eq!(next_length(&mut outgoing), Some(length + 1));
        request(&mut outgoing, &[1]);
        assert_eq!(next_length(&mut outgoing), leaves, "after {length} bytes");
    }
}
