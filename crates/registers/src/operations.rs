//! The operations of a process that are under way: one a register at a time.
use crate::message::Content;
use bytes::Bytes;
use quorate_abstractions::register::{Indication, Outcome, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Operation<P> {
    /// The name of the register.
    pub(crate) register: Bytes,
    /// How the user names the operation.
    pub(crate) number: u64,
    /// How far it has come.
    pub(crate) phase: P,
}

impl<P> Operation<P> {
    /// It ends so.
    pub(crate) fn ends(self, outcome: Outcome) -> Indication {
        Indication {
            register: self.register,
            operation: self.number,
            outcome,
        }
    }
}

/// An operation, and what it asked last.
#[derive(Debug)]
struct Asking<P> {
    operation: Operation<P>,
    content: Option<Content>,
}

/// The operations under way, by the number of their last request to the replicas. No two requests of a
/// process have the same number.
#[derive(Debug)]
pub(crate) struct Operations<P> {
    requests: u64,
    under_way: BTreeMap<u64, Asking<P>>,
    busy: BTreeSet<Bytes>,
}

impl<P> Default for Operations<P> {
    fn default() -> Self {
        Operations {
            requests: 0,
            under_way: BTreeMap::new(),
            busy: BTreeSet::new(),
        }
    }
}

impl<P> Operations<P> {
    /// Whether an operation on this register is under way.
    pub(crate) fn is_busy(&self, register: &Bytes) -> bool {
        self.busy.contains(register)
    }

    /// Begins an operation: the number of its request.
    pub(crate) fn begin(&mut self, operation: Operation<P>) -> u64 {
        self.busy.insert(operation.register.clone());
        self.ask(operation)
    }

    /// Has an operation go on with another request.
    fn ask(&mut self, operation: Operation<P>) -> u64 {
        self.requests += 1;
        let content = None;
        self.under_way
            .insert(self.requests, Asking { operation, content });
        self.requests
    }

    /// The operation whose last request has this number.
    pub(crate) fn of(&mut self, request: u64) -> Option<&mut Operation<P>> {
        let asking = self.under_way.get_mut(&request)?;
        Some(&mut asking.operation)
    }

    /// This is what the request asks.
    pub(crate) fn asks(&mut self, request: u64, content: Content) {
        if let Some(asking) = self.under_way.get_mut(&request) {
            asking.content = Some(content);
        }
    }

    /// The last requests of all operations under way, ascending.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u64, Content)> + '_ {
        let asking = self.under_way.iter();
        asking.filter_map(|(request, asking)| Some((*request, asking.content.clone()?)))
    }

    /// Has the operation of this request go on to the next phase: the number of its next request.
    pub(crate) fn go_on(&mut self, request: u64, phase: P) -> Option<(u64, Bytes)> {
        let mut operation = self.under_way.remove(&request)?.operation;
        operation.phase = phase;
        let register = operation.register.clone();
        Some((self.ask(operation), register))
    }

    /// Ends the operation of this request.
    pub(crate) fn end(&mut self, request: u64) -> Option<Operation<P>> {
        let operation = self.under_way.remove(&request)?.operation;
        self.busy.remove(&operation.register);
        Some(operation)
    }

    /// The numbers of the last requests of all, ascending.
    pub(crate) fn requests(&self) -> Vec<u64> {
        self.under_way.keys().copied().collect()
    }
}

/// The operation was not begun.
pub(crate) fn refused(register: Bytes, operation: u64, refusal: Refusal) -> Indication {
    Indication {
        register,
        operation,
        outcome: Outcome::Refused(refusal),
    }
}
