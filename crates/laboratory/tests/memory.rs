//! After many broadcasts a process uses at most a few megabytes more than after ten thousand, and so it does
//! after many instances of consensus and of commit: a hundred thousand through each algorithm in every run, a
//! million in the ignored test, which `scripts/soak` runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{Propose, Vote},
    causal, fair_loss,
    link::{self, Links, To},
    reliable,
};
use quorate_broadcast::causal_past;
use quorate_core::{Addr, Host, Observation, Observe, Time};
use quorate_laboratory::{
    algorithm::{Algorithm, Substrate},
    algorithms,
    wiring::{Action, Environment, Operation, Proposal, RequestPort, Wiring},
};
use quorate_links::perfect::{LinkSettings, PerfectLinks};
use quorate_sim::{Timed, World};
use quorate_stacks::stack;
use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

const FEW: u64 = 10_000;
const MANY: u64 = 100_000;
const MILLION: u64 = 1_000_000;
const ALLOWED: u64 = 64 << 20;
/// How many messages are in flight at a time.
const WINDOW: u64 = 256;
/// The same, for algorithms whose messages carry all others in flight: a causal past has as many entries.
const NARROW: u64 = 8;

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

struct Seen;

impl Observe for Seen {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
    }
}

/// The function by which a client sends the message with this number; set once the stack is wired.
type Sender = Arc<OnceLock<Box<dyn Fn(u64) + Send + Sync>>>;

/// A client that keeps a window full, and the memory used after few and after many messages.
struct Client {
    sent: u64,
    delivered: u64,
    after_few: u64,
    messages: u64,
    window: u64,
    send: Sender,
}

impl Client {
    fn deliver(&mut self, count: u64) {
        let before = self.delivered;
        self.delivered += count;
        if before < FEW && self.delivered >= FEW {
            self.after_few = resident();
        }
        while self.sent < self.messages && self.sent - self.delivered < self.window {
            self.sent += 1;
            self.send.get().unwrap()(self.sent);
        }
    }
}

fn client(messages: u64) -> Arc<Mutex<Client>> {
    let send = Arc::default();
    Arc::new(Mutex::new(Client {
        sent: 0,
        delivered: 0,
        after_few: 0,
        messages,
        window: WINDOW,
        send,
    }))
}

fn payload(number: u64) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

#[track_caller]
fn assert_bounded(client: &Mutex<Client>) {
    let client = client.lock().unwrap();
    assert_eq!(client.delivered, client.messages);
    let grown = resident().saturating_sub(client.after_few);
    println!(
        "{} MiB more after {} messages than after {FEW}",
        grown >> 20,
        client.messages
    );
    assert!(
        grown <= ALLOWED,
        "grown by {grown} bytes since {FEW} messages"
    );
}

/// All algorithms in one test, because the memory is the process's own. Two run at a time; all of them
/// together may grow by no more than each may.
#[test]
fn many_messages_need_the_memory_of_ten_thousand() {
    bounded(MANY);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn a_million_messages_need_the_memory_of_ten_thousand() {
    bounded(MILLION);
}

fn bounded(messages: u64) {
    perfect_link(messages);
    let kinds = ["broadcast", "consensus", "commit", "synchrony", "joins"];
    let is_of = |a: &Algorithm| {
        let is_kind = kinds.iter().any(|kind| a.abstraction.ends_with(kind));
        is_kind || a.is_shared_object()
    };
    let bounded = |a: &&Algorithm| !a.grows && is_of(a);
    let algorithms: Vec<_> = algorithms::all().filter(bounded).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(algorithm) = algorithms.get(next.fetch_add(1, Relaxed)) {
            operate(algorithm, messages);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(worker))));
}

fn perfect_link(messages: u64) {
    let adversary = Timed::uniform(Duration::from_micros(50), Duration::from_micros(100));
    let mut world = World::new(2, 1, adversary.loss(0.01).duplication(0.01)).unwrap();
    world = world
        .settle(Duration::from_secs(10))
        .maximum_events(u64::MAX);
    let client = client(messages);
    let (p1, p2) = (
        world.processes().next().unwrap(),
        world.processes().nth(1).unwrap(),
    );
    for p in [p1, p2] {
        let links = PerfectLinks::new(&world.host(p).at("link"), LinkSettings::default());
        let received = client.clone();
        let up = world.application_with(p, move |Seen, _| received.lock().unwrap().deliver(1));
        let port: Addr<link::SendRequest<Bytes>> = links
            .at("messages")
            .open(up.with(|_: link::Deliver<Bytes>| Seen));
        let edge: Addr<fair_loss::Transmit> = world.fair_loss(p, links.arrivals());
        links.start(edge).unwrap();
        if p == p1 {
            let send = move |number| {
                port.send(link::SendRequest {
                    to: To::One(p2),
                    message: payload(number),
                });
            };
            let cell = client.lock().unwrap().send.clone();
            assert!(cell.set(Box::new(send)).is_ok());
        }
    }
    let first = client.clone();
    world.call(p1, Time::ZERO, move || first.lock().unwrap().deliver(0));
    world.run();
    assert_bounded(&client);
}

/// Makes the request of operation `number` at this port.
fn ask(port: &RequestPort, number: u64) {
    let (instance, value) = (number, payload(number));
    match port {
        RequestPort::Broadcast(port)
        | RequestPort::Group {
            broadcast: port, ..
        } => port.send(value),
        RequestPort::Propose(port) => port.send(Proposal { instance, value }),
        RequestPort::Vote(port) => port.send(Propose {
            instance,
            vote: Vote::Yes,
        }),
        RequestPort::Operate(objects) => {
            let action = if number.is_multiple_of(2) && objects.readable {
                Action::Read
            } else {
                Action::Write(value)
            };
            objects.operate.send(Operation {
                number,
                object: 1,
                action,
            });
        }
        RequestPort::Send { .. } | RequestPort::Leave(_) | RequestPort::Nothing => {}
    }
}

/// One of two processes broadcasts this many times, or both propose or vote in this many instances.
fn operate(algorithm: &'static Algorithm, operations: u64) {
    let adversary = Timed::uniform(Duration::from_micros(50), Duration::from_micros(100));
    let mut world = World::new(2, 1, adversary)
        .unwrap()
        .maximum_events(u64::MAX);
    if algorithm.simulation.substrate == Substrate::Pushes {
        world = world.settle(Duration::from_secs(1));
    }
    let client = client(operations);
    if algorithm.abstraction.ends_with("causal broadcast") {
        client.lock().unwrap().window = NARROW;
    }
    let is_shared = algorithm.is_shared_object();
    if is_shared {
        client.lock().unwrap().window = 1;
    }
    let p1 = world.processes().next().unwrap();
    let simulation = &algorithm.simulation;
    let below = Environment::ideal(
        simulation.substrate,
        algorithm.detector,
        Duration::from_millis(5),
    );
    let mut ports = Vec::new();
    for p in world.processes() {
        let received = client.clone();
        let audience = Arc::new(move |at, observation: &Observation, _: Time| {
            if is_shared {
                received.lock().unwrap().deliver(1);
            } else if at != p1 && observation.label == simulation.done {
                // The sender's own copy reaches it at once, so the deliveries of the other process set the
                // pace.
                received.lock().unwrap().deliver(observation.count);
            }
        });
        let wiring = Wiring::new(&world, p, &below).telling(audience);
        ports.push((simulation.wire)(&wiring));
    }
    if matches!(
        ports[0],
        RequestPort::Broadcast(_) | RequestPort::Group { .. } | RequestPort::Operate(_)
    ) {
        ports.truncate(1);
    }
    let cell = client.lock().unwrap().send.clone();
    let send = move |number| ports.iter().for_each(|port| ask(port, number));
    assert!(cell.set(Box::new(send)).is_ok());
    let first = client.clone();
    world.call(p1, Time::ZERO, move || first.lock().unwrap().deliver(0));
    let report = world.run();
    assert!(report.completion.complete, "{}", algorithm.name);
    print!("{}: ", algorithm.name);
    assert_bounded(&client);
}

/// The causal past without collection grows by one message with each broadcast, and messages grow with it.
#[test]
fn the_causal_past_without_collection_grows_with_the_run() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let lengths: Arc<Mutex<Vec<usize>>> = Arc::default();
    for p in world.processes() {
        let (host, links, seen) = (world.host(p), world.links(p), lengths.clone());
        let below = |up: Addr<reliable::Deliver>| {
            let port = stack::reliable(&host, &links, up);
            port.with(move |request: reliable::Broadcast| {
                seen.lock().unwrap().push(request.payload.len());
                request
            })
        };
        let port = causal_past::spawn(&host.at("causal"), below, world.application(p));
        for number in 0..if p.rank() == 1 { 600 } else { 0 } {
            let payload = payload(number);
            world.request(p, Time::ZERO, &port, causal::Broadcast { payload });
        }
    }
    assert!(world.run().completion.complete);
    let lengths = lengths.lock().unwrap();
    let grown = |from: usize, to: usize| lengths[to] - lengths[from];
    let (early, late) = (grown(300, 449), grown(450, 599));
    assert_eq!(early, late, "each message adds as much as any other");
    assert!(late >= 149 * payload(0).len());
}
