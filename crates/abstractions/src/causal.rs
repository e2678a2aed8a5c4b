//! Causal-order broadcast, regular or uniform.
//!
//! - **CRB1–4**: as RB1–4 of reliable broadcast; where the layer below is uniform, as URB1–4.
//! - **CRB5 causal order** (safety): no process delivers m₂ unless it has delivered every m₁ → m₂. A
//!   message precedes another (→) if the same process broadcast it before, or if the other's origin
//!   delivered it before broadcasting, or by a chain of such steps.
//!
//! A process's requests are numbered 1, 2, … in the order in which they were made, and deliveries
//! carry that number.

crate::numbered::numbered_broadcast!();
