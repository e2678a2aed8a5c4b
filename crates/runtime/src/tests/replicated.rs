//! Replicated machines over sockets, whose processes are started again one after the other.
use super::{
    node::{Kind, builders, within},
    *,
};
use crate::{
    Broadcaster, Builder, Deliveries, Error, Node, ProposeError, StartError, StreamError,
    choice::Consensus,
    node::{
        Alone, ChannelState, Chunk, Coded, GroupOrder, Items, Machine, Replicated, SubmitError,
        Unreadable,
    },
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use quorate_abstractions::reconfigurable::View;
use quorate_core::message::Origin;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

/// The balance of each customer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Bank {
    accounts: BTreeMap<String, u64>,
    /// The position of the last applied command; positions must grow.
    last: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Command {
    Deposit(String, u64),
    Crash,
}

impl Machine for Bank {
    type Command = Command;
    type Reply = u64;

    fn apply(&mut self, position: u64, _: ProcessId, command: Command) -> u64 {
        assert!(position > self.last);
        self.last = position;
        match command {
            Command::Deposit(name, amount) => {
                let balance = self.accounts.entry(name).or_default();
                *balance += amount;
                *balance
            }
            Command::Crash => panic!("as it was told"),
        }
    }

    fn snapshot(&self) -> View {
        let last = (String::new(), self.last);
        Items::view(std::iter::once(last).chain(self.accounts.clone()))
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        for (name, amount) in chunk.items::<(String, u64)>()? {
            if name.is_empty() {
                self.last = amount;
            } else {
                self.accounts.insert(name, amount);
            }
        }
        Ok(())
    }
}

/// A process of three, with two machines and a plain total order.
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) bank: Replicated<Bank>,
    other: Replicated<Bank>,
    pub(super) news: Broadcaster<u64>,
    read: Deliveries<u64>,
}

pub(super) fn bind(kind: Kind, rank: usize, peers: &[SocketAddr]) -> Builder {
    let builder = Node::builder(p(rank), peers.to_vec()).on_panic(OnPanic::End);
    match kind {
        Kind::Udp => builder.udp(peers[rank - 1]),
        Kind::Tcp => builder.tcp(peers[rank - 1]),
    }
}

pub(super) async fn start(mut builder: Builder) -> Process {
    let bank = builder.replicated("bank", Bank::default()).unwrap();
    let other = builder.replicated("other", Bank::default()).unwrap();
    let (news, read) = builder.total_order("news").unwrap();
    Process {
        node: within(builder.start()).await.unwrap(),
        bank,
        other,
        news,
        read,
    }
}

/// Ends a node at once, and waits until its socket is free.
pub(super) async fn kill(node: Node) {
    node.host().shared.stop();
    within(node.ended()).await;
}

/// Addresses that were free just now.
pub(super) fn free(kind: Kind) -> Vec<SocketAddr> {
    let free = || match kind {
        Kind::Udp => UdpSocket::bind("127.0.0.1:0").unwrap().local_addr(),
        Kind::Tcp => TcpListener::bind("127.0.0.1:0").unwrap().local_addr(),
    };
    let mut all = Vec::new();
    while all.len() < 3 {
        let address = free().unwrap();
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

pub(super) async fn deposit(bank: &Replicated<Bank>, name: &str, amount: u64) -> u64 {
    let command = Command::Deposit(name.to_owned(), amount);
    within(bank.submit(command)).await.unwrap()
}

async fn books(bank: &Replicated<Bank>) -> BTreeMap<String, u64> {
    within(bank.query(|bank| bank.accounts.clone()))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_rolling_restarts_lose_nothing_of_two_machines() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let mut processes = Vec::new();
        for rank in 1..=3 {
            processes.push(start(bind(kind, rank, &peers)).await);
        }
        let mut expected = [BTreeMap::new(), BTreeMap::new()];
        for round in 0..3_u64 {
            for (index, process) in processes.iter().enumerate() {
                let (name, amount) = (format!("p{}", index + 1), 1 + round);
                for (machine, books) in [&process.bank, &process.other]
                    .into_iter()
                    .zip(&mut expected)
                {
                    let balance = books.entry(name.clone()).or_insert(0_u64);
                    *balance += amount;
                    assert_eq!(deposit(machine, &name, amount).await, *balance);
                }
                within(process.news.broadcast(round)).await.unwrap();
            }
            // The process is killed, and started again.
            let victim = round as usize;
            kill(processes.remove(victim).node).await;
            let again = start(bind(kind, victim + 1, &peers)).await;
            let name = format!("again {round}");
            expected[0].insert(name.clone(), 7);
            assert_eq!(deposit(&again.bank, &name, 7).await, 7);
            processes.insert(victim, again);
            for process in &processes {
                assert_eq!(books(&process.bank).await, expected[0]);
                assert_eq!(books(&process.other).await, expected[1]);
            }
        }
        for process in &mut processes {
            within(process.news.broadcast(100)).await.unwrap();
        }
        // A process that was started again skips the messages that it has missed, and goes on with the
        // others.
        let mut lasts = Vec::new();
        for process in &mut processes {
            let (mut last, mut skipped) = (Vec::new(), 0);
            while last.len() < 3 {
                match within(process.read.next()).await.unwrap() {
                    Ok(delivery) if delivery.message == 100 => last.push(delivery.id),
                    Ok(_) => {}
                    Err(StreamError::Skipped { .. }) => skipped += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(skipped > 0, "all were started again");
            lasts.push(last);
        }
        assert!(lasts.iter().all(|last| *last == lasts[0]), "{lasts:?}");
        for process in processes {
            within(process.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_majority_killed_at_once_leaves_nobody_who_makes_up_an_answer() {
    let peers = free(Kind::Udp);
    let mut processes = Vec::new();
    for rank in 1..=3 {
        processes.push(start(bind(Kind::Udp, rank, &peers)).await);
    }
    assert_eq!(deposit(&processes[0].bank, "ann", 3).await, 3);
    kill(processes.remove(2).node).await;
    kill(processes.remove(1).node).await;
    let _again = [
        start(bind(Kind::Udp, 2, &peers)).await,
        start(bind(Kind::Udp, 3, &peers)).await,
    ];
    let command = Command::Deposit("ann".into(), 1);
    let submitted = tokio::time::timeout(Duration::from_secs(3), processes[0].bank.submit(command));
    assert!(submitted.await.is_err(), "no majority has the state");
}

#[tokio::test]
async fn what_is_beside_the_order_says_that_its_process_was_started_again() {
    let peers = free(Kind::Udp);
    let declare = |builder: &mut Builder| {
        let bank = builder.replicated("bank", Bank::default()).unwrap();
        let proposer = builder
            .consensus::<u64>("choice", Consensus::LeaderDriven)
            .unwrap();
        (bank, builder.reliable::<u64>("gossip").unwrap(), proposer)
    };
    let mut nodes = Vec::new();
    for rank in 1..=3 {
        let mut builder = bind(Kind::Udp, rank, &peers);
        let handles = declare(&mut builder);
        nodes.push((within(builder.start()).await.unwrap(), handles));
    }
    let (_, (bank, (gossip, _), choice)) = &nodes[0];
    assert_eq!(deposit(bank, "ann", 1).await, 1);
    assert_eq!(within(choice.propose(1, &5)).await.unwrap(), 5);
    within(gossip.deliver(1)).await.unwrap();
    for (node, _) in &nodes {
        within(node.admitted()).await.unwrap();
    }
    kill(nodes.remove(2).0).await;
    let mut builder = bind(Kind::Udp, 3, &peers);
    let (bank, (gossip, mut heard), choice) = declare(&mut builder);
    let _again = within(builder.start()).await.unwrap();
    assert_eq!(deposit(&bank, "ann", 1).await, 2);
    assert!(matches!(
        gossip.broadcast(2).await,
        Err(Error::StartedAgain)
    ));
    assert!(matches!(
        choice.propose(2, &1).await,
        Err(ProposeError::Failed(Error::StartedAgain))
    ));
    let told = within(heard.next()).await;
    assert!(
        matches!(told, Some(Err(StreamError::Ended(Error::StartedAgain)))),
        "{told:?}"
    );
    assert!(within(heard.next()).await.is_none());
    // The others go on.
    let (_, (_, (gossip, _), choice)) = &nodes[1];
    assert_eq!(within(choice.propose(2, &6)).await.unwrap(), 6);
    within(gossip.deliver(3)).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_panics_stops_its_node_with_the_reason() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let bank = builder.replicated("bank", Bank::default()).unwrap();
    let early = bank.submit(Command::Crash).await;
    assert!(matches!(
        early,
        Err(SubmitError::NotSubmitted(Error::NotStarted))
    ));
    let node = within(builder.start()).await.unwrap();
    let crashed = within(bank.submit(Command::Crash)).await;
    assert!(
        matches!(crashed, Err(SubmitError::OutcomeUnknown)),
        "{crashed:?}"
    );
    within(node.ended()).await;
    let late = within(bank.query(|bank| bank.last)).await;
    assert!(matches!(late, Err(Error::Panicked(_))), "{late:?}");
    assert!(matches!(
        within(node.shutdown()).await,
        Err(Error::Panicked(_))
    ));
}

#[tokio::test]
async fn the_name_of_the_order_is_taken_and_other_machines_are_refused() {
    let mut builders = builders(Kind::Udp, 2);
    let mut one = builders.remove(0);
    let taken = one.replicated("group-order", Bank::default());
    assert!(matches!(taken, Err(StartError::UsedTwice(_))));
    let mut other = builders.remove(0);
    let _bank = one.replicated("bank", Bank::default()).unwrap();
    let _shop = other.replicated("shop", Bank::default()).unwrap();
    let (one, _other) = (one.start().await.unwrap(), other.start().await.unwrap());
    let mut status = one.status();
    let refused = status.wait_for(
        |now| matches!(&now.peers[1].channel, ChannelState::Refused { reason } if reason.contains("shop")),
    );
    within(refused).await.unwrap();
}

/// The handle of the present start of a process.
type Present = Arc<Mutex<Replicated<Bank>>>;

/// Deposits 1 again and again, until `stop` is cancelled. Returns the number of acknowledged deposits, and
/// of those with an unknown outcome.
async fn load(at: Present, name: String, stop: CancellationToken) -> (u64, u64) {
    let (mut acknowledged, mut unknown) = (0, 0);
    while !stop.is_cancelled() {
        let bank = at.lock().unwrap().clone();
        match bank.submit(Command::Deposit(name.clone(), 1)).await {
            Ok(_) => acknowledged += 1,
            Err(SubmitError::OutcomeUnknown) => unknown += 1,
            Err(SubmitError::NotSubmitted(_)) => tokio::task::yield_now().await,
        }
    }
    (acknowledged, unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_acknowledged_is_lost_and_a_large_state_arrives() {
    let peers = free(Kind::Udp);
    let mut processes = Vec::new();
    for rank in 1..=3 {
        processes.push(start(bind(Kind::Udp, rank, &peers)).await);
    }
    // This makes some megabytes.
    for number in 0..3000 {
        let name = format!("{number}{}", "-".repeat(1000));
        let bank = processes[number % 3].bank.clone();
        let command = Command::Deposit(name, number as u64);
        within(bank.submit(command)).await.unwrap();
    }
    let stop = CancellationToken::new();
    let (mut presents, mut clients) = (Vec::new(), Vec::new());
    for (index, process) in processes.iter().enumerate() {
        let present: Present = Arc::new(Mutex::new(process.bank.clone()));
        presents.push(present.clone());
        clients.push(tokio::spawn(load(
            present,
            format!("c{index}"),
            stop.clone(),
        )));
    }
    for (victim, present) in presents.iter().enumerate() {
        kill(processes.remove(victim).node).await;
        let again = start(bind(Kind::Udp, victim + 1, &peers)).await;
        *present.lock().unwrap() = again.bank.clone();
        assert!(books(&again.bank).await.len() >= 3000);
        processes.insert(victim, again);
    }
    stop.cancel();
    let mut counts = Vec::new();
    for client in clients {
        counts.push(within(client).await.unwrap());
    }
    let all = books(&processes[0].bank).await;
    for (index, (acknowledged, unknown)) in counts.into_iter().enumerate() {
        let balance = all[&format!("c{index}")];
        assert!(acknowledged > 0, "c{index}");
        let possible = acknowledged..=acknowledged + unknown;
        assert!(
            possible.contains(&balance),
            "c{index}: {balance} of {possible:?}"
        );
    }
    for process in &processes[1..] {
        assert_eq!(books(&process.bank).await, all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_at_a_time_and_each_term_has_a_higher_fence() {
    let peers = free(Kind::Udp);
    let declare = |rank| {
        let mut builder = bind(Kind::Udp, rank, &peers);
        let leadership = builder.leadership("writer").unwrap();
        (builder, leadership)
    };
    let mut nodes = Vec::new();
    for rank in 1..=3 {
        let (builder, leadership) = declare(rank);
        nodes.push((within(builder.start()).await.unwrap(), leadership));
    }
    let mut fences = Vec::new();
    // Ω trusts the lowest rank: p1 leads, then p2 after p1 is killed, and p1 again when it is back.
    let first = within(nodes[0].1.acquired()).await.unwrap();
    fences.push(first.fence());
    let mut seen = nodes[2].1.holder();
    let holder = within(seen.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((holder.process, holder.fence), (p(1), first.fence()));
    assert!(!first.lost().is_cancelled());
    let (node, _) = nodes.remove(0);
    kill(node).await;
    within(first.lost().cancelled()).await;
    let second = within(nodes[0].1.acquired()).await.unwrap();
    fences.push(second.fence());
    let (builder, leadership) = declare(1);
    let again = within(builder.start()).await.unwrap();
    let third = within(leadership.acquired()).await.unwrap();
    fences.push(third.fence());
    within(second.lost().cancelled()).await;
    // A term also ends when its process claims the next one.
    let fourth = within(leadership.acquired()).await.unwrap();
    fences.push(fourth.fence());
    within(third.lost().cancelled()).await;
    assert!(fences.is_sorted_by(|one, other| one < other), "{fences:?}");
    within(again.shutdown()).await.unwrap();
    within(fourth.lost().cancelled()).await;
    assert!(matches!(
        within(leadership.acquired()).await,
        Err(Error::Stopped)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_learns_that_its_term_is_over() {
    let peers = free(Kind::Udp);
    let mut nodes = Vec::new();
    for rank in 1..=3 {
        let mut builder = bind(Kind::Udp, rank, &peers);
        let leadership = builder.leadership("writer").unwrap();
        nodes.push((within(builder.start()).await.unwrap(), leadership));
    }
    let first = within(nodes[0].1.acquired()).await.unwrap();
    for peer in [p(2), p(3)] {
        nodes[0].0.faults().cut(peer);
    }
    within(first.lost().cancelled()).await;
    let second = within(nodes[1].1.acquired()).await.unwrap();
    assert!(second.fence() > first.fence());
    nodes[0].0.faults().heal();
    let third = within(nodes[0].1.acquired()).await.unwrap();
    assert!(third.fence() > second.fence());
    within(second.lost().cancelled()).await;
    for (node, _) in nodes {
        within(node.shutdown()).await.unwrap();
    }
}

/// The applied commands with their origins, and the number of those for which a caller waited here.
#[derive(Clone, Debug, Default)]
struct Ledger {
    entries: Vec<(ProcessId, Bytes)>,
    answered: usize,
}

impl Machine for Ledger {
    type Command = Bytes;
    type Reply = usize;

    fn apply(&mut self, position: u64, origin: ProcessId, entry: Bytes) -> usize {
        self.answered += 1;
        self.apply_unanswered(position, origin, entry);
        self.entries.len()
    }

    fn apply_unanswered(&mut self, _: u64, origin: ProcessId, entry: Bytes) {
        self.entries.push((origin, entry));
    }

    fn snapshot(&self) -> View {
        Items::view([self.entries.len() as u64])
    }

    fn restore(&mut self, _: Chunk) -> Result<(), Unreadable> {
        Ok(())
    }

    /// No state can be restored by this machine.
    fn restored(&mut self) -> Result<(), Unreadable> {
        Err(Unreadable)
    }
}

fn ledger(mut builder: Builder) -> (Builder, Replicated<Ledger>) {
    let ledger = builder.replicated(Coded::raw("ledger"), Ledger::default());
    (builder, ledger.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_follow_each_other_and_only_replies_that_somebody_waits_for_are_made() {
    for order in [GroupOrder::ByLeader, GroupOrder::ByConsensus] {
        let peers = free(Kind::Udp);
        let (mut nodes, mut ledgers) = (Vec::new(), Vec::new());
        for rank in 1..=3 {
            let (builder, ledger) = ledger(bind(Kind::Udp, rank, &peers).group_order(order));
            nodes.push(within(builder.start()).await.unwrap());
            ledgers.push(ledger);
        }
        let (told, mut replies) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..100_u8 {
            let told = told.clone();
            let then = move |length| told.send((number, length)).unwrap();
            let entry = Bytes::copy_from_slice(&[number]);
            if number % 2 == 0 {
                within(ledgers[0].submit_then(entry, then)).await.unwrap();
            } else {
                let permit = within(ledgers[0].reserve()).await.unwrap();
                permit.submit_then(&entry, then).unwrap();
            }
        }
        for number in 0..100_u8 {
            let reply = within(replies.recv()).await;
            assert_eq!(reply, Some((number, usize::from(number) + 1)));
        }
        let expected: Vec<_> = (0..100_u8).map(|n| (p(1), Bytes::from(vec![n]))).collect();
        for (rank, ledger) in (1..).zip(&ledgers) {
            let seen = within(ledger.query(Ledger::clone)).await.unwrap();
            assert_eq!(seen.entries, expected);
            assert_eq!(seen.answered, if rank == 1 { 100 } else { 0 });
            assert_eq!(ledger.peek(|ledger| ledger.entries.len()), 100);
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
        let refused = ledgers[0].submit_then(Bytes::new(), drop).await;
        assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
        assert_eq!(ledgers[0].peek(|ledger| ledger.entries.len()), 100);
    }
}

/// Two processes that are declared by `declare` refuse each other, and the reason contains `named`.
async fn refuse_each_other(declare: impl Fn(usize, Builder) -> Builder, named: &str) {
    let peers = free(Kind::Udp);
    let mut nodes = Vec::new();
    for rank in 1..=2 {
        let (builder, _) = ledger(declare(rank, bind(Kind::Udp, rank, &peers)));
        nodes.push(within(builder.start()).await.unwrap());
    }
    let names_it = |channel: &ChannelState| matches!(channel, ChannelState::Refused { reason } if reason.contains(named));
    for (node, other) in nodes.iter().zip([1, 0]) {
        let mut status = node.status();
        let refused = status.wait_for(|now| names_it(&now.peers[other].channel));
        within(refused).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_whose_orders_or_programs_differ_do_not_talk_to_each_other() {
    let orders = [GroupOrder::ByLeader, GroupOrder::ByConsensus];
    let by_order = |rank: usize, builder: Builder| builder.group_order(orders[rank - 1]);
    refuse_each_other(by_order, "by-consensus").await;
    let by_version = |rank, builder: Builder| builder.application(&format!("shop {rank}"));
    refuse_each_other(by_version, "shop/2").await;
    let by_assumption = |rank, builder: Builder| {
        let bounds = quorate_detectors::exclude_on_timeout::SynchronyBounds::default();
        if rank == 1 {
            builder.assume_synchronous(bounds)
        } else {
            builder
        }
    };
    refuse_each_other(by_assumption, "synchronous").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_which_something_is_missing_stops_the_node_with_the_reason() {
    let peers = free(Kind::Udp);
    let mut nodes = Vec::new();
    let mut ledgers = Vec::new();
    for rank in 1..=3 {
        let (builder, ledger) = ledger(bind(Kind::Udp, rank, &peers));
        nodes.push(within(builder.start()).await.unwrap());
        ledgers.push(ledger);
    }
    within(ledgers[0].submit(Bytes::from_static(b"entry")))
        .await
        .unwrap();
    for node in &nodes {
        within(node.admitted()).await.unwrap();
    }
    kill(nodes.remove(2)).await;
    let (builder, again) = ledger(bind(Kind::Udp, 3, &peers));
    let node = within(builder.start()).await.unwrap();
    let admitted = within(node.admitted()).await;
    assert!(
        matches!(admitted, Err(Error::UnreadableState)),
        "{admitted:?}"
    );
    within(node.ended()).await;
    let ended = within(node.shutdown()).await;
    assert!(matches!(ended, Err(Error::UnreadableState)), "{ended:?}");
    let refused = within(again.submit(Bytes::new())).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn without_a_node_commands_wait_until_they_are_told_to_be_applied() {
    let me = Origin {
        process: p(1),
        incarnation: Incarnation(1),
    };
    let (bank, mut order) = Alone::typed(me, Bank::default(), 2);
    let deposit = |amount| Command::Deposit("ann".to_owned(), amount);
    let (told, mut replies) = tokio::sync::mpsc::unbounded_channel();
    for amount in [3, 4] {
        let told = told.clone();
        let then = move |balance| told.send(balance).unwrap();
        bank.submit_then(deposit(amount), then).await.unwrap();
    }
    let third = bank.submit_then(deposit(5), |_| {});
    assert!(third.now_or_never().is_none(), "the window is full");
    assert_eq!(order.waiting(), 2);
    order.apply_next().await;
    assert_eq!(replies.try_recv(), Ok(3));
    // A state that includes the second command, whose outcome stays unknown.
    let (other, mut elsewhere) = Alone::typed(me, Bank::default(), 2);
    elsewhere.apply_of(me, 1, &deposit(10)).unwrap();
    order.restore(elsewhere.snapshot(), 2).unwrap();
    assert!(replies.try_recv().is_err());
    assert_eq!(bank.peek(|bank| bank.accounts["ann"]), 10);
    assert_eq!(bank.pending(), 0);
    let query = other.query(|bank| bank.accounts["ann"]);
    let (asked, ()) = tokio::join!(query, elsewhere.apply_next());
    assert_eq!(asked.unwrap(), 10);
    let lost = tokio::spawn({
        let bank = bank.clone();
        async move { bank.submit(deposit(1)).await }
    });
    tokio::task::yield_now().await;
    order.stop();
    let lost = lost.await.unwrap();
    assert!(matches!(lost, Err(SubmitError::OutcomeUnknown)), "{lost:?}");
}
