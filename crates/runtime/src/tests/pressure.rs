//! Obedient senders wait for each broadcast: then no process falls behind for good, however much they send,
//! and whatever keeps the others from receiving it.
use super::{
    TIMEOUT, Tag,
    node::{Kind, builders, within},
    p, start,
};
use crate::{
    Broadcaster, Builder, Deliveries, Error, Node, StreamError, TryBroadcastError,
    backlog::{AtTheLimit, Meter},
    node::NodeStatus,
};
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use quorate_abstractions::{best_effort, link::Links, pressure::Wait};
use quorate_broadcast::best_effort::over;
use quorate_core::{Addr, Layer, MessageId, ProcessId};
use quorate_stacks::broadcasts::{Broadcast, Delivery, Needs, TOTAL_ORDER};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The most bytes that may wait for a user in these tests.
const BACKLOG: usize = 4 << 20;
/// The most bytes that three senders may have sent and that some user has not read. For each sender: 4 MiB
/// in flight, 9 MiB (8 MiB and a message) that each of two peers has not acknowledged, and 9 MiB not
/// acknowledged to a relay in its place. In addition, the backlog of each user.
const OUTSTANDING: usize = 3 * (4 + 3 * 9) * (1 << 20) + 3 * BACKLOG;

/// The reason why the others cannot receive everything at once.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Scene {
    Nothing,
    /// The user of p3 reads this many bytes per second.
    SlowReader(usize),
    /// The protocol thread of p3 stands still for this time.
    Stopped(Duration),
    /// Nothing passes between p2 and p3 for this time.
    PairCut(Duration),
}

struct Run {
    kind: Kind,
    /// `None`: best-effort.
    broadcast: Option<Broadcast>,
    length: usize,
    scene: Scene,
    /// The time at which the senders stop.
    time: Duration,
    messages: u64,
}

struct Member {
    node: Node,
    news: Broadcaster<String>,
    reading: Reading,
}

/// What a member has read.
#[derive(Clone, Default)]
pub(super) struct Reading {
    count: Arc<AtomicU64>,
    /// The error that was delivered instead of a message: then reading has ended.
    failed: Arc<Mutex<Option<StreamError>>>,
}

impl Reading {
    /// The number of messages that were read.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    fn failed(&self) -> Option<StreamError> {
        self.failed.lock().unwrap().clone()
    }
}

impl Run {
    fn declare(&self, builder: &mut Builder) -> (Broadcaster<String>, Deliveries<String>) {
        match self.broadcast {
            None => builder.best_effort("news").unwrap(),
            Some(broadcast) => builder.broadcast("news", broadcast).unwrap(),
        }
    }

    /// Whether a process that is too late may skip messages that it has missed, as their identifiers show.
    fn may_skip(&self) -> bool {
        self.broadcast == Some(TOTAL_ORDER)
    }

    async fn start(&self) -> Vec<Member> {
        let mut members = Vec::new();
        for (rank, builder) in (1..).zip(builders(self.kind, 3)) {
            let mut builder = builder.backlog(BACKLOG);
            let (news, deliveries) = self.declare(&mut builder);
            let rate = match self.scene {
                Scene::SlowReader(rate) if rank == 3 => rate,
                _ => usize::MAX,
            };
            members.push(Member {
                node: builder.start().await.unwrap(),
                news,
                reading: read(deliveries, rate, self.may_skip()),
            });
        }
        members
    }

    /// Every process sends as much as it may, and in the end every process has read everything. Returns the
    /// number of messages that each has sent.
    async fn holds(&self) -> u64 {
        let members = self.start().await;
        // A group is formed only when all have met.
        for member in &members {
            let mut status = member.node.status();
            within(status.wait_for(|now| now.connected().len() == 2))
                .await
                .unwrap();
        }
        self.begin(&members);
        let sent: Arc<AtomicU64> = Arc::default();
        let end = Instant::now() + self.time;
        let senders = members.iter().map(|member| {
            let (news, sent) = (member.news.clone(), sent.clone());
            let (message, messages) = ("x".repeat(self.length), self.messages);
            tokio::spawn(async move {
                let mut number = 0;
                while Instant::now() < end && number < messages {
                    let id = news.broadcast(message.clone()).await.unwrap();
                    number += 1;
                    assert_eq!(id.sequence, number);
                    sent.fetch_add(1, Relaxed);
                }
                number
            })
        });
        let senders = tokio::spawn(join_all(senders.collect::<Vec<_>>()));
        let mut most = 0;
        while !senders.is_finished() {
            healthy(&members);
            // Read before the counts of the readers: otherwise messages that pass between the two looks
            // would count as held.
            let sent = sent.load(Relaxed);
            let read = members.iter().map(|member| member.reading.count());
            let mut read: Vec<u64> = read.collect();
            read.sort_unstable();
            // If a majority is enough, the last process may be far behind.
            let least = read[usize::from(self.may_skip())];
            most = most.max(sent.saturating_sub(least));
            sleep(Duration::from_millis(2)).await;
        }
        let numbers = senders.await.unwrap();
        let total: u64 = numbers.into_iter().map(Result::unwrap).sum();
        for member in &members {
            let end = Instant::now() + TIMEOUT;
            while member.reading.count() < total {
                healthy(&members);
                let late = Instant::now() > end;
                assert!(!late, "not read of {total}: {}", explained(&members));
                sleep(Duration::from_millis(2)).await;
            }
            // A cut may outlast the senders: it heals, and no process stays outside.
            let mut status = member.node.status();
            within(status.wait_for(|now| now.connected().len() == 2))
                .await
                .unwrap();
        }
        // A message costs some bytes in addition to its length.
        let outstanding = most as usize * (self.length + 64);
        assert!(outstanding <= OUTSTANDING, "{outstanding} bytes are held");
        for member in members {
            member.node.shutdown().await.unwrap();
        }
        total
    }

    fn begin(&self, members: &[Member]) {
        match self.scene {
            Scene::Nothing | Scene::SlowReader(_) => {}
            Scene::Stopped(time) => {
                let host = members[2].node.host();
                let still = move |_, _: &mut _| std::thread::sleep(time);
                start(host, "still", still, |_| ()).send(Tag(0));
            }
            Scene::PairCut(time) => {
                let faults = members[1].node.faults().clone();
                faults.cut(p(3));
                tokio::spawn(async move {
                    sleep(time).await;
                    faults.heal();
                });
            }
        }
    }
}

/// No reader lags, and no channel loses anything.
fn healthy(members: &[Member]) {
    let mut failures = members.iter().map(|member| member.reading.failed());
    let failure = failures.find_map(|failure| failure);
    assert!(failure.is_none(), "{failure:?}: {}", explained(members));
}

/// The counters of each member.
fn explained(members: &[Member]) -> String {
    let each = members.iter().map(|member| {
        let (read, failed) = (member.reading.count(), member.reading.failed());
        let counts = member.node.counters().snapshot();
        let counts = counts.iter().filter(|(_, _, count)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(module, reason, count)| format!("{module}: {count} {reason}"))
            .collect();
        let slowed = member.node.status().borrow().slowed.clone();
        format!("read {read}, {failed:?}, {slowed:?}, {}", counts.join("; "))
    });
    each.collect::<Vec<_>>().join("\n")
}

/// Reads everything, at this many bytes per second, and counts it. Skipped messages count too, if they are
/// allowed (`may`).
pub(super) fn read(mut deliveries: Deliveries<String>, rate: usize, may: bool) -> Reading {
    let reading = Reading::default();
    let counted = reading.clone();
    tokio::spawn(async move {
        let mut owed = Duration::ZERO;
        let mut latest: BTreeMap<ProcessId, u64> = BTreeMap::new();
        while let Some(delivery) = deliveries.next().await {
            let (id, length) = match delivery {
                Ok(delivery) => (delivery.id, delivery.message.len()),
                Err(StreamError::Skipped { next }) if may => {
                    let sequence = next.sequence - 1;
                    (MessageId { sequence, ..next }, 0)
                }
                Err(error) => {
                    *counted.failed.lock().unwrap() = Some(error);
                    return;
                }
            };
            let number = latest.entry(id.origin.process).or_default();
            let before = std::mem::replace(number, id.sequence);
            let more = if may { *number - before } else { 1 };
            counted.count.fetch_add(more, Relaxed);
            if rate < usize::MAX {
                owed += Duration::from_secs_f64(length as f64 / rate as f64);
                if owed > Duration::from_millis(5) {
                    sleep(std::mem::take(&mut owed)).await;
                }
            }
        }
    });
    reading
}

/// A run of one or two seconds.
fn short(kind: Kind, broadcast: Option<Broadcast>, length: usize, scene: Scene) -> Run {
    Run {
        kind,
        broadcast,
        length,
        scene,
        time: Duration::from_secs(2),
        messages: u64::MAX,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn best_effort_waits_for_a_slow_reader() {
    let scene = Scene::SlowReader(4 << 20);
    short(Kind::Udp, None, 1024, scene).holds().await;
    short(Kind::Tcp, None, 1 << 20, scene).holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reliable_broadcast_waits_for_the_queue_of_a_relay() {
    let scene = Scene::PairCut(Duration::from_millis(1500));
    let eager = Some(Broadcast::Eager);
    short(Kind::Udp, eager, 256 * 1024, scene).holds().await;
    short(Kind::Tcp, eager, 64, scene).holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn total_order_goes_on_without_a_stopped_process_and_takes_it_along_again() {
    let scene = Scene::Stopped(Duration::from_millis(700));
    let order = Some(TOTAL_ORDER);
    short(Kind::Udp, order, 1024, scene).holds().await;
    short(Kind::Tcp, order, 256 * 1024, Scene::Nothing)
        .holds()
        .await;
}

/// All runs: every broadcast that does not exclude processes, with short messages and long ones, over UDP
/// and TCP; or the broadcasts in the environment variable `BROADCASTS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "an hour"]
async fn obedient_senders_lose_nobody() {
    let all = Broadcast::all().filter(|broadcast| {
        // Excluded are broadcasts whose messages grow by design, and those that exclude late processes.
        let grows = [Broadcast::CausalPast, Broadcast::CausalPastUniform];
        !grows.contains(broadcast) && broadcast.needs() != Needs::Perfect
    });
    let all = std::iter::once(None).chain(all.map(Some));
    let named = std::env::var("BROADCASTS").ok();
    let is_named = |broadcast: &Option<Broadcast>| {
        let name = broadcast.map_or("best-effort", Broadcast::name);
        let mut names = named.iter().flat_map(|names| names.split(','));
        named.is_none() || names.any(|known| known == name)
    };
    let all: Vec<_> = all.filter(is_named).collect();
    let minute = Duration::from_mins(1);
    let scenes = [
        Scene::Nothing,
        Scene::SlowReader(8 << 20),
        Scene::Stopped(minute),
        Scene::PairCut(minute),
    ];
    for (kind, scene) in [Kind::Udp, Kind::Tcp]
        .into_iter()
        .flat_map(|kind| scenes.map(|scene| (kind, scene)))
    {
        for &broadcast in &all {
            for length in [64, 1024, 256 * 1024, 1 << 20] {
                let longest = scene != Scene::Nothing && length != 1024;
                if longest && !matches!(scene, Scene::SlowReader(_)) {
                    // These take a minute each: one length is enough.
                    continue;
                }
                let run = Run {
                    kind,
                    broadcast,
                    length,
                    scene,
                    time: match scene {
                        Scene::Nothing | Scene::SlowReader(_) => Duration::from_secs(10),
                        Scene::Stopped(time) | Scene::PairCut(time) => time,
                    },
                    messages: ((1 << 30) / length as u64).min(1_000_000) / 3,
                };
                let name = broadcast.map_or("best-effort", Broadcast::name);
                let sent = run.holds().await;
                println!("{name} {kind:?} {length} B, {scene:?}: {sent} messages");
            }
        }
    }
}

#[tokio::test]
async fn a_permit_is_room_and_who_tries_gets_the_message_back() {
    let builders = builders(Kind::Udp, 3).into_iter();
    // The node is alone: nothing is ever delivered.
    let mut builder = builders.map(|builder| builder.window(2)).next().unwrap();
    let (news, _deliveries) = builder.total_order::<String>("news").unwrap();
    let early = news.try_broadcast("early".to_owned());
    assert!(matches!(
        early,
        Err(TryBroadcastError::Failed(Error::NotStarted))
    ));
    let node = builder.start().await.unwrap();
    let permit = within(news.reserve()).await.unwrap();
    let id = within(news.broadcast("first".to_owned())).await.unwrap();
    assert_eq!((id.origin, id.sequence), (node.origin(), 1));
    let full = news.try_broadcast("third".to_owned());
    assert!(matches!(full, Err(TryBroadcastError::Full(back)) if back == "third"));
    assert_eq!(permit.send("second".to_owned()).unwrap().sequence, 2);
    assert_eq!(news.pending(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_says_who_slows_what() {
    let run = short(Kind::Udp, None, 64 * 1024, Scene::Nothing);
    let members = run.start().await;
    let mut status = members[0].node.status();
    within(status.wait_for(|now| now.connected().len() == 2))
        .await
        .unwrap();
    members[0].node.faults().cut(p(3));
    let news = members[0].news.clone();
    let sender = tokio::spawn(async move {
        loop {
            news.broadcast("x".repeat(64 * 1024)).await.unwrap();
        }
    });
    let by_p3 = |now: &NodeStatus| now.slowed.get("news").is_some_and(|by| by.by == p(3));
    let slowed = within(status.wait_for(by_p3)).await.unwrap().slowed["news"];
    assert!(!slowed.announced);
    assert!(slowed.owed > 4 << 20, "{slowed:?}");
    members[0].node.faults().heal();
    within(status.wait_for(|now| now.slowed.is_empty()))
        .await
        .unwrap();
    sender.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_at_both_ends_are_told_of_a_gap_and_go_on() {
    let flood: Arc<Mutex<Option<Addr<best_effort::Broadcast<Bytes>>>>> = Arc::default();
    let (mut nodes, mut handles) = (Vec::new(), Vec::new());
    for builder in builders(Kind::Udp, 2) {
        let mut builder = builder.maximum_message(64 * 1024).queue_limit(1 << 20);
        handles.push(builder.best_effort::<String>("news").unwrap());
        let port = flood.clone();
        // This sender ignores the limits.
        builder
            .module("flood", "best-effort", move |wiring| {
                let flood = over(wiring.links.lane()).attach(Addr::nowhere());
                port.lock().unwrap().get_or_insert(flood);
            })
            .unwrap();
        nodes.push(builder.start().await.unwrap());
    }
    let mut status = nodes[0].status();
    within(status.wait_for(|now| now.connected().len() == 1))
        .await
        .unwrap();
    nodes[0].faults().cut(p(2));
    let flood = flood.lock().unwrap().take().unwrap();
    // More than four times the queue limit.
    for _ in 0..200 {
        flood.send(best_effort::Broadcast(Bytes::from(vec![0; 32 * 1024])));
    }
    for (rank, (_, deliveries)) in (1..).zip(&mut handles) {
        let gap = within(deliveries.next()).await.unwrap();
        // The other end is told when it can be reached again.
        nodes[0].faults().heal();
        let other = p(3 - rank);
        assert!(
            matches!(gap, Err(StreamError::Gap { peer }) if peer == other),
            "{gap:?}"
        );
    }
    // When the next stream has begun, it carries the later messages.
    let news = handles[0].0.clone();
    let sender = tokio::spawn(async move {
        loop {
            news.broadcast("after".to_owned()).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    });
    for (_, deliveries) in &mut handles {
        let after = within(deliveries.next()).await.unwrap().unwrap();
        assert_eq!(after.message, "after");
    }
    sender.abort();
}

/// The user of one replica stands still: the others go on. The replica takes nothing more than its limit
/// and the messages in the middle of its stack, and in the end it has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_stands_still_holds_a_bounded_part_and_nobody_up() {
    const LENGTH: usize = 64 * 1024;
    const LIMIT: usize = 1 << 20;
    let mut all = builders(Kind::Udp, 3);
    let mut last = all.pop().unwrap();
    let held: Arc<Mutex<Vec<usize>>> = Arc::default();
    let meter = Arc::new(Meter::new(LIMIT));
    let (waits, measured) = (held.clone(), meter.clone());
    last.module("orders", TOTAL_ORDER.algorithms(), move |wiring| {
        let link = wiring.pressure(Wait::for_majority(), Addr::nowhere());
        measured.open(link, AtTheLimit::TakeNothing);
        let up = Addr::new(move |delivery: Delivery| {
            for payload in delivery.payloads {
                measured.grow(payload.len());
                waits.lock().unwrap().push(payload.len());
            }
        });
        wiring.broadcast(TOTAL_ORDER, up).map(drop).unwrap();
    })
    .unwrap();
    let mut nodes = Vec::new();
    let mut handles = Vec::new();
    for mut builder in all {
        handles.push(builder.total_order::<String>("orders").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    nodes.push(last.start().await.unwrap());
    let (orders, deliveries) = handles.remove(0);
    read(deliveries, usize::MAX, false);
    let (_, deliveries) = handles.remove(0);
    read(deliveries, usize::MAX, false);
    let count = 600;
    for _ in 0..count {
        within(orders.broadcast("x".repeat(LENGTH))).await.unwrap();
    }
    within(async {
        while orders.pending() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let at_most = (LIMIT + (8 << 20)) / LENGTH;
    let held_then = held.lock().unwrap().len();
    assert!(held_then <= at_most, "{held_then} of {count} are held");
    assert!(nodes[2].counters().total("user stands still") > 0);
    // The user reads again.
    within(async {
        let mut read = 0;
        while read < count {
            let taken = std::mem::take(&mut *held.lock().unwrap());
            for length in &taken {
                meter.shrink(*length);
            }
            read += taken.len();
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
