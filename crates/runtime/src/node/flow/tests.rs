use super::*;
use quorate_core::{Incarnation, ProcessId};
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

type Requested = Arc<Mutex<Vec<Bytes>>>;

fn opened(messages: usize, bytes: usize) -> (Flow, Requested) {
    let flow = Flow::new(Limits { messages, bytes }, 1000);
    let requested = Requested::default();
    let seen = requested.clone();
    let me = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(7),
    };
    flow.open(
        me,
        Addr::new(move |payload| seen.lock().unwrap().push(payload)),
    );
    (flow, requested)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn long(bytes: usize) -> Bytes {
    Bytes::from(vec![0; bytes])
}

#[test]
fn a_caller_is_slowed_by_bytes_that_this_process_has_not_delivered() {
    let (flow, requested) = opened(1024, 100);
    for number in 1..=2 {
        let request = pin!(flow.request(long(50)));
        assert!(matches!(poll(request), Poll::Ready(Ok(id)) if id.sequence == number));
    }
    let mut waits = pin!(flow.request(long(50)));
    assert!(poll(waits.as_mut()).is_pending());
    assert!(matches!(flow.try_request(long(1)), Ok(Err(Full))));
    assert_eq!(requested.lock().unwrap().len(), 2);
    flow.delivered(1, 1);
    assert!(matches!(poll(waits), Poll::Ready(Ok(id)) if id.sequence == 3));
    assert_eq!(flow.pending(), 2);
}

#[test]
fn deliveries_count_once_in_whatever_order_they_come() {
    let (flow, _) = opened(3, 90);
    for _ in 1..=3 {
        assert!(matches!(flow.try_request(long(30)), Ok(Ok(_))));
    }
    flow.delivered(3, 1);
    flow.delivered(3, 1);
    flow.delivered(2, 1);
    // These were never requested.
    flow.delivered(4, 2);
    flow.delivered(0, 1);
    assert_eq!(flow.pending(), 1);
    assert!(matches!(flow.try_request(long(60)), Ok(Ok(id)) if id.sequence == 4));
    assert!(matches!(flow.try_request(long(1)), Ok(Err(Full))));
    flow.delivered(1, 1);
    assert!(matches!(flow.try_request(long(30)), Ok(Ok(id)) if id.sequence == 5));
    assert_eq!(flow.pending(), 2);
}

#[test]
fn a_permit_is_sent_without_waiting_and_refused_only_once_the_flow_is_closed() {
    let (flow, requested) = opened(2, 80);
    let Poll::Ready(Ok(permit)) = poll(pin!(flow.reserve())) else {
        panic!("there is room");
    };
    let Poll::Ready(Ok(other)) = poll(pin!(flow.reserve())) else {
        panic!("there is room");
    };
    assert!(poll(pin!(flow.reserve())).is_pending());
    assert!(matches!(flow.request_in(permit, long(1000)), Ok(id) if id.sequence == 1));
    assert!(matches!(
        flow.request_in(other, long(1001)),
        Err(Error::TooLarge {
            size: 1001,
            limit: 1000
        })
    ));
    assert_eq!(requested.lock().unwrap().len(), 1);
    assert!(poll(pin!(flow.reserve())).is_pending(), "1000 bytes of 80");
    flow.delivered(1, 1);
    let Poll::Ready(Ok(permit)) = poll(pin!(flow.reserve())) else {
        panic!("there is room");
    };
    flow.close(&Error::Stopped);
    assert!(matches!(
        flow.request_in(permit, long(1)),
        Err(Error::Stopped)
    ));
    assert_eq!(requested.lock().unwrap().len(), 1);
}

#[test]
fn who_waits_for_a_delivery_learns_that_there_will_be_none() {
    let (flow, _) = opened(2, 80);
    let mut told = pin!(flow.request_and_wait(long(1)));
    let mut left = pin!(flow.request_and_wait(long(1)));
    assert!(poll(told.as_mut()).is_pending());
    assert!(poll(left.as_mut()).is_pending());
    flow.delivered(1, 1);
    assert!(matches!(poll(told), Poll::Ready(Ok(id)) if id.sequence == 1));
    flow.abandon(&Error::Stopped);
    assert!(matches!(
        poll(left),
        Poll::Ready(Err(Error::OutcomeUnknown))
    ));
    assert!(poll(pin!(flow.drained())).is_ready(), "nothing will come");
}

#[test]
fn messages_that_are_skipped_give_their_room_back_and_their_outcome_is_unknown() {
    let (flow, _) = opened(3, 80);
    let mut told = pin!(flow.request_and_wait(long(1)));
    let mut skipped = pin!(flow.request_and_wait(long(1)));
    assert!(poll(told.as_mut()).is_pending());
    assert!(poll(skipped.as_mut()).is_pending());
    assert!(matches!(flow.try_request(long(1)), Ok(Ok(_))));
    assert!(matches!(flow.try_request(long(1)), Ok(Err(Full))));
    flow.delivered(1, 1);
    flow.skipped(3);
    assert!(matches!(poll(told), Poll::Ready(Ok(_))));
    assert!(matches!(
        poll(skipped),
        Poll::Ready(Err(Error::OutcomeUnknown))
    ));
    assert_eq!(flow.pending(), 1, "the third may come");
    flow.skipped(u64::MAX);
    assert_eq!(flow.pending(), 0);
    assert!(matches!(flow.try_request(long(1)), Ok(Ok(id)) if id.sequence == 4));
}
