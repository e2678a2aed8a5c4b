//! The timers of all actors of a process, in one heap.
use quorate_core::{Time, TimerId};
use std::{cmp::Reverse, collections::BinaryHeap};

/// A timer: the time at which it is due, its place in the order of starts, its actor, and its identifier.
type Entry = (Time, u64, usize, TimerId);

/// Timers, ordered by the time at which they are due, and then by the order of their starts.
///
/// A cancelled timer stays until it is due or until the heap has doubled. Then cancelled timers are
/// removed, so that the size of the heap follows the number of live timers.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    started: u64,
    sweep_at: usize,
}

/// Heaps below this size are not worth a sweep.
const SWEEP_FROM: usize = 1024;

impl Timers {
    /// Adds the timer `id` of this actor, which is due at this time.
    pub fn push(&mut self, at: Time, actor: usize, id: TimerId) {
        self.started += 1;
        self.heap.push(Reverse((at, self.started, actor, id)));
    }

    /// The time at which the next timer is due.
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The number of timers that were started so far.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Takes the first timer that is due at `now`, if it is among the first `started` ones. A timer
    /// that is started at `now` comes after all those due before, so that none of them is missed.
    pub fn take_due(&mut self, now: Time, started: u64) -> Option<(usize, TimerId)> {
        let Reverse((at, number, ..)) = self.heap.peek()?;
        if *at > now || *number > started {
            return None;
        }
        self.heap
            .pop()
            .map(|Reverse((_, _, actor, id))| (actor, id))
    }

    /// Whether there are so many entries that a sweep may pay off.
    pub fn wants_sweep(&self) -> bool {
        self.heap.len() >= self.sweep_at.max(SWEEP_FROM)
    }

    /// Drops the timers that are no longer `waiting`.
    pub fn sweep(&mut self, mut waiting: impl FnMut(usize, TimerId) -> bool) {
        self.heap
            .retain(|Reverse((_, _, actor, id))| waiting(*actor, *id));
        self.sweep_at = self.heap.len() * 2;
    }

    /// The number of timers, including cancelled ones that are not swept yet.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}
