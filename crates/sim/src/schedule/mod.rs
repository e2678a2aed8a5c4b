//! Schedules: executions as lists of steps, to be searched, written down, replayed and shrunk.
//!
//! By schedule (see [`Pace::Atomic`](crate::Pace::Atomic)) a step is a whole reaction of one process:
//! a copy arrives, a timer fires, a request or an oracle's report is made, and all that it causes
//! inside the process follows, until its mailboxes are empty. What leaves the process is under way
//! afterwards. Steps have names that do not change with the order of steps elsewhere ([`Step`]), so
//! that one schedule can be compared with another, and followed in part.
//!
//! Time does not pass by itself: it moves on in a step of its own, to the next timer or planned
//! fault. Requests are made in the order of their times, but at any moment.
mod exhaustive;
mod parse;
mod play;
pub mod script;
mod shrink;
pub(crate) mod stage;
mod step;
mod walk;

pub use exhaustive::{End, Exhaustive, Exploration, Found};
pub use parse::BadScript;
pub use play::{Run, Unplayable};
pub use script::Script;
pub use shrink::shrink;
pub use step::{Act, Passage, Step};
pub use walk::Walk;
