//! What modules need to know of crashes, and for whom they wait.
use super::Builder;
use crate::error::StartError;
#[cfg(any(feature = "agreement", feature = "shared-memory"))]
use quorate_abstractions::pressure::Wait;
use quorate_stacks::needs::{Needs, NeedsPerfect};

/// Whom a module waits for that goes on, with what the rest misses, where a majority is there.
#[cfg(any(feature = "agreement", feature = "shared-memory"))]
pub(super) fn wait_for(needs: Needs) -> Wait {
    match needs {
        Needs::Perfect => Wait::for_crash_stop(),
        Needs::Nothing | Needs::EventuallyPerfect | Needs::Leader => Wait::for_majority(),
    }
}

impl Builder {
    /// Refuses what needs P where nobody has assumed what P needs.
    pub(super) fn check_detector(
        &self,
        needs: Needs,
        name: &'static str,
    ) -> Result<(), StartError> {
        if needs == Needs::Perfect && self.synchrony.is_none() {
            return Err(NeedsPerfect(name).into());
        }
        Ok(())
    }
}
