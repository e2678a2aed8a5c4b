//! The operations of a process that are in flight: one a register at a time.
use crate::message::{Content, Held};
use bytes::Bytes;
use quorate_abstractions::register::{Action, Indication, RegisterResponse};
use quorate_core::ProcessSet;
use std::collections::{BTreeMap, BTreeSet};

/// How far an operation has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// It asks what the replicas hold.
    Querying {
        /// What it is to do then.
        action: Action,
        /// Who has answered.
        answered: ProcessSet,
        /// The newest of the answers.
        newest: Held,
        /// Whether all answers are the same.
        agreed: bool,
    },
    /// It has the replicas hold something.
    Imposing {
        /// Who has acknowledged.
        stored: ProcessSet,
        /// How it ends then.
        outcome: RegisterResponse,
    },
}

impl Phase {
    /// A query begins, after which this is to be done.
    pub(crate) fn query(action: Action) -> Self {
        Phase::Querying {
            action,
            answered: ProcessSet::EMPTY,
            newest: Held::default(),
            agreed: true,
        }
    }

    /// An imposition begins, after which the operation ends so.
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
    /// How the user names the operation.
    pub(crate) number: u64,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// What its last request asks.
    pub(crate) asks: Content,
}

impl Operation {
    /// It ends so.
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

    /// Begins a phase of an operation: the number of its request.
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

    /// The last requests of all, ascending.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u64, Content)> + '_ {
        let asked = |(request, operation): (&u64, &Operation)| (*request, operation.asks.clone());
        self.in_flight.iter().map(asked)
    }

    /// The numbers of the last requests of all, ascending.
    pub(crate) fn requests(&self) -> Vec<u64> {
        self.in_flight.keys().copied().collect()
    }
}
