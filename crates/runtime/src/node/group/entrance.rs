//! Where messages enter the order.
use bytes::Bytes;
use quorate_abstractions::{reconfigurable::Request, total_order};
use quorate_core::Addr;
use std::sync::{Mutex, PoisonError};

/// Where messages enter the order: what comes before it runs waits here.
pub(super) struct Entrance(Mutex<State>);

enum State {
    Closed(Vec<Bytes>),
    Open(Addr<Request>),
}

impl Default for Entrance {
    fn default() -> Self {
        Entrance(Mutex::new(State::Closed(Vec::new())))
    }
}

impl Entrance {
    /// A message enters, or waits.
    pub(super) fn enter(&self, payload: Bytes) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Closed(waiting) => waiting.push(payload),
            State::Open(requests) => {
                requests.send(Request::Broadcast(total_order::Broadcast { payload }));
            }
        }
    }

    /// The order runs: what waits enters, and from now on everything at once.
    pub(super) fn open(&self, requests: Addr<Request>) {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Closed(waiting) = &mut *way {
            for payload in waiting.drain(..) {
                requests.send(Request::Broadcast(total_order::Broadcast { payload }));
            }
        }
        *way = State::Open(requests);
    }
}
