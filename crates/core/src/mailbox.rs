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

/// A host's view of its mailboxes: it is told of every event that enters one, and so learns what is ready to
/// run.
pub trait Schedule: Send + Sync {
    /// Whether the current thread is the one on which the host runs its algorithms.
    fn is_inside(&self) -> bool {
        true
    }

    /// An event entered the mailbox `index`. `is_news` says that no earlier event was waiting there to be
    /// [let in](Mailbox::let_in).
    fn posted(&self, index: usize, is_news: bool);
}

struct Events<E> {
    waiting: VecDeque<E>,
    /// How many events at the front may be taken. If there is a next one, it came from another thread.
    let_in: usize,
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

/// The queue where the events of one algorithm wait. The algorithm itself never sees it. Once the mailbox is
/// dropped, events sent to its addresses are dropped, too.
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
                    let_in: 0,
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
            let is_news = {
                let mut events = queue.events();
                if events.closed {
                    return;
                }
                let all_are_in = events.let_in == events.waiting.len();
                events.waiting.push_back(event);
                if is_inside && all_are_in {
                    events.let_in += 1;
                }
                all_are_in
            };
            queue.schedule.posted(queue.index, is_news);
        })
    }

    /// The number that the host gave this mailbox.
    pub fn index(&self) -> usize {
        self.queue.index
    }

    /// Lets in all waiting events. An event that another thread has sent waits for this, and so does
    /// everything behind it. Otherwise a module would never be idle if its user sent the next request as soon
    /// as it was answered and the layers below told the module of each answer, too. For hosts.
    pub fn let_in(&self) {
        let mut events = self.queue.events();
        events.let_in = events.waiting.len();
    }

    /// Takes the oldest event, if it is let in. For hosts.
    pub fn take(&self) -> Option<E> {
        let mut events = self.queue.events();
        events.let_in = events.let_in.checked_sub(1)?;
        events.waiting.pop_front()
    }

    /// Moves all waiting events that are let in to `events`, which must be empty. A batch takes the lock
    /// once. For hosts.
    pub fn take_all(&self, events: &mut VecDeque<E>) {
        let mut queue = self.queue.events();
        let let_in = std::mem::take(&mut queue.let_in);
        if let_in == queue.waiting.len() {
            std::mem::swap(&mut queue.waiting, events);
        } else {
            events.extend(queue.waiting.drain(..let_in));
        }
    }
}

impl<E> Drop for Mailbox<E> {
    fn drop(&mut self) {
        let left = {
            let mut events = self.queue.events();
            events.closed = true;
            std::mem::take(&mut events.waiting)
        };
        // Outside the lock: when an event is dropped, its contents may send other events.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Whether the sender is outside, and the `is_news` flags that were reported.
    #[derive(Default)]
    struct Sides {
        outside: AtomicBool,
        news: Mutex<Vec<bool>>,
    }

    impl Schedule for Sides {
        fn is_inside(&self) -> bool {
            !self.outside.load(Relaxed)
        }

        fn posted(&self, _: usize, is_news: bool) {
            self.news.lock().unwrap().push(is_news);
        }
    }

    fn all(mailbox: &Mailbox<u32>) -> Vec<u32> {
        let mut events = VecDeque::new();
        mailbox.take_all(&mut events);
        events.into()
    }

    #[test]
    fn what_waits_behind_another_threads_event_waits_with_it_and_the_order_stays() {
        let sides = Arc::new(Sides::default());
        let mailbox = Mailbox::new(0, sides.clone());
        let addr = mailbox.addr();
        let send = |event, outside| {
            sides.outside.store(outside, Relaxed);
            addr.send(event);
        };
        for (event, outside) in [(1, false), (2, false), (3, true), (4, false), (5, true)] {
            send(event, outside);
        }
        assert_eq!(
            *sides.news.lock().unwrap(),
            [true, true, true, false, false]
        );
        assert_eq!(all(&mailbox), [1, 2]);
        assert_eq!(mailbox.take(), None);
        send(6, false);
        assert_eq!(all(&mailbox), []);
        mailbox.let_in();
        send(7, false);
        assert_eq!(mailbox.take(), Some(3));
        send(8, true);
        assert_eq!(all(&mailbox), [4, 5, 6, 7]);
        mailbox.let_in();
        assert_eq!(all(&mailbox), [8]);
        assert_eq!(all(&mailbox), []);
        assert_eq!(sides.news.lock().unwrap()[5..], [false, true, true]);
    }
}
