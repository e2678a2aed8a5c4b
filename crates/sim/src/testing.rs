//! What tests of algorithms share.
use quorate_core::{ProcessId, ProcessSet};

/// The process of this rank, from 1 to 128: there are no others.
#[track_caller]
pub fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).expect("a rank is from 1 to 128")
}

/// The processes of these ranks.
#[track_caller]
pub fn set(ranks: &[usize]) -> ProcessSet {
    ranks.iter().copied().map(p).collect()
}
