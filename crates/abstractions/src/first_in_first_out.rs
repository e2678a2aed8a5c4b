//! First-in first-out broadcast, regular or uniform.
//!
//! - **FRB1–4**: as RB1–4 of reliable broadcast; where the layer below is uniform, as URB1–4.
//! - **FRB5 first-in first-out order** (safety): messages of one origin are delivered in the order in
//!   which they were broadcast.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number.

crate::numbered::numbered_broadcast!();
