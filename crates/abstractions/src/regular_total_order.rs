//! Regular total-order broadcast.
//!
//! - **TOB1 validity** (liveness), **TOB2 no duplication** (safety), **TOB3 no creation** (safety),
//!   **TOB4 agreement** (liveness): as RB1–4 of reliable broadcast.
//! - **TOB5 total order** (safety): of any two correct processes' delivery sequences, one is a prefix
//!   of the other. A process that crashes may have delivered otherwise.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number.

crate::numbered::numbered_broadcast!();
