//! Flooding, where no channel fails, and every message stands in a slot of its own.
use super::{
    Properties,
    broadcast::{no_creation, no_duplication, validity},
};
use quorate_core::Membership;

/// FLD1–3 of the modules of this name, if no message is replaced or withdrawn.
pub fn flooding(processes: &Membership, module: &str) -> Properties {
    vec![
        validity("FLD1", module),
        no_duplication("FLD2", module),
        no_creation("FLD3", *processes, module),
    ]
}
