//! A roll call over terminating broadcast. A process that waits for another's name hears it, or learns that
//! the other process has crashed; all processes hear the same.
//!
//! `cargo run -p quorate --example roll_call`
#[expect(dead_code, reason = "deliveries are answers here")]
mod three;

use quorate::{
    detectors::exclude_on_timeout::SynchronyBounds,
    node::Content::{self, Message, SenderFaulty},
    prelude::*,
};
use std::{collections::BTreeMap, time::Duration};
use three::{builders, shut_down};

/// The number of times that the roll is called.
pub const ROUNDS: usize = 6;
/// The round in which p3 leaves.
pub const LEAVES: usize = 4;
/// The names of the three processes.
pub const NAMES: [&str; 3] = ["Ada", "Bea", "Cleo"];
/// A live process on loopback is never silent for this long: a process that is has crashed.
const SILENCE: Duration = Duration::from_secs(5);

/// The answers of each process, round by round, until it was faulty.
pub type Roll = BTreeMap<ProcessId, Vec<Content<String>>>;

#[tokio::main]
async fn main() -> three::ExampleResult<()> {
    let rolls = call().await?;
    for round in 1..=ROUNDS {
        let heard = rolls[0]
            .iter()
            .map(|(process, heard)| match heard.get(round - 1) {
                Some(Message(name)) => format!("{process} is {name}"),
                Some(SenderFaulty) | None => format!("{process} is gone"),
            });
        println!("round {round}: {}", heard.collect::<Vec<_>>().join(", "));
    }
    if rolls[0] == rolls[1] {
        println!("p1 and p2 have heard the same");
    }
    Ok(())
}

/// One of the three processes.
struct Pupil {
    name: String,
    source: Source<String>,
    answers: Answers<String>,
    roll: Roll,
}

impl Pupil {
    /// In each of these rounds, calls its name, and waits for an answer about every process.
    async fn attend(&mut self, rounds: std::ops::RangeInclusive<usize>) -> Result<(), StreamError> {
        for round in rounds {
            self.source.broadcast(self.name.clone()).await?;
            while self.roll.values().any(|heard| !is_complete(heard, round)) {
                let answer = self.answers.next().await.ok_or(Error::Stopped)??;
                self.roll
                    .entry(answer.source)
                    .or_default()
                    .push(answer.outcome);
            }
        }
        Ok(())
    }
}

/// Whether the answers of one process are complete up to this round.
fn is_complete(heard: &[Content<String>], round: usize) -> bool {
    heard.len() >= round || heard.last() == Some(&SenderFaulty)
}

/// Calls the roll. p3 leaves without a shutdown, just when it has called its name once more. Returns the
/// answers that p1 and p2 heard.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn call() -> three::ExampleResult<Vec<Roll>> {
    let bounds = SynchronyBounds::new(Duration::from_millis(100), SILENCE)?;
    let (mut nodes, mut pupils) = (Vec::new(), Vec::new());
    for (builder, name) in builders("roll-call")?.into_iter().zip(NAMES) {
        let mut builder = builder.assume_synchronous(bounds);
        let (source, answers) = builder.terminating("roll")?;
        nodes.push(builder.start().await?);
        pupils.push(Pupil {
            name: name.to_owned(),
            source,
            answers,
            roll: Roll::new(),
        });
    }
    // No answers have been heard yet.
    for pupil in &mut pupils {
        pupil.roll = nodes.iter().map(|node| (node.me(), Vec::new())).collect();
    }
    let mut leaves = pupils.pop().ok_or("there are three")?;
    let stay = pupils.into_iter().map(|mut pupil| {
        tokio::spawn(async move {
            pupil.attend(1..=ROUNDS).await?;
            Ok::<_, StreamError>(pupil.roll)
        })
    });
    let stay: Vec<_> = stay.collect();
    leaves.attend(1..=LEAVES - 1).await?;
    leaves.source.broadcast(leaves.name).await?;
    // The node is dropped without a shutdown: either all processes hear the name, or none does.
    nodes.truncate(2);

    let mut rolls = Vec::new();
    for roll in stay {
        rolls.push(roll.await??);
    }
    shut_down(nodes).await?;
    Ok(rolls)
}
