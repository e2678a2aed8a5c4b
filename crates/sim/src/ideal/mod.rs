//! Ideal objects: abstractions that the world itself supplies, so that what stands on them can be
//! counted exactly and explored.
mod links;

pub use links::IdealLinks;
