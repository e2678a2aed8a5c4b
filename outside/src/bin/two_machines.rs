//! Two machines in one node, on three processes, of which each is killed and started again in each of three
//! rounds: a shelf with what is in stock, and the list of who has taken something.
use outside::{
    Fallible,
    replica::{Replica, addresses, role},
    within,
};
use quorate::prelude::*;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, net::SocketAddr};

/// How much there is of each thing.
#[derive(Default)]
struct Shelf(BTreeMap<String, u64>);

#[derive(Serialize, Deserialize)]
struct Add(String, u64);

impl Machine for Shelf {
    type Command = Add;
    type Reply = u64;

    fn apply(&mut self, _position: u64, _origin: ProcessId, Add(thing, count): Add) -> u64 {
        let all = self.0.entry(thing).or_default();
        *all += count;
        *all
    }

    fn snapshot(&self) -> View {
        Items::view(self.0.clone())
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        self.0.extend(chunk.items::<(String, u64)>()?);
        Ok(())
    }
}

/// Who came, each with the place of the command in the order.
#[derive(Default)]
struct Visitors(Vec<(u64, ProcessId)>);

impl Machine for Visitors {
    type Command = ();
    type Reply = ();

    fn apply(&mut self, position: u64, origin: ProcessId, (): ()) {
        self.0.push((position, origin));
    }

    fn snapshot(&self) -> View {
        Items::view(self.0.clone())
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        self.0.extend(chunk.items::<(u64, ProcessId)>()?);
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
    let mut builder = Node::builder(me, peers).udp(bind).cluster("two machines");
    let shelf = builder.replicated("shelf", Shelf::default())?;
    let visitors = builder.replicated("visitors", Visitors::default())?;
    let _node = builder.start().await?;
    for line in io::stdin().lines() {
        let line = line?;
        let said = if line == "visit" {
            within(visitors.submit(())).await??;
            within(shelf.submit(Add("tea".to_owned(), 2)))
                .await??
                .to_string()
        } else {
            let shelf = within(shelf.query(|shelf| format!("{:?}", shelf.0))).await??;
            let visitors = within(visitors.query(|all| format!("{:?}", all.0))).await??;
            format!("{shelf} {visitors}")
        };
        println!("{said}");
    }
    Ok(())
}

fn three_rounds() -> Fallible {
    let addresses = addresses(3);
    let start = |rank| Replica::start(rank, &addresses);
    let mut replicas = (1..=3).map(start).collect::<Fallible<Vec<_>>>()?;
    // A group first serves when all three have met.
    let mut visits = 1;
    assert_eq!(replicas[0].ask("visit")?, "2");
    for _round in 1..=3 {
        for victim in 0..3 {
            replicas[victim].kill()?;
            visits += 1;
            assert_eq!(
                replicas[(victim + 1) % 3].ask("visit")?,
                (2 * visits).to_string()
            );
            replicas[victim] = start(victim + 1)?;
            visits += 1;
            assert_eq!(replicas[victim].ask("visit")?, (2 * visits).to_string());
        }
    }
    let told = replicas.iter_mut().map(|replica| replica.ask("tell"));
    let told = told.collect::<Fallible<Vec<_>>>()?;
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert!(
        told[0].starts_with(&format!("{{\"tea\": {}}} ", 2 * visits)),
        "{told:?}"
    );
    assert_eq!(told[0].matches("p").count(), visits, "{told:?}");
    println!("after nine kills, all three say: {}", told[0]);
    Ok(())
}
