//! Shared memory over real sockets: each kind of registers, snapshots and lattice agreement.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Error, LatticeProposer, MemoryError, Node, QuorumSystem, Reading, Registers, Segments,
    StartError, Withdrawal,
    node::{Coded, Wiring},
};
use bytes::Bytes;
use futures::future::join_all;
use quorate_abstractions::{
    lattice::{Lattice, Maxima, Union},
    link::{Deliver, Links},
};
use quorate_core::Addr;
use quorate_detectors::exclude_on_timeout;
use quorate_histories::{history, linearizable};
use quorate_stacks::{broadcasts::Needs, registers::Registers as Algorithm};
use std::{collections::BTreeMap, time::Duration};

const WRITES: u64 = 20;

/// Bounds that hold on a loaded machine, too.
fn bounds() -> exclude_on_timeout::SynchronyBounds {
    let (interval, delay) = (Duration::from_millis(100), Duration::from_mins(1));
    exclude_on_timeout::SynchronyBounds::new(interval, delay).unwrap()
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
                builder.registers_with(name, algorithm, writer).unwrap()
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
                Err(MemoryError::NotWriter { writer }) => {
                    assert!(algorithm.has_one_writer() && writer == p(2));
                }
                other => assert!(other.is_ok() && !algorithm.has_one_writer()),
            }
        }
        shut_down(nodes).await;
    }
}

/// More registers than fit into the window, through one handle.
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
    // On one register, several operations at once are all done, the last one last.
    let numbers = [0, 1, 2, 3, 4];
    let writes = numbers.iter().map(|n| all[2].write("one", n));
    for written in within(join_all(writes)).await {
        written.unwrap();
    }
    assert_eq!(within(all[0].read("one")).await.unwrap(), Some(4));
    shut_down(nodes).await;
}

/// Three nodes, with registers of bytes; all of them are admitted.
async fn started(kind: Kind) -> (Vec<Node>, Vec<Registers<Bytes>>) {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for mut builder in builders(kind, 3) {
        all.push(builder.registers(Coded::raw("registers")).unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    (nodes, all)
}

#[tokio::test]
async fn parallel_reads_of_one_register_all_return() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (nodes, all) = started(kind).await;
        let value = Bytes::from_static(b"shared");
        within(all[1].write("a", &value)).await.unwrap();
        let reads: Vec<_> = (0..20).map(|_| all[0].read("a")).collect();
        for read in within(join_all(reads)).await {
            assert_eq!(read.unwrap().as_ref(), Some(&value));
        }
        let progress = all[0].progress();
        assert_eq!((progress.returned, progress.in_flight), (20, 0));
        shut_down(nodes).await;
    }
}

/// Before there is a majority one operation is in flight, and the others wait in the queue.
#[tokio::test]
async fn reads_in_line_share_one_operation_and_are_told_in_their_order() {
    let mut builders = builders(Kind::Udp, 3);
    let mut all = Vec::new();
    for builder in &mut builders {
        all.push(builder.registers(Coded::raw("registers")).unwrap());
    }
    let mut nodes = vec![builders.remove(0).start().await.unwrap()];
    let value = Bytes::from_static(b"shared");
    let write = all[0].write_then("a", &value, |lasted| lasted).unwrap();
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    let read = |number: usize| {
        let told = told.clone();
        let then = move |reading: Reading<Bytes>| {
            told.send(number).unwrap();
            reading
        };
        all[0].read_then("a", then).unwrap()
    };
    let reads: Vec<_> = (0..20).map(read).collect();
    let progress = all[0].progress();
    assert_eq!((progress.waiting, progress.in_flight), (20, 1));
    for builder in builders {
        nodes.push(builder.start().await.unwrap());
    }
    within(write).await.unwrap();
    let readings: Result<Vec<_>, _> = within(join_all(reads)).await.into_iter().collect();
    let readings = readings.unwrap();
    assert_eq!(readings[0].value.as_ref(), Some(&value));
    assert_eq!(readings[0].tag.writer, Some(p(1)));
    // The durations are equal to the nanosecond: it was one operation.
    assert_eq!(readings, vec![readings[0].clone(); 20]);
    for number in 0..20 {
        assert_eq!(order.try_recv(), Ok(number), "told before anybody asks");
    }
    shut_down(nodes).await;
}

#[tokio::test]
async fn names_and_values_are_bytes_as_they_are() {
    let (nodes, all) = started(Kind::Udp).await;
    let (name, value) = ([0, 255], Bytes::from_static(&[255, 0]));
    within(all[0].write(name, &value)).await.unwrap();
    let read = within(all[2].read(&name[..])).await.unwrap();
    assert_eq!(read, Some(value));
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

/// Before there is a majority one update is in flight, and the others wait in the queue.
#[tokio::test]
async fn updates_in_line_share_one_operation_and_count_as_one() {
    let system = QuorumSystem::parse("processes = 3\ncrashes = 1\n").unwrap();
    for is_over in [false, true] {
        let mut builders = builders(Kind::Udp, 3);
        let mut all = Vec::new();
        for builder in &mut builders {
            let declared = if is_over {
                builder.snapshot_over(Coded::raw("snapshot"), &system)
            } else {
                builder.snapshot(Coded::raw("snapshot"))
            };
            all.push(declared.unwrap());
        }
        let mut nodes = vec![builders.remove(0).start().await.unwrap()];
        let values: Vec<_> = (0..5).map(|n| Bytes::copy_from_slice(&[n; 3])).collect();
        let updates = join_all(values.iter().map(|value| all[0].update(value)));
        let mut updates = std::pin::pin!(updates);
        assert!(futures::poll!(updates.as_mut()).is_pending());
        for builder in builders {
            nodes.push(builder.start().await.unwrap());
        }
        for updated in within(updates).await {
            updated.unwrap();
        }
        let scanned = within(all[1].scan_numbered()).await.unwrap();
        let last = values.last().cloned();
        assert_eq!(scanned, [(2, last), (0, None), (0, None)]);
        shut_down(nodes).await;
    }
}

#[tokio::test]
async fn what_needs_synchrony_or_a_writer_or_does_not_exist_is_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    for algorithm in Algorithm::all() {
        let name = algorithm.name();
        let one_writer = algorithm.has_one_writer();
        let wrong = builder.registers_with::<u64>(name, algorithm, (!one_writer).then_some(p(1)));
        match wrong {
            Err(StartError::WantsWriter(of)) => assert!(one_writer && of == name),
            Err(StartError::ManyWriters(of)) => assert!(!one_writer && of == name),
            other => panic!("{other:?}"),
        }
        let right = builder.registers_with::<u64>(name, algorithm, one_writer.then_some(p(1)));
        let refused = matches!(right, Err(StartError::NeedsPerfect(_)));
        assert_eq!(refused, algorithm.needs() == Needs::Perfect, "{name}");
    }
    let nobody = builder.registers_with::<u64>("nobody", Algorithm::MajorityVoting, Some(p(4)));
    assert!(matches!(nobody, Err(StartError::NotMember { n: 3, .. })));
    let unknown = "cash".parse::<Algorithm>().map_err(StartError::from);
    assert!(matches!(unknown, Err(StartError::UnknownRegisters(_))));
    let twice = builder.snapshot::<u64>("majority-voting");
    assert!(matches!(twice, Err(StartError::UsedTwice(_))));
    let unnamed = builder.lattice_agreement::<Union<u64>>("");
    assert!(matches!(unnamed, Err(StartError::BadName(_))));
}

#[tokio::test]
async fn a_stopped_node_ends_every_wait_and_what_waited_in_line_was_not_begun() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let registers = builder.registers::<u64>("registers").unwrap();
    let segments = builder.snapshot::<u64>("snapshot").unwrap();
    let proposer: LatticeProposer<Union<u64>> = builder.lattice_agreement("union").unwrap();
    let early = within(registers.read("a")).await;
    assert!(matches!(early, Err(MemoryError::Failed(Error::NotStarted))));
    // The other nodes are not running: nothing returns.
    let node = builder.start().await.unwrap();
    let in_vain = tokio::time::timeout(Duration::ZERO, registers.write("a", &1)).await;
    assert!(in_vain.is_err());
    let waits = registers.read_then("a", |reading| reading.value).unwrap();
    assert!(matches!(waits.withdraw(), Withdrawal::NotBegun));
    let mut in_line = registers.write_then("a", &2, |_| ()).unwrap();
    let other = registers.read_then("b", |reading| reading.value).unwrap();
    let Withdrawal::InFlight(mut in_flight) = other.withdraw() else {
        panic!("other registers do not wait");
    };
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
    let told = in_line.try_outcome();
    assert!(
        matches!(told, Some(Err(MemoryError::Failed(Error::Stopped)))),
        "{told:?}"
    );
    let told = within(&mut in_flight).await;
    assert!(
        matches!(told, Err(MemoryError::Failed(Error::OutcomeUnknown))),
        "{told:?}"
    );
    assert!(matches!(
        written,
        Err(MemoryError::Failed(Error::OutcomeUnknown))
    ));
    assert!(matches!(
        updated,
        Err(MemoryError::Failed(Error::OutcomeUnknown))
    ));
    assert!(matches!(
        decided,
        Err(MemoryError::Failed(Error::OutcomeUnknown))
    ));
    assert!(matches!(
        registers.read("c").await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
    assert!(matches!(
        segments.scan().await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
    let late = proposer.propose(&Union::default()).await;
    assert!(matches!(late, Err(MemoryError::Failed(Error::Stopped))));
}

/// The modules were wired before the links failed to start.
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
    assert!(matches!(started, Err(StartError::Link(_))), "{started:?}");
    let read = within(registers.read("a")).await;
    assert!(
        matches!(read, Err(MemoryError::Failed(Error::NotStarted))),
        "{read:?}"
    );
}

/// The operation in flight returns when there is a majority again.
#[tokio::test]
async fn what_was_given_up_in_flight_is_done_and_then_the_line_goes_on() {
    let mut builders = builders(Kind::Udp, 3);
    let mut all = Vec::new();
    for builder in &mut builders {
        all.push(builder.registers::<u64>("registers").unwrap());
    }
    let mut nodes = vec![builders.remove(0).start().await.unwrap()];
    for value in [1, 2] {
        // The first call is in flight when it is given up, the second waits in the queue.
        let in_vain = tokio::time::timeout(Duration::ZERO, all[0].write("a", &value)).await;
        assert!(in_vain.is_err());
    }
    let mut read = std::pin::pin!(all[0].read("a"));
    assert!(futures::poll!(read.as_mut()).is_pending());
    for builder in builders {
        nodes.push(builder.start().await.unwrap());
    }
    assert_eq!(within(read).await.unwrap(), Some(1));
    let idle = all[0].progress();
    assert_eq!((idle.waiting, idle.in_flight), (0, 0));
    shut_down(nodes).await;
}

/// Calls are given up at arbitrary moments.
#[tokio::test]
async fn calls_that_are_cancelled_leave_nothing_stuck() {
    let (nodes, all) = started(Kind::Udp).await;
    for round in 0..50 {
        let value = Bytes::from(format!("{round}"));
        let write = |_| all[0].write_then("a", &value, |_| ()).unwrap();
        let mut calls: Vec<_> = (0..10).map(write).collect();
        // Every second call is given up; some of these are in flight.
        let mut index = 0;
        calls.retain(|_| {
            index += 1;
            (index + round) % 2 == 0
        });
        for written in within(join_all(calls)).await {
            written.unwrap();
        }
        let read = within(all[1].read("a")).await.unwrap();
        assert_eq!(read, Some(value));
    }
    let idle = all[0].progress();
    assert_eq!((idle.waiting, idle.in_flight, idle.oldest), (0, 0, None));
    shut_down(nodes).await;
}

/// Several clients of each process use one register: they share operations, and some give up in the middle.
#[tokio::test]
async fn what_shared_operations_return_is_linearizable() {
    let (nodes, all) = started(Kind::Udp).await;
    let start = std::time::Instant::now();
    let now = || start.elapsed().as_nanos() as u64;
    let client = |number: u64| {
        let registers = &all[number as usize % 3];
        async move {
            let mut operations = Vec::new();
            for turn in 0..30 {
                let invoked = now();
                let value = number << 32 | turn;
                let (action, is_done) = if (number + turn).is_multiple_of(3) {
                    let bytes = Bytes::copy_from_slice(&value.to_be_bytes());
                    let gives_up = (number + turn).is_multiple_of(5);
                    if gives_up {
                        drop(registers.write_then("a", &bytes, |_| ()).unwrap());
                    } else {
                        within(registers.write("a", &bytes)).await.unwrap();
                    }
                    (history::Action::Write(value), !gives_up)
                } else {
                    let read = within(registers.read("a")).await.unwrap();
                    let value = read.map(|value| u64::from_be_bytes(value[..].try_into().unwrap()));
                    (history::Action::Read(value), true)
                };
                operations.push(history::Operation {
                    process: number,
                    action,
                    invoked,
                    returned: is_done.then(now),
                    tag: None,
                });
            }
            operations
        }
    };
    let operations = join_all((0..9).map(client)).await.concat();
    assert_eq!(operations.len(), 9 * 30);
    linearizable::check_register(&operations).unwrap();
    shut_down(nodes).await;
}

#[tokio::test]
async fn updates_scans_and_proposals_wait_for_each_other() {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for mut builder in builders(Kind::Udp, 3) {
        all.push((
            builder.snapshot::<u64>("snapshot").unwrap(),
            builder.lattice_agreement::<Union<u64>>("union").unwrap(),
        ));
        nodes.push(builder.start().await.unwrap());
    }
    let (segments, proposer) = &all[0];
    let numbers: Vec<u64> = (0..20).collect();
    let updates = join_all(numbers.iter().map(|number| segments.update(number)));
    let scans = join_all(numbers.iter().map(|_| segments.scan()));
    let (updated, scanned) = within(futures::future::join(updates, scans)).await;
    for updated in updated {
        updated.unwrap();
    }
    for scan in scanned {
        assert_eq!(scan.unwrap()[0], Some(19));
    }
    let proposals: Vec<_> = numbers
        .iter()
        .map(|number| Union([*number].into()))
        .collect();
    let decided = join_all(proposals.iter().map(|value| proposer.propose(value)));
    for (decided, value) in within(decided).await.into_iter().zip(&proposals) {
        assert!(value.is_at_most(&decided.unwrap()));
    }
    let idle = [segments.progress(), proposer.progress()];
    assert!(idle.iter().all(|it| it.waiting + it.in_flight == 0));
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
    assert!(matches!(
        refused,
        Err(MemoryError::Failed(Error::TooLarge { limit: 1024, .. }))
    ));
    let refused = words.read(&format!("{long}y")).await;
    assert!(matches!(
        refused,
        Err(MemoryError::Failed(Error::TooLarge { size: 1025, .. }))
    ));
    assert_eq!(within(words.read(&long)).await.unwrap(), None);
    let refused = segments.update(&long[..500].to_owned()).await;
    assert!(matches!(
        refused,
        Err(MemoryError::Failed(Error::TooLarge { limit: 492, .. }))
    ));
    within(segments.update(&long[..400].to_owned()))
        .await
        .unwrap();
    // A proposal is joined to the earlier proposals.
    let value = |key: u64| Maxima(BTreeMap::from([(key, long[..300].to_owned())]));
    within(proposer.propose(&value(1))).await.unwrap();
    let refused = proposer.propose(&value(2)).await;
    assert!(
        matches!(refused, Err(MemoryError::Failed(Error::TooLarge { .. }))),
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
    assert!(matches!(read, Err(MemoryError::UndecodableValue(name)) if name == "a"));
    let scanned = within(numbers[0].1.scan()).await;
    assert!(matches!(scanned, Err(MemoryError::UndecodableSegment { of }) if of == p(1)));
    shut_down(nodes).await;
}
