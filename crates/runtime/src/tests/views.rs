//! Groups with primary views over sockets, whose processes are killed and started again.
use super::{
    node::{Kind, within},
    replicated::{Bank, bind, deposit, free, kill},
    *,
};
use crate::{
    Event, Events, Group, Node,
    node::{GroupOrder, Lost, Replicated},
};
use futures::StreamExt;
use quorate_core::{
    ProcessSet,
    wire::{decode_value, encode_value},
};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{sync::watch, task::JoinHandle};

/// What a member knows of the group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Known {
    store: BTreeSet<u64>,
    members: ProcessSet,
    /// Whether it is outside, and how often it has joined.
    is_outside: bool,
    states: usize,
}

/// A process with a group, and a user that keeps the group's messages, and joins whenever it is outside.
struct Process {
    node: Node,
    group: Group<u64>,
    bank: Replicated<Bank>,
    known: watch::Receiver<Known>,
    lost: Arc<Mutex<Vec<Lost<u64>>>>,
    reader: JoinHandle<()>,
}

async fn read(
    group: Group<u64>,
    mut events: Events<u64>,
    known: watch::Sender<Known>,
    lost: Arc<Mutex<Vec<Lost<u64>>>>,
) {
    while let Some(event) = events.next().await {
        match event.unwrap() {
            Event::View { view, .. } => known.send_modify(|known| {
                (known.members, known.is_outside) = (view.members, false);
            }),
            Event::Deliver(delivery) => known.send_modify(|known| {
                assert!(known.store.insert(delivery.message), "twice");
            }),
            Event::StateWanted(wanted) => {
                let state = encode_value(&known.borrow().store).unwrap();
                wanted.give(state).unwrap();
            }
            Event::State(state) => known.send_modify(|known| {
                known.store = decode_value(&state).unwrap();
                known.states += 1;
            }),
            Event::Excluded { .. } => {
                known.send_modify(|known| known.is_outside = true);
                group.join();
            }
            Event::Lost(message) => lost.lock().unwrap().push(message),
            Event::Left { .. } => known.send_modify(|known| known.is_outside = true),
        }
    }
}

async fn start_group(kind: Kind, rank: usize, peers: &[SocketAddr]) -> Process {
    start_group_with(kind, rank, peers, |_| {}).await
}

/// Does this with the group before the node starts.
async fn start_group_with(
    kind: Kind,
    rank: usize,
    peers: &[SocketAddr],
    before: impl FnOnce(&Group<u64>),
) -> Process {
    let mut builder = bind(kind, rank, peers);
    let (group, events) = builder.views("group").unwrap();
    let bank = builder.replicated("bank", Bank::default()).unwrap();
    before(&group);
    let node = within(builder.start()).await.unwrap();
    let (told, known) = watch::channel(Known::default());
    let lost = Arc::<Mutex<Vec<_>>>::default();
    let reader = tokio::spawn(read(group.clone(), events, told, lost.clone()));
    Process {
        node,
        group,
        bank,
        known,
        lost,
        reader,
    }
}

impl Process {
    async fn knows(&mut self, what: impl FnMut(&Known) -> bool) -> Known {
        within(self.known.wait_for(what)).await.unwrap().clone()
    }
}

/// Waits until every process is a member and has these numbers.
async fn together(processes: &mut [Process], numbers: &BTreeSet<u64>) {
    for process in processes {
        let all = |known: &Known| known.members.len() == 3 && known.store == *numbers;
        process.knows(all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_told_and_joins_again_with_the_state() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let mut processes = Vec::new();
        for rank in 1..=3 {
            processes.push(start_group(kind, rank, &peers).await);
        }
        together(&mut processes, &BTreeSet::new()).await;
        within(processes[2].group.broadcast(1)).await.unwrap();
        processes[2].group.leave();
        processes[2].knows(|known| known.is_outside).await;
        processes[0].knows(|known| known.members.len() == 2).await;
        within(processes[0].group.deliver(2)).await.unwrap();
        let known = processes[1].knows(|known| known.store.len() == 2).await;
        assert_eq!(known.store, BTreeSet::from([1, 2]));
        assert_eq!(processes[2].known.borrow().store, BTreeSet::from([1]));
        processes[2].group.join();
        together(&mut processes, &BTreeSet::from([1, 2])).await;
        for process in &processes {
            assert!(process.lost.lock().unwrap().is_empty());
            within(process.node.shutdown()).await.unwrap();
        }
    }
}

/// The third process asks before its node starts, and then as soon as it has, when it is not admitted yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_to_leave_before_the_first_view_is_kept() {
    for before_the_start in [true, false] {
        let peers = free(Kind::Udp);
        let leave = |group: &Group<u64>| {
            if before_the_start {
                group.leave();
            }
        };
        // The others are not there yet: nobody admits it.
        let third = start_group_with(Kind::Udp, 3, &peers, leave).await;
        if !before_the_start {
            third.group.leave();
        }
        let mut processes = vec![
            start_group(Kind::Udp, 1, &peers).await,
            start_group(Kind::Udp, 2, &peers).await,
            third,
        ];
        processes[2].knows(|known| known.is_outside).await;
        processes[0].knows(|known| known.members.len() == 2).await;
        within(processes[0].group.deliver(1)).await.unwrap();
        processes[2].group.join();
        together(&mut processes, &BTreeSet::from([1])).await;
        for process in &processes {
            within(process.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_rolling_restarts_and_each_joins_again_and_gets_the_state() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let mut processes = Vec::new();
        for rank in 1..=3 {
            processes.push(start_group(kind, rank, &peers).await);
        }
        let mut numbers = BTreeSet::new();
        for round in 0..3_u64 {
            for (process, place) in processes.iter().zip(0..) {
                for number in 0..5 {
                    let number = 100 * round + 10 * place + number;
                    within(process.group.broadcast(number)).await.unwrap();
                    numbers.insert(number);
                }
                deposit(&process.bank, "all", 1).await;
            }
            together(&mut processes, &numbers).await;
            let victim = round as usize;
            let gone = processes.remove(victim);
            kill(gone.node).await;
            within(gone.reader).await.unwrap();
            let mut again = start_group(kind, victim + 1, &peers).await;
            let known = again.knows(|known| known.states == 1).await;
            assert_eq!(known.store, numbers, "{victim}");
            processes.insert(victim, again);
            together(&mut processes, &numbers).await;
        }
        for process in &processes {
            assert!(process.lost.lock().unwrap().is_empty());
            within(process.node.shutdown()).await.unwrap();
        }
    }
}

/// A process whose channels are cut goes on broadcasting: the others exclude it, and it gets its messages
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_else_will_hear_is_given_back_to_who_was_cut_off() {
    let peers = free(Kind::Udp);
    let mut processes = Vec::new();
    for rank in 1..=3 {
        processes.push(start_group(Kind::Udp, rank, &peers).await);
    }
    together(&mut processes, &BTreeSet::new()).await;
    for other in [1, 2] {
        processes[2].node.faults().cut(p(other));
    }
    for number in 1..=20 {
        within(processes[2].group.broadcast(number)).await.unwrap();
    }
    let without = |known: &Known| known.members.len() == 2;
    processes[0].knows(without).await;
    within(processes[0].group.broadcast(100)).await.unwrap();
    processes[2].node.faults().heal();
    together(&mut processes, &BTreeSet::from([100])).await;
    let lost = processes[2].lost.lock().unwrap().clone();
    assert!(lost.iter().map(|lost| lost.message).eq(1..=20), "{lost:?}");
    for process in &processes {
        within(process.node.shutdown()).await.unwrap();
    }
}

#[tokio::test]
async fn views_work_over_an_order_that_puts_nobody_into_a_seat() {
    let peers = free(Kind::Udp);
    let (mut nodes, mut groups) = (Vec::new(), Vec::new());
    for rank in 1..=3 {
        let mut builder = bind(Kind::Udp, rank, &peers).group_order(GroupOrder::ByConsensus);
        groups.push(builder.views::<u64>("group").unwrap());
        nodes.push(within(builder.start()).await.unwrap());
    }
    for (group, events) in &mut groups {
        let first = within(events.next()).await.unwrap().unwrap();
        assert!(matches!(first, Event::View { view, .. } if view.members.len() == 3));
        within(group.deliver(7)).await.unwrap();
    }
    // Before all three have met, no two of them may go on alone.
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    kill(nodes.remove(2)).await;
    for (_, events) in &mut groups[..2] {
        loop {
            if let Event::View { view, .. } = within(events.next()).await.unwrap().unwrap() {
                assert!(view.members.iter().eq([p(1), p(2)]));
                break;
            }
        }
    }
}

/// The first member drops its events, and with them every request for its state.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_events_gives_no_state_and_the_next_member_does() {
    let peers = free(Kind::Udp);
    let mut builder = bind(Kind::Udp, 1, &peers);
    let (_, events) = builder.views::<u64>("group").unwrap();
    let _bank = builder.replicated("bank", Bank::default()).unwrap();
    drop(events);
    let first = within(builder.start()).await.unwrap();
    let mut processes = Vec::new();
    for rank in 2..=3 {
        processes.push(start_group(Kind::Udp, rank, &peers).await);
    }
    let numbers = BTreeSet::from([7]);
    within(processes[0].group.broadcast(7)).await.unwrap();
    together(&mut processes, &numbers).await;
    let gone = processes.pop().unwrap();
    kill(gone.node).await;
    processes.push(start_group(Kind::Udp, 3, &peers).await);
    together(&mut processes, &numbers).await;
    assert_eq!(processes[1].known.borrow().states, 1);
    for process in &processes {
        within(process.node.shutdown()).await.unwrap();
    }
    within(first.shutdown()).await.unwrap();
}
