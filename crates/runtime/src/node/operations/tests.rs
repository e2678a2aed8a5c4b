use super::*;
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

type Words = Operations<&'static str, u64, &'static str>;

/// What has gone through the door: objects, and the numbers of operations.
type Seen = Arc<Mutex<Vec<(&'static str, u64)>>>;

fn opened(window: usize) -> (Words, Seen) {
    let operations = Operations::new(Limits {
        messages: window,
        bytes: 100,
    });
    let begun = Seen::default();
    let seen = begun.clone();
    operations.open(Addr::new(move |begun: Begun<_, u64>| {
        seen.lock().unwrap().push((begun.object, begun.operation));
    }));
    (operations, begun)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn one_operation_an_object_at_a_time_and_objects_do_not_wait_for_each_other() {
    let (operations, begun) = opened(8);
    let mut first = pin!(operations.operate("a", 0, || Ok(1)));
    let mut other = pin!(operations.operate("b", 0, || Ok(2)));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(other.as_mut()).is_pending());
    let second = pin!(operations.operate("a", 0, || Ok(3)));
    assert!(matches!(poll(second), Poll::Ready(Err(Error::Busy))));
    assert_eq!(*begun.lock().unwrap(), [("a", 1), ("b", 2)]);
    operations.returned(&"b", 2, "done");
    assert!(matches!(poll(other), Poll::Ready(Ok("done"))));
    // An outcome of something else is none.
    operations.returned(&"a", 2, "wrong");
    operations.returned(&"c", 1, "wrong");
    assert!(poll(first.as_mut()).is_pending());
    operations.returned(&"a", 1, "done");
    operations.returned(&"a", 1, "again");
    assert!(matches!(poll(first), Poll::Ready(Ok("done"))));
}

#[test]
fn who_gives_up_leaves_the_object_busy_until_the_operation_returns_and_not_longer() {
    let (operations, begun) = opened(8);
    {
        let mut first = pin!(operations.operate("a", 0, || Ok(1)));
        assert!(poll(first.as_mut()).is_pending());
    }
    let early = pin!(operations.operate("a", 0, || Ok(2)));
    assert!(matches!(poll(early), Poll::Ready(Err(Error::Busy))));
    operations.returned(&"a", 1, "to nobody");
    let mut second = pin!(operations.operate("a", 0, || Ok(2)));
    assert!(poll(second.as_mut()).is_pending());
    operations.returned(&"a", 2, "done");
    assert!(matches!(poll(second), Poll::Ready(Ok("done"))));
    assert_eq!(*begun.lock().unwrap(), [("a", 1), ("a", 2)]);
}

#[test]
fn at_most_a_window_is_under_way_and_who_gives_up_waiting_for_room_has_not_begun() {
    let (operations, begun) = opened(1);
    let mut first = pin!(operations.operate("a", 0, || Ok(1)));
    assert!(poll(first.as_mut()).is_pending());
    {
        let mut gives_up = pin!(operations.operate("b", 0, || Ok(2)));
        assert!(poll(gives_up.as_mut()).is_pending());
    }
    let mut waits = pin!(operations.operate("b", 0, || Ok(3)));
    assert!(poll(waits.as_mut()).is_pending());
    assert_eq!(*begun.lock().unwrap(), [("a", 1)]);
    operations.returned(&"a", 1, "done");
    assert!(poll(waits.as_mut()).is_pending());
    assert_eq!(*begun.lock().unwrap(), [("a", 1), ("b", 2)]);
}

#[test]
fn what_fails_before_it_begins_takes_nothing() {
    let (operations, begun) = opened(1);
    for _ in 0..2 {
        let fails = pin!(operations.operate("a", 0, || Err(Error::Unencodable)));
        assert!(matches!(poll(fails), Poll::Ready(Err(Error::Unencodable))));
    }
    assert!(begun.lock().unwrap().is_empty());
}

#[test]
fn nobody_waits_for_what_has_ended() {
    let unopened: Words = Operations::new(Limits::default());
    let early = pin!(unopened.operate("a", 0, || Ok(1)));
    assert!(matches!(poll(early), Poll::Ready(Err(Error::NotStarted))));
    let (operations, _) = opened(1);
    let mut first = pin!(operations.operate("a", 0, || Ok(1)));
    let mut waits = pin!(operations.operate("b", 0, || Ok(2)));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(waits.as_mut()).is_pending());
    operations.close(&Error::Stopped);
    assert!(matches!(poll(waits), Poll::Ready(Err(Error::Stopped))));
    assert!(poll(first.as_mut()).is_pending(), "it may still return");
    operations.abandon(&Error::Stopped);
    assert!(matches!(
        poll(first),
        Poll::Ready(Err(Error::OutcomeUnknown))
    ));
    let late = pin!(operations.operate("a", 0, || Ok(3)));
    assert!(matches!(poll(late), Poll::Ready(Err(Error::Stopped))));
}
