//! A leader with a fence: of two that both believe to lead, what is written to knows the later one.
use outside::{Fallible, all_have_met, builders, within};
use quorate::prelude::*;
use tokio::sync::mpsc;

/// What only the leader is to write to. It keeps the highest fence that it has seen.
#[derive(Default)]
struct Store {
    fence: u64,
    log: Vec<String>,
}

impl Store {
    fn write(&mut self, fence: u64, line: &str) -> bool {
        let is_current = fence >= self.fence;
        if is_current {
            self.fence = fence;
            self.log.push(line.to_owned());
        }
        is_current
    }
}

/// Campaigns for one term after the other.
async fn campaign(
    me: ProcessId,
    leadership: Leadership,
    won: mpsc::Sender<(ProcessId, Term)>,
) -> Fallible {
    loop {
        let term = leadership.acquired().await?;
        let lost = term.lost().clone();
        won.send((me, term)).await?;
        lost.cancelled().await;
    }
}

#[tokio::main]
async fn main() -> Fallible {
    let (won, mut terms) = mpsc::channel(16);
    let (mut nodes, mut leaderships) = (Vec::new(), Vec::new());
    for mut builder in builders("fenced leader", 3)? {
        leaderships.push(builder.leadership("writer")?);
        nodes.push(builder.start().await?);
    }
    all_have_met(&nodes).await?;
    for (node, leadership) in nodes.iter().zip(&leaderships) {
        tokio::spawn(campaign(node.me(), leadership.clone(), won.clone()));
    }
    let mut store = Store::default();
    let (first, term) = within(terms.recv()).await?.ok_or("all campaign")?;
    assert!(store.write(term.fence(), "by the first leader"));

    // The leader is cut off: it learns so after a while, and who leads then it does not. The others do not wait.
    let cut_off = nodes[first.index()].faults();
    for node in nodes.iter().filter(|node| node.me() != first) {
        cut_off.cut(node.me());
    }
    let (second, next) = loop {
        let (process, next) = within(terms.recv()).await?.ok_or("all campaign")?;
        if process != first && next.fence() > term.fence() {
            break (process, next);
        }
    };
    assert!(next.fence() > term.fence(), "fences grow");
    assert!(store.write(next.fence(), "by the second leader"));
    assert!(!store.write(term.fence(), "by the first leader, too late"));
    println!(
        "{first} led with fence {}, then {second} with {}",
        term.fence(),
        next.fence()
    );

    // When it is back it learns that its term is over, and who leads, as all do.
    cut_off.heal();
    within(term.lost().cancelled()).await?;
    for leadership in &leaderships {
        let mut holder = leadership.holder();
        within(holder.wait_for(|holder| holder.is_some_and(|it| it.fence >= next.fence())))
            .await??;
    }
    assert_eq!(store.log, ["by the first leader", "by the second leader"]);
    println!("what the first wrote too late was refused, and all know the second's term");
    Ok(())
}
