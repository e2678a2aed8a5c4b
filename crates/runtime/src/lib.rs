//! Quorate's host for real processes: the protocol thread, the edges to the network, the node.
//!
//! | module | what it holds |
//! |---|---|
//! | [`host`] | [`TokioHost`](host::TokioHost): makes mailboxes, starts algorithms |
//! | [`thread`] | [`Protocol`](thread::Protocol) and its thread, on which all algorithms of a process run |
//! | [`edge`] | what the protocol thread polls between the actors' turns |
//! | [`udp`], [`tcp`] | the edges: a fair-loss link over datagrams, or over connections |
//! | [`faults`] | loss, duplication, delay and cuts to order |

pub mod edge;
mod executor;
pub mod faults;
pub mod host;
mod ready;
pub mod tcp;
pub mod thread;
mod timers;
pub mod udp;

#[cfg(test)]
mod tests;
