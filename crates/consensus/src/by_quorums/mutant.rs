//! Consensus by quorums in which everybody leads every view: a mutant that UC2 catches.
use super::{ByQuorums, Message, start};
use quorate_abstractions::{
    consensus::{Decide, Propose},
    flooding,
    view_synchronizer::Views,
};
use quorate_core::{Addr, Host, Layer};
use quorate_quorums::Quorums;

/// Starts the mutant. Only for tests and demonstrations.
pub fn spawn_mutant<H: Host>(
    host: &H,
    quorums: Quorums,
    views: &Views,
    flooding: impl Layer<flooding::Port<Message>>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    let mut algorithm = ByQuorums::new(host, quorums);
    algorithm.leads = |_, _, _| true;
    start(host, algorithm, views, flooding, up)
}
