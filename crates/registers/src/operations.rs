//! The operations of a process that are in flight: at most one per register.
use crate::message::{Content, Held};
use bytes::Bytes;
use quorate_abstractions::register::{Action, Indication, RegisterResponse};
use quorate_core::ProcessSet;
use std::collections::{BTreeMap, BTreeSet};

/// How far an operation has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// It asks for the replicas' values.
    Querying {
        /// What the operation does after the query.
        action: Action,
        /// Processes that have answered.
        answered: ProcessSet,
        /// The newest of the answers.
        newest: Held,
        /// Whether all answers are the same.
        agreed: bool,
    },
    /// It makes the replicas hold a value.
    Imposing {
        /// Processes that have acknowledged.
        stored: ProcessSet,
        /// The response with which it then ends.
        outcome: RegisterResponse,
    },
}

impl Phase {
    /// The beginning of a query, after which this is to be done.
    pub(crate) fn query(action: Action) -> Self {
        Phase::Querying {
            action,
            answered: ProcessSet::EMPTY,
            newest: Held::default(),
            agreed: true,
        }
    }

    /// The beginning of an imposition, after which the operation ends with this outcome.
    pub(crate) fn impose(outcome: RegisterResponse) -> Self {
        Phase::Imposing {
            stored: ProcessSet::EMPTY,
            outcome,
        }
    }
}

/// An operation in flight.
#[derive(Debug)]
pub(crate) struct Operation {
    /// The name of the register.
    pub(crate) register: Bytes,
    /// The user's number for the operation.
    pub(crate) number: u64,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// The content of its last request.
    pub(crate) asks: Content,
}

impl Operation {
    /// The indication that the operation ends with this outcome.
    pub(crate) fn ends(self, outcome: RegisterResponse) -> Indication {
        Indication {
            register: self.register,
            operation: self.number,
            outcome,
        }
    }
}

/// The operations in flight, by the number of their last request to the replicas. No two requests of a
/// process have the same number.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    requests: u64,
    in_flight: BTreeMap<u64, Operation>,
    busy: BTreeSet<Bytes>,
}

impl Operations {
    /// Whether an operation on this register is in flight.
    pub(crate) fn is_busy(&self, register: &Bytes) -> bool {
        self.busy.contains(register)
    }

    /// Begins a phase of an operation. Returns the number of its request.
    pub(crate) fn begin(&mut self, operation: Operation) -> u64 {
        self.busy.insert(operation.register.clone());
        self.requests += 1;
        self.in_flight.insert(self.requests, operation);
        self.requests
    }

    /// The operation whose last request has this number.
    pub(crate) fn of(&mut self, request: u64) -> Option<&mut Operation> {
        self.in_flight.get_mut(&request)
    }

    /// Ends the phase, which is the last one unless another begins.
    pub(crate) fn end(&mut self, request: u64) -> Option<Operation> {
        let operation = self.in_flight.remove(&request)?;
        self.busy.remove(&operation.register);
        Some(operation)
    }

    /// The last requests of all operations, ascending.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u64, Content)> + '_ {
        let asked = |(request, operation): (&u64, &Operation)| (*request, operation.asks.clone());
        self.in_flight.iter().map(asked)
    }

    /// The numbers of the last requests of all operations, ascending.
    pub(crate) fn requests(&self) -> Vec<u64> {
        self.in_flight.keys().copied().collect()
    }
}
