//! The simulated world: ideal objects, adversaries, traces, property checkers, diagrams.
//!
//! A [`World`] hosts n processes in one thread, in virtual time, from one seed: the same seed gives
//! the same run, bit for bit. It hosts the wiring functions that real processes use, unchanged
//! ([`SimHost`]), over real lower layers or over [ideal objects](ideal). An [`Adversary`] decides what
//! the model leaves open; faults ([`Crash`], [`Omission`], pauses, cuts, [`Gap`]) are data, and so
//! are the processes' [clocks](Clock) and the [timing model](TimingPolicy). [`Property`] observers watch a
//! run step by step, and those of the textbook are at hand ([`properties`]). Every run has a trace
//! hash, exact counts, and, if its records are kept, a space-time [`Diagram`]. What tests of algorithms share stands in
//! [`testing`].
//!
//! | question | answer |
//! |---|---|
//! | What does an operation cost? | [`Timed::lock_step`], [`Report::counts`], [`World::tally`] |
//! | Does it survive this crash? | [`World::crash`]: at a time, before an output, before an effect, and with copies lost |
//! | Does it survive anything? | [`Random`] and many seeds |
//! | Does it survive everything, at a small size? | [`Exhaustive`] |
//! | Does it survive this very execution? | [`Script`] |
//! | Does it survive a missing piece of a stream? | [`World::gap`], [`Exhaustive::gaps`], [`Walk::gaps`] |
//! | Does it survive omitted messages? | [`World::omit`], [`Exhaustive::omissions`], [`Walk::omissions`] |
//! | Does it survive clocks that differ, and timing that is only eventually good? | [`World::clock`], [`World::timing`] |
//! | Does it survive load? | [`World::channel`]: bandwidth, queue, byte streams; [`World::slow_user`] |
//! | Does it survive late starts, restarts and old copies? | [`World::start_at`], [`World::restart`], [`World::echo`] |
//! | Does it survive forged and altered datagrams? | [`World::tamper`], [`World::inject`] |
//! | Does the whole stack work? | [`World::fair_loss`] below the real links, [`World::settle`] |
//! | What went wrong? | the seed again, with [`World::keep_trace`] and [`World::diagram`] |
//! | What went wrong, in short? | [`Walk`] and many seeds, and [`shrink`](schedule::shrink) |
//!
//! An adversary decides in one of three ways: by time ([`Timed`]), by choice among the smallest steps
//! ([`Random`]), or by [schedule](mod@schedule), among whole reactions, which have names
//! ([`Exhaustive`], [`Script`], [`Walk`]).
//!
//! # Example
//!
//! Best-effort broadcast to three processes, of which the sender crashes before its second copy.
//!
//! ```
//! use bytes::Bytes;
//! use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
//! use quorate_core::{Addr, Time};
//! use quorate_sim::{Crash, Timed, World};
//!
//! # fn main() -> Result<(), quorate_core::process::BadMembership> {
//! let mut world = World::new(3, 7, Timed::lock_step())?.keep_trace();
//! let send: Vec<Addr<SendRequest<Bytes>>> = world
//!     .processes()
//!     .map(|p| world.links(p).at("beb").open(Addr::<Deliver<Bytes>>::nowhere()))
//!     .collect();
//! let p1 = world.membership().coordinator(1);
//! let (to, message) = (To::All, Bytes::from_static(b"hello"));
//! world.request(p1, Time::ZERO, &send[0], SendRequest { to, message });
//! world.crash(p1, Crash::before_output(2));
//!
//! let report = world.run();
//! assert!(report.completion.complete);
//! assert_eq!(report.counts.messages, 1);
//! assert!(world.diagram().contains("CRASH"));
//! # Ok(())
//! # }
//! ```
//!
//! # What a world is not
//!
//! A world has no threads and no real clock. For properties a process that has crashed does not come back,
//! though it [may start again](World::restart). Computation takes no time. Cuts and pauses are outside the
//! model of perfect links while they last: if one never ends, there is no verdict on liveness.

pub mod adversary;
mod altered;
mod chance;
mod channel;
mod clock;
mod diagram;
mod enabled;
mod engine;
mod fault;
mod gap;
pub mod golden;
mod host;
pub mod ideal;
mod network;
mod omission;
pub mod properties;
pub mod property;
mod report;
pub mod schedule;
mod start;
mod state;
mod tampering;
pub mod testing;
pub mod timing;
pub mod trace;
mod world;

pub use adversary::{Adversary, Fate, Latency, Pace, Random, Timed, Transmission, UNIT};
pub use altered::Alter;
pub use channel::Channel;
pub use clock::Clock;
pub use diagram::{Diagram, ShiViz, Svg};
pub use enabled::{Enabled, Step};
pub use fault::{Crash, Lose};
pub use gap::{Gap, Keep};
pub use host::SimHost;
pub use ideal::{Director, IdealLinks, Oracle};
pub use omission::{Omission, OmissionKind};
pub use property::{Completion, Property, Verdict, Violation};
pub use report::{Counts, Report};
pub use schedule::{Exhaustive, Exploration, Script, Walk};
pub use state::Tally;
pub use tampering::Tampering;
pub use timing::TimingPolicy;
pub use trace::{Kind, Loss, ModuleNumber, Record, Trace};
pub use world::World;
