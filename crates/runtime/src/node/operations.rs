//! The operations on one module of shared memory. Each object has at most one operation in flight, and a
//! queue of operations that wait behind it.
//!
//! A caller that invokes an operation on an object that has one in flight waits in the object's queue. When
//! that operation returns, the next one begins. Operations of the same kind at the front of the queue share
//! one operation: [`Sharing`] says how one operation does the work of all of them.
//!
//! # Why sharing is linearizable
//! A shared operation begins after the invocation of all calls that share it, and returns before they are
//! answered. Reads return what it has read. Of several writes, the operation writes the value of the last;
//! the others take effect immediately before it, in their order, where nobody sees them. All of this is
//! between their invocations and their responses. If the operation never takes effect, none of them does.
//!
//! # What is given up, and what is not
//! An operation that has begun is never abandoned: its object has it in flight until it returns, even if
//! nobody waits for it. A caller that drops its call while it waits in the queue leaves the queue, and
//! nothing of the call stays.
//!
//! # What the window bounds
//! The window bounds the operations in flight. An operation takes its room when it begins, and gives the
//! room back when it returns. Operations in a queue take no room: each is kept for a caller that holds it,
//! and is gone when the caller drops it. So an object takes the room of one operation, even if many callers
//! wait for it, and does not keep operations on other objects from theirs, even if it is stuck. Objects
//! that lack only room to begin are let through in the order in which the first callers of their queues
//! have come. So long operations are not overtaken by short ones for ever, and nobody waits for room for
//! ever, as long as operations return.
use super::{
    Abandon,
    pending::{Leave, Pending, Progress},
    window::{Limits, Taken, Window},
};
use crate::error::{Error, MemoryError};
use quorate_abstractions::pressure::Room;
use quorate_core::Addr;
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// An operation, as it is passed to the algorithm.
pub(crate) struct Begun<K, A> {
    /// The object of the operation.
    pub object: K,
    /// A number that is used once.
    pub operation: u64,
    pub action: A,
}

/// How callers that wait for the same object share an operation.
pub(crate) struct Sharing<A> {
    /// Whether one operation may do both actions. Two actions that each share with a third share with each
    /// other.
    shares: fn(&A, &A) -> bool,
    /// Extends an action so that it also does the next one.
    absorb: fn(&mut A, A),
}

impl<A> Sharing<A> {
    /// No operations are shared.
    pub fn none() -> Self {
        Sharing {
            shares: |_, _| false,
            absorb: |_, _| {},
        }
    }

    /// Actions of the same variant of an enum share an operation, which does the last of them.
    pub fn of_a_kind() -> Self {
        Sharing {
            shares: |one, other| mem::discriminant(one) == mem::discriminant(other),
            absorb: |action, next| *action = next,
        }
    }

    /// All actions share an operation: `join` makes one action of two.
    pub fn joined(join: fn(&mut A, A)) -> Self {
        Sharing {
            shares: |_, _| true,
            absorb: join,
        }
    }
}

/// Decides whether an action may begin.
type Admit<K, A> = Box<dyn Fn(&K, &A) -> Result<(), MemoryError> + Send + Sync>;

/// Takes the outcome and the time during which the operation was in flight, or the error.
type Answer<O> = Box<dyn FnOnce(Result<(O, Duration), MemoryError>) + Send>;

/// A caller that waits in a queue.
struct Waiting<A, O> {
    ticket: u64,
    since: Instant,
    action: A,
    bytes: usize,
    answer: Answer<O>,
}

/// An operation that has begun and has not returned.
struct InFlight<O> {
    operation: u64,
    since: Instant,
    /// The bytes that it takes of the window.
    bytes: usize,
    /// The callers that share it and have not given up.
    answers: Vec<(u64, Answer<O>)>,
}

/// An object in use: it has an operation in flight, or callers in its queue, or both.
struct Line<A, O> {
    in_flight: Option<InFlight<O>>,
    /// In the order of their tickets.
    waiting: VecDeque<Waiting<A, O>>,
    sharers: Sharers,
}

/// The callers at the front of a queue that share its next operation, as far as the queue was examined.
#[derive(Clone, Copy, Default)]
struct Sharers {
    count: usize,
    /// The bytes of the longest of them, and the number of callers with this length.
    longest: usize,
    as_long: usize,
}

impl Sharers {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        if bytes > self.longest {
            (self.longest, self.as_long) = (bytes, 0);
        }
        self.as_long += usize::from(bytes == self.longest);
    }

    /// A caller has left this place of the queue.
    fn left(&mut self, place: usize, bytes: usize) {
        if place >= self.count {
            return;
        }
        self.count -= 1;
        self.as_long -= usize::from(bytes == self.longest);
        if self.as_long == 0 {
            // The length of the next longest caller is unknown.
            *self = Sharers::default();
        }
    }
}

impl<A, O> Line<A, O> {
    fn new() -> Self {
        Line {
            in_flight: None,
            waiting: VecDeque::new(),
            sharers: Sharers::default(),
        }
    }

    /// The room that the next operation may take, in bytes. Examines only the callers that have come since
    /// the last call.
    fn next_bytes(&mut self, sharing: &Sharing<A>) -> usize {
        let mut sharers = self.sharers;
        let first = self.waiting.front();
        let shares = |next: &A| first.is_some_and(|it| (sharing.shares)(&it.action, next));
        let mut rest = self.waiting.iter().skip(sharers.count);
        while let Some(next) = rest.next()
            && (sharers.count == 0 || shares(&next.action))
        {
            sharers.add(next.bytes);
        }
        self.sharers = sharers;
        sharers.longest
    }
}

struct Ledger<K, A, O> {
    /// The numbers of operations that were invoked, begun, and answered with an outcome.
    invoked: u64,
    begun: u64,
    returned: u64,
    lines: BTreeMap<K, Line<A, O>>,
    /// The objects that lack only room to begin, by the tickets of the first callers in their queues.
    ready: BTreeMap<u64, K>,
}

/// The callers that get an error once the ledger is unlocked.
type Refused<O> = Vec<(Answer<O>, MemoryError)>;

/// One module's operations: actions of type `A` on objects named by a `K`, with outcomes of type `O`.
pub(crate) struct Operations<K: 'static, A: 'static, O> {
    port: OnceLock<Addr<Begun<K, A>>>,
    window: Arc<Window>,
    sharing: Sharing<A>,
    admit: Admit<K, A>,
    ledger: Mutex<Ledger<K, A, O>>,
}

impl<K, A, O> Operations<K, A, O>
where
    K: Ord + Clone + Send + Sync + 'static,
    A: Send + 'static,
    O: Clone + Send + 'static,
{
    /// Limits the operations in flight.
    pub fn new(limits: Limits, sharing: Sharing<A>) -> Self {
        Operations {
            port: OnceLock::new(),
            window: Arc::new(Window::new(limits)),
            sharing,
            admit: Box::new(|_, _| Ok(())),
            ledger: Mutex::new(Ledger {
                invoked: 0,
                begun: 0,
                returned: 0,
                lines: BTreeMap::new(),
                ready: BTreeMap::new(),
            }),
        }
    }

    /// `admit` is called for each action when it is about to begin. If it returns an error, the action does
    /// not begin, and its caller gets the error.
    pub fn admitting(
        self,
        admit: impl Fn(&K, &A) -> Result<(), MemoryError> + Send + Sync + 'static,
    ) -> Self {
        Operations {
            admit: Box::new(admit),
            ..self
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<K, A, O>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on operations go to `port`.
    pub fn open(&self, port: Addr<Begun<K, A>>) {
        // The builder that made the operations sets it once.
        let _ = self.port.set(port);
    }

    /// The address at which the link says whether it has room.
    pub fn pressure(self: &Arc<Self>) -> Addr<Room> {
        let operations = self.clone();
        Addr::new(move |room| {
            operations.window.press(room);
            operations.go_on();
        })
    }

    /// Invokes an action of this many `bytes` on an object: it begins now, or waits in the queue. `then` is
    /// called with the outcome and the time in flight, on the thread on which the outcome arrives.
    pub fn invoke<R: Send + 'static>(
        self: &Arc<Self>,
        object: K,
        bytes: usize,
        action: A,
        then: impl FnOnce(O, Duration) -> Result<R, MemoryError> + Send + 'static,
    ) -> Result<Pending<R>, MemoryError> {
        let (told, outcome) = oneshot::channel();
        let answer = Box::new(move |returned: Result<(O, Duration), MemoryError>| {
            let result = returned.and_then(|(outcome, lasted)| then(outcome, lasted));
            // The caller may have given up: then nobody receives the result.
            let _ = told.send(result);
        });
        let mut ledger = self.ledger();
        if let Some(error) = self.window.closed() {
            return Err(error.into());
        }
        if self.port.get().is_none() {
            return Err(Error::NotStarted.into());
        }
        let ticket = ledger.enter(&object, bytes, action, answer);
        let refused = self.advance(&mut ledger);
        drop(ledger);
        refuse(refused);
        let place = Invocation {
            operations: self.clone(),
            object,
            ticket,
        };
        Ok(Pending::new(Box::new(place), outcome))
    }

    /// Invokes an action, and waits for its outcome.
    pub async fn operate(
        self: &Arc<Self>,
        object: K,
        bytes: usize,
        action: A,
    ) -> Result<O, MemoryError> {
        self.invoke(object, bytes, action, |outcome, _| Ok(outcome))?
            .await
    }

    /// The operation on an object has returned. The object has only one operation in all.
    pub fn returned_on(&self, object: &K, outcome: O) {
        let ledger = self.ledger();
        let line = ledger.lines.get(object);
        let operation = line.and_then(|line| Some(line.in_flight.as_ref()?.operation));
        drop(ledger);
        if let Some(operation) = operation {
            self.returned(object, operation, outcome);
        }
    }

    /// An operation has returned: answers the callers that share it, and begins the next one.
    pub fn returned(&self, object: &K, operation: u64, outcome: O) {
        let mut ledger = self.ledger();
        let Some(ended) = ledger.end(object, operation) else {
            return;
        };
        self.window.give_back(1, ended.bytes);
        let refused = self.advance(&mut ledger);
        drop(ledger);
        let lasted = ended.since.elapsed();
        for (_, answer) in ended.answers {
            answer(Ok((outcome.clone(), lasted)));
        }
        refuse(refused);
    }

    /// The counts of the operations.
    pub fn progress(&self) -> Progress {
        let ledger = self.ledger();
        let lines = || ledger.lines.values();
        let in_flight = || lines().filter_map(|line| line.in_flight.as_ref());
        let since = || {
            // In a queue the first caller has waited longest.
            let waiting = lines().filter_map(|line| line.waiting.front());
            let waiting = waiting.map(|waiting| waiting.since);
            in_flight().map(|it| it.since).chain(waiting)
        };
        Progress {
            waiting: lines().map(|line| line.waiting.len()).sum(),
            in_flight: in_flight().count(),
            returned: ledger.returned,
            oldest: since().min().map(|it| it.elapsed()),
        }
    }

    fn go_on(&self) {
        let mut ledger = self.ledger();
        let refused = self.advance(&mut ledger);
        drop(ledger);
        refuse(refused);
    }

    /// Begins what can begin.
    fn advance(&self, ledger: &mut Ledger<K, A, O>) -> Refused<O> {
        let mut refused = Vec::new();
        while let Some(next) = ledger.ready.first_entry() {
            let line = ledger.lines.get_mut(next.get());
            let bytes = line.map_or(0, |line| line.next_bytes(&self.sharing));
            let Ok(Ok(room)) = self.window.try_take(bytes) else {
                break;
            };
            let object = next.remove();
            self.begin(ledger, object, room, &mut refused);
        }
        refused
    }

    /// Begins an operation for the callers at the front of a queue that share it and are admitted.
    fn begin(
        &self,
        ledger: &mut Ledger<K, A, O>,
        object: K,
        room: Taken<'_>,
        refused: &mut Refused<O>,
    ) {
        let (Some(port), Some(line)) = (self.port.get(), ledger.lines.get_mut(&object)) else {
            return;
        };
        let (mut action, mut bytes, mut answers) = (None, 0, Vec::new());
        line.sharers = Sharers::default();
        let shares = |action: &Option<A>, next: &A| {
            let action = action.as_ref();
            action.is_none_or(|action| (self.sharing.shares)(action, next))
        };
        while let Some(next) = line
            .waiting
            .pop_front_if(|next| shares(&action, &next.action))
        {
            if let Err(error) = (self.admit)(&object, &next.action) {
                refused.push((next.answer, error));
                continue;
            }
            answers.push((next.ticket, next.answer));
            bytes = next.bytes;
            match &mut action {
                None => action = Some(next.action),
                Some(action) => (self.sharing.absorb)(action, next.action),
            }
        }
        // If no caller was admitted, the queue is empty, and the room is given back.
        let Some(action) = action else {
            ledger.lines.remove(&object);
            return;
        };
        room.keep(bytes);
        ledger.begun += 1;
        let operation = ledger.begun;
        line.in_flight = Some(InFlight {
            operation,
            since: Instant::now(),
            bytes,
            answers,
        });
        port.send(Begun {
            object,
            operation,
            action,
        });
    }
}

/// Gives the errors to callers whose actions do not begin.
fn refuse<O>(refused: Refused<O>) {
    for (answer, error) in refused {
        answer(Err(error));
    }
}

impl<K: Ord + Clone, A, O> Ledger<K, A, O> {
    /// Puts an action at the end of its object's queue.
    fn enter(&mut self, object: &K, bytes: usize, action: A, answer: Answer<O>) -> u64 {
        self.invoked += 1;
        let ticket = self.invoked;
        let line = self.lines.entry(object.clone()).or_insert_with(Line::new);
        line.waiting.push_back(Waiting {
            ticket,
            since: Instant::now(),
            action,
            bytes,
            answer,
        });
        self.settle(object);
        ticket
    }

    /// Removes an operation that has returned from its object.
    fn end(&mut self, object: &K, operation: u64) -> Option<InFlight<O>> {
        let line = self.lines.get_mut(object)?;
        let is_it = |it: &mut InFlight<O>| it.operation == operation;
        let ended = line.in_flight.take_if(is_it)?;
        self.returned += ended.answers.len() as u64;
        self.settle(object);
        Some(ended)
    }

    /// Removes a caller that still waits from the queue.
    fn leave(&mut self, object: &K, ticket: u64) -> Option<Waiting<A, O>> {
        let line = self.lines.get_mut(object)?;
        let place = line.waiting.binary_search_by_key(&ticket, |w| w.ticket);
        let place = place.ok()?;
        let left = line.waiting.remove(place);
        if let Some(left) = &left {
            line.sharers.left(place, left.bytes);
        }
        self.ready.remove(&ticket);
        self.settle(object);
        left
    }

    /// Removes a caller that shares an operation in flight and has given up.
    fn forget(&mut self, object: &K, ticket: u64) -> Option<Answer<O>> {
        let in_flight = self.lines.get_mut(object)?.in_flight.as_mut()?;
        let place = in_flight.answers.iter().position(|it| it.0 == ticket)?;
        Some(in_flight.answers.remove(place).1)
    }

    /// An object with nothing in flight becomes ready if a caller waits, and is removed if none does.
    fn settle(&mut self, object: &K) {
        let Some(line) = self.lines.get(object) else {
            return;
        };
        if line.in_flight.is_some() {
            return;
        }
        match line.waiting.front() {
            Some(first) => drop(self.ready.insert(first.ticket, object.clone())),
            None => drop(self.lines.remove(object)),
        }
    }
}

/// The place of an invoked operation.
struct Invocation<K: 'static, A: 'static, O> {
    operations: Arc<Operations<K, A, O>>,
    object: K,
    ticket: u64,
}

impl<K, A, O> Leave for Invocation<K, A, O>
where
    K: Ord + Clone + Send + Sync + 'static,
    A: Send + 'static,
    O: Clone + Send + 'static,
{
    fn leave(&self) -> bool {
        let left = self.operations.ledger().leave(&self.object, self.ticket);
        let has_left = left.is_some();
        if has_left {
            // The removed action may have been a long one that lacked room, with shorter ones behind it.
            self.operations.go_on();
        }
        has_left
    }

    fn forget(&self) {
        let answer = self.operations.ledger().forget(&self.object, self.ticket);
        // Dropped after the lock is released: the answer holds values of the caller.
        drop(answer);
    }
}

impl<K, A, O> Abandon for Operations<K, A, O>
where
    K: Ord + Clone + Send + Sync + 'static,
    A: Send + 'static,
    O: Clone + Send + 'static,
{
    /// The callers that wait in a queue are told, too: their operations will never begin.
    fn close(&self, error: &Error) {
        // With the lock held: an operation that has begun has begun completely.
        let mut ledger = self.ledger();
        self.window.close(error);
        let error = self.window.closed().unwrap_or_else(|| error.clone());
        ledger.ready.clear();
        let lines = ledger.lines.values_mut();
        let waiting: Vec<_> = lines
            .flat_map(|line| mem::take(&mut line.waiting))
            .collect();
        ledger.lines.retain(|_, line| line.in_flight.is_some());
        drop(ledger);
        let error = MemoryError::from(error);
        let refused = waiting.into_iter().map(|it| (it.answer, error.clone()));
        refuse(refused.collect());
    }

    fn abandon(&self, error: &Error) {
        self.close(error);
        let lines = mem::take(&mut self.ledger().lines);
        let in_flight = lines.into_values().filter_map(|line| line.in_flight);
        for (_, answer) in in_flight.flat_map(|it| it.answers) {
            answer(Err(Error::OutcomeUnknown.into()));
        }
    }
}

#[cfg(test)]
mod tests;
