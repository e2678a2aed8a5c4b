//! Registers, atomic snapshot and lattice agreement: one algorithm per file, over the interfaces of the
//! layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
//! | [`read_one_write_all`] | (1,N) regular register | links, P | any number of crashes |
//! | [`majority_voting`] | (1,N) regular register | links | a minority |
//! | [`read_impose_write_all`] | (1,N) atomic register | links, P | any number of crashes |
//! | [`read_impose_write_majority`] | (1,N) atomic register | links | a minority |
//! | [`read_impose_write_consult_all`] | (N,N) atomic register | links, P | any number of crashes |
//! | [`multi_writer`] | (N,N) atomic register | links | a minority |
//! | [`by_quorum_access`] | (N,N) atomic register | quorum access | what that survives |
//! | [`by_consensus`] | (N,N) atomic register | reliable broadcast, uniform consensus | what those survive |
//! | [`snapshot_from_registers`] | atomic snapshot | atomic registers | what those survive |
//! | [`snapshot_by_double_collect`] | atomic snapshot, obstruction-free | atomic registers | what those survive |
//! | [`snapshot_by_quorum_access`] | atomic snapshot | quorum access | what that survives |
//! | [`lattice_agreement`] | lattice agreement | atomic snapshot | what that survives |
//!
//! Each register module serves many registers, by name; a process has at most one operation per register in
//! flight at a time. The first six share their phases, in [`phases`].

pub mod by_consensus;
pub mod by_quorum_access;
pub mod exchange;
pub mod lattice_agreement;
pub mod majority_voting;
pub mod message;
pub mod multi_writer;
mod operations;
pub mod phases;
pub mod read_impose_write_all;
pub mod read_impose_write_consult_all;
pub mod read_impose_write_majority;
pub mod read_one_write_all;
mod replica;
pub mod segments;
pub mod snapshot_by_double_collect;
pub mod snapshot_by_quorum_access;
pub mod snapshot_from_registers;
#[cfg(test)]
mod testing;
