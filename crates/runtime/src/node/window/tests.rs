use super::*;
use quorate_abstractions::pressure::Hindrance;
use quorate_core::ProcessId;
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

fn window(messages: usize, bytes: usize) -> Window {
    Window::new(Limits { messages, bytes })
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn full() -> Room {
    Room::Full(Hindrance {
        by: ProcessId::from_rank(2).unwrap(),
        owed: 1,
        announced: false,
    })
}

/// Takes room and does not give it back.
fn keep(window: &Window, bytes: usize) -> bool {
    match window.try_take(bytes) {
        Ok(Ok(taken)) => {
            taken.keep(bytes);
            true
        }
        _ => false,
    }
}

#[test]
fn messages_and_bytes_are_bounded_both() {
    let few = window(2, 100);
    assert!(keep(&few, 1) && keep(&few, 1));
    assert!(!keep(&few, 1), "two messages");
    few.give_back(1, 1);
    assert!(!keep(&few, 100), "of 100 bytes one is taken");
    assert!(keep(&few, 99));
    few.give_back(2, 100);
    assert!(keep(&few, 1000), "one message may be of any length");
    assert!(!keep(&few, 0));
}

#[test]
fn callers_are_let_through_in_their_order_and_short_ones_do_not_overtake() {
    let window = window(8, 100);
    assert!(keep(&window, 50));
    let mut long = pin!(window.take(80));
    assert!(poll(long.as_mut()).is_pending());
    let mut short = pin!(window.take(10));
    assert!(poll(short.as_mut()).is_pending());
    assert!(!keep(&window, 10), "who tries does not overtake either");
    window.give_back(1, 50);
    let Poll::Ready(Ok(taken)) = poll(long) else {
        panic!("there is room");
    };
    assert!(matches!(poll(short), Poll::Ready(Ok(_))));
    drop(taken);
    assert!(keep(&window, 100), "what was dropped is there again");
}

#[test]
fn who_gives_up_waiting_has_taken_nothing_and_holds_nobody_up() {
    let window = window(1, 100);
    assert!(keep(&window, 10));
    {
        let mut gives_up = pin!(window.take(10));
        assert!(poll(gives_up.as_mut()).is_pending());
    }
    window.give_back(1, 10);
    assert!(keep(&window, 100));
}

#[test]
fn nobody_is_let_through_while_the_link_has_no_room() {
    let window = window(8, 100);
    window.press(full());
    assert!(!keep(&window, 1));
    let mut waits = pin!(window.take(1));
    assert!(poll(waits.as_mut()).is_pending());
    window.press(Room::Open);
    assert!(matches!(poll(waits), Poll::Ready(Ok(_))));
}

#[test]
fn a_permit_of_unknown_length_becomes_as_long_as_its_message() {
    let window = window(100, 80);
    let Ok(Ok(short)) = window.try_take(window.share()) else {
        panic!("there is room");
    };
    short.keep(1);
    assert!(keep(&window, 79));
    window.give_back(2, 80);
    let held: Vec<_> = std::iter::from_fn(|| window.try_take(window.share()).ok()?.ok()).collect();
    assert_eq!(held.len(), PERMITS);
    drop(held);
    assert!(keep(&window, 80));
}

#[test]
fn what_is_closed_refuses_who_waits_and_who_comes() {
    let window = window(1, 100);
    assert!(keep(&window, 1));
    let mut waits = pin!(window.take(1));
    assert!(poll(waits.as_mut()).is_pending());
    window.close(&Error::Stopped);
    assert!(matches!(poll(waits), Poll::Ready(Err(Error::Stopped))));
    assert!(matches!(window.try_take(1), Err(Error::Stopped)));
}
