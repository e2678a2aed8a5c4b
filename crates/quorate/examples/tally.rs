//! A tally without a leader, by lattice agreement: each process raises its own entry of a map, and reads
//! the sum of all entries. The decisions of all processes are ordered, so that the tally never goes
//! backwards, and counted votes stay counted when a process leaves.
//!
//! `cargo run -p quorate --example tally`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::prelude::*;
use three::{ExampleResult, builders, shut_down};

/// The number of votes that each process counts.
pub const VOTES: u64 = 40;

/// The number of votes that each process has counted. Of two values of an entry the larger is the later
/// one.
pub type Votes = Maxima<ProcessId, u64>;

/// The sum of all votes.
pub fn sum(votes: &Votes) -> u64 {
    votes.0.values().sum()
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let Tally { counted, last } = tally().await?;
    for (rank, decisions) in (1..).zip(&counted) {
        let sums: Vec<_> = decisions.iter().map(sum).collect();
        println!("p{rank} read {sums:?}");
    }
    println!(
        "when p3 had left, p1 and p2 read {:?}",
        last.map(|it| sum(&it))
    );
    Ok(())
}

/// The result of the example.
pub struct Tally {
    /// By process, the votes that it read each time it had counted a vote.
    pub counted: Vec<Vec<Votes>>,
    /// The votes that p1 and p2 read in the end.
    pub last: [Votes; 2],
}

/// Counts one vote after the other.
async fn count(me: ProcessId, tally: LatticeProposer<Votes>) -> Result<Vec<Votes>, MemoryError> {
    let mut decisions = Vec::new();
    for own in 1..=VOTES {
        let mine = Maxima([(me, own)].into());
        decisions.push(tally.propose(&mine).await?);
    }
    Ok(decisions)
}

/// Three processes count votes at the same time. p3 leaves when it has counted its own votes.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn tally() -> ExampleResult<Tally> {
    let (mut nodes, mut tallies) = (Vec::new(), Vec::new());
    for mut builder in builders("tally")? {
        tallies.push(builder.lattice_agreement::<Votes>("votes")?);
        nodes.push(builder.start().await?);
    }
    let counting = nodes.iter().zip(&tallies);
    let counting = counting.map(|(node, tally)| tokio::spawn(count(node.me(), tally.clone())));
    let mut counting: Vec<_> = counting.collect();
    let left = counting.pop().ok_or("there are three")?.await??;
    // The node is dropped without a shutdown, while the others may still count.
    nodes.truncate(2);

    let mut counted = Vec::new();
    for decisions in counting {
        counted.push(decisions.await??);
    }
    counted.push(left);
    // A proposal of nothing is a read.
    let nothing = Votes::default();
    let last = [
        tallies[0].propose(&nothing).await?,
        tallies[1].propose(&nothing).await?,
    ];
    shut_down(nodes).await?;
    Ok(Tally { counted, last })
}
