//! Ideal objects: abstractions that the world itself supplies, so that algorithms above them can be counted
//! exactly and explored.
//!
//! | from [`World`](crate::World) | gives |
//! |---|---|
//! | `links(p)` | perfect links, without acknowledgement or retransmission |
//! | `heartbeat(p, up)` | heartbeats beside them |
//! | `fair_loss(p, arrivals)` | fair-loss links, for real links to stand on |
//! | `perfect(p, delay)` | the perfect failure detector P |
//! | `eventually_perfect(p, oracle)` | ◇P, with the false suspicions of an [`Oracle`] |
//! | `directed(p, delay)` | ◇P, which errs as a [`Director`] wants, who sees the run |
//! | `leader(p, oracle)` | Ω |
mod detectors;
mod links;

pub use detectors::{Director, Oracle};
pub use links::IdealLinks;
