//! Schedules: executions as lists of steps, to be searched, written down, replayed and shrunk.
//!
//! In a scheduled world (see [`Pace::Atomic`](crate::Pace::Atomic)) a step is a whole reaction of one
//! process: a copy arrives, a timer fires, a request or an oracle's report is made, and everything that it
//! causes inside the process follows, until its mailboxes are empty. The outputs of the process are in flight
//! afterwards. Steps have names that do not depend on the order of steps elsewhere ([`Step`]), so that one
//! schedule can be compared with another, and followed in part.
//!
//! Time does not pass by itself: it moves on in a step of its own, to the next timer or planned
//! fault. Requests are made in the order of their times, but at any moment.
//!
//! | | follows |
//! |---|---|
//! | [`Exhaustive`] | every schedule, up to equivalence, within bounds |
//! | [`Walk`] | one that is drawn from a seed |
//! | [`Script`] | one that is written down |
//!
//! The schedules found by the first two can be written down as a script, which replays them bit for bit, and
//! [shrunk](shrink()). Several oracles of one kind at one process report in the order in which they were
//! made. The losses of fair-loss links are drawn from the world's seed, in the order of the sends, and are
//! not controlled by a schedule: search over ideal links.
//!
//! # Example
//!
//! ```
//! # use bytes::Bytes;
//! # use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
//! # use quorate_core::{Addr, Time};
//! use quorate_sim::{Exhaustive, Script, Timed, World};
//!
//! /// p1 sends to everybody.
//! fn build() -> World {
//! #   let Ok(world) = World::new(3, 7, Timed::lock_step()) else { unreachable!() };
//! #   let up = Addr::<Deliver<Bytes>>::nowhere;
//! #   let ports: Vec<_> = world.processes().map(|p| world.links(p).at("beb").open(up())).collect();
//! #   let (to, message) = (To::All, Bytes::from_static(b"hello"));
//! #   world.request(world.membership().coordinator(1), Time::ZERO, &ports[0], SendRequest { to, message });
//!     // …
//! #   world
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let all = Exhaustive::new().crashes(1).explore(build);
//! assert!(all.complete && all.found.is_none());
//!
//! let script: Script = "request p1 crashing before output 2\nlose p1>p2 #1".parse()?;
//! let run = script.run(build())?;
//! assert_eq!(run.report.counts.lost, 1);
//! # Ok(())
//! # }
//! ```
mod budget;
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
