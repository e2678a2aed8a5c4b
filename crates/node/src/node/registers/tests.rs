use super::*;
use quorate_abstractions::{link::Status, register::Tag};
use quorate_core::{Incarnation, Membership, ProcessId, message::Origin};
use std::{convert::Infallible, time::Duration};
use tokio::sync::mpsc;

/// Registers of an admitted process, whose algorithm is the test.
struct Below {
    registers: Registers,
    requests: mpsc::UnboundedReceiver<Request>,
    up: Addr<Indication>,
}

fn below(limits: Limits) -> Below {
    let me = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    };
    let view = View::new(me, Membership::of_size(3).unwrap());
    view.upon_status(Status::Admitted);
    let (requested, requests) = mpsc::unbounded_channel();
    let mut indications = None;
    let registers = Registers::start(&view, limits, |up, _| {
        indications = Some(up);
        Ok::<_, Infallible>(Addr::new(move |request| requested.send(request).unwrap()))
    });
    Below {
        registers: registers.unwrap(),
        requests,
        up: indications.unwrap(),
    }
}

const ROOMY: Limits = Limits {
    entry: 1 << 20,
    store: None,
};

fn tag(timestamp: u64) -> Tag {
    Tag {
        timestamp,
        writer: ProcessId::from_rank(1),
    }
}

fn write(value: &'static str) -> Action {
    Action::Write(value.into())
}

impl Below {
    async fn submit(&self, register: &'static str, action: Action) -> Place {
        let deadline = Instant::now() + Duration::from_secs(2);
        let place = self.registers.submit(register.into(), action, deadline);
        place.await.unwrap()
    }

    /// The next request: its number and what is asked.
    fn next(&mut self) -> (u64, Action) {
        let request = self.requests.try_recv().unwrap();
        (request.operation, request.action)
    }

    fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    fn returns(&self, register: &'static str, operation: u64, outcome: Outcome) {
        self.up.send(Indication {
            register: register.into(),
            operation,
            outcome,
        });
    }
}

fn read(value: &'static str) -> Outcome {
    Outcome::Read {
        tag: tag(1),
        value: Some(value.into()),
    }
}

fn written(timestamp: u64) -> Outcome {
    Outcome::Written {
        tag: tag(timestamp),
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_an_operation_is_under_way_does_not_share_it() {
    let mut below = below(ROOMY);
    let mut first = below.submit("x", Action::Read).await;
    assert_eq!(below.next(), (1, Action::Read));
    let mut second = below.submit("x", Action::Read).await;
    let mut third = below.submit("x", Action::Read).await;
    assert!(below.is_idle(), "a register is sequential");
    below.returns("x", 1, read("old"));
    assert_eq!(first.try_outcome(), Some(read("old")));
    assert_eq!(
        second.try_outcome(),
        None,
        "it came after the read had begun"
    );
    assert_eq!(below.next(), (2, Action::Read));
    below.returns("x", 2, read("new"));
    assert_eq!(second.try_outcome(), Some(read("new")));
    assert_eq!(
        third.try_outcome(),
        Some(read("new")),
        "both had come before"
    );
    assert!(below.is_idle());
    assert_eq!(below.registers.progress().under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn a_line_is_served_in_its_order_and_neighbours_share() {
    let mut below = below(ROOMY);
    let mut places = Vec::new();
    for action in [write("a"), write("b"), write("c"), Action::Read, write("d")] {
        places.push(below.submit("x", action).await);
    }
    let mut elsewhere = below.submit("y", Action::Read).await;
    assert_eq!(below.next(), (1, write("a")));
    assert_eq!(
        below.next(),
        (2, Action::Read),
        "registers do not wait for each other"
    );
    below.returns("y", 2, read("y"));
    assert_eq!(elsewhere.try_outcome(), Some(read("y")));
    below.returns("x", 1, written(1));
    assert_eq!(below.next(), (3, write("c")), "the last of the neighbours");
    below.returns("x", 3, written(2));
    assert_eq!(below.next(), (4, Action::Read));
    below.returns("x", 4, read("c"));
    assert_eq!(below.next(), (5, write("d")));
    below.returns("x", 5, written(3));
    let outcomes: Vec<_> = places
        .iter_mut()
        .map(|p| p.try_outcome().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        [written(1), written(2), written(2), read("c"), written(3)]
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_who_waits_leaves_and_who_has_begun_stays() {
    let mut below = below(ROOMY);
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut first = below.submit("x", write("a")).await;
    let mut second = below.submit("x", write("b")).await;
    assert_eq!(below.next(), (1, write("a")));
    assert_eq!(first.outcome(deadline).await, Err(Unreturned::UnderWay));
    assert_eq!(second.outcome(deadline).await, Err(Unreturned::NotBegun));
    // The register is busy until the operation returns, and it is not begun again.
    let third = below.submit("x", Action::Read).await;
    assert!(below.is_idle());
    drop(first);
    below.returns("x", 1, written(1));
    assert_eq!(below.next(), (2, Action::Read));
    drop(third);
    below.returns("x", 2, read("a"));
    assert!(below.is_idle());
    assert_eq!(below.registers.progress().under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn who_goes_leaves_the_line_and_gives_its_room_back() {
    let mut below = below(ROOMY);
    let _blocked = below.submit("x", write("a")).await;
    assert_eq!(below.next(), (1, write("a")));
    let before = below.registers.room.available_permits();
    let places = [
        below.submit("x", write("b")).await,
        below.submit("x", Action::Read).await,
    ];
    assert!(below.registers.room.available_permits() < before);
    drop(places);
    assert_eq!(below.registers.room.available_permits(), before);
    below.returns("x", 1, written(1));
    assert!(below.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_room_is_bounded_and_whoever_finds_none_is_refused() {
    let below = below(Limits {
        entry: ROOM,
        store: None,
    });
    let deadline = Instant::now() + Duration::from_secs(2);
    let large = Action::Write(vec![0; ROOM - 2 * OVERHEAD].into());
    let _place = below
        .registers
        .submit("x".into(), large, deadline)
        .await
        .unwrap();
    let refused = below
        .registers
        .submit("y".into(), write(LONG), deadline)
        .await;
    assert!(matches!(refused, Err(NotDone::Refused(Refusal::NoQuorum))));
}

const LONG: &str = "more than the overhead of one operation, which is a hundred and twenty-eight \
                    bytes, because that is what is left of the room in this test of its bound";

#[tokio::test(start_paused = true)]
async fn a_store_that_messages_carry_has_a_limit() {
    let below = below(Limits {
        entry: 100,
        store: Some(100),
    });
    let deadline = Instant::now() + Duration::from_secs(2);
    let submit = |action| below.registers.submit("x".into(), action, deadline);
    let _first = submit(write("0123456789")).await.unwrap();
    let second = submit(write("0123456789")).await.unwrap();
    let third = submit(write("0123456789")).await;
    assert!(matches!(third, Err(NotDone::TooMuch(words)) if words.contains("is full")));
    let long = submit(Action::Write(vec![0; 101].into())).await;
    assert!(matches!(long, Err(NotDone::TooMuch(words)) if words.contains("at most 100")));
    assert!(submit(Action::Read).await.is_ok(), "reads add nothing");
    // What leaves the line adds nothing either.
    drop(second);
    assert!(submit(write("0123456789")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_takes_no_part_serves_nobody() {
    let me = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    };
    let view = View::new(me, Membership::of_size(3).unwrap());
    let registers =
        Registers::start(&view, ROOMY, |_, _| Ok::<_, Infallible>(Addr::nowhere())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let refused = registers.submit("x".into(), Action::Read, deadline).await;
    assert!(
        matches!(refused, Err(NotDone::Refused(Refusal::NotVoter(words))) if words.contains("admitted"))
    );
}

#[tokio::test(start_paused = true)]
async fn quorums_answer_as_long_as_no_operation_lasts() {
    let mut below = below(ROOMY);
    let long = Duration::from_secs(2);
    assert_eq!(below.registers.answered(long), Ok(()));
    let _place = below.submit("r", write("a")).await;
    let (number, _) = below.next();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(below.registers.answered(long), Ok(()));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(
        below.registers.answered(long).unwrap_err(),
        "no quorum: an operation has been under way for 3 s"
    );
    below.returns("r", number, Outcome::Written { tag: tag(1) });
    assert_eq!(below.registers.answered(long), Ok(()));
}
