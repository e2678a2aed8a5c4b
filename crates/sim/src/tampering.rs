//! Tampering: somebody on the network who reads every datagram, and puts others in between.
//!
//! The datagrams of a run go their way, and lost ones are the adversary's; beside them arrive those that are made
//! here: repeated, late, from another pair, sent back to their sender, cut short, made longer, with a bit flipped,
//! spliced from two, with a changed number, or invented. Everything is drawn from the seed of the tampering, so that
//! the rest of the run draws what it would draw without.
use crate::{
    adversary::Transmission,
    chance,
    network::Cargo,
    state::{Action, Core, What},
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{ProcessId, Random, Time};
use rand::{Rng, SeedableRng};
use std::{collections::VecDeque, time::Duration};

/// How many datagrams the tamperer remembers.
const MEMORY: usize = 256;
/// How late a datagram of the tamperer is, at most.
const LATEST: Duration = Duration::from_millis(200);

/// What somebody on the network does to datagrams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tampering {
    pub begin: Time,
    pub end: Time,
    /// The probability that a datagram is the occasion for another one.
    pub each: f64,
    /// From which everything is drawn.
    pub seed: u64,
}

/// The one who tampers.
pub(crate) struct Tamperer {
    tampering: Tampering,
    rng: Random,
    /// The last datagrams, and where they went.
    seen: VecDeque<(ProcessId, Bytes)>,
}

impl Tamperer {
    pub(crate) fn new(tampering: Tampering) -> Self {
        Tamperer {
            tampering,
            rng: Random::seed_from_u64(tampering.seed),
            seen: VecDeque::new(),
        }
    }

    /// What arrives beside this datagram: where, how much later, and what.
    fn occasion(
        &mut self,
        now: Time,
        copy: Transmission,
        bytes: &Bytes,
    ) -> Option<(ProcessId, Duration, Bytes)> {
        let is_on = (self.tampering.begin..self.tampering.end).contains(&now);
        if !is_on || bytes.is_empty() {
            return None;
        }
        self.seen.push_back((copy.to, bytes.clone()));
        if self.seen.len() > MEMORY {
            self.seen.pop_front();
        }
        if !chance::happens(&mut self.rng, self.tampering.each) {
            return None;
        }
        let late = chance::between(&mut self.rng, Duration::ZERO, LATEST);
        let (to, made) = self.make(copy, bytes);
        Some((to, late, made))
    }

    fn make(&mut self, copy: Transmission, bytes: &Bytes) -> (ProcessId, Bytes) {
        let (old_to, old) = self.any_seen(copy.to, bytes);
        match self.below(9) {
            0 => (copy.to, bytes.clone()),
            1 => (old_to, old),
            // Reflected, and misdirected.
            2 => (copy.from, bytes.clone()),
            3 => (copy.to, old),
            4 => (copy.to, bytes.slice(..self.below(bytes.len()))),
            5 => {
                let at = self.below(bytes.len());
                let mut altered = BytesMut::from(&bytes[..]);
                altered[at] ^= 1 << self.below(8);
                (copy.to, altered.freeze())
            }
            6 => {
                let (head, tail) = (self.below(bytes.len() + 1), self.below(old.len() + 1));
                (
                    copy.to,
                    Bytes::from([&bytes[..head], &old[tail..]].concat()),
                )
            }
            7 => {
                // Eight bytes somewhere near the head are others: numbers, counters, tokens.
                let mut altered = BytesMut::from(&bytes[..]);
                let at = self.below(bytes.len().min(24));
                let end = (at + 8).min(altered.len());
                self.rng.fill_bytes(&mut altered[at..end]);
                (copy.to, altered.freeze())
            }
            _ => {
                let mut invented = BytesMut::zeroed(1 + self.below(200));
                self.rng.fill_bytes(&mut invented);
                // The kinds of frames are small numbers.
                invented[0] %= 12;
                invented.put_u8(0);
                (copy.to, invented.freeze())
            }
        }
    }

    fn any_seen(&mut self, to: ProcessId, bytes: &Bytes) -> (ProcessId, Bytes) {
        let at = self.below(self.seen.len());
        let seen = self.seen.get(at).cloned();
        seen.unwrap_or_else(|| (to, bytes.clone()))
    }

    fn below(&mut self, bound: usize) -> usize {
        chance::below(&mut self.rng, bound as u64) as usize
    }
}

impl Core {
    /// Lets the tamperer see a datagram.
    pub(crate) fn tamper(&mut self, copy: Transmission, cargo: &Cargo) {
        let now = self.now;
        let (Some(tamperer), Cargo::Datagram(bytes)) = (&mut self.network.tamperer, cargo) else {
            return;
        };
        let Some((to, late, bytes)) = tamperer.occasion(now, copy, bytes) else {
            return;
        };
        let copy = Transmission {
            message: 0,
            from: to,
            to,
        };
        let arrive = Action::Echo(copy, "Tamper", Cargo::Datagram(bytes));
        self.enter(now + late, What::Action(arrive));
    }
}
