//! A stream of suspicions: p1 suspects p3 while the way between them is cut, and for good when p3 is gone.
use outside::{Fallible, all_have_met, builders, within};
use quorate::prelude::*;

/// Follows the stream until exactly these are suspected.
async fn until(
    suspicions: &mut Suspicions,
    known: &mut ProcessSet,
    wanted: ProcessSet,
) -> Fallible {
    while *known != wanted {
        let change = within(suspicions.next()).await?;
        let change = change.ok_or("the node has stopped")?;
        change.apply(known);
        println!("p1: {change:?}, so that it suspects {known:?}");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Fallible {
    let mut nodes = Vec::new();
    for builder in builders("suspicions", 3)? {
        nodes.push(builder.start().await?);
    }
    all_have_met(&nodes).await?;
    let p3 = nodes[2].me();
    let (mut suspicions, mut known) = (nodes[0].suspicions(), ProcessSet::EMPTY);

    // p2 hears both, but p1 and p3 do not hear each other.
    nodes[0].faults().cut(p3);
    until(&mut suspicions, &mut known, [p3].into_iter().collect()).await?;
    nodes[0].faults().heal();
    until(&mut suspicions, &mut known, ProcessSet::EMPTY).await?;

    // It stops without a farewell, as if it crashed.
    drop(nodes.pop());
    until(&mut suspicions, &mut known, [p3].into_iter().collect()).await?;
    let mut suspected = nodes[0].suspected();
    within(suspected.wait_for(|now| *now == known)).await??;

    for node in &nodes {
        within(node.shutdown()).await??;
    }
    let last = async { while suspicions.next().await.is_some() {} };
    within(last).await?;
    println!("the stream has ended with its node");
    Ok(())
}
