//! Lock services. A service is told what its clients say, and when an alarm that it has set goes off; it sees
//! nothing else, so that whatever it does follows from that.
use super::world::{Alarm, Client, Event, Order, Token};
use std::collections::VecDeque;

/// A lock service: it never fails, and grants one lock.
pub trait LockService {
    /// What is heard at this time, in microseconds, and what is done about it.
    fn upon(&mut self, now: u64, event: Event) -> Vec<Order>;
}

/// The lock, and who waits for it, in order of arrival.
#[derive(Default)]
struct Queue {
    holder: Option<(Client, Token)>,
    waiting: VecDeque<Client>,
    /// How many grants there were: tokens grow.
    granted: u64,
}

impl Queue {
    /// Grants the lock to the next, if it is free; a lease of it ends at `until`.
    fn grant(&mut self, until: Option<u64>) -> Option<Order> {
        if self.holder.is_some() {
            return None;
        }
        let client = self.waiting.pop_front()?;
        self.granted += 1;
        let token = Token(self.granted);
        self.holder = Some((client, token));
        Some(Order::Grant {
            client,
            token,
            until,
        })
    }

    /// The lock is free again, if this client holds it by this token.
    fn free(&mut self, client: Client, token: Token) -> Option<Order> {
        (self.holder == Some((client, token))).then(|| {
            self.holder = None;
            Order::End { client, token }
        })
    }
}

/// A lock that nobody but its holder frees.
#[derive(Default)]
pub struct NonPreemptive {
    queue: Queue,
}

impl LockService for NonPreemptive {
    fn upon(&mut self, _: u64, event: Event) -> Vec<Order> {
        let freed = match event {
            Event::Acquire(client) => {
                self.queue.waiting.push_back(client);
                None
            }
            Event::Release(client, token) => self.queue.free(client, token),
            Event::Alarm(_) | Event::Stopped(_) => None,
        };
        freed.into_iter().chain(self.queue.grant(None)).collect()
    }
}

/// A lock that ends after a time, and is granted to the next.
pub struct Lease {
    queue: Queue,
    /// In microseconds.
    length: u64,
}

impl Lease {
    /// A lease of this length, in microseconds.
    pub fn new(length: u64) -> Self {
        Lease {
            queue: Queue::default(),
            length,
        }
    }
}

impl LockService for Lease {
    fn upon(&mut self, now: u64, event: Event) -> Vec<Order> {
        let freed = match event {
            Event::Acquire(client) => {
                self.queue.waiting.push_back(client);
                None
            }
            Event::Release(client, token) | Event::Alarm(Alarm { client, token }) => {
                self.queue.free(client, token)
            }
            Event::Stopped(_) => None,
        };
        let granted = self.queue.grant(Some(now.saturating_add(self.length)));
        let alarm = granted.as_ref().and_then(|order| order.alarm(self.length));
        freed.into_iter().chain(granted).chain(alarm).collect()
    }
}

/// A lock whose holder is *made* to stop after a time; the next is granted it when that is certain. This is more
/// than the model has: a perfect detector by force.
pub struct ForcedStop {
    queue: Queue,
    /// In microseconds.
    length: u64,
}

impl ForcedStop {
    /// The holder is stopped after this time, in microseconds.
    pub fn new(length: u64) -> Self {
        ForcedStop {
            queue: Queue::default(),
            length,
        }
    }
}

impl LockService for ForcedStop {
    fn upon(&mut self, _: u64, event: Event) -> Vec<Order> {
        let mut orders = Vec::new();
        match event {
            Event::Acquire(client) => self.queue.waiting.push_back(client),
            Event::Release(client, token) => orders.extend(self.queue.free(client, token)),
            Event::Alarm(Alarm { client, token }) => {
                if self.queue.holder == Some((client, token)) {
                    orders.push(Order::Stop(client));
                }
            }
            Event::Stopped(client) => {
                let held = self.queue.holder.filter(|(holder, _)| *holder == client);
                orders.extend(held.and_then(|(_, token)| self.queue.free(client, token)));
            }
        }
        let granted = self.queue.grant(None);
        let alarm = granted.as_ref().and_then(|order| order.alarm(self.length));
        orders.into_iter().chain(granted).chain(alarm).collect()
    }
}
