//! An event feed over first-in first-out broadcast: every process receives the events of each source in its
//! order.
//!
//! `cargo run -p quorate --example feed`
mod three;

use quorate::{
    faults::{Direction, Fault},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use three::{ExampleResult, builders, shut_down, take};

/// A measurement that a sensor reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The sequence number of the reading at its sensor.
    pub number: u64,
    /// The temperature in degrees.
    pub temperature: i32,
}

/// The number of readings of each sensor.
pub const READINGS: u64 = 50;

#[tokio::main]
async fn main() -> ExampleResult<()> {
    for (reader, sources) in (1..).zip(feed().await?) {
        for (source, readings) in sources {
            let last = readings.last().ok_or("every source reports")?;
            println!(
                "p{reader} followed {source} through {} readings, the last of {} degrees",
                readings.len(),
                last.temperature
            );
        }
    }
    Ok(())
}

/// Every process reports and reads at the same time, over channels that reorder datagrams. Returns the
/// readings that each process received, by source.
///
/// # Errors
/// When a node does not start, or stops.
pub async fn feed() -> ExampleResult<Vec<BTreeMap<ProcessId, Vec<Reading>>>> {
    let mut nodes = Vec::new();
    let mut feeds = Vec::new();
    for mut builder in builders("feed")? {
        feeds.push(builder.first_in_first_out::<Reading>("readings")?);
        nodes.push(builder.start().await?);
    }
    let disorder = Fault {
        jitter: Duration::from_millis(5),
        ..Fault::default()
    };
    for node in &nodes {
        for peer in &nodes {
            node.faults().set(peer.me(), Direction::Outgoing, disorder);
        }
    }
    for (rank, (readings, _)) in (1..).zip(&feeds) {
        let readings = readings.clone();
        tokio::spawn(async move {
            for number in 1..=READINGS {
                let temperature = 15 + rank + (number % 7) as i32;
                readings
                    .broadcast(Reading {
                        number,
                        temperature,
                    })
                    .await?;
            }
            Ok::<_, Error>(())
        });
    }
    let mut all = Vec::new();
    for (_, deliveries) in &mut feeds {
        let mut sources: BTreeMap<ProcessId, Vec<Reading>> = BTreeMap::new();
        for (source, reading) in take(deliveries, 3 * READINGS as usize).await? {
            sources.entry(source).or_default().push(reading);
        }
        all.push(sources);
    }
    shut_down(nodes).await?;
    Ok(all)
}
