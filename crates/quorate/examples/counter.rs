//! A counter over uniform broadcast. Additions need no order. If one process has counted an addition, all
//! others count it, even if that process stops right after.
//!
//! `cargo run -p quorate --example counter`
mod three;

use quorate::prelude::Error;
use three::{ExampleResult, builders, shut_down, take};

/// The number of additions of each process.
pub const ADDITIONS: u64 = 100;

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let Counted { left, stayed } = count().await?;
    println!("p3 counted {left} and left");
    println!("p1 and p2 counted {} and {}", stayed[0], stayed[1]);
    Ok(())
}

/// The result of the example.
pub struct Counted {
    /// The value that p3 had counted when it left.
    pub left: u64,
    /// The values that p1 and p2 counted in the end.
    pub stayed: Vec<u64>,
}

/// p1, p2 and p3 add 1, 10 and 100 again and again. p3 leaves once it has counted its own additions.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn count() -> ExampleResult<Counted> {
    let mut nodes = Vec::new();
    let mut counters = Vec::new();
    for mut builder in builders("counter")? {
        counters.push(builder.uniform::<u64>("additions")?);
        nodes.push(builder.start().await?);
    }
    for (amount, (additions, _)) in [1, 10, 100].into_iter().zip(&counters) {
        let additions = additions.clone();
        tokio::spawn(async move {
            for _ in 0..ADDITIONS {
                additions.broadcast(amount).await?;
            }
            Ok::<_, Error>(())
        });
    }
    let left = {
        let (_, deliveries) = &mut counters[2];
        let p3 = nodes[2].me();
        let (mut left, mut own) = (0, 0);
        while own < ADDITIONS {
            let (who, amount) = take(deliveries, 1).await?.remove(0);
            left += amount;
            own += u64::from(who == p3);
        }
        left
    };
    // The node is dropped without a shutdown.
    nodes.truncate(2);
    counters.truncate(2);

    let mut stayed = Vec::new();
    for (_, deliveries) in &mut counters {
        let additions = take(deliveries, 3 * ADDITIONS as usize).await?;
        stayed.push(additions.iter().map(|(_, amount)| amount).sum());
    }
    shut_down(nodes).await?;
    Ok(Counted { left, stayed })
}
