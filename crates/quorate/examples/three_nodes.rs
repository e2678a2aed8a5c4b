//! Three nodes in one program agree on one order of messages that all of them broadcast at the same time.
//!
//! `cargo run -p quorate --example three_nodes`
use quorate::{Node, prelude::*, sealed::Secret};
use std::{error::Error, net::UdpSocket};

const SAYINGS: [&str; 3] = ["one", "two", "three"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Each node needs the addresses of all, in the order of their ranks, and their identities. The secrets stay with them.
    let (mut own, mut peers, mut identities) = (Vec::new(), Vec::new(), Vec::new());
    for rank in 1..=3 {
        let me = ProcessId::from_rank(rank).ok_or("a rank is 1 to 128")?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let secret = Secret::new(rand::random());
        peers.push(socket.local_addr()?);
        identities.push((me, secret.identity()));
        own.push((me, socket, secret));
    }

    let mut members = Vec::new();
    for (me, socket, secret) in own {
        let mut node = Node::builder(me, peers.clone())
            .socket(socket)
            .sealed(secret, identities.clone());
        let (sayings, delivered) = node.total_order::<String>("sayings")?;
        members.push((node.start().await?, sayings, delivered));
    }

    for (node, sayings, _) in &members {
        let (me, sayings) = (node.me(), sayings.clone());
        tokio::spawn(async move {
            for saying in SAYINGS {
                sayings.broadcast(format!("{me} says {saying}")).await?;
            }
            Ok::<_, quorate::Error>(())
        });
    }

    let mut sequences = Vec::new();
    for (node, _, delivered) in &mut members {
        let mut sequence = Vec::new();
        while sequence.len() < 3 * SAYINGS.len() {
            let delivery = delivered.next().await.ok_or("the node has stopped")??;
            sequence.push(delivery.message);
        }
        println!("{} delivered: {}", node.me(), sequence.join(", "));
        sequences.push(sequence);
    }
    assert!(sequences.iter().all(|sequence| *sequence == sequences[0]));
    println!("All three delivered the same sequence.");

    for (node, ..) in members {
        node.shutdown().await?;
    }
    Ok(())
}
