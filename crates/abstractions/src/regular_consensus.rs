//! Regular consensus, in many instances.
//!
//! - **C1 validity** (safety): what is decided was proposed in that instance.
//! - **C2 agreement** (safety): no two correct processes decide differently in an instance. A process
//!   that crashes may have decided otherwise.
//! - **C3 integrity** (safety): a process decides at most once in an instance.
//! - **C4 termination** (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.

crate::numbered::numbered_consensus!();
