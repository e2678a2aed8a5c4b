use super::*;
use quorate_abstractions::{link::Status, register::Tag};
use quorate_core::{Incarnation, Membership, ProcessId, message::Origin};
use std::{convert::Infallible, time::Duration};
use tokio::sync::mpsc;

/// Registers of an admitted process, whose algorithm is the test.
pub(crate) struct Below {
    pub(crate) registers: Registers,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) up: Addr<Indication>,
    pub(crate) known: Known,
}

pub(crate) fn below(limits: Limits) -> Below {
    let me = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    };
    let view = View::new(me, Membership::of_size(3).unwrap(), Duration::from_secs(2));
    view.upon_status(Status::Admitted);
    let (requested, requests) = mpsc::unbounded_channel();
    let mut indications = None;
    let registers = Registers::start(&view, limits, |up, known| {
        indications = Some((up, known));
        Ok::<_, Infallible>(Addr::new(move |request| requested.send(request).unwrap()))
    });
    let (up, known) = indications.unwrap();
    Below {
        registers: registers.unwrap(),
        requests,
        up,
        known,
    }
}

/// Nobody counts what is returned.
fn held() -> Held {
    Held::uncounted()
}

pub(crate) const ROOMY: Limits = Limits {
    entry: 1 << 20,
    store: None,
};

pub(crate) fn tag(timestamp: u64) -> Tag {
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
        let place = self
            .registers
            .submit(register.into(), action, deadline, held());
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
        .submit("x".into(), large, deadline, held())
        .await
        .unwrap();
    let refused = below
        .registers
        .submit("y".into(), write(LONG), deadline, held())
        .await;
    assert!(matches!(refused, Err(NotDone::Refused(Refusal::NoQuorum))));
}

const LONG: &str = "more than the overhead of one operation, which is a hundred and twenty-eight \
                    bytes, because that is what is left of the room in this test of its bound";

#[tokio::test(start_paused = true)]
async fn what_has_returned_is_that_operation_and_no_other() {
    let mut below = below(ROOMY);
    let mut place = below.submit("x", Action::Read).await;
    assert_eq!(below.next(), (1, Action::Read));
    below.returns("x", 7, read("of another"));
    assert_eq!(place.try_outcome(), None);
    below.returns("x", 1, read("its own"));
    assert_eq!(place.try_outcome(), Some(read("its own")));
}

/// Registers over a store of at most two entries of a name of one byte and a value of ten.
fn carried() -> Below {
    below(Limits {
        entry: 100,
        store: Some(2 * (1 + 10 + ENTRY)),
    })
}

impl Below {
    /// Whether a write of a value of so many bytes is taken.
    async fn takes(&self, register: &'static str, length: usize) -> Result<Place, NotDone> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let write = Action::Write(vec![0; length].into());
        self.registers
            .submit(register.into(), write, deadline, held())
            .await
    }

    #[track_caller]
    fn stores(&self, bytes: usize, coming: usize) {
        let state = lock(&self.registers.state);
        assert_eq!((state.stored, state.coming), (bytes, coming));
    }

    fn learns(&self, register: &'static str, timestamp: u64, length: usize) {
        let register = register.into();
        self.known.written([(&register, tag(timestamp), length)]);
    }
}

fn is_full<T>(taken: Result<T, NotDone>) -> bool {
    matches!(taken, Err(NotDone::TooMuch(words)) if words.contains("is full"))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_messages_carry_has_a_limit() {
    let below = carried();
    let _x = below.takes("x", 10).await.unwrap();
    let y = below.takes("y", 10).await.unwrap();
    assert!(is_full(below.takes("z", 0).await));
    let long = below.takes("x", 101).await;
    assert!(matches!(long, Err(NotDone::TooMuch(words)) if words.contains("at most 100")));
    below.submit("x", Action::Read).await;
    below.stores(0, 2 * (11 + ENTRY));
    // What is under way stays, though nobody waits for it; what returns is in the store.
    drop(y);
    below.returns("y", 2, written(1));
    below.stores(11 + ENTRY, 11 + ENTRY);
    assert!(is_full(below.takes("z", 0).await));
}

#[tokio::test(start_paused = true)]
async fn what_is_overwritten_makes_room() {
    let below = carried();
    below.learns("x", 1, 3);
    let longer = below.takes("x", 10 + 11 + ENTRY).await;
    assert!(longer.is_ok(), "the only register may fill the store");
    // It is under way; those that wait behind it add what they are longer, and give it back.
    assert!(is_full(below.takes("x", 10 + 11 + ENTRY + 1).await));
    assert!(is_full(below.takes("y", 0).await));
    let shorter = below.takes("x", 2).await.unwrap();
    drop(shorter);
    below.returns("x", 1, written(2));
    below.stores(2 * (11 + ENTRY), 0);
    let shorter = below.takes("x", 2).await.unwrap();
    below.stores(2 * (11 + ENTRY), 0);
    below.returns("x", 2, written(3));
    below.stores(3 + ENTRY, 0);
    assert!(below.takes("y", 10).await.is_ok());
    drop((longer, shorter));
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_of_the_store_counts_and_the_newest_of_it() {
    let below = carried();
    assert_eq!(below.registers.progress().known, 0);
    below.learns("x", 2, 10);
    below.learns("y", 1, 10);
    below.learns("x", 1, 99);
    below.learns("x", 2, 10);
    assert_eq!(below.registers.progress().known, 2);
    assert_eq!(below.registers.length(&"x".into()), 10);
    below.stores(2 * (11 + ENTRY), 0);
    assert!(is_full(below.takes("z", 0).await));
    assert!(below.takes("x", 10).await.is_ok(), "it gets no longer");
    below.learns("y", 2, 0);
    below.stores(11 + ENTRY + 1 + ENTRY, 0);
    assert!(is_full(below.takes("y", 11).await));
    let _y = below.takes("y", 10).await.unwrap();
    below.stores(11 + ENTRY + 1 + ENTRY, 10);
    // Somebody else has written it meanwhile.
    below.learns("y", 3, 8);
    below.stores(11 + ENTRY + 9 + ENTRY, 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_takes_no_part_serves_nobody() {
    let me = Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    };
    let view = View::new(me, Membership::of_size(3).unwrap(), Duration::from_secs(2));
    let registers =
        Registers::start(&view, ROOMY, |_, _| Ok::<_, Infallible>(Addr::nowhere())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let refused = registers
        .submit("x".into(), Action::Read, deadline, held())
        .await;
    assert!(
        matches!(refused, Err(NotDone::Refused(Refusal::NotVoter(words))) if words.contains("admitted"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_oldest_operation_under_way_tells_whether_quorums_answer() {
    let mut below = below(ROOMY);
    assert_eq!(below.registers.lasted(), None);
    let _first = below.submit("r", write("a")).await;
    let (number, _) = below.next();
    tokio::time::advance(Duration::from_secs(1)).await;
    let _second = below.submit("s", Action::Read).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(below.registers.lasted(), Some(Duration::from_secs(3)));
    below.returns("r", number, written(1));
    assert_eq!(below.registers.lasted(), Some(Duration::from_secs(2)));
}
