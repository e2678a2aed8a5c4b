//! Shared memory and consensus over a quorum-system file, over real sockets with channels that are cut in one
//! direction.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Error, LatticeProposer, MemoryError, Node, ProposeError, Proposer, QuorumSystem, Registers,
    Segments, StartError, Written,
    faults::{Direction, Fault},
};
use bytes::Bytes;
use futures::future::join_all;
use quorate_abstractions::lattice::Union;
use quorate_quorums::{
    file,
    marks::{Mark, Marks},
};
use quorate_stacks::quorum_system::Access;
use std::sync::Arc;

const FIVE: &str = include_str!("../../../../config/quorums/five.toml");

struct Member {
    node: Node,
    registers: Registers<String>,
    segments: Segments<u64>,
    joined: LatticeProposer<Union<u64>>,
    lots: Proposer<String>,
}

async fn started(kind: Kind, n: usize, system: &QuorumSystem) -> Vec<Member> {
    let mut members = Vec::new();
    for mut builder in builders(kind, n) {
        members.push(Member {
            registers: builder.registers_over("registers", system).unwrap(),
            segments: builder.snapshot_over("snapshot", system).unwrap(),
            joined: builder.lattice_agreement_over("joined", system).unwrap(),
            lots: builder.consensus_over("lots", system).unwrap(),
            node: builder.start().await.unwrap(),
        });
    }
    // The channels must have worked in both directions once.
    for member in &members {
        let mut status = member.node.status();
        let all = status.wait_for(|now| now.connected().len() == n - 1);
        within(all).await.unwrap();
    }
    members
}

/// Each of the two reads the other's writes, and both decide the same value.
async fn work_together(one: &Member, other: &Member, from: u64) {
    share(one, other, from).await;
    for number in from..from + 3 {
        let value = format!("value {number}");
        let decided = within(one.lots.propose(number, &value)).await.unwrap();
        assert_eq!(decided, value);
        let too_late = within(other.lots.propose(number, &"late".to_owned())).await;
        assert_eq!(too_late.unwrap(), value);
    }
    // In each of the next two instances only one process proposes.
    for (instance, member) in [(from + 3, other), (from + 4, one)] {
        let value = format!("by {}", member.node.me());
        let decided = within(member.lots.propose(instance, &value)).await.unwrap();
        assert_eq!(decided, value);
        assert_eq!(within(one.lots.decision(instance)).await.unwrap(), value);
    }
}

async fn share(one: &Member, other: &Member, number: u64) {
    let value = format!("value {number}");
    within(one.registers.write("a", &value)).await.unwrap();
    let read = within(other.registers.read("a")).await.unwrap();
    assert_eq!(read, Some(value));
    within(one.segments.update(&number)).await.unwrap();
    let scan = within(other.segments.scan()).await.unwrap();
    assert!(scan.contains(&Some(number)), "{scan:?}");
    let joined = Union([number].into());
    within(one.joined.propose(&joined)).await.unwrap();
    let seen = within(other.joined.propose(&Union::default()))
        .await
        .unwrap();
    assert!(seen.0.contains(&number), "{seen:?}");
}

/// Applies a failure pattern of the file: its channels fail, each in the given direction, and its processes
/// crash.
fn befall(members: &mut Vec<Member>, index: usize) {
    let described = file::parse(FIVE).unwrap();
    let pattern = &described.system.patterns[index];
    for (from, to) in pattern.channels() {
        let faults = members[to.index()].node.faults();
        faults.set(from, Direction::Incoming, Fault::cut());
    }
    members.retain(|member| !pattern.crash.contains(member.node.me()));
}

/// Pattern f1: p5 crashes, p1 and p2 hear each other, p1 hears p3 and p4, which hear nobody.
async fn go_on_under_f1(kind: Kind) {
    let system = QuorumSystem::parse(FIVE).unwrap();
    let mut members = started(kind, 5, &system).await;
    // Before the failures every process takes part.
    let before = "before".to_owned();
    let decided = within(members[4].lots.propose(1, &before)).await.unwrap();
    assert_eq!(decided, before);
    within(members[4].registers.write("before", &before))
        .await
        .unwrap();
    befall(&mut members, 0);
    let read = within(members[1].registers.read("before")).await.unwrap();
    assert_eq!(read, Some(before));
    work_together(&members[0], &members[1], 2).await;
    for member in members {
        within(member.node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn memory_and_consensus_go_on_under_one_way_cuts_over_udp() {
    go_on_under_f1(Kind::Udp).await;
}

#[tokio::test]
async fn memory_and_consensus_go_on_under_one_way_cuts_over_tcp() {
    go_on_under_f1(Kind::Tcp).await;
}

#[tokio::test]
async fn classical_access_serves_the_same_handles() {
    let majorities = "processes = 3\ncrashes = 1\n[quorums]\nreads = 2\nwrites = 2\n";
    let system = QuorumSystem::parse(majorities).unwrap();
    let system = system.accessed(Access::Classical);
    let mut members = started(Kind::Udp, 3, &system).await;
    drop(members.remove(0));
    work_together(&members[0], &members[1], 1).await;
}

#[tokio::test]
async fn a_state_is_set_and_got_through_quorums_by_calls_that_overlap() {
    let system = QuorumSystem::parse("processes = 3\ncrashes = 1\n").unwrap();
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for mut builder in builders(Kind::Udp, 3) {
        let access = builder.quorum_access("marks", &system, Marks::default());
        all.push(access.unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    let sets = (0..9).map(|mark| all[usize::from(mark) % 3].set(Mark(mark)));
    for set in within(join_all(sets)).await {
        set.unwrap();
    }
    drop(nodes.pop());
    let gets = within(join_all([all[0].get(), all[1].get()])).await;
    for states in gets {
        let states = states.unwrap();
        let marks = states.iter().fold(0, |marks, Marks(more)| marks | more);
        assert_eq!(marks, 0b1_1111_1111, "{states:?}");
    }
    for node in nodes {
        within(node.shutdown()).await.unwrap();
    }
    assert!(matches!(
        all[0].get().await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let system = QuorumSystem::parse("processes = 1\ncrashes = 0\n").unwrap();
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let five = QuorumSystem::parse(FIVE).unwrap();
    let other = builder.registers_over::<u64>("registers", &five);
    assert!(matches!(
        other,
        Err(StartError::QuorumSystemSize { own: 5, n: 1 })
    ));
    let registers = builder
        .registers_over::<Vec<u8>>("registers", &system)
        .unwrap();
    let lots = builder.consensus_over::<Vec<u8>>("lots", &system).unwrap();
    let node = builder.start().await.unwrap();
    let large = vec![7; 40 << 10];
    within(registers.write("a", &large)).await.unwrap();
    let full = within(registers.write("b", &large)).await;
    assert!(
        matches!(full, Err(MemoryError::StoreFull { .. })),
        "{full:?}"
    );
    // The value fits in place of the present one.
    within(registers.write("a", &vec![8; 40 << 10]))
        .await
        .unwrap();
    within(registers.write("b", &vec![7; 20 << 10]))
        .await
        .unwrap();
    let long = within(lots.propose(1, &large)).await;
    assert!(
        matches!(long, Err(ProposeError::Failed(Error::TooLarge { .. }))),
        "{long:?}"
    );
    within(node.shutdown()).await.unwrap();

    let mut builder = builders(Kind::Udp, 1).remove(0).datagram(600);
    builder.registers_over::<u64>("registers", &system).unwrap();
    let short = builder.start().await;
    assert!(matches!(short, Err(StartError::ShortDatagram { .. })));
}

#[tokio::test]
async fn who_observes_registers_is_told_of_what_all_processes_write() {
    let system = QuorumSystem::parse("processes = 3\ncrashes = 1\n").unwrap();
    for system in [None, Some(&system)] {
        let (mut nodes, mut all, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for mut builder in builders(Kind::Udp, 3) {
            let (told, writes) = tokio::sync::mpsc::unbounded_channel();
            let written: Written = Arc::new(move |name, tag, length| {
                // At the end nobody listens any more.
                let _ = told.send((name.clone(), tag.writer, length));
            });
            let observed = builder.registers_observed("registers", system, written);
            all.push(observed.unwrap());
            seen.push(writes);
            nodes.push(builder.start().await.unwrap());
        }
        let value = Bytes::from_static(b"four");
        within(all[1].write("a", &value)).await.unwrap();
        assert_eq!(within(all[2].read("a")).await.unwrap(), Some(value));
        for writes in &mut seen {
            let first = within(writes.recv()).await;
            assert_eq!(first, Some(("a".into(), Some(p(2)), 4)));
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}
