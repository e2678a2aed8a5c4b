//! The foundation of every Quorate crate.
//!
//! An [`Algorithm`] is a deterministic state machine that reads like a textbook's *upon event*
//! module. A [`Host`] runs it: over real sockets, or in a simulated world. A *wiring* function joins
//! an algorithm to its neighbours through typed addresses ([`Addr`]) and is the same for every host.
//!
//! | module | what it holds |
//! |---|---|
//! | [`algorithm`] | [`Algorithm`], its [`Context`], timers |
//! | [`mailbox`] | [`Addr`] and [`Mailbox`]: typed, non-blocking message passing inside a process |
//! | [`actor`] | an algorithm joined to its mailbox and its routes: what a host drives |
//! | [`host`] | [`Host`] and [`Layer`]: where algorithms live and how they are stacked |
//! | [`process`] | processes, incarnations, sets of processes, the membership |
//! | [`message`] | message identifiers, digests |
//! | [`messages`](mod@messages) | how an algorithm declares the messages that it sends |
//! | [`watermark`] | sets of delivered identifiers whose memory follows disorder, not length |
//! | [`instances`] | one-shot abstractions addressed by number: creation, retirement, bounds |
//! | [`ports`](mod@ports) | what an abstraction is asked and says; how an algorithm declares what joins it to others |
//! | [`wire`] | the only place that knows how messages become bytes |
//! | [`observe`] | what a trace records of an event |
//! | [`counters`] | counts of what was dropped, rejected or done |
//! | [`time`] | instants as an algorithm sees them |
//!
//! Nothing here knows a socket, a clock or a runtime.

pub mod actor;
pub mod algorithm;
pub mod counters;
pub mod host;
pub mod instances;
pub mod mailbox;
pub mod message;
pub mod messages;
pub mod name;
pub mod observe;
pub mod ports;
pub mod process;
pub mod time;
pub mod watermark;
pub mod wire;

pub use algorithm::{Algorithm, Context, Random, TimerId};
pub use counters::Counters;
pub use host::{Host, Layer};
pub use mailbox::{Addr, Mailbox};
pub use message::MessageId;
pub use name::Name;
pub use observe::{Observation, Observe};
pub use ports::Port;
pub use process::{Incarnation, Membership, ProcessId, ProcessSet};
pub use time::Time;

/// The alias that keeps handlers short: the context of algorithm `A`.
pub type Ctx<A> = Context<<A as Algorithm>::Event, <A as Algorithm>::Effect>;
