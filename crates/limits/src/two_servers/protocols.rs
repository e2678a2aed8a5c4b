//! Three protocols that replicate a log in lock step.
use super::{Command, Layout, Log, Message};
use quorate_abstractions::link::To;
use quorate_core::{ProcessId, ProcessSet};
use std::collections::{BTreeMap, BTreeSet};

/// What a server does in a round.
pub(super) trait Server {
    fn send(&mut self, round: u64) -> Vec<(To, Message)>;
    fn receive(&mut self, round: u64, received: &[(ProcessId, Message)]);
}

/// The commands that clients ask for.
fn asked(received: &[(ProcessId, Message)]) -> impl Iterator<Item = Command> {
    received.iter().filter_map(|(_, message)| match message {
        Message::Ask(command) => Some(*command),
        _ => None,
    })
}

/// A primary keeps the commands in the order in which they come, and answers.
pub(super) struct StaticPrimary {
    is_primary: bool,
    layout: Layout,
    log: Log,
}

impl StaticPrimary {
    pub(super) fn new(me: ProcessId, layout: Layout) -> Self {
        StaticPrimary {
            is_primary: me.rank() == 1,
            layout,
            log: Log::new(),
        }
    }
}

impl Server for StaticPrimary {
    fn send(&mut self, _: u64) -> Vec<(To, Message)> {
        let answers = self.is_primary && !self.log.is_empty();
        let answer = || {
            (
                To::Some(self.layout.clients()),
                Message::Answer(self.log.clone()),
            )
        };
        answers.then(answer).into_iter().collect()
    }

    fn receive(&mut self, _: u64, received: &[(ProcessId, Message)]) {
        for command in asked(received) {
            if !self.log.contains(&command) {
                self.log.push(command);
            }
        }
    }
}

/// The lowest server that was heard in the last round is the primary. It answers one round after its backups
/// were sent the log, and waits for no confirmation.
pub(super) struct PrimaryBackup {
    me: ProcessId,
    layout: Layout,
    log: Log,
    /// So much of the log was sent to the backups in an earlier round.
    copied: usize,
    /// The servers that were heard in the last round.
    heard: ProcessSet,
}

impl PrimaryBackup {
    pub(super) fn new(me: ProcessId, layout: Layout) -> Self {
        PrimaryBackup {
            me,
            layout,
            log: Log::new(),
            copied: 0,
            heard: layout.servers(),
        }
    }

    fn primary(&self) -> ProcessId {
        self.heard.iter().next().unwrap_or(self.me)
    }
}

impl Server for PrimaryBackup {
    fn send(&mut self, _: u64) -> Vec<(To, Message)> {
        let servers = To::Some(self.layout.servers());
        let mut sent = vec![(servers, Message::Copy(self.log.clone()))];
        if self.primary() == self.me && self.copied > 0 {
            let answer = Message::Answer(self.log[..self.copied].to_vec());
            sent.push((To::Some(self.layout.clients()), answer));
        }
        self.copied = self.log.len();
        sent
    }

    fn receive(&mut self, _: u64, received: &[(ProcessId, Message)]) {
        self.heard = ProcessSet::EMPTY;
        for (from, message) in received {
            if matches!(message, Message::Copy(_)) {
                self.heard.insert(*from);
            }
        }
        let primary = self.primary();
        for (from, message) in received {
            if let Message::Copy(log) = message
                && (*from == primary && primary != self.me)
            {
                self.log.clone_from(log);
            }
        }
        if primary == self.me {
            for command in asked(received) {
                if !self.log.contains(&command) {
                    self.log.push(command);
                }
            }
        }
    }
}

/// The rounds of a view.
const STEPS: u64 = 4;

/// One command after the other is decided by a majority. In each view another server leads: it asks all for
/// what they have accepted, proposes the command of the latest view among that, or a new one, and has decided
/// once a majority has accepted it.
pub(super) struct Majority {
    me: ProcessId,
    layout: Layout,
    /// What is decided, as far as it is known here.
    log: Log,
    /// What was accepted last for the next place of the log, and in which view.
    accepted: Option<(u64, Command)>,
    asked: BTreeSet<Command>,
    /// The leader's proposal in the present view.
    proposal: Option<Command>,
    /// This server is to confirm the proposal of the present view.
    confirms: bool,
}

impl Majority {
    pub(super) fn new(me: ProcessId, layout: Layout) -> Self {
        Majority {
            me,
            layout,
            log: Log::new(),
            accepted: None,
            asked: BTreeSet::new(),
            proposal: None,
            confirms: false,
        }
    }

    fn view(round: u64) -> u64 {
        (round - 1) / STEPS + 1
    }

    fn leader(&self, round: u64) -> ProcessId {
        let place = (Self::view(round) - 1) % self.layout.servers as u64;
        self.layout.processes.coordinator(place + 1)
    }

    fn is_majority(&self, count: usize) -> bool {
        2 * count > self.layout.servers
    }

    /// Takes over a log that is longer.
    fn learn(&mut self, log: &Log) {
        if log.len() > self.log.len() {
            self.log.clone_from(log);
            self.accepted = None;
        }
    }

    fn upon_statuses(&mut self, statuses: &BTreeMap<ProcessId, &Message>) {
        for message in statuses.values() {
            if let Message::Status { log, .. } = message {
                self.learn(log);
            }
        }
        let mut latest = self.accepted;
        for message in statuses.values() {
            if let Message::Status {
                log,
                accepted,
                asked,
            } = message
            {
                self.asked.extend(asked);
                if log.len() == self.log.len() {
                    latest = latest.max(*accepted);
                }
            }
        }
        let mut open = self
            .asked
            .iter()
            .filter(|command| !self.log.contains(command));
        let next = latest.map(|(_, command)| command).or(open.next().copied());
        self.proposal = next.filter(|_| self.is_majority(statuses.len()));
    }
}

impl Server for Majority {
    fn send(&mut self, round: u64) -> Vec<(To, Message)> {
        let (view, leader) = (Self::view(round), self.leader(round));
        let servers = To::Some(self.layout.servers());
        match (round - 1) % STEPS {
            0 => {
                self.proposal = None;
                let status = Message::Status {
                    log: self.log.clone(),
                    accepted: self.accepted,
                    asked: self.asked.clone(),
                };
                let mut sent = vec![(To::One(leader), status)];
                if !self.log.is_empty() {
                    let answer = Message::Answer(self.log.clone());
                    sent.push((To::Some(self.layout.clients()), answer));
                }
                sent
            }
            1 => {
                let proposal = self.proposal.map(|next| Message::Propose {
                    view,
                    log: self.log.clone(),
                    next,
                });
                proposal
                    .into_iter()
                    .map(|proposal| (servers, proposal))
                    .collect()
            }
            2 if std::mem::take(&mut self.confirms) => {
                vec![(To::One(leader), Message::Accepted(view))]
            }
            2 => Vec::new(),
            _ => vec![(servers, Message::Copy(self.log.clone()))],
        }
    }

    fn receive(&mut self, round: u64, received: &[(ProcessId, Message)]) {
        self.asked.extend(asked(received));
        let (view, leads) = (Self::view(round), self.leader(round) == self.me);
        for (_, message) in received {
            match message {
                Message::Propose { view, log, next } => {
                    self.learn(log);
                    if log.len() == self.log.len() {
                        self.accepted = Some((*view, *next));
                        self.confirms = true;
                    }
                }
                Message::Copy(log) => self.learn(log),
                _ => {}
            }
        }
        if !leads {
            return;
        }
        match (round - 1) % STEPS {
            0 => {
                let statuses = received.iter();
                let statuses = statuses.filter(|(_, m)| matches!(m, Message::Status { .. }));
                self.upon_statuses(&statuses.map(|(from, message)| (*from, message)).collect());
            }
            2 => {
                let accepted = received
                    .iter()
                    .filter(|(_, m)| *m == Message::Accepted(view));
                if let Some(next) = self.proposal.filter(|_| self.is_majority(accepted.count())) {
                    self.log.push(next);
                    self.accepted = None;
                }
            }
            _ => {}
        }
    }
}
