//! Regular reliable broadcast.
//!
//! - **RB1 validity** (liveness): a correct process that broadcasts m delivers m, as does every correct
//!   process.
//! - **RB2 no duplication** (safety). **RB3 no creation** (safety).
//! - **RB4 agreement** (liveness): what some correct process delivers, every correct process delivers.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number: messages are told apart by it, never by content.
crate::numbered::numbered_broadcast!();
