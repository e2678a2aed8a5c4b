//! How many omissions a schedule may have.
use super::step::{Act, Step};
use crate::omission::OmissionKind;
use quorate_core::{ProcessId, ProcessSet};

/// The omissions that the adversary of a schedule may choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct OmissionBudget {
    pub(super) kind: OmissionKind,
    /// How many messages may be omitted.
    pub(super) messages: usize,
    /// How many processes may omit them.
    pub(super) processes: usize,
}

impl OmissionBudget {
    /// Those of the steps that may follow the steps `taken`.
    pub(super) fn rest(
        self,
        taken: impl Iterator<Item = Step>,
        steps: Vec<Step>,
    ) -> impl Iterator<Item = Step> {
        let omitters: Vec<ProcessId> = taken.filter_map(omitter).collect();
        let faulty: ProcessSet = omitters.iter().copied().collect();
        let is_left = omitters.len() < self.messages;
        steps.into_iter().filter(move |step| {
            let by = omitter(*step).filter(|_| is_left);
            by.is_some_and(|by| faulty.contains(by) || faulty.len() < self.processes)
        })
    }
}

/// The process that omits a message in this step.
fn omitter(step: Step) -> Option<ProcessId> {
    match step.act {
        Act::Omit { by, .. } => Some(by),
        _ => None,
    }
}
