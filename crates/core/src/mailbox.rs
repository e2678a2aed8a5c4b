//! Typed, non-blocking message passing between the algorithms of one process.
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A cheap, clonable, typed address. Sending never blocks and never fails: once a host has stopped,
/// what is sent is dropped.
pub struct Addr<T>(Arc<dyn Fn(T) + Send + Sync>);

impl<T> Clone for Addr<T> {
    fn clone(&self) -> Self {
        Addr(self.0.clone())
    }
}

impl<T> fmt::Debug for Addr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addr")
    }
}

impl<T: 'static> Addr<T> {
    /// The address that hands what is sent to `deliver`, on the sender's thread.
    pub fn new(deliver: impl Fn(T) + Send + Sync + 'static) -> Self {
        Addr(Arc::new(deliver))
    }

    /// The address that drops what it is sent.
    pub fn nowhere() -> Self {
        Addr::new(drop)
    }

    /// Sends `value`.
    pub fn send(&self, value: T) {
        (self.0)(value);
    }

    /// The same place for values of another type: `adapt` is applied on sending.
    pub fn with<U: 'static>(&self, adapt: impl Fn(U) -> T + Send + Sync + 'static) -> Addr<U> {
        let inner = self.clone();
        Addr::new(move |value| inner.send(adapt(value)))
    }
}

/// Told of every event that enters a mailbox: how a host learns what is ready to run.
pub trait Schedule: Send + Sync {
    /// Whether the current thread is the one on which the host runs its algorithms.
    fn is_inside(&self) -> bool {
        true
    }

    /// An event entered the mailbox `index`, which held nothing before that came from this side, inside or
    /// outside, if `was_empty`.
    fn posted(&self, index: usize, was_empty: bool);
}

struct Events<E> {
    waiting: VecDeque<E>,
    /// What came from other threads, and has not been let in yet.
    outside: VecDeque<E>,
    closed: bool,
}

struct Queue<E> {
    events: Mutex<Events<E>>,
    schedule: Arc<dyn Schedule>,
    index: usize,
}

impl<E> Queue<E> {
    fn events(&self) -> MutexGuard<'_, Events<E>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the events of one algorithm wait. The algorithm itself never sees it. Once it is dropped,
/// what is sent to its addresses is dropped, too.
pub struct Mailbox<E> {
    queue: Arc<Queue<E>>,
}

impl<E: Send + 'static> Mailbox<E> {
    /// A mailbox that reports to `schedule` under `index`. For hosts.
    pub fn new(index: usize, schedule: Arc<dyn Schedule>) -> Self {
        Mailbox {
            queue: Arc::new(Queue {
                events: Mutex::new(Events {
                    waiting: VecDeque::new(),
                    outside: VecDeque::new(),
                    closed: false,
                }),
                schedule,
                index,
            }),
        }
    }

    /// The address that leads here.
    pub fn addr(&self) -> Addr<E> {
        let queue = self.queue.clone();
        Addr::new(move |event| {
            let is_inside = queue.schedule.is_inside();
            let was_empty = {
                let mut events = queue.events();
                if events.closed {
                    return;
                }
                let waiting = if is_inside {
                    &mut events.waiting
                } else {
                    &mut events.outside
                };
                waiting.push_back(event);
                waiting.len() == 1
            };
            queue.schedule.posted(queue.index, was_empty);
        })
    }

    /// The number under which the host made it.
    pub fn index(&self) -> usize {
        self.queue.index
    }

    /// Lets in what other threads have sent. Until then it waits, behind what comes from the host's own: else
    /// whoever is sent something by both, as soon as it has answered, would never be idle. For hosts.
    pub fn let_in(&self) {
        let mut events = self.queue.events();
        let Events {
            waiting, outside, ..
        } = &mut *events;
        waiting.append(outside);
    }

    /// Takes the oldest event. For hosts.
    pub fn take(&self) -> Option<E> {
        self.queue.events().waiting.pop_front()
    }

    /// Exchanges everything that waits for the (empty) `events`: a batch for one lock. For hosts.
    pub fn take_all(&self, events: &mut VecDeque<E>) {
        std::mem::swap(&mut self.queue.events().waiting, events);
    }
}

impl<E> Drop for Mailbox<E> {
    fn drop(&mut self) {
        let left = {
            let mut events = self.queue.events();
            events.closed = true;
            let outside = std::mem::take(&mut events.outside);
            (std::mem::take(&mut events.waiting), outside)
        };
        // Outside the lock: what an event holds may send in its turn when it is dropped.
        drop(left);
    }
}
