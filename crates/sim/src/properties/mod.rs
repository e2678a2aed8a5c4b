//! The textbook's properties, as observers.
//!
//! A set of properties watches the modules of one name, given as their full path or its last segment. It
//! reads the requests and the indications of those modules. The `k`-th broadcast that a process requests has
//! the identifier (process, `k`).
mod atomic_commit;
mod broadcast;
mod causal;
mod consensus;
mod delivered;
mod delivered_in_views;
mod detectors;
mod flooding;
mod group_membership;
mod lattice_agreement;
mod leaving;
mod links;
mod order;
mod quorum_access;
mod registers;
mod shared;
mod snapshot;
mod terminating;
mod uniform_in_views;
mod view_synchronizer;
mod view_synchrony;

pub use atomic_commit::{atomic_commit, blocking_commit};
pub use broadcast::{best_effort, reliable, uniform};
pub use causal::{causal, collected_past};
pub use consensus::{consensus, consensus_at, regular_consensus};
pub use detectors::{eventually_perfect, eventually_perfect_from, leader, perfect};
pub use flooding::flooding;
pub use group_membership::group_membership;
pub use lattice_agreement::lattice_agreement;
pub use links::{
    Channel, authenticated_links, fair_loss, fair_loss_links, first_in_first_out, perfect_links,
    stubborn_links,
};
pub use order::{first_in_first_out_order, regular_total_order, total_order, weak_total_order};
pub use quorum_access::quorum_access;
pub use registers::{atomic_register, ordered_for_one_reader, regular_register, shared_register};
pub use snapshot::{atomic_snapshot, obstruction_free_snapshot};
pub use terminating::{regular_terminating, terminating};
pub use view_synchronizer::view_synchronizer;
pub use view_synchrony::{uniform_view_synchrony, view_synchrony, view_synchrony_with_joins};

use crate::{
    property::{Property, Violation},
    trace::Record,
};

/// Properties to give to [`World::check`](crate::World::check).
pub type Properties = Vec<Box<dyn Property>>;

fn violation(tag: &str, record: &Record, text: String) -> Violation {
    Violation {
        tag: tag.to_owned(),
        time: record.time,
        text,
    }
}

#[cfg(test)]
mod tests;
