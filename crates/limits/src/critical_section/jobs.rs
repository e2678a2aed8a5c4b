//! What clients do in their critical sections. Each is right if nobody else is inside.
use super::world::{Client, Happened, Reply, Request};

/// A job, step by step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Reads, and no more.
    Look,
    /// Reads a counter, and writes the next number.
    Count,
    /// Consensus: who enters first writes its proposal; everybody decides what is written.
    Decide,
    /// Tells the world outside once: a mark in the memory says that it is done.
    TellOnce,
}

/// What follows an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Next {
    /// The next request; without one the client exits.
    pub(super) request: Option<Request>,
    pub(super) events: Vec<Happened>,
}

impl Job {
    /// What follows the answer to request `number`, counted from 1. The first request is a read.
    pub(super) fn next(self, client: Client, number: usize, reply: Reply) -> Next {
        match (self, number, reply) {
            (Job::Count, 1, Reply::Value(value)) => {
                Self::then(Request::Write(value.unwrap_or(0) + 1))
            }
            (Job::Count, 2, Reply::Done) => Self::end(Happened::Counts(client)),
            (Job::Decide, 1, Reply::Value(None)) => Self::then(Request::Write(proposal(client))),
            (Job::Decide, 1, Reply::Value(Some(value))) => {
                Self::end(Happened::Decides(client, value))
            }
            (Job::Decide, 2, Reply::Done) => Self::end(Happened::Decides(client, proposal(client))),
            (Job::TellOnce, 1, Reply::Value(None)) => Self::then(Request::Tell),
            (Job::TellOnce, 2, Reply::Done) => Self::then(Request::Write(1)),
            // It is told already, or marked now; or the memory has refused.
            _ => Next::default(),
        }
    }

    fn then(request: Request) -> Next {
        Next {
            request: Some(request),
            events: Vec::new(),
        }
    }

    fn end(event: Happened) -> Next {
        Next {
            request: None,
            events: vec![event],
        }
    }
}

/// What a client proposes.
pub fn proposal(client: Client) -> u64 {
    match client {
        Client::A => 1,
        Client::B => 2,
    }
}
