//! Faults are data: given to the world before or during a run, and part of its trace.
use quorate_core::{ProcessSet, Time};

/// When a process crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    At(Time),
    BeforeOutput(u64),
    BeforeEffect(u64),
}

/// Which of the copies that a crashing process has under way are lost with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lose {
    /// None: what left arrives.
    Nothing,
    /// All.
    Everything,
    /// Those to these processes.
    To(ProcessSet),
    /// Each, with this probability.
    Each(f64),
}

/// A crash: its moment, and what it takes along.
///
/// The moments differ in what they can find. A crash at a time strikes between two events. One before
/// an output strikes inside a handler, after some of what the handler lets out has left and before
/// the rest. One that takes copies along undoes what had left already, which no perfect link forbids:
/// it promises nothing for a sender that crashes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Crash {
    pub(crate) when: When,
    pub(crate) lose: Lose,
}

impl Crash {
    fn new(when: When) -> Self {
        Crash {
            when,
            lose: Lose::Nothing,
        }
    }

    /// At this time, before anything else that happens then. At time zero the process never starts.
    pub fn at(time: Time) -> Self {
        Crash::new(When::At(time))
    }

    /// Just before the process's `k`-th output, counted from 1. An output is what leaves the process:
    /// a copy to another process, or an indication to the application.
    pub fn before_output(k: u64) -> Self {
        Crash::new(When::BeforeOutput(k))
    }

    /// Just before the `k`-th effect, counted from 1 over all modules of the process, whether it
    /// leaves the process or not.
    pub fn before_effect(k: u64) -> Self {
        Crash::new(When::BeforeEffect(k))
    }

    /// …and these copies, under way at that moment, are lost.
    #[must_use]
    pub fn losing(mut self, lose: Lose) -> Self {
        self.lose = lose;
        self
    }
}
