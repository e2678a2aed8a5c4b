//! The run that is never over: it begins in a bivalent configuration, and every stage delivers the message that
//! has waited longest, after as few others as leave the configuration bivalent (Lemma 2).
//!
//! # Why there are always such messages
//! Assume that after every run without the oldest message e = (p, m) its delivery leads to a univalent
//! configuration. Both kinds occur, since the configuration is bivalent. So there are neighbours X and Y, where Y
//! is X after a message e', such that e leads from X to a 0-valent configuration and from Y to a 1-valent one, or
//! the other way round.
//! If e' has another receiver than e, the two deliveries commute, and the 1-valent configuration is a later one
//! of the 0-valent one. If p receives both, what p does next depends on their order, and so do the messages that
//! it sends: the two configurations have *different* message pools (H3-E2). Take a run from X to a decision in
//! which p takes no step, to A; there is one, because p may crash. It commutes with the deliveries to p, so that
//! both a 0-valent and a 1-valent configuration are later ones of A, where the decision is made already.
//! In either case the assumption is wrong.
//!
//! The argument uses that p *may* crash. In the run itself nobody does (H3-E3).
use super::{
    model::{In, Of, Protocol},
    search::{Bivalence, Deciding, decision_without, prefix},
};
use quorate_core::ProcessId;
use std::collections::VecDeque;

/// What one stage delivers.
pub struct Stage<P: Protocol> {
    /// The message that had waited longest: it comes last.
    pub oldest: In<P>,
    /// How many deliveries it has waited for, when it comes.
    pub waited: usize,
    /// What is delivered before it.
    pub prefix: Vec<In<P>>,
    /// How many more deliveries lead to a decision of 0, and of 1.
    pub distances: [usize; 2],
}

/// A run, with the messages that are not delivered yet in the order in which they were sent.
pub struct Run<P: Protocol> {
    pub configuration: Of<P>,
    in_flight: VecDeque<(usize, In<P>)>,
    /// All deliveries so far.
    pub delivered: Vec<Delivered<P>>,
}

/// A delivery of a run.
pub struct Delivered<P: Protocol> {
    pub envelope: In<P>,
    /// After how many deliveries it was sent.
    pub sent: usize,
}

impl<P: Protocol> Run<P> {
    /// A run that begins here.
    pub fn new(configuration: Of<P>) -> Self {
        let first = configuration.pool().iter().cloned();
        Run {
            in_flight: first.map(|envelope| (0, envelope)).collect(),
            configuration,
            delivered: Vec::new(),
        }
    }

    /// Delivers the oldest of the messages that equal this one.
    fn deliver(&mut self, protocol: &P, envelope: &In<P>) -> bool {
        let mut places = self.in_flight.iter();
        let Some(place) = places.position(|(_, it)| it == envelope) else {
            return false;
        };
        let Some((next, sent)) = self.configuration.deliver(protocol, envelope) else {
            return false;
        };
        if let Some((sent, envelope)) = self.in_flight.remove(place) {
            self.delivered.push(Delivered { envelope, sent });
        }
        let now = self.delivered.len();
        self.in_flight.extend(sent.into_iter().map(|it| (now, it)));
        self.configuration = next;
        true
    }

    /// How many deliveries the message that waited longest has waited for, delivered or not.
    pub fn longest_wait(&self) -> usize {
        let delivered = self.delivered.iter().enumerate();
        let waits = delivered.map(|(at, it)| at - it.sent);
        let now = self.delivered.len();
        let waiting = self.in_flight.iter().map(|(sent, _)| now - sent);
        waits.chain(waiting).max().unwrap_or_default()
    }

    /// How many steps this process has taken.
    pub fn steps(&self, p: ProcessId) -> usize {
        let delivered = self.delivered.iter();
        delivered.filter(|it| it.envelope.to == p).count()
    }

    /// Delays have a bound from now on: messages come in the order in which they were sent, and a timeout only
    /// when nothing else is in flight. Ends when all have decided; `false` if they have not after so many
    /// deliveries.
    pub fn settle(&mut self, protocol: &P, deliveries: usize) -> bool {
        for _ in 0..=deliveries {
            let decisions = self.configuration.decisions(protocol);
            if decisions.iter().all(Option::is_some) {
                return true;
            }
            let waiting = || self.in_flight.iter().map(|(_, envelope)| envelope);
            let is_timeout = |envelope: &&In<P>| {
                let message = envelope.content.as_ref();
                message.is_some_and(|message| protocol.is_timeout(message))
            };
            let next = waiting().find(|envelope| !is_timeout(envelope));
            let Some(next) = next.or_else(|| waiting().next()).cloned() else {
                return false;
            };
            self.deliver(protocol, &next);
        }
        false
    }
}

/// A walk from a bivalent configuration.
pub struct Walk<P: Protocol> {
    pub stages: Vec<Stage<P>>,
    pub run: Run<P>,
    /// A process without which no decision was found, and after how many stages.
    pub blocked_without: Option<(ProcessId, usize)>,
    /// The message at which the walk ended: every delivery of it decided the run.
    pub stuck_at: Option<In<P>>,
}

/// Walks this many stages, from a configuration whose bivalence is given.
pub fn walk<P: Protocol>(
    protocol: &P,
    from: Of<P>,
    bivalence: Bivalence<P>,
    stages: usize,
) -> Walk<P> {
    let mut walk = Walk {
        stages: Vec::new(),
        run: Run::new(from),
        blocked_without: None,
        stuck_at: None,
    };
    let mut known = known(bivalence);
    for number in 0..stages {
        let configuration = &walk.run.configuration;
        let mut processes = protocol.processes().iter();
        let needed = processes.find(|p| decision_without(protocol, configuration, *p).is_none());
        if walk.blocked_without.is_none() {
            walk.blocked_without = needed.map(|p| (p, number));
        }
        let Some((_, oldest)) = walk.run.in_flight.front().cloned() else {
            break;
        };
        let Some((prefix, bivalence)) = prefix(protocol, configuration, &oldest, &known) else {
            walk.stuck_at = Some(oldest);
            break;
        };
        for envelope in prefix.iter().chain([&oldest]) {
            walk.run.deliver(protocol, envelope);
        }
        let last = walk.run.delivered.last();
        walk.stages.push(Stage {
            oldest,
            waited: last.map_or(0, |last| walk.run.delivered.len() - 1 - last.sent),
            prefix,
            distances: [bivalence.zero.run.len(), bivalence.one.run.len()],
        });
        known = self::known(bivalence);
    }
    walk
}

fn known<P: Protocol>(bivalence: Bivalence<P>) -> Vec<Deciding<P>> {
    vec![bivalence.zero, bivalence.one]
}
