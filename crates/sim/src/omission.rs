//! Omissions: a faulty process does not send, or does not receive, some messages, and goes on.
//!
//! A *send omission*: the process takes the step that sends a copy, and the copy does not leave. A *receive
//! omission*: a copy arrives, and the process does not see it. *General* omission is both. The adversary
//! chooses copy by copy: each with a given probability, drawn from the seed of the world, or those that are
//! named. What a process sends to itself is never omitted.
//!
//! A process that has omitted a copy is faulty: it is one of the f that may fail, and not correct for
//! properties. It still takes steps, so that what it indicates is bound by uniform properties.
//!
//! Ideal links do not send an omitted message again. Real links do: there, an omission is a datagram that is
//! lost at one end, without the bound on consecutive losses of a fair-loss link.
use crate::{
    adversary::Transmission, chance, network::Network, schedule::Passage, state::Core, trace::Loss,
    world::World,
};
use quorate_core::{ProcessId, ProcessSet};
use std::{collections::BTreeSet, fmt};

/// Which messages a faulty process omits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OmissionKind {
    /// Messages that it sends.
    Send,
    /// Messages that are sent to it.
    Receive,
    /// Messages of either kind.
    General,
}

impl OmissionKind {
    /// Whether a process with failures of this kind may omit what it sends.
    pub fn is_of_sender(self) -> bool {
        matches!(self, OmissionKind::Send | OmissionKind::General)
    }

    /// Whether a process with failures of this kind may omit what is sent to it.
    pub fn is_of_receiver(self) -> bool {
        matches!(self, OmissionKind::Receive | OmissionKind::General)
    }
}

impl fmt::Display for OmissionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OmissionKind::Send => "send",
            OmissionKind::Receive => "receive",
            OmissionKind::General => "general",
        })
    }
}

/// The messages that one process omits.
#[derive(Clone, PartialEq, Debug)]
pub struct Omission {
    kind: OmissionKind,
    choice: Choice,
}

#[derive(Clone, PartialEq, Debug)]
enum Choice {
    Each(f64),
    These(BTreeSet<Passage>),
}

impl Omission {
    /// Each message of this kind, with this probability.
    pub fn each(kind: OmissionKind, probability: f64) -> Self {
        Omission {
            kind,
            choice: Choice::Each(probability),
        }
    }

    /// These messages, as far as they are of this kind at the process. The number of a copy counts those
    /// that its sender has put in flight to its receiver, or omitted.
    pub fn these(kind: OmissionKind, copies: impl IntoIterator<Item = Passage>) -> Self {
        Omission {
            kind,
            choice: Choice::These(copies.into_iter().collect()),
        }
    }
}

/// The omissions of all processes.
pub(crate) struct Omissions {
    /// What each process omits.
    planned: Vec<Vec<Omission>>,
    /// The processes that have omitted a message.
    faulty: ProcessSet,
}

impl Omissions {
    pub(crate) fn new(n: usize) -> Self {
        Omissions {
            planned: vec![Vec::new(); n],
            faulty: ProcessSet::EMPTY,
        }
    }

    pub(crate) fn faulty(&self) -> ProcessSet {
        self.faulty
    }
}

impl Core {
    /// Whether the sender omits its next copy to this receiver. If so, the copy counts as one that it has
    /// sent.
    pub(crate) fn omits_sending(&mut self, from: ProcessId, to: ProcessId) -> bool {
        if self.omissions.planned[from.index()].is_empty() {
            return false;
        }
        let omits = self.omits(
            from,
            self.network.next(from, to),
            OmissionKind::is_of_sender,
        );
        if omits {
            self.network.skip(from, to);
        }
        omits
    }

    /// Whether the receiver omits this copy, which arrives.
    pub(crate) fn omits_receiving(&mut self, copy: Passage) -> bool {
        copy.from != copy.to && self.omits(copy.to, copy, OmissionKind::is_of_receiver)
    }

    fn omits(&mut self, p: ProcessId, copy: Passage, concerns: fn(OmissionKind) -> bool) -> bool {
        let planned = self.omissions.planned[p.index()].iter();
        let rng = &mut self.rng;
        planned
            .filter(|it| concerns(it.kind))
            .any(|it| match &it.choice {
                Choice::Each(probability) => chance::happens(rng, *probability),
                Choice::These(copies) => copies.contains(&copy),
            })
    }

    /// One of its two ends omits a copy, and is faulty from now on.
    pub(crate) fn omit(&mut self, by: ProcessId, copy: Transmission) {
        self.omissions.faulty.insert(by);
        let loss = if by == copy.from {
            Loss::SendOmission
        } else {
            Loss::ReceiveOmission
        };
        self.lose(copy, loss);
    }
}

impl Network {
    /// The name of the next copy that is put in flight in this direction.
    fn next(&self, from: ProcessId, to: ProcessId) -> Passage {
        let number = self.launched[self.pair(from, to)] + 1;
        Passage { from, to, number }
    }

    /// That copy is not put in flight, but counted.
    fn skip(&mut self, from: ProcessId, to: ProcessId) {
        let pair = self.pair(from, to);
        self.launched[pair] += 1;
    }
}

impl World {
    /// Lets `p` omit these messages, beside those given before. It is faulty once it has omitted one.
    pub fn omit(&self, p: ProcessId, omission: Omission) {
        self.shared.lock().omissions.planned[p.index()].push(omission);
    }

    /// The processes that have omitted a message so far.
    pub fn omitters(&self) -> ProcessSet {
        self.shared.lock().omissions.faulty
    }
}
