//! The omissions of a scenario: by processes that the seed draws, and of given messages.
use super::{Scenario, draw::Draw};
use quorate_core::{ProcessId, ProcessSet};
use quorate_sim::{Omission, OmissionKind, World, schedule::Passage};

/// Processes that omit messages.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Omissions {
    /// Which messages they omit.
    pub kind: OmissionKind,
    /// How many processes there are of this kind, drawn from the seed.
    pub processes: usize,
    /// The probability with which they omit each of these messages.
    pub probability: f64,
}

/// One message that is omitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GivenOmission {
    /// The message, by its number among those from the one to the other.
    pub copy: Passage,
    /// Its sender or its receiver, which is faulty.
    pub by: ProcessId,
}

impl GivenOmission {
    /// Whether its sender omits it, or its receiver.
    pub fn kind(&self) -> OmissionKind {
        if self.by == self.copy.from {
            OmissionKind::Send
        } else {
            OmissionKind::Receive
        }
    }
}

impl Scenario {
    /// How many processes omit messages, drawn or given.
    pub(super) fn omitters(&self) -> usize {
        let given: ProcessSet = self.omitted.iter().map(|omission| omission.by).collect();
        let drawn = self.faults.omissions.map_or(0, |it| it.processes);
        drawn + given.len()
    }

    pub(super) fn omission_kinds(&self) -> impl Iterator<Item = OmissionKind> {
        let drawn = self.faults.omissions.iter().map(|omissions| omissions.kind);
        drawn.chain(self.omitted.iter().map(GivenOmission::kind))
    }
}

/// Plans the omissions.
pub(super) fn plan(scenario: &Scenario, world: &World, seed: u64) {
    if let Some(omissions) = scenario.faults.omissions {
        let mut draw = Draw::new(seed, "omissions");
        let mut spared: Vec<_> = world.processes().collect();
        for _ in 0..omissions.processes.min(spared.len()) {
            let p = spared.swap_remove(draw.below(spared.len() as u64) as usize);
            world.omit(p, Omission::each(omissions.kind, omissions.probability));
        }
    }
    for given in &scenario.omitted {
        world.omit(given.by, Omission::these(given.kind(), [given.copy]));
    }
}
