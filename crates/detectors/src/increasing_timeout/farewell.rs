//! How a process that is about to stop waits until the others know.
use quorate_core::{Addr, ProcessId, ProcessSet};

/// Who leaves says so at so many ticks, and then no longer waits for the others to have heard it.
const FAREWELLS: u32 = 3;

/// That this process is about to stop.
#[derive(Default)]
pub(super) struct Farewell {
    /// At how many ticks it was said.
    ticks: u32,
    /// Those that have said that they know.
    known: ProcessSet,
    /// Who wants to know when the others know.
    waiting: Vec<Addr<()>>,
}

impl Farewell {
    /// Somebody waits for it.
    pub(super) fn wait(&mut self, reply: Addr<()>) {
        self.waiting.push(reply);
    }

    /// Whether somebody does.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A process knows.
    pub(super) fn note_known(&mut self, p: ProcessId) {
        self.known.insert(p);
    }

    pub(super) fn upon_tick(&mut self) {
        self.ticks = self.ticks.saturating_add(1);
    }

    /// Whether these know, or it was said often enough.
    pub(super) fn is_over(&self, to_be_told: ProcessSet) -> bool {
        to_be_told.without(self.known).is_empty() || self.ticks >= FAREWELLS
    }

    /// Who is to be told that it is over.
    pub(super) fn take_waiting(&mut self) -> Vec<Addr<()>> {
        std::mem::take(&mut self.waiting)
    }
}
