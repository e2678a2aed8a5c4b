use super::*;
use crate::node::pending::Withdrawal;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Read,
    Write(u64),
}
use Ask::{Read, Write};

type TestOperations = Arc<Operations<&'static str, Ask, &'static str>>;

/// The operations that have gone through the port: object, number, and action.
type Seen = Arc<Mutex<Vec<(&'static str, u64, Ask)>>>;

/// Values from here on are refused.
const TOO_LARGE: u64 = 1000;

fn unopened(window: usize) -> TestOperations {
    let limits = Limits {
        messages: window,
        bytes: 100,
    };
    let operations = Operations::new(limits, Sharing::of_a_kind());
    Arc::new(operations.admitting(|_, ask| match ask {
        Write(TOO_LARGE..) => Err(MemoryError::StoreFull { limit: 1000 }),
        Write(_) | Read => Ok(()),
    }))
}

fn opened(window: usize) -> (TestOperations, Seen) {
    let operations = unopened(window);
    let begun = Seen::default();
    let seen = begun.clone();
    operations.open(Addr::new(move |begun: Begun<_, Ask>| {
        let Begun {
            object,
            operation,
            action,
        } = begun;
        seen.lock().unwrap().push((object, operation, action));
    }));
    (operations, begun)
}

/// The operations that have begun since the last call.
fn taken(seen: &Seen) -> Vec<(&'static str, u64, Ask)> {
    mem::take(&mut *seen.lock().unwrap())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn invoke(operations: &TestOperations, object: &'static str, ask: Ask) -> Pending<&'static str> {
    invoke_long(operations, object, ask, 0)
}

fn invoke_long(
    operations: &TestOperations,
    object: &'static str,
    ask: Ask,
    bytes: usize,
) -> Pending<&'static str> {
    let invoked = operations.invoke(object, bytes, ask, |outcome, _| Ok(outcome));
    invoked.unwrap()
}

#[track_caller]
fn returns(pending: &mut Pending<&'static str>, outcome: &str) {
    let returned = pending.try_outcome();
    assert!(
        matches!(returned, Some(Ok(it)) if it == outcome),
        "{returned:?}"
    );
}

fn is_idle(operations: &TestOperations) -> bool {
    let ledger = operations.ledger();
    ledger.lines.is_empty() && ledger.ready.is_empty()
}

#[test]
fn one_operation_an_object_at_a_time_and_objects_do_not_wait_for_each_other() {
    let (operations, begun) = opened(8);
    let mut first = pin!(operations.operate("a", 0, Write(1)));
    let mut other = pin!(operations.operate("b", 0, Write(2)));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(other.as_mut()).is_pending());
    let mut second = pin!(operations.operate("a", 0, Read));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(taken(&begun), [("a", 1, Write(1)), ("b", 2, Write(2))]);
    operations.returned(&"b", 2, "done");
    assert!(matches!(poll(other), Poll::Ready(Ok("done"))));
    // An outcome for another operation is ignored.
    operations.returned(&"a", 2, "wrong");
    operations.returned(&"c", 1, "wrong");
    assert!(poll(first.as_mut()).is_pending());
    assert!(taken(&begun).is_empty());
    operations.returned(&"a", 1, "done");
    operations.returned(&"a", 1, "again");
    assert!(matches!(poll(first), Poll::Ready(Ok("done"))));
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(taken(&begun), [("a", 3, Read)]);
    operations.returned(&"a", 3, "read");
    assert!(matches!(poll(second), Poll::Ready(Ok("read"))));
    assert!(is_idle(&operations));
}

#[test]
fn who_comes_while_an_operation_is_in_flight_does_not_share_it() {
    let (operations, begun) = opened(8);
    let mut reads = [(); 3].map(|()| invoke(&operations, "x", Read));
    assert_eq!(taken(&begun), [("x", 1, Read)]);
    operations.returned(&"x", 1, "old");
    returns(&mut reads[0], "old");
    assert!(
        reads[1].try_outcome().is_none(),
        "it came after the read had begun"
    );
    assert_eq!(taken(&begun), [("x", 2, Read)]);
    operations.returned(&"x", 2, "new");
    returns(&mut reads[1], "new");
    returns(&mut reads[2], "new");
    assert!(taken(&begun).is_empty());
    assert!(is_idle(&operations));
    assert_eq!(operations.progress().returned, 3);
}

#[test]
fn a_line_is_served_in_its_order_and_neighbours_share() {
    let (operations, begun) = opened(8);
    let asked = [Write(1), Write(2), Write(3), Read, Read, Write(4)];
    let mut pending = asked.map(|ask| invoke(&operations, "x", ask));
    assert_eq!(taken(&begun), [("x", 1, Write(1))]);
    operations.returned(&"x", 1, "first");
    assert_eq!(taken(&begun), [("x", 2, Write(3))], "the last of them");
    operations.returned(&"x", 2, "both");
    assert_eq!(taken(&begun), [("x", 3, Read)]);
    operations.returned(&"x", 3, "read");
    assert_eq!(taken(&begun), [("x", 4, Write(4))]);
    operations.returned(&"x", 4, "last");
    for (pending, outcome) in pending
        .iter_mut()
        .zip(["first", "both", "both", "read", "read", "last"])
    {
        returns(pending, outcome);
    }
}

#[test]
fn what_is_joined_is_done_for_all_that_wait() {
    let limits = Limits::default();
    let join = |sum: &mut u64, next: u64| *sum += next;
    let operations: Arc<Operations<(), u64, u64>> =
        Arc::new(Operations::new(limits, Sharing::joined(join)));
    let begun = Arc::new(Mutex::new(Vec::new()));
    let seen = begun.clone();
    operations.open(Addr::new(move |begun: Begun<(), u64>| {
        seen.lock().unwrap().push((begun.operation, begun.action));
    }));
    let invoke = |value| operations.invoke((), 0, value, |sum, _| Ok(sum)).unwrap();
    let _pending = [1, 2, 3].map(invoke);
    operations.returned(&(), 1, 0);
    assert_eq!(*begun.lock().unwrap(), [(1, 1), (2, 5)]);
}

#[test]
fn who_gives_up_in_line_leaves_it_and_what_is_in_flight_goes_on() {
    let (operations, begun) = opened(8);
    let first = invoke(&operations, "a", Write(1));
    let second = invoke(&operations, "a", Write(2));
    let mut third = invoke(&operations, "a", Read);
    drop(invoke(&operations, "a", Read));
    assert!(matches!(second.withdraw(), Withdrawal::NotBegun));
    let Withdrawal::InFlight(first) = first.withdraw() else {
        panic!("it has begun");
    };
    drop(first);
    assert_eq!(operations.progress().waiting, 1);
    assert_eq!(taken(&begun), [("a", 1, Write(1))], "it is not begun again");
    operations.returned(&"a", 1, "to nobody");
    assert_eq!(taken(&begun), [("a", 2, Read)]);
    operations.returned(&"a", 2, "read");
    returns(&mut third, "read");
    assert!(is_idle(&operations));
    let returned = invoke(&operations, "a", Read);
    operations.returned(&"a", 3, "read");
    assert!(matches!(
        returned.withdraw(),
        Withdrawal::Returned(Ok("read"))
    ));
}

#[test]
fn a_future_that_is_dropped_is_given_up() {
    let (operations, begun) = opened(8);
    let mut first = Box::pin(operations.operate("a", 0, Write(1)));
    let mut second = Box::pin(operations.operate("a", 0, Read));
    let mut third = Box::pin(operations.operate("a", 0, Write(3)));
    for future in [&mut first, &mut second, &mut third] {
        assert!(poll(future.as_mut()).is_pending());
    }
    drop((first, second));
    operations.returned(&"a", 1, "to nobody");
    assert_eq!(taken(&begun), [("a", 1, Write(1)), ("a", 2, Write(3))]);
    operations.returned(&"a", 2, "done");
    assert!(matches!(poll(third.as_mut()), Poll::Ready(Ok("done"))));
    assert!(is_idle(&operations));
}

/// Counts its instances.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn a_callback_runs_when_its_operation_returns_or_is_dropped_with_its_caller() {
    let (operations, _) = opened(8);
    let (there, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(vec![])));
    let invoke = |name: &'static str| {
        there.fetch_add(1, SeqCst);
        let (counted, told) = (Counted(there.clone()), told.clone());
        let then = move |outcome, _| {
            told.lock().unwrap().push((name, outcome));
            Ok(counted)
        };
        operations.invoke("a", 0, Write(1), then).unwrap()
    };
    let [first, second, third, fourth] = ["first", "second", "third", "fourth"].map(invoke);
    drop(first);
    assert_eq!(there.load(SeqCst), 3, "nobody waits for what is in flight");
    drop(second);
    assert_eq!(there.load(SeqCst), 2, "what has left the line is gone");
    operations.returned(&"a", 1, "to nobody");
    assert!(told.lock().unwrap().is_empty());
    operations.returned(&"a", 2, "done");
    // The operation has returned, and nobody has looked yet.
    let all = [("third", "done"), ("fourth", "done")];
    assert_eq!(*told.lock().unwrap(), all);
    assert_eq!(there.load(SeqCst), 2, "in the hands of the callers");
    drop((third, fourth));
    assert_eq!(there.load(SeqCst), 0);
}

#[test]
fn what_is_not_admitted_when_its_turn_comes_is_told_so_and_the_next_begins() {
    let (operations, begun) = opened(1);
    for _ in 0..2 {
        let mut fails = invoke(&operations, "a", Write(TOO_LARGE));
        let refused = fails.try_outcome();
        assert!(matches!(refused, Some(Err(MemoryError::StoreFull { .. }))));
        assert!(is_idle(&operations), "it takes nothing");
    }
    let asked = [
        Read,
        Write(TOO_LARGE),
        Write(2),
        Write(TOO_LARGE),
        Read,
        Write(TOO_LARGE),
    ];
    let mut pending = asked.map(|ask| invoke(&operations, "a", ask));
    operations.returned(&"a", 1, "read");
    assert_eq!(taken(&begun), [("a", 1, Read), ("a", 2, Write(2))]);
    for index in [1, 3] {
        let refused = pending[index].try_outcome();
        assert!(matches!(refused, Some(Err(MemoryError::StoreFull { .. }))));
    }
    operations.returned(&"a", 2, "written");
    returns(&mut pending[2], "written");
    operations.returned(&"a", 3, "read");
    let refused = pending[5].try_outcome();
    assert!(matches!(refused, Some(Err(MemoryError::StoreFull { .. }))));
    assert!(is_idle(&operations));
}

#[test]
fn at_most_a_window_is_in_flight_and_who_gives_up_waiting_for_room_has_not_begun() {
    let (operations, begun) = opened(1);
    let _first = invoke(&operations, "a", Write(1));
    drop(invoke(&operations, "b", Write(2)));
    let waits = invoke(&operations, "c", Write(3));
    let _other = invoke(&operations, "b", Write(4));
    assert!(matches!(waits.withdraw(), Withdrawal::NotBegun));
    assert_eq!(taken(&begun), [("a", 1, Write(1))]);
    operations.returned(&"a", 1, "done");
    assert_eq!(taken(&begun), [("b", 2, Write(4))]);
    operations.returned(&"b", 2, "done");
    assert!(is_idle(&operations));
}

/// There is room for two operations.
#[test]
fn objects_get_room_in_the_order_in_which_they_came_however_many_wait_for_one() {
    let (operations, begun) = opened(2);
    // The operation on this object never returns: the other objects share the room that it leaves.
    let _stuck = [(); 100].map(|()| invoke(&operations, "stuck", Read));
    let _busy = [(); 100].map(|()| invoke(&operations, "busy", Read));
    let _calm = invoke(&operations, "calm", Read);
    let _late = invoke(&operations, "late", Read);
    assert_eq!(taken(&begun), [("stuck", 1, Read), ("busy", 2, Read)]);
    let mut more = Vec::new();
    let mut order = Vec::new();
    for operation in 2..5 {
        let (object, _, _) = *begun.lock().unwrap().last().unwrap_or(&("busy", 2, Read));
        operations.returned(&object, operation, "read");
        more.push(invoke(&operations, "busy", Read));
        order.push(begun.lock().unwrap().last().unwrap().0);
    }
    // The callers for the busy object had come before the others; later callers have to wait.
    assert_eq!(order, ["busy", "calm", "late"]);
}

#[test]
fn who_waits_in_a_line_is_looked_at_once_however_many_come_while_there_is_no_room() {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    let sharing = Sharing {
        shares: |_: &Ask, _: &Ask| {
            LOOKS.fetch_add(1, SeqCst);
            true
        },
        absorb: |_, _| {},
    };
    let limits = Limits {
        messages: 1,
        bytes: usize::MAX,
    };
    let operations = Arc::new(Operations::new(limits, sharing));
    operations.open(Addr::nowhere());
    let _in_flight = invoke(&operations, "a", Read);
    let count = 2000;
    let waiting: Vec<_> = (0..count).map(|_| invoke(&operations, "b", Read)).collect();
    assert!(LOOKS.load(SeqCst) <= count, "{LOOKS:?} looks");
    // Nor if many callers give up, in any order.
    let mut waiting = waiting;
    let kept = waiting.split_off(count / 2);
    let last = waiting.split_off(count / 4);
    waiting.into_iter().for_each(drop);
    last.into_iter().rev().for_each(drop);
    assert!(LOOKS.load(SeqCst) <= 2 * count, "{LOOKS:?} looks");
    let waiting = kept;
    // All remaining callers share the operation that begins.
    operations.returned(&"a", 1, "done");
    assert_eq!(operations.progress().waiting, 0);
    operations.returned(&"b", 2, "read");
    for mut read in waiting {
        returns(&mut read, "read");
    }
}

#[test]
fn a_long_operation_is_not_overtaken_for_ever_by_short_ones() {
    let (operations, begun) = opened(8);
    let _first = invoke_long(&operations, "a", Write(1), 60);
    let long = invoke_long(&operations, "b", Write(2), 60);
    let _short = invoke_long(&operations, "c", Write(3), 1);
    assert_eq!(taken(&begun), [("a", 1, Write(1))]);
    // A caller that leaves lets those through that waited behind it.
    drop(long);
    assert_eq!(taken(&begun), [("c", 2, Write(3))]);
    // A shared operation first takes the room of its longest call, and then that of the value that is
    // written.
    let _waiting = [1, 50, 1].map(|bytes| invoke_long(&operations, "c", Write(4), bytes));
    operations.returned(&"c", 2, "done");
    assert!(taken(&begun).is_empty());
    operations.returned(&"a", 1, "done");
    assert_eq!(taken(&begun), [("c", 3, Write(4))]);
    let _fits = invoke_long(&operations, "d", Write(5), 99);
    assert_eq!(taken(&begun), [("d", 4, Write(5))]);
    let _does_not = invoke_long(&operations, "e", Write(6), 1);
    assert!(taken(&begun).is_empty());
}

#[test]
fn nothing_begins_while_the_link_has_no_room() {
    let (operations, begun) = opened(8);
    let pressure = operations.pressure();
    let hindrance = quorate_abstractions::pressure::Hindrance {
        by: quorate_core::ProcessId::from_rank(2).unwrap(),
        owed: 1,
        announced: false,
    };
    pressure.send(Room::Full(hindrance));
    let _pending = ["a", "b"].map(|object| invoke(&operations, object, Read));
    assert!(taken(&begun).is_empty());
    assert!(operations.progress().oldest.is_some(), "it waits for room");
    pressure.send(Room::Open);
    assert_eq!(taken(&begun), [("a", 1, Read), ("b", 2, Read)]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_operation_in_flight_is_known_and_how_long_one_lasted() {
    let (operations, _) = opened(8);
    assert_eq!(operations.progress().oldest, None);
    let _first = invoke(&operations, "r", Write(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    let then = |_, lasted| Ok(lasted);
    let second = operations.invoke("s", 0, Read, then).unwrap();
    let third = operations.invoke("s", 0, Read, then).unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let progress = Progress {
        waiting: 1,
        in_flight: 2,
        returned: 0,
        oldest: Some(Duration::from_secs(3)),
    };
    assert_eq!(operations.progress(), progress);
    operations.returned(&"r", 1, "done");
    let oldest = operations.progress().oldest;
    assert_eq!(oldest, Some(Duration::from_secs(2)));
    operations.returned(&"s", 2, "done");
    assert_eq!(second.await.unwrap(), Duration::from_secs(2));
    operations.returned(&"s", 3, "done");
    assert_eq!(third.await.unwrap(), Duration::ZERO, "it waited before");
}

#[test]
fn nobody_waits_for_what_has_ended() {
    let unopened = unopened(1);
    let early = pin!(unopened.operate("a", 0, Read));
    assert!(matches!(
        poll(early),
        Poll::Ready(Err(MemoryError::Failed(Error::NotStarted)))
    ));
    let (operations, begun) = opened(1);
    let mut in_flight = invoke(&operations, "a", Write(1));
    let mut in_line = invoke(&operations, "a", Write(2));
    let mut for_room = invoke(&operations, "b", Write(3));
    operations.close(&Error::Stopped);
    for waits in [&mut in_line, &mut for_room] {
        let told = waits.try_outcome();
        assert!(
            matches!(told, Some(Err(MemoryError::Failed(Error::Stopped)))),
            "{told:?}"
        );
    }
    assert!(in_flight.try_outcome().is_none(), "it may still return");
    operations.abandon(&Error::Stopped);
    let told = in_flight.try_outcome();
    assert!(
        matches!(told, Some(Err(MemoryError::Failed(Error::OutcomeUnknown)))),
        "{told:?}"
    );
    let late = pin!(operations.operate("a", 0, Read));
    assert!(matches!(
        poll(late),
        Poll::Ready(Err(MemoryError::Failed(Error::Stopped)))
    ));
    assert_eq!(taken(&begun).len(), 1);
    assert!(is_idle(&operations));
}

#[test]
fn what_is_in_flight_when_nothing_begins_any_more_may_still_return() {
    let (operations, begun) = opened(1);
    let mut pending = invoke(&operations, "a", Write(1));
    let _for_room = invoke(&operations, "b", Read);
    operations.close(&Error::Stopped);
    operations.returned(&"a", 1, "done");
    returns(&mut pending, "done");
    assert_eq!(taken(&begun).len(), 1);
    assert!(is_idle(&operations));
}

/// Numbers that look random, below a bound.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn in_whatever_order_calls_are_invoked_given_up_and_return_nothing_is_stuck() {
    const OBJECTS: [&str; 5] = ["a", "b", "c", "d", "e"];
    const ASKED: [Ask; 4] = [Read, Read, Write(1), Write(TOO_LARGE)];
    for seed in 0..200 {
        let mut drawn = Drawn(seed);
        let (operations, begun) = opened(3);
        let (mut pending, mut in_flight) = (Vec::new(), BTreeMap::new());
        for _ in 0..300 {
            match drawn.below(4) {
                0 | 1 => {
                    let (object, ask) = (OBJECTS[drawn.below(5)], ASKED[drawn.below(4)]);
                    pending.push(invoke_long(&operations, object, ask, drawn.below(60)));
                }
                2 if !pending.is_empty() => {
                    drop(pending.swap_remove(drawn.below(pending.len())));
                }
                _ => {
                    let object = OBJECTS[drawn.below(5)];
                    if let Some(operation) = in_flight.remove(object) {
                        operations.returned(&object, operation, "done");
                    }
                }
            }
            for (object, operation, _) in taken(&begun) {
                assert_eq!(in_flight.insert(object, operation), None, "one at a time");
            }
            let waits_for_room = !operations.ledger().ready.is_empty();
            assert!(in_flight.len() <= 3, "at most a window");
            assert!(!(waits_for_room && in_flight.is_empty()), "{seed}");
        }
        while let Some((object, operation)) = in_flight.pop_first() {
            operations.returned(&object, operation, "done");
            in_flight.extend(taken(&begun).into_iter().map(|it| (it.0, it.1)));
        }
        for pending in &mut pending {
            assert!(pending.try_outcome().is_some(), "{seed}");
        }
        assert!(is_idle(&operations));
        // All room was given back.
        let _full = ["a", "b", "c"].map(|object| invoke_long(&operations, object, Read, 33));
        assert_eq!(taken(&begun).len(), 3);
    }
}
