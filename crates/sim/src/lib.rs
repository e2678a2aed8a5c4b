//! The simulated world: ideal objects, adversaries, traces, property checkers, diagrams.

pub mod adversary;
mod chance;
mod diagram;
mod enabled;
mod engine;
mod fault;
mod host;
pub mod ideal;
mod network;
pub mod properties;
pub mod property;
mod report;
mod state;
pub mod trace;
mod world;

pub use adversary::{Adversary, Copy, Fate, Latency, Pace, Random, Timed, UNIT};
pub use diagram::Diagram;
pub use enabled::{Enabled, Step};
pub use fault::{Crash, Lose};
pub use host::SimHost;
pub use ideal::{IdealLinks, Oracle};
pub use property::{Completion, Property, Verdict, Violation};
pub use report::{Counts, Report};
pub use state::Tally;
pub use trace::{Kind, Loss, ModuleNumber, Record, Trace};
pub use world::World;
