//! A chat over causal order: nobody sees an answer before its question, even if the question is late.
//!
//! `cargo run -p quorate --example chat`
mod three;

use quorate::{
    faults::{Direction, Fault},
    prelude::*,
};
use std::time::Duration;
use three::{ExampleResult, builders, shut_down, take};

#[tokio::main]
async fn main() -> ExampleResult<()> {
    for (reader, lines) in (1..).zip(chat().await?) {
        println!("p{reader} reads:");
        for line in lines {
            println!("    {line}");
        }
    }
    Ok(())
}

/// p1 asks, p2 answers after it has read the question, p1 thanks after it has read the answer. Returns the
/// messages that each process reads.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn chat() -> ExampleResult<Vec<Vec<String>>> {
    let mut nodes = Vec::new();
    let mut rooms = Vec::new();
    for mut builder in builders("chat")? {
        rooms.push(builder.causal::<String>("room")?);
        nodes.push(builder.start().await?);
    }
    // Messages from p1 reach p3 late: later than p2's answers to them.
    let slow = Fault {
        delay: Duration::from_millis(300),
        ..Fault::default()
    };
    let p3 = nodes[2].me();
    nodes[0].faults().set(p3, Direction::Outgoing, slow);

    let mut read = vec![Vec::new(); 3];
    let (asker, answerer) = (rooms[0].0.clone(), rooms[1].0.clone());
    asker.broadcast("lunch?".to_owned()).await?;
    read[1].extend(lines(&mut rooms[1].1, 1).await?);
    answerer.broadcast("yes, at noon".to_owned()).await?;
    read[0].extend(lines(&mut rooms[0].1, 2).await?);
    asker.broadcast("see you then".to_owned()).await?;

    for (read, (_, deliveries)) in read.iter_mut().zip(&mut rooms) {
        let missing = 3 - read.len();
        read.extend(lines(deliveries, missing).await?);
    }
    shut_down(nodes).await?;
    Ok(read)
}

async fn lines(room: &mut Deliveries<String>, count: usize) -> ExampleResult<Vec<String>> {
    let said = take(room, count).await?.into_iter();
    Ok(said.map(|(who, what)| format!("{who}: {what}")).collect())
}
