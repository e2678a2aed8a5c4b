use super::*;
use crate::node::view::Role;
use quorate_abstractions::register::{self, Indication, RegisterResponse, Request};
use quorate_core::{Addr, ProcessId};
use tokio::sync::{mpsc, watch};

/// Registers of an admitted process; the test plays the algorithm below them.
pub(crate) struct LowerLayer {
    pub(crate) registers: Registers,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) up: Addr<Indication>,
    pub(crate) lengths: Lengths,
    role: watch::Sender<Role>,
}

/// The same, where a name and its value may have this many bytes.
pub(crate) fn below(longest: usize) -> LowerLayer {
    let (view, role) = View::told(Duration::from_secs(2));
    role.send_replace(Role::Voter);
    let (requested, requests) = mpsc::unbounded_channel();
    let requested = Addr::new(move |request| requested.send(request).unwrap());
    let me = ProcessId::from_rank(1).unwrap();
    let (handle, up) = node::Registers::alone(me, 256, requested);
    let lengths = Lengths::default();
    LowerLayer {
        registers: Registers::new(handle, lengths.clone(), longest, &view),
        requests,
        up,
        lengths,
        role,
    }
}

/// Does not count what is returned.
fn held() -> Held {
    Held::uncounted()
}

pub(crate) const ROOMY: usize = 1 << 20;

pub(crate) fn tag(timestamp: u64) -> Tag {
    Tag {
        timestamp,
        writer: ProcessId::from_rank(1),
    }
}

fn write(value: &'static str) -> Action {
    Action::Write(value.into())
}

impl LowerLayer {
    async fn submit(&self, register: &'static str, action: Action) -> QueuedOperation {
        let deadline = Instant::now() + Duration::from_secs(2);
        let place = self
            .registers
            .submit(register.into(), action, deadline, held());
        place.await.unwrap()
    }

    /// The next request: its number and the operation.
    fn next(&mut self) -> (u64, register::Action) {
        let request = self.requests.try_recv().unwrap();
        (request.operation, request.action)
    }

    fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    fn returns(&self, register: &'static str, operation: u64, outcome: RegisterResponse) {
        self.up.send(Indication {
            register: register.into(),
            operation,
            outcome,
        });
    }
}

fn read(value: &'static str) -> RegisterResponse {
    RegisterResponse::Read {
        tag: tag(1),
        value: Some(value.into()),
    }
}

fn written(timestamp: u64) -> RegisterResponse {
    RegisterResponse::Written {
        tag: tag(timestamp),
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_who_waits_leaves_and_who_has_begun_stays() {
    let mut below = below(ROOMY);
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut first = below.submit("x", write("a")).await;
    let mut second = below.submit("x", Action::Read).await;
    assert_eq!(below.next(), (1, register::Action::Write("a".into())));
    let first = first.outcome(deadline).await;
    assert!(matches!(first, Err(Unreturned::InFlight)), "{first:?}");
    let second = second.outcome(deadline).await;
    assert!(matches!(second, Err(Unreturned::NotBegun)), "{second:?}");
    // The register is busy until the operation returns, and it is not begun again.
    let mut third = below.submit("x", Action::Read).await;
    assert!(below.is_idle());
    below.returns("x", 1, written(1));
    assert_eq!(below.next(), (2, register::Action::Read));
    assert_eq!(below.registers.progress().in_flight, 1);
    below.returns("x", 2, read("a"));
    let (tag, value) = (tag(1), Some("a".into()));
    let done = third.try_outcome().unwrap().unwrap();
    assert_eq!(done, Done::Read { tag, value });
    assert_eq!(below.registers.progress().in_flight, 0);
    assert_eq!(below.registers.length(b"x"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_goes_leaves_the_line_and_gives_his_room_back() {
    let mut below = below(ROOMY);
    let _blocked = below.submit("x", write("a")).await;
    assert_eq!(below.next().0, 1);
    let before = below.registers.0.room.available_permits();
    let places = [
        below.submit("x", write("b")).await,
        below.submit("x", Action::Read).await,
    ];
    assert!(below.registers.0.room.available_permits() < before);
    drop(places);
    assert_eq!(below.registers.0.room.available_permits(), before);
    below.returns("x", 1, written(1));
    assert!(below.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_room_is_bounded_and_whoever_finds_none_is_refused() {
    let below = below(ROOM);
    let deadline = Instant::now() + Duration::from_secs(2);
    let submit = |name: &'static str, length: usize| {
        let value = Action::Write(vec![0; length].into());
        below.registers.submit(name.into(), value, deadline, held())
    };
    let _place = submit("x", ROOM - 2 * OVERHEAD).await.unwrap();
    let refused = submit("y", OVERHEAD).await.err();
    let refused = refused.unwrap();
    assert!(
        matches!(refused, NotDone::Refused(Refusal::NoQuorum)),
        "{refused:?}"
    );
    let long = submit("z", ROOM).await.err().unwrap();
    assert!(
        matches!(&long, NotDone::TooMuch(words) if words.contains("takes at most")),
        "{long:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_takes_no_part_serves_nobody() {
    let below = below(ROOMY);
    below.role.send_replace(Role::Joining);
    let deadline = Instant::now() + Duration::from_secs(2);
    let refused = below
        .registers
        .submit("x".into(), Action::Read, deadline, held())
        .await;
    assert!(
        matches!(refused, Err(NotDone::Refused(Refusal::NotVoter(words))) if words.contains("admitted"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_oldest_operation_in_flight_tells_whether_quorums_answer() {
    let mut below = below(ROOMY);
    assert_eq!(below.registers.oldest(), None);
    let _first = below.submit("r", write("a")).await;
    let (number, _) = below.next();
    tokio::time::advance(Duration::from_secs(1)).await;
    let _second = below.submit("s", Action::Read).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(below.registers.oldest(), Some(Duration::from_secs(3)));
    below.returns("r", number, written(1));
    assert_eq!(below.registers.oldest(), Some(Duration::from_secs(2)));
    // A probe waits like any other operation, and counts.
    below.registers.probe();
    assert_eq!(below.registers.progress().in_flight, 2);
}

#[test]
fn of_two_writes_the_later_counts() {
    let lengths = Lengths::default();
    lengths.learn(b"x", tag(2), 20);
    lengths.learn(b"x", tag(1), 10);
    lengths.learn(b"y", tag(1), 1);
    let known = lengths.known();
    assert_eq!(known.get(&digest(b"x")), Some(&(tag(2), 20)));
    assert_eq!(known.len(), 2);
}
