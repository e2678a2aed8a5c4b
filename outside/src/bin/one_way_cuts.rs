//! A register and a consensus on the quorums of `config/quorums/five.toml`, under each of its patterns: one process
//! crashes, two hear each other, and two are heard and hear nobody. Operations return at the two.
use outside::{Fallible, all_have_met, builders, within};
use quorate::{
    faults::{Direction, Fault},
    prelude::*,
    quorums::{file, system::Pattern},
};
use std::time::Duration;
use tokio::time::timeout;

const FIVE: &str = include_str!("../../../config/quorums/five.toml");

struct Member {
    node: Node,
    registers: Registers<String>,
    lots: Proposer<String>,
}

#[tokio::main]
async fn main() -> Fallible {
    let described = file::parse(FIVE)?;
    let system = QuorumSystem::parse(FIVE)?;
    // By pattern: where operations return.
    let serving = described.system.verify(system.quorums());
    let serving = serving.map_err(|flaw| format!("{flaw:?}"))?;
    for (pattern, serving) in described.system.patterns.iter().zip(serving) {
        run_under(pattern, serving, &system).await?;
    }
    Ok(())
}

async fn run_under(pattern: &Pattern, serving: ProcessSet, system: &QuorumSystem) -> Fallible {
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for mut builder in builders("one-way cuts", 5)? {
        let registers = builder.registers_over::<String>("registers", system)?;
        handles.push((registers, builder.consensus_over::<String>("lots", system)?));
        nodes.push(builder.start().await?);
    }
    // Channels must have worked in both directions once.
    all_have_met(&nodes).await?;
    let member = |(node, (registers, lots))| Member {
        node,
        registers,
        lots,
    };
    let mut members: Vec<_> = nodes.into_iter().zip(handles).map(member).collect();
    let before = "before".to_owned();
    within(members[4].registers.write("x", &before)).await??;
    within(members[4].lots.propose(1, &before)).await??;

    // All that the pattern says may fail does fail.
    for (from, to) in pattern.channels() {
        let faults = members[to.index()].node.faults();
        faults.set(from, Direction::Incoming, Fault::cut());
    }
    members.retain(|member| !pattern.crash.contains(member.node.me()));
    let (serve, wait): (Vec<_>, Vec<_>) = members
        .iter()
        .partition(|it| serving.contains(it.node.me()));
    let [one, other] = serve[..] else {
        return Err("two are to hear each other".into());
    };

    assert_eq!(
        within(one.registers.read("x")).await??,
        Some(before.clone())
    );
    for (writer, reader) in [(one, other), (other, one)] {
        let value = format!("by {}", writer.node.me());
        within(writer.registers.write("x", &value)).await??;
        assert_eq!(within(reader.registers.read("x")).await??, Some(value));
    }
    assert_eq!(within(other.lots.decision(1)).await??, before);
    let (red, blue) = ("red".to_owned(), "blue".to_owned());
    let decided =
        within(async { tokio::try_join!(one.lots.propose(2, &red), other.lots.propose(2, &blue)) });
    let (at_one, at_other) = decided.await??;
    assert_eq!(at_one, at_other);
    assert!([red, blue].contains(&at_one), "{at_one} was proposed");

    // Who hears nobody returns nothing rather than something old.
    for member in wait {
        let read = timeout(Duration::from_millis(200), member.registers.read("x")).await;
        assert!(read.is_err(), "{} hears nobody: {read:?}", member.node.me());
    }
    println!(
        "{}: {serving:?} write, read and decide {at_one}",
        pattern.name
    );
    Ok(())
}
