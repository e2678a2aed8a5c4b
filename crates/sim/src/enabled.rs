//! The steps from which a choosing adversary chooses.
use crate::{network::Network, trace::ModuleNumber};
use quorate_core::{ProcessId, TimerId};

/// The places of the steps that are enabled, kept up to date as they come and go.
#[derive(Default)]
pub(crate) struct Steps {
    /// Modules of running processes whose mailbox is not empty.
    pub(crate) ready: Vec<usize>,
    /// Modules that have handled an event since they were last idle.
    pub(crate) unflushed: Vec<usize>,
    /// Packets in flight.
    pub(crate) flying: Vec<usize>,
    pub(crate) due: Vec<(usize, TimerId)>,
}

/// One step that is enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The module handles the oldest event of its mailbox.
    Handle(ModuleNumber),
    /// The module's batch ends here.
    Flush(ModuleNumber),
    /// A copy arrives: of the message with this number, from the first process at the second (the same
    /// process for a message to oneself).
    Deliver(u64, ProcessId, ProcessId),
    /// A timer of the module, which is due, fires.
    Fire(ModuleNumber, TimerId),
    /// Time moves on to the next planned event.
    Advance,
}

/// The steps that are enabled now.
pub struct Enabled<'a> {
    pub(crate) steps: &'a Steps,
    pub(crate) network: &'a Network,
    pub(crate) advance: bool,
}

impl Enabled<'_> {
    /// How many steps are enabled.
    pub fn len(&self) -> usize {
        let Steps {
            ready,
            unflushed,
            flying,
            due,
        } = self.steps;
        ready.len() + unflushed.len() + flying.len() + due.len() + usize::from(self.advance)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The step with this index.
    pub fn get(&self, index: usize) -> Option<Step> {
        let mut index = index;
        if let Some(module) = self.steps.ready.get(index) {
            return Some(Step::Handle(ModuleNumber(*module)));
        }
        index -= self.steps.ready.len();
        if let Some(module) = self.steps.unflushed.get(index) {
            return Some(Step::Flush(ModuleNumber(*module)));
        }
        index -= self.steps.unflushed.len();
        if let Some(slot) = self.steps.flying.get(index) {
            let copy = self.network.packet(*slot)?.copy;
            return Some(Step::Deliver(copy.message, copy.from, copy.to));
        }
        index -= self.steps.flying.len();
        if let Some((module, timer)) = self.steps.due.get(index) {
            return Some(Step::Fire(ModuleNumber(*module), *timer));
        }
        index -= self.steps.due.len();
        (self.advance && index == 0).then_some(Step::Advance)
    }

    /// All enabled steps, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Step> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}
