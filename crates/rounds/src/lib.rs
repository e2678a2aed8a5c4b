//! Synchronous round algorithms: what a system with known bounds on delays and speeds can do.
//!
//! In each round a process sends to everybody, receives what was sent to it in that round, and computes. That
//! all processes are in the same round, and that a message either arrives in its round or never, is what the
//! synchronous model gives. [`execution`] runs an algorithm in lock step, under a [`failures::Pattern`] that
//! says who crashes in which round after reaching whom, and which messages are omitted. [`synchroniser`] makes
//! rounds of messages and clocks that keep their bounds, in the simulator or over sockets.
//!
//! | module | what it is |
//! |---|---|
//! | [`algorithm`] | what an algorithm of rounds is: send, receive, compute |
//! | [`failures`] | crashes and omissions as data; all patterns of a size, or one at random |
//! | [`execution`] | one execution in lock step: outputs, messages, and what each process has seen |
//! | [`synchroniser`] | rounds over links and timers; late messages are omissions, and are reported |
//! | [`problem`] | how the instances of an algorithm begin there, and how its messages are written |
//! | [`properties`] | the properties of consensus and of terminating broadcast |
//! | [`one_round`] | the exchange that stops after one round, which is not enough |
//! | [`flood_set`] | consensus in f + 1 rounds |
//! | [`terminating`] | terminating reliable broadcast in f + 1 rounds |
//! | [`early_stopping`] | the same, over after t + 2 rounds where t processes fail |
//! | [`graph`] | which executions no process can tell apart: why f rounds are not enough |
//! | [`grid`] | an execution as a picture: a row a process, a column a round |
//!
//! # Source
//! The lecture on consensus and reliable broadcast that the module of each algorithm names; the lower bound
//! is that of Fischer and Lynch, in the form with chains of similar executions.

pub mod algorithm;
pub mod early_stopping;
pub mod execution;
pub mod failures;
pub mod flood_set;
pub mod graph;
pub mod grid;
pub mod one_round;
pub mod problem;
pub mod properties;
pub mod synchroniser;
pub mod terminating;
