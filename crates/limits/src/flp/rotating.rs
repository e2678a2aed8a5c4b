//! Consensus by a rotating coordinator, with timeouts in place of a detector: safe in every run, and no crash of
//! a minority blocks it. So the theorem leaves it only one horn: a fair run in which nobody ever decides.
//!
//! In round r each process sends its estimate to the coordinator; the coordinator proposes the estimate that was
//! adopted last, of a majority; who gets the proposal adopts and acknowledges it; the coordinator decides once a
//! majority, itself included, has. A process whose timeout of the round comes first goes to the next round, and
//! a message of a later round takes its receiver there. Nothing is acknowledged in a round that was left, so
//! that a later coordinator hears of every value that may be decided.
use super::model::{Protocol, Sent};
use quorate_core::{Membership, ProcessId};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Consensus by a rotating coordinator with timeouts.
pub struct Rotating {
    processes: Membership,
    /// How many processes must know a value: a majority, unless a mutant says otherwise.
    quorum: usize,
    /// The last round, which has no timeout; without it there is no last round.
    last: Option<u64>,
}

impl Rotating {
    /// As described, with as many rounds as it takes.
    pub fn new(processes: Membership) -> Self {
        let quorum = processes.majority();
        Rotating {
            processes,
            quorum,
            last: None,
        }
    }

    /// All wait for ever in round `last`, so that there are finitely many configurations.
    #[must_use]
    pub fn up_to(mut self, last: u64) -> Self {
        self.last = Some(last);
        self
    }

    /// A mutant: so many processes count as a majority.
    #[cfg(test)]
    pub(super) fn quorum(mut self, quorum: usize) -> Self {
        self.quorum = quorum;
        self
    }

    /// `p` begins this round, with its timeout; `estimates` says whether it sends its estimate.
    fn enter(&self, p: ProcessId, state: &mut State, round: u64, estimates: bool) -> Sent<Message> {
        state.round = round;
        state.lead = Lead::default();
        let coordinator = self.processes.coordinator(round);
        let mut sent = Vec::new();
        if self.last.is_none_or(|last| round < last) {
            sent.push((p, Message::Timeout { round }));
        }
        if p == coordinator {
            state.lead.estimates.insert(p, state.estimate);
            sent.extend(self.propose(p, state));
        } else if estimates {
            let estimate = state.estimate;
            sent.push((coordinator, Message::Estimate { round, estimate }));
        }
        sent
    }

    /// With the estimates of a majority, the coordinator proposes the one that was adopted last.
    fn propose(&self, p: ProcessId, state: &mut State) -> Sent<Message> {
        let enough = state.lead.estimates.len() >= self.quorum;
        let last = state.lead.estimates.values();
        // Of equally late ones that of the lowest rank.
        let latest = last.rev().max_by_key(|estimate| estimate.adopted).copied();
        let Some(latest) = latest.filter(|_| enough && state.lead.acks.is_empty()) else {
            return Vec::new();
        };
        let (round, value) = (state.round, latest.value);
        state.estimate = Estimate {
            value,
            adopted: round,
        };
        state.lead.acks.insert(p);
        let others = self.processes.others(p);
        let proposal = Message::Propose { round, value };
        let mut sent: Vec<_> = others.iter().map(|q| (q, proposal)).collect();
        sent.extend(self.decide(p, state));
        sent
    }

    /// With the acknowledgements of a majority, the coordinator decides and tells all.
    fn decide(&self, p: ProcessId, state: &mut State) -> Sent<Message> {
        if state.lead.acks.len() < self.quorum {
            return Vec::new();
        }
        let value = state.estimate.value;
        state.decided = Some(value);
        let others = self.processes.others(p);
        let decision = Message::Decide { value };
        others.iter().map(|q| (q, decision)).collect()
    }
}

/// What a process would decide, and the round in which it adopted it; 0 is its own proposal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Estimate {
    value: bool,
    adopted: u64,
}

/// A process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct State {
    round: u64,
    estimate: Estimate,
    lead: Lead,
    decided: Option<bool>,
}

/// What the coordinator of the round knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Lead {
    estimates: BTreeMap<ProcessId, Estimate>,
    acks: BTreeSet<ProcessId>,
}

/// A message; all but decisions carry their round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    Estimate { round: u64, estimate: Estimate },
    Propose { round: u64, value: bool },
    Ack { round: u64 },
    Decide { value: bool },
    Timeout { round: u64 },
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Message::Estimate { round, estimate } => {
                let Estimate { value, adopted } = estimate;
                write!(f, "estimate({round}, {}@{adopted})", u8::from(value))
            }
            Message::Propose { round, value } => write!(f, "propose({round}, {})", u8::from(value)),
            Message::Ack { round } => write!(f, "ack({round})"),
            Message::Decide { value } => write!(f, "decide({})", u8::from(value)),
            Message::Timeout { round } => write!(f, "timeout({round})"),
        }
    }
}

impl Message {
    fn round(self) -> Option<u64> {
        match self {
            Message::Estimate { round, .. }
            | Message::Propose { round, .. }
            | Message::Ack { round }
            | Message::Timeout { round } => Some(round),
            Message::Decide { .. } => None,
        }
    }
}

impl Protocol for Rotating {
    type State = State;
    type Message = Message;

    fn name(&self) -> String {
        match self.last {
            Some(last) => format!("rotating coordinator with timeouts, {last} rounds"),
            None => "rotating coordinator with timeouts".to_owned(),
        }
    }

    fn processes(&self) -> &Membership {
        &self.processes
    }

    fn start(&self, p: ProcessId, proposal: bool) -> (State, Sent<Message>) {
        let mut state = State {
            round: 1,
            estimate: Estimate {
                value: proposal,
                adopted: 0,
            },
            lead: Lead::default(),
            decided: None,
        };
        let sent = self.enter(p, &mut state, 1, true);
        (state, sent)
    }

    fn receive(
        &self,
        p: ProcessId,
        state: &mut State,
        from: ProcessId,
        message: &Message,
    ) -> Sent<Message> {
        if state.decided.is_some() {
            return Vec::new();
        }
        let mut sent = Vec::new();
        if message.round().is_some_and(|round| round > state.round) {
            // Who is taken to a later round by its coordinator owes no estimate there.
            sent = self.enter(p, state, message.round().unwrap_or_default(), false);
        }
        if message.round().is_some_and(|round| round < state.round) {
            return sent;
        }
        let coordinates = self.processes.coordinator(state.round) == p;
        match *message {
            Message::Estimate { estimate, .. } if coordinates && state.lead.acks.is_empty() => {
                state.lead.estimates.insert(from, estimate);
                sent.extend(self.propose(p, state));
            }
            Message::Propose { round, value } => {
                state.estimate = Estimate {
                    value,
                    adopted: round,
                };
                sent.push((from, Message::Ack { round }));
            }
            Message::Ack { .. } if coordinates => {
                state.lead.acks.insert(from);
                sent.extend(self.decide(p, state));
            }
            Message::Decide { value } => state.decided = Some(value),
            Message::Timeout { round } => sent.extend(self.enter(p, state, round + 1, true)),
            Message::Estimate { .. } | Message::Ack { .. } => {}
        }
        sent
    }

    fn decision(&self, state: &State) -> Option<bool> {
        state.decided
    }

    /// After the decision all; before it those of earlier rounds, and estimates after the proposal.
    fn ignores(&self, state: &State, message: &Message) -> bool {
        let earlier = message.round().is_some_and(|round| round < state.round);
        let present = message.round() == Some(state.round);
        let proposed = !state.lead.acks.is_empty();
        let late = matches!(message, Message::Estimate { .. }) && present && proposed;
        state.decided.is_some() || earlier || late
    }

    fn is_timeout(&self, message: &Message) -> bool {
        matches!(message, Message::Timeout { .. })
    }
}
