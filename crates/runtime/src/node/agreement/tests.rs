use super::*;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// An agreement that remembers two decisions, and the requests that have gone through its port.
fn opened() -> (Agreement<u64, &'static str>, Arc<Mutex<Vec<u64>>>) {
    let agreement = Agreement::new(Limits {
        messages: 2,
        bytes: 100,
    });
    let requested: Arc<Mutex<Vec<u64>>> = Arc::default();
    let seen = requested.clone();
    agreement.open(Addr::new(move |request| seen.lock().unwrap().push(request)));
    (agreement, requested)
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn whoever_requests_or_waits_gets_the_decision() {
    let (agreement, requested) = opened();
    let mut request = pin!(agreement.request(1, 0, 10));
    let mut waiter = pin!(agreement.decision(1));
    assert!(poll(request.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    assert_eq!(*requested.lock().unwrap(), [10]);
    agreement.decided(1, "theirs");
    agreement.decided(1, "again");
    assert!(matches!(poll(request), Poll::Ready(Ok("theirs"))));
    assert!(matches!(poll(waiter), Poll::Ready(Ok("theirs"))));
    // In a decided instance nothing is requested.
    let late = pin!(agreement.request(1, 0, 11));
    assert!(matches!(poll(late), Poll::Ready(Ok("theirs"))));
    assert_eq!(*requested.lock().unwrap(), [10]);
}

#[test]
fn a_second_request_is_refused_even_if_the_first_was_given_up() {
    let (agreement, requested) = opened();
    for _ in 0..3 {
        let mut request = pin!(agreement.request(1, 0, 10));
        match poll(request.as_mut()) {
            Poll::Pending => {}
            Poll::Ready(refused) => {
                assert!(matches!(
                    refused,
                    Err(ProposeError::RequestedTwice { instance: 1 })
                ));
            }
        }
    }
    assert_eq!(*requested.lock().unwrap(), [10]);
}

#[test]
fn old_decisions_are_forgotten_and_instances_too_far_ahead_are_refused() {
    let (agreement, _) = opened();
    for instance in 1..=3 {
        agreement.decided(instance, "done");
    }
    let over = pin!(agreement.decision(1));
    assert!(matches!(
        poll(over),
        Poll::Ready(Err(ProposeError::InstanceOver { instance: 1 }))
    ));
    let zero = pin!(agreement.request(0, 0, 10));
    assert!(matches!(
        poll(zero),
        Poll::Ready(Err(ProposeError::InstanceOver { instance: 0 }))
    ));
    let far = pin!(agreement.request(4 + AHEAD, 0, 10));
    let most = 3 + AHEAD;
    let refused = poll(far);
    assert!(
        matches!(refused, Poll::Ready(Err(ProposeError::InstanceTooFar { most: m, .. })) if m == most)
    );
}

#[test]
fn nobody_waits_for_what_has_ended() {
    let unopened: Agreement<u64, &str> = Agreement::new(Limits {
        messages: 2,
        bytes: 100,
    });
    let early = pin!(unopened.request(1, 0, 10));
    assert!(matches!(
        poll(early),
        Poll::Ready(Err(ProposeError::Failed(Error::NotStarted)))
    ));
    let (agreement, _) = opened();
    let mut request = pin!(agreement.request(1, 0, 10));
    assert!(poll(request.as_mut()).is_pending());
    let mut listens = pin!(agreement.decision(1));
    assert!(poll(listens.as_mut()).is_pending());
    assert!(agreement.has_requested(1) && !agreement.has_requested(2));
    agreement.close(&Error::Stopped);
    let refused = pin!(agreement.request(2, 0, 10));
    assert!(matches!(
        poll(refused),
        Poll::Ready(Err(ProposeError::Failed(Error::Stopped)))
    ));
    assert!(
        poll(request.as_mut()).is_pending(),
        "it may still be decided"
    );
    agreement.abandon(&Error::Stopped);
    assert!(matches!(
        poll(request),
        Poll::Ready(Err(ProposeError::Failed(Error::OutcomeUnknown)))
    ));
    assert!(matches!(
        poll(listens),
        Poll::Ready(Err(ProposeError::Failed(Error::Stopped)))
    ));
}

#[test]
fn undecided_requests_are_bounded_and_who_gives_up_waiting_has_not_requested() {
    let (agreement, requested) = opened();
    let mut first = pin!(agreement.request(1, 60, 10));
    assert!(poll(first.as_mut()).is_pending());
    {
        let mut gives_up = pin!(agreement.request(2, 60, 20));
        assert!(poll(gives_up.as_mut()).is_pending());
        // A caller that only waits for a decision needs no room.
        let mut listens = pin!(agreement.decision(3));
        assert!(poll(listens.as_mut()).is_pending());
        agreement.decided(3, "theirs");
        assert!(matches!(poll(listens), Poll::Ready(Ok("theirs"))));
    }
    assert_eq!(*requested.lock().unwrap(), [10]);
    assert!(!agreement.has_requested(2), "it waited for room only");
    let mut waits = pin!(agreement.request(2, 60, 21));
    assert!(poll(waits.as_mut()).is_pending());
    agreement.decided(1, "mine");
    assert!(poll(waits.as_mut()).is_pending());
    assert_eq!(*requested.lock().unwrap(), [10, 21]);
    agreement.decided(2, "mine");
    assert!(matches!(poll(waits), Poll::Ready(Ok("mine"))));
}

#[test]
fn what_is_decided_while_its_request_waits_for_room_is_not_requested() {
    let (agreement, requested) = opened();
    let mut first = pin!(agreement.request(1, 100, 10));
    let mut second = pin!(agreement.request(2, 100, 20));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    agreement.decided(2, "theirs");
    agreement.decided(1, "mine");
    assert!(matches!(poll(second), Poll::Ready(Ok("theirs"))));
    assert_eq!(*requested.lock().unwrap(), [10]);
}
