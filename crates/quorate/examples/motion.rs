//! Consensus in synchronous rounds. Four processes, of which one may fail, decide after two rounds. Then the
//! messages of p4 take longer than was assumed: they come after the end of their rounds. The others report
//! that, and decide without p4. It is the faulty one, and may decide otherwise.
//!
//! `cargo run -p quorate --example motion`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::{
    detectors::exclude_on_timeout::SynchronyBounds,
    faults::{Direction, Fault},
    prelude::*,
    rounds::synchroniser::RoundBounds,
};
use std::{collections::BTreeMap, time::Duration};
use three::{ExampleResult, builders_of, shut_down};

/// How many processes may fail.
pub const FAILURES: usize = 1;
/// The longest delay of a message: a round is twice as long.
pub const DELAY: Duration = Duration::from_millis(500);
/// How long the messages of p4 take in the second instance.
const TOO_LONG: Duration = Duration::from_millis(2500);
/// The failure detector is not needed here: it reports nobody who is only slow.
const SILENCE: Duration = Duration::from_mins(1);

/// What the processes have decided in one instance, in rank order, and when.
pub type Decisions = Vec<InRound<u64>>;

/// What happened.
#[derive(Debug)]
pub struct Outcome {
    /// The decisions while every message came in time.
    pub in_time: Decisions,
    /// The decisions when the messages of p4 were late.
    pub late: Decisions,
    /// How many late messages of which process each process has reported.
    pub omissions: Vec<BTreeMap<ProcessId, u64>>,
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let Outcome {
        in_time,
        late,
        omissions,
    } = vote().await?;
    for (what, decisions) in [("in time", in_time), ("p4 is late", late)] {
        println!("{what}:");
        for (rank, InRound { value, round }) in (1..).zip(decisions) {
            println!("  p{rank} decides {value} after {round} rounds");
        }
    }
    for (rank, of) in (1..).zip(omissions) {
        for (from, count) in of {
            println!("p{rank} has seen {count} messages of {from} after the end of their rounds");
        }
    }
    Ok(())
}

/// Waits until data flows between this node and all others.
async fn connected(node: &Node, others: usize) -> ExampleResult<()> {
    let mut status = node.status();
    status
        .wait_for(|now| now.connected().len() == others)
        .await?;
    Ok(())
}

/// Proposes at one process, and waits until it has done so.
async fn begin(
    proposer: &RoundProposer<u64>,
    (instance, value): (u64, u64),
) -> ExampleResult<tokio::task::JoinHandle<Result<InRound<u64>, ProposeError>>> {
    let own = proposer.clone();
    let deciding = tokio::spawn(async move { own.propose(instance, &value).await });
    while !proposer.has_proposed(instance) && !deciding.is_finished() {
        tokio::task::yield_now().await;
    }
    Ok(deciding)
}

/// Decides twice.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn vote() -> ExampleResult<Outcome> {
    let synchrony = SynchronyBounds::new(Duration::from_millis(100), SILENCE)?;
    let bounds = RoundBounds::new(DELAY)?.drift(100);
    let (mut nodes, mut proposers) = (Vec::new(), Vec::new());
    for builder in builders_of(4, "motion")? {
        let mut builder = builder.assume_synchronous(synchrony);
        proposers.push(builder.consensus_in_rounds("motions", FAILURES, bounds)?);
        nodes.push(builder.start().await?);
    }
    for node in &nodes {
        connected(node, 3).await?;
    }

    let mut deciding = Vec::new();
    for (value, proposer) in [40, 30, 20, 10].into_iter().zip(&proposers) {
        deciding.push(begin(proposer, (1, value)).await?);
    }
    let mut in_time = Decisions::new();
    for decision in deciding {
        in_time.push(decision.await??);
    }

    // From now on the messages of p4 take longer than was assumed.
    let fault = Fault {
        delay: TOO_LONG,
        ..Fault::default()
    };
    for receiver in &nodes[..3] {
        nodes[3]
            .faults()
            .set(receiver.me(), Direction::Outgoing, fault);
    }
    let mut deciding = Vec::new();
    for (proposer, value) in proposers.iter().rev().zip([10, 20, 20, 20]) {
        deciding.push(begin(proposer, (2, value)).await?);
    }
    let mut late = Decisions::new();
    for decision in deciding.into_iter().rev() {
        late.push(decision.await??);
    }

    // The late messages arrive, and are reported.
    let p4 = nodes[3].me();
    let mut omissions = Vec::new();
    for node in &nodes[..3] {
        let mut status = node.status();
        let now = status
            .wait_for(|now| now.omissions.get(&p4).is_some_and(|count| *count >= 2))
            .await?;
        omissions.push(now.omissions.clone());
    }
    omissions.push(nodes[3].status().borrow().omissions.clone());
    nodes[3].faults().heal();
    shut_down(nodes).await?;
    Ok(Outcome {
        in_time,
        late,
        omissions,
    })
}
