//! Shared memory over real sockets: every register of the catalogue, snapshots and lattice agreement.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{Error, LatticeProposer, Node, Registers, Segments, node::Wiring};
use bytes::Bytes;
use futures::future::join_all;
use quorate_abstractions::{
    lattice::{Lattice, Maxima, Union},
    link::{Deliver, Links},
};
use quorate_catalogue::{broadcasts::Needs, registers::Registers as Algorithm};
use quorate_core::Addr;
use quorate_detectors::exclude_on_timeout;
use std::{collections::BTreeMap, time::Duration};

const WRITES: u64 = 20;

/// A timeout for who is slow, which a loaded machine keeps.
fn bounds() -> exclude_on_timeout::Configuration {
    let (interval, delay) = (Duration::from_millis(100), Duration::from_mins(1));
    exclude_on_timeout::Configuration::new(interval, delay).unwrap()
}

async fn shut_down(nodes: Vec<Node>) {
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_reads_after_a_write_gets_what_was_written_in_all_registers() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut all) = (Vec::new(), Vec::new());
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds());
            let declare = |algorithm: Algorithm| {
                let writer = algorithm.has_one_writer().then_some(p(2));
                let name = algorithm.name();
                builder.registers_with(name, name, writer).unwrap()
            };
            all.push(Algorithm::all().map(declare).collect::<Vec<_>>());
            nodes.push(builder.start().await.unwrap());
        }
        let all: Vec<Vec<Registers<(u64, String)>>> = all;
        for (index, algorithm) in Algorithm::all().enumerate() {
            assert_eq!(within(all[0][index].read("a")).await.unwrap(), None);
            for number in 0..WRITES {
                let value = (number, format!("value {number}"));
                let register = ["a", "b"][number as usize % 2];
                within(all[1][index].write(register, &value)).await.unwrap();
                for process in &all {
                    let read = within(process[index].read(register)).await.unwrap();
                    assert_eq!(read.as_ref(), Some(&value), "{algorithm}");
                }
            }
            let others = within(all[2][index].write("a", &(0, String::new()))).await;
            match others {
                Err(Error::NotWriter { writer }) => {
                    assert!(algorithm.has_one_writer() && writer == p(2));
                }
                other => assert!(other.is_ok() && !algorithm.has_one_writer()),
            }
        }
        shut_down(nodes).await;
    }
}

/// As many registers as fit into the window, and more, through one handle.
#[tokio::test]
async fn registers_do_not_wait_for_each_other_and_one_is_sequential_at_a_process() {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 3) {
        let mut builder = builder.window(8);
        all.push(builder.registers::<u64>("registers").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    let names: Vec<_> = (0..100_u64).map(|n| (n, format!("register {n}"))).collect();
    let writes = names.iter().map(|(n, name)| all[0].write(name, n));
    for written in within(join_all(writes)).await {
        written.unwrap();
    }
    let reads = names.iter().map(|(_, name)| all[1].read(name));
    for (read, (n, _)) in within(join_all(reads)).await.into_iter().zip(&names) {
        assert_eq!(read.unwrap(), Some(*n));
    }
    // On one register, of as many operations at once one is done, and the others are refused.
    let numbers = [0, 1, 2, 3, 4];
    let writes = numbers.iter().map(|n| all[2].write("one", n));
    let written = within(join_all(writes)).await;
    assert!(written[0].is_ok());
    for refused in &written[1..] {
        assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    }
    assert_eq!(within(all[0].read("one")).await.unwrap(), Some(0));
    shut_down(nodes).await;
}

#[tokio::test]
async fn snapshots_of_all_processes_are_ordered() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut all) = (Vec::new(), Vec::new());
        for mut builder in builders(kind, 3) {
            all.push(builder.snapshot::<u64>("snapshot").unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        assert_eq!(within(all[0].scan()).await.unwrap(), [None; 3]);
        let work = all.iter().map(|segments: &Segments<u64>| async {
            let mut scans = Vec::new();
            for number in 0..WRITES {
                segments.update(&number).await.unwrap();
                scans.push(segments.scan().await.unwrap());
            }
            scans
        });
        let mut scans: Vec<_> = within(join_all(work)).await.concat();
        scans.sort();
        for (earlier, later) in scans.iter().zip(&scans[1..]) {
            let mut segments = earlier.iter().zip(later);
            assert!(segments.all(|(one, other)| one <= other), "{scans:?}");
        }
        assert_eq!(scans.last(), Some(&vec![Some(WRITES - 1); 3]));
        shut_down(nodes).await;
    }
}

#[tokio::test]
async fn decisions_of_all_processes_are_ordered_and_have_what_was_proposed() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut all) = (Vec::new(), Vec::new());
        for mut builder in builders(kind, 3) {
            all.push(builder.lattice_agreement::<Union<u64>>("union").unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        let work = (0_u64..).zip(&all).map(|(rank, proposer)| async move {
            let mut decisions = Vec::new();
            for number in 0..WRITES {
                let value = rank * WRITES + number;
                let decision = proposer.propose(&Union([value].into())).await.unwrap();
                assert!(decision.0.contains(&value));
                decisions.push(decision);
            }
            decisions
        });
        let mut decisions: Vec<_> = within(join_all(work)).await.concat();
        decisions.sort_by_key(|decision| decision.0.len());
        for (earlier, later) in decisions.iter().zip(&decisions[1..]) {
            assert!(earlier.is_at_most(later), "{earlier:?}, {later:?}");
        }
        let all_values = Union((0..3 * WRITES).collect());
        assert_eq!(
            within(all[0].propose(&Union::default())).await.unwrap(),
            all_values
        );
        shut_down(nodes).await;
    }
}

#[tokio::test]
async fn what_needs_synchrony_or_a_writer_or_does_not_exist_is_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    for algorithm in Algorithm::all() {
        let name = algorithm.name();
        let one_writer = algorithm.has_one_writer();
        let wrong = builder.registers_with::<u64>(name, name, (!one_writer).then_some(p(1)));
        match wrong {
            Err(Error::WantsWriter(of)) => assert!(one_writer && of == name),
            Err(Error::ManyWriters(of)) => assert!(!one_writer && of == name),
            other => panic!("{other:?}"),
        }
        let right = builder.registers_with::<u64>(name, name, one_writer.then_some(p(1)));
        let refused = matches!(right, Err(Error::NeedsPerfect(_)));
        assert_eq!(refused, algorithm.needs() == Needs::Perfect, "{name}");
    }
    let nobody = builder.registers_with::<u64>("nobody", "majority-voting", Some(p(4)));
    assert!(matches!(nobody, Err(Error::NotMember { n: 3, .. })));
    let unknown = builder.registers_with::<u64>("cash", "cash", None);
    assert!(matches!(unknown, Err(Error::UnknownRegisters(_))));
    let twice = builder.snapshot::<u64>("majority-voting");
    assert!(matches!(twice, Err(Error::UsedTwice(_))));
    let unnamed = builder.lattice_agreement::<Union<u64>>("");
    assert!(matches!(unnamed, Err(Error::BadName(_))));
}

#[tokio::test]
async fn nobody_waits_for_a_stopped_node_and_who_gives_up_leaves_the_register_busy() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let registers = builder.registers::<u64>("registers").unwrap();
    let segments = builder.snapshot::<u64>("snapshot").unwrap();
    let proposer: LatticeProposer<Union<u64>> = builder.lattice_agreement("union").unwrap();
    let early = within(registers.read("a")).await;
    assert!(matches!(early, Err(Error::NotStarted)));
    // The others are not there: nothing returns.
    let node = builder.start().await.unwrap();
    let in_vain = tokio::time::timeout(Duration::ZERO, registers.write("a", &1)).await;
    assert!(in_vain.is_err());
    let busy = within(registers.read("a")).await;
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    let in_vain = tokio::time::timeout(Duration::ZERO, registers.read("b")).await;
    assert!(in_vain.is_err(), "other registers are not busy");
    let ends = async {
        let ones = Union([1].into());
        let waits = futures::future::join3(
            registers.write("c", &1),
            segments.update(&1),
            proposer.propose(&ones),
        );
        let stops = async {
            tokio::task::yield_now().await;
            drop(node);
        };
        futures::future::join(waits, stops).await.0
    };
    let (written, updated, decided) = within(ends).await;
    assert!(matches!(written, Err(Error::OutcomeUnknown)));
    assert!(matches!(updated, Err(Error::OutcomeUnknown)));
    assert!(matches!(decided, Err(Error::OutcomeUnknown)));
    assert!(matches!(registers.read("c").await, Err(Error::Stopped)));
    assert!(matches!(segments.scan().await, Err(Error::Stopped)));
    let late = proposer.propose(&Union::default()).await;
    assert!(matches!(late, Err(Error::Stopped)));
}

/// The modules were wired before the links refused to start.
#[tokio::test]
async fn nobody_waits_for_a_node_that_could_not_start() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let registers = builder.registers::<u64>("registers").unwrap();
    let opens_twice = |wiring: Wiring| {
        for _ in 0..2 {
            let _requests = wiring.links.open(Addr::<Deliver<Bytes>>::nowhere());
        }
    };
    builder.module("twice", "twice", opens_twice).unwrap();
    let started = builder.start().await.map(drop);
    assert!(matches!(started, Err(Error::Link(_))), "{started:?}");
    let read = within(registers.read("a")).await;
    assert!(matches!(read, Err(Error::NotStarted)), "{read:?}");
}

/// It is busy until the operation has returned, which it does when there is a majority again.
#[tokio::test]
async fn what_was_given_up_is_done_when_there_is_a_majority_and_then_the_register_is_free() {
    let mut builders = builders(Kind::Udp, 3);
    let mut all = Vec::new();
    for builder in &mut builders {
        all.push(builder.registers::<u64>("registers").unwrap());
    }
    let mut nodes = vec![builders.remove(0).start().await.unwrap()];
    let in_vain = tokio::time::timeout(Duration::ZERO, all[0].write("a", &1)).await;
    assert!(in_vain.is_err());
    for builder in builders {
        nodes.push(builder.start().await.unwrap());
    }
    let read = async {
        loop {
            match all[0].read("a").await {
                Err(Error::Busy) => tokio::task::yield_now().await,
                read => break read,
            }
        }
    };
    assert_eq!(within(read).await.unwrap(), Some(1));
    shut_down(nodes).await;
}

#[tokio::test]
async fn what_no_message_carries_and_what_is_no_value_is_refused() {
    let builder = builders(Kind::Udp, 1).remove(0);
    let mut builder = builder.maximum_message(2048);
    let words = builder.registers::<String>("registers").unwrap();
    let segments = builder.snapshot::<String>("snapshot").unwrap();
    let proposer = builder
        .lattice_agreement::<Maxima<u64, String>>("maxima")
        .unwrap();
    let node = builder.start().await.unwrap();
    let long = "x".repeat(1024);
    let refused = words.write("a", &long).await;
    assert!(matches!(refused, Err(Error::TooLarge { limit: 1024, .. })));
    let refused = words.read(&format!("{long}y")).await;
    assert!(matches!(refused, Err(Error::TooLarge { size: 1025, .. })));
    assert_eq!(within(words.read(&long)).await.unwrap(), None);
    let refused = segments.update(&long[..500].to_owned()).await;
    assert!(matches!(refused, Err(Error::TooLarge { limit: 492, .. })));
    within(segments.update(&long[..400].to_owned()))
        .await
        .unwrap();
    // What is proposed is joined to what was proposed before.
    let value = |key: u64| Maxima(BTreeMap::from([(key, long[..300].to_owned())]));
    within(proposer.propose(&value(1))).await.unwrap();
    let refused = proposer.propose(&value(2)).await;
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
    let decided = within(proposer.propose(&value(1))).await.unwrap();
    assert_eq!(decided, value(1));
    within(node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn another_type_is_told_from_the_own() {
    let (mut nodes, mut words, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (index, mut builder) in builders(Kind::Udp, 2).into_iter().enumerate() {
        if index == 0 {
            words.push((
                builder.registers::<String>("registers").unwrap(),
                builder.snapshot::<String>("snapshot").unwrap(),
            ));
        } else {
            numbers.push((
                builder.registers::<(u64, u64)>("registers").unwrap(),
                builder.snapshot::<(u64, u64)>("snapshot").unwrap(),
            ));
        }
        nodes.push(builder.start().await.unwrap());
    }
    let word = "a word that is no pair of numbers".to_owned();
    within(words[0].0.write("a", &word)).await.unwrap();
    within(words[0].1.update(&word)).await.unwrap();
    let read = within(numbers[0].0.read("a")).await;
    assert!(matches!(read, Err(Error::UndecodableValue(name)) if name == "a"));
    let scanned = within(numbers[0].1.scan()).await;
    assert!(matches!(scanned, Err(Error::UndecodableSegment { of }) if of == p(1)));
    shut_down(nodes).await;
}
