//! A shopping cart over primary views: the members change while clients write. One process is cut off and
//! excluded; it is told so, joins again and is given the cart.
//!
//! Additions to a cart need no order: processes that pass from one view to the next have delivered the same
//! additions, so they have the same cart. An excluded process repeats those of its messages that nobody
//! else has delivered.
//!
//! `cargo run -p quorate --example cart`
#[expect(dead_code, reason = "deliveries are events here")]
mod three;

use quorate::{
    core::wire::{decode_value, encode_value},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use three::{ExampleResult, builders, shut_down};
use tokio::sync::watch;

/// The command of a client: adds this number of an item.
#[derive(Serialize, Deserialize)]
pub struct Add {
    item: String,
    amount: u64,
}

/// A cart: the number of each item.
pub type Cart = BTreeMap<String, u64>;

/// A process's copy of the cart, and what it knows of the group.
#[derive(Clone, Default)]
pub struct Replica {
    pub cart: Cart,
    /// The members of its present view.
    pub members: ProcessSet,
    /// The number of times that it was excluded.
    pub excluded: usize,
    /// The number of times that it was given the cart.
    pub restored: usize,
}

impl Replica {
    fn has(&self, item: &str, amount: u64) -> bool {
        self.cart.get(item) == Some(&amount)
    }
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    for (rank, replica) in (1..).zip(shop().await?) {
        let Replica {
            cart,
            excluded,
            restored,
            ..
        } = replica;
        println!("p{rank}: {cart:?}, excluded {excluded} times, restored {restored} times");
    }
    Ok(())
}

/// Keeps a process's copy up to date, until its node stops.
async fn replicate(
    group: Group<Add>,
    mut events: Events<Add>,
    replica: watch::Sender<Replica>,
) -> Result<(), StreamError> {
    while let Some(event) = events.next().await {
        match event? {
            Event::View { view, .. } => replica.send_modify(|now| now.members = view.members),
            Event::Deliver(Delivery { message, .. }) => replica.send_modify(|now| {
                *now.cart.entry(message.item).or_default() += message.amount;
            }),
            Event::StateWanted(wanted) => {
                let cart = encode_value(&replica.borrow().cart).map_err(|_| Error::Unencodable)?;
                wanted.give(cart)?;
            }
            Event::State(state) => {
                let cart = decode_value(&state).unwrap_or_default();
                replica.send_modify(|now| {
                    now.cart = cart;
                    now.restored += 1;
                });
            }
            Event::Excluded { .. } => {
                replica.send_modify(|now| now.excluded += 1);
                group.join();
            }
            // A message that the others may have is not repeated: it could be in the cart twice.
            Event::Lost(lost) if lost.is_certain => {
                // A task repeats it: there may be no room before this loop reads more events.
                let group = group.clone();
                tokio::spawn(async move { group.broadcast(lost.message).await });
            }
            // No process of this example leaves.
            Event::Lost(_) | Event::Left { .. } => {}
        }
    }
    Ok(())
}

/// Adds one item at a time.
async fn add(group: Group<Add>, item: &'static str, times: u64) -> Result<(), Error> {
    for _ in 0..times {
        let item = item.to_owned();
        group.broadcast(Add { item, amount: 1 }).await?;
    }
    Ok(())
}

/// Three processes share a cart; p3 is cut off while the others fill it.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn shop() -> ExampleResult<Vec<Replica>> {
    let (mut nodes, mut groups, mut replicas) = (Vec::new(), Vec::new(), Vec::new());
    for mut builder in builders("cart")? {
        let (group, events) = builder.views::<Add>("cart")?;
        nodes.push(builder.start().await?);
        let (sender, replica) = watch::channel(Replica::default());
        tokio::spawn(replicate(group.clone(), events, sender));
        groups.push(group);
        replicas.push(replica);
    }
    for group in &groups {
        add(group.clone(), "apple", 10).await?;
    }
    for replica in &mut replicas {
        replica.wait_for(|now| now.has("apple", 30)).await?;
    }

    // p3 is cut off. The others first wait for it, then go on without it.
    let all = replicas[0].borrow().members;
    let p3 = nodes[2].me();
    for peer in all.iter().filter(|p| *p != p3) {
        nodes[2].faults().cut(peer);
    }
    for group in &groups[..2] {
        add(group.clone(), "pear", 100).await?;
    }
    for replica in &mut replicas[..2] {
        let without = |now: &Replica| now.has("pear", 200) && !now.members.contains(p3);
        replica.wait_for(without).await?;
    }

    // p3 hears of the others again, and learns that it is excluded, while they write.
    let plums = tokio::spawn(add(groups[0].clone(), "plum", 500));
    nodes[2].faults().heal();
    let back = |now: &Replica| now.restored > 0 && now.members.contains(p3);
    replicas[2].wait_for(back).await?;
    add(groups[2].clone(), "nut", 1).await?;
    plums.await??;
    let mut carts = Vec::new();
    for replica in &mut replicas {
        let done = |now: &Replica| {
            let is_full = now.has("plum", 500) && now.has("nut", 1);
            is_full && now.members.len() == 3
        };
        carts.push(replica.wait_for(done).await?.clone());
    }
    shut_down(nodes).await?;
    Ok(carts)
}
