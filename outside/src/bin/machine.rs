//! A state machine of one's own on three processes. In each of three rounds each of them is killed and started
//! again: nothing that was acknowledged is lost, and nothing is done twice.
use outside::{
    Fallible,
    replica::{Replica, addresses, role},
    within,
};
use quorate::prelude::*;
use serde::{Deserialize, Serialize};
use std::{io, net::SocketAddr};

/// Who has drawn the tickets 1, 2, 3, …
#[derive(Default)]
struct Tickets(Vec<String>);

#[derive(Serialize, Deserialize)]
struct Draw(String);

impl Machine for Tickets {
    type Command = Draw;
    type Reply = usize;

    fn apply(&mut self, _position: u64, _origin: ProcessId, Draw(who): Draw) -> usize {
        self.0.push(who);
        self.0.len()
    }

    fn snapshot(&self) -> View {
        Items::view(self.0.clone())
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        self.0.extend(chunk.items::<String>()?);
        Ok(())
    }
}

fn main() -> Fallible {
    match role()? {
        Some((me, peers)) => serve(me, peers),
        None => three_rounds(),
    }
}

#[tokio::main]
async fn serve(me: ProcessId, peers: Vec<SocketAddr>) -> Fallible {
    let bind = peers[me.index()];
    let mut builder = Node::builder(me, peers).udp(bind).cluster("machine");
    let tickets = builder.replicated("tickets", Tickets::default())?;
    let _node = builder.start().await?;
    for line in io::stdin().lines() {
        let line = line?;
        let said = match line.strip_prefix("draw ") {
            Some(who) => {
                let number = within(tickets.submit(Draw(who.to_owned()))).await??;
                number.to_string()
            }
            None => within(tickets.query(|tickets| tickets.0.join(" "))).await??,
        };
        println!("{said}");
    }
    Ok(())
}

/// Draws the next ticket at a replica.
fn draw(replica: &mut Replica, drawn: &mut Vec<String>) -> Fallible {
    drawn.push(format!("customer-{}", drawn.len() + 1));
    let who = drawn.last().ok_or("it was pushed")?;
    let number = replica.ask(&format!("draw {who}"))?;
    assert_eq!(number, drawn.len().to_string(), "the ticket of {who}");
    Ok(())
}

fn three_rounds() -> Fallible {
    let addresses = addresses(3);
    let start = |rank| Replica::start(rank, &addresses);
    let mut replicas = (1..=3).map(start).collect::<Fallible<Vec<_>>>()?;
    let mut drawn = Vec::new();
    // A group first serves when all three have met.
    draw(&mut replicas[0], &mut drawn)?;
    for round in 1..=3 {
        for victim in 0..3 {
            replicas[victim].kill()?;
            // The two others go on without it,
            draw(&mut replicas[(victim + 1) % 3], &mut drawn)?;
            draw(&mut replicas[(victim + 2) % 3], &mut drawn)?;
            // and it is back with what they did.
            replicas[victim] = start(victim + 1)?;
            assert_eq!(replicas[victim].ask("who")?, drawn.join(" "));
            draw(&mut replicas[victim], &mut drawn)?;
        }
        println!(
            "round {round}: all three killed and back, {} tickets",
            drawn.len()
        );
    }
    for replica in &mut replicas {
        assert_eq!(replica.ask("who")?, drawn.join(" "));
    }
    println!(
        "all three know who has drawn each of {} tickets",
        drawn.len()
    );
    Ok(())
}
