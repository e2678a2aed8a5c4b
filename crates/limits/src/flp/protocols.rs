//! Three protocols whose runs end after a few messages. Each breaks a horn that is not the one of Fischer, Lynch
//! and Paterson: their theorem is on protocols that are safe, and that go on when one process stops.
use super::model::{Protocol, Sent};
use quorate_core::{Membership, ProcessId};
use std::collections::BTreeMap;

/// Each sends its proposal to all, and decides the least value once it has heard this many, its own included.
pub struct WaitFor {
    processes: Membership,
    count: usize,
}

impl WaitFor {
    /// It waits for so many values.
    pub fn new(processes: Membership, count: usize) -> Self {
        WaitFor { processes, count }
    }

    fn decide(&self, state: &mut Heard) {
        if state.decided.is_none() && state.values.len() >= self.count {
            state.decided = state.values.values().min().copied();
        }
    }
}

/// What a process of [`WaitFor`] has heard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Heard {
    values: BTreeMap<ProcessId, bool>,
    decided: Option<bool>,
}

/// A proposal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub bool);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", u8::from(self.0))
    }
}

impl Protocol for WaitFor {
    type State = Heard;
    type Message = Value;

    fn name(&self) -> String {
        format!("decide the least of {} values", self.count)
    }

    fn processes(&self) -> &Membership {
        &self.processes
    }

    fn start(&self, p: ProcessId, proposal: bool) -> (Heard, Sent<Value>) {
        let mut state = Heard {
            values: [(p, proposal)].into(),
            decided: None,
        };
        self.decide(&mut state);
        let others = self.processes.others(p);
        let sent = others.iter().map(|q| (q, Value(proposal)));
        (state, sent.collect())
    }

    fn receive(
        &self,
        _: ProcessId,
        state: &mut Heard,
        from: ProcessId,
        message: &Value,
    ) -> Sent<Value> {
        state.values.entry(from).or_insert(message.0);
        self.decide(state);
        Vec::new()
    }

    fn decision(&self, state: &Heard) -> Option<bool> {
        state.decided
    }
}

/// The others send their proposals to p1, which decides the first that comes, and tells all.
pub struct FirstCome {
    processes: Membership,
}

impl FirstCome {
    /// It runs at these processes.
    pub fn new(processes: Membership) -> Self {
        FirstCome { processes }
    }

    fn first(&self) -> ProcessId {
        self.processes.coordinator(1)
    }
}

/// A message of [`FirstCome`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirstComeMessage {
    /// To p1: a proposal.
    Proposal(bool),
    /// From p1: its decision.
    Decide(bool),
}

impl std::fmt::Debug for FirstComeMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FirstComeMessage::Proposal(value) => write!(f, "{}", u8::from(*value)),
            FirstComeMessage::Decide(value) => write!(f, "decide {}", u8::from(*value)),
        }
    }
}

impl Protocol for FirstCome {
    /// What is decided.
    type State = Option<bool>;
    type Message = FirstComeMessage;

    fn name(&self) -> String {
        "p1 decides the first value that comes".to_owned()
    }

    fn processes(&self) -> &Membership {
        &self.processes
    }

    fn start(&self, p: ProcessId, proposal: bool) -> (Option<bool>, Sent<FirstComeMessage>) {
        let first = self.first();
        let sent = (p != first).then_some((first, FirstComeMessage::Proposal(proposal)));
        (None, sent.into_iter().collect())
    }

    fn receive(
        &self,
        p: ProcessId,
        decided: &mut Option<bool>,
        _: ProcessId,
        message: &FirstComeMessage,
    ) -> Sent<FirstComeMessage> {
        if decided.is_some() {
            return Vec::new();
        }
        match *message {
            FirstComeMessage::Proposal(value) => {
                *decided = Some(value);
                let others = self.processes.others(p);
                others
                    .iter()
                    .map(|q| (q, FirstComeMessage::Decide(value)))
                    .collect()
            }
            FirstComeMessage::Decide(value) => {
                *decided = Some(value);
                Vec::new()
            }
        }
    }

    fn decision(&self, decided: &Option<bool>) -> Option<bool> {
        *decided
    }
}
