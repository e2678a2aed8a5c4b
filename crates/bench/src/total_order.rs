//! Measures a closed loop of messages through total order.
//!
//! The processes run in this operating-system process, each a node with a protocol thread and
//! sockets of its own. The client at p1 is an algorithm on p1's protocol thread: it keeps a fixed
//! number of messages in flight, so that no change of threads is measured. Messages carry their
//! numbers, and every process checks that they come in order.
use crate::{
    Error,
    cluster::{Cluster, Network},
    locked, machine,
    raw::{histogram, microseconds},
    strangers::{Flood, Strangers},
};
use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_abstractions::{
    pressure::{Room, Wait},
    total_order,
};
use quorate_broadcast::by_leader;
use quorate_stacks::broadcasts::{Broadcast, Delivery};

use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ports};
use quorate_runtime::node::Wiring;
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// The length in bytes of a message's number, with which it begins.
const NUMBER: usize = 8;
/// How often each process checks the clock when nothing happens.
const TICK: Duration = Duration::from_millis(10);
/// How much longer than asked for a run may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long messages in flight may take after the end of the measured time.
const DRAIN: Duration = Duration::from_millis(300);

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// How many processes there are.
    pub n: usize,
    /// How many bytes a message has, its number included.
    pub payload: usize,
    /// How many messages are in flight.
    pub window: usize,
    /// How long the loop runs before it is measured.
    pub warm: Duration,
    /// How long the loop is measured.
    pub measure: Duration,
    /// The transport between the processes.
    pub network: Network,
    /// The total order that is measured.
    pub algorithm: Broadcast,
    /// The settings of the total order by leader.
    pub settings: by_leader::OrderSettings,
    /// Who disturbs the nodes meanwhile.
    pub strangers: Option<Strangers>,
    /// Whether what the nodes counted is printed to standard error.
    pub counts: bool,
}

/// The results of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measurement {
    /// Messages delivered a second at the slowest process.
    pub slowest_per_s: f64,
    /// Messages delivered a second at p1.
    pub leader_per_s: f64,
    /// The median latency from the request to the delivery at p1, in microseconds,
    pub p50_us: f64,
    /// and the 99th percentile.
    pub p99_us: f64,
    /// The processor time of all processes for each message delivered at p1, in microseconds.
    pub cpu_us_per_entry: f64,
    /// The most memory held, in MiB.
    pub rss_mib: f64,
}

/// The progress of a process at one time.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    delivered: u64,
    processor: Duration,
}

/// The result of one process.
struct Finding {
    index: usize,
    begin: Mark,
    end: Mark,
    times: Histogram<u64>,
}

/// The state that the processes of one run share.
struct Shared {
    run: Run,
    begun: Instant,
    /// When the measured time begins, in nanoseconds after `begun`; 0 if that is not known yet.
    measured_from: AtomicU64,
    delivered: Vec<AtomicU64>,
    broadcast: AtomicU64,
    wrong: Mutex<Option<String>>,
    findings: mpsc::Sender<Finding>,
}

/// Runs the closed loop.
///
/// # Errors
/// When a node fails, messages come out of order, or nothing comes.
pub fn run(run: Run) -> Result<Measurement, Error> {
    if run.payload < NUMBER || run.window == 0 || run.n == 0 {
        return Err(Error::Unusable(
            "a message has at least eight bytes, and at least one is in flight",
        ));
    }
    if !run.algorithm.is_uniform_total_order() {
        return Err(Error::Unusable("the algorithm is no uniform total order"));
    }
    let (findings, found) = mpsc::channel();
    let shared = Arc::new(Shared {
        run,
        begun: Instant::now(),
        measured_from: AtomicU64::new(0),
        delivered: (0..run.n).map(|_| AtomicU64::new(0)).collect(),
        broadcast: AtomicU64::new(0),
        wrong: Mutex::default(),
        findings,
    });
    let begin = Mutex::new(None);
    let begin = Arc::new(begin);
    let cluster = Cluster::start(run.n, run.network, |index, builder| {
        let (shared, begin) = (shared.clone(), begin.clone());
        let algorithms = run.algorithm.algorithms();
        Ok(builder.module("bench", algorithms, move |wiring| {
            let client = Client::spawn(index, &wiring, shared);
            if index == 0 {
                *locked(&begin) = Some(client);
            }
        })?)
    })?;
    let flood = match run.strangers {
        Some(whither) => Some(cluster.flood(whither)?),
        None => None,
    };
    if let Some(client) = locked(&begin).take() {
        client.send(Begin);
    }
    let found = gather(&found, &shared);
    let sent = flood.map(Flood::stop);
    if run.counts {
        for line in cluster.counts() {
            eprintln!("{line}");
        }
        if let Some(sent) = sent {
            eprintln!("strangers sent {sent}");
        }
    }
    outcome(&found?)
}

fn gather(found: &mpsc::Receiver<Finding>, shared: &Shared) -> Result<Vec<Finding>, Error> {
    let run = &shared.run;
    let deadline = Instant::now() + run.warm + run.measure + TIMEOUT;
    let mut findings = Vec::new();
    while findings.len() < run.n {
        if let Some(wrong) = locked(&shared.wrong).take() {
            return Err(Error::Wrong(wrong));
        }
        if Instant::now() > deadline {
            return Err(Error::Stalled(run.warm + run.measure + TIMEOUT));
        }
        findings.extend(found.recv_timeout(TICK).ok());
    }
    thread::sleep(DRAIN);
    if let Some(wrong) = locked(&shared.wrong).take() {
        return Err(Error::Wrong(wrong));
    }
    let broadcast = shared.broadcast.load(Relaxed);
    let delivered: Vec<u64> = shared.delivered.iter().map(|d| d.load(Relaxed)).collect();
    if delivered.iter().any(|delivered| *delivered != broadcast) {
        eprintln!("not drained: {broadcast} broadcast, {delivered:?} delivered");
    }
    Ok(findings)
}

fn outcome(findings: &[Finding]) -> Result<Measurement, Error> {
    let rate = |finding: &Finding| {
        let count = finding.end.delivered - finding.begin.delivered;
        count as f64 / (finding.end.at - finding.begin.at).as_secs_f64()
    };
    let leader = findings
        .iter()
        .find(|finding| finding.index == 0)
        .ok_or(Error::Unusable("no process"))?;
    let count = leader.end.delivered - leader.begin.delivered;
    if count == 0 {
        return Err(Error::Wrong("nothing was delivered".to_owned()));
    }
    let processor = leader.end.processor.saturating_sub(leader.begin.processor);
    Ok(Measurement {
        slowest_per_s: findings.iter().map(rate).fold(f64::INFINITY, f64::min),
        leader_per_s: rate(leader),
        p50_us: microseconds(&leader.times, 0.5),
        p99_us: microseconds(&leader.times, 0.99),
        cpu_us_per_entry: processor.as_secs_f64() * 1e6 / count as f64,
        rss_mib: machine::peak_memory_mib(),
    })
}

/// The application: checks what is delivered, and at p1 keeps messages in flight.
struct Client {
    index: usize,
    shared: Arc<Shared>,
    template: Vec<u8>,
    /// Whether this process broadcasts messages,
    broadcasting: bool,
    /// and whether the link has room for more.
    has_room: bool,
    /// When each message in flight was broadcast.
    in_flight: VecDeque<Instant>,
    broadcast: u64,
    delivered: u64,
    /// The value of `delivered` after the last batch.
    before: u64,
    begin: Option<Mark>,
    /// Whether the end was reached and reported.
    ended: bool,
    times: Histogram<u64>,
}

/// All processes are there: messages may be broadcast.
#[derive(Debug)]
struct Begin;

impl Observe for Begin {
    fn observe(&self) -> Observation {
        Observation::internal("Begin")
    }
}

ports! {
    accepts Begin => Begin;
    hears room: Room => Room;
    uses order: (total_order::Broadcast, Delivery) => Deliver / Broadcast;
    timer Tick;
}

impl Algorithm for Client {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        machine::pin(self.index);
        ctx.after_in_background(TICK, Event::Tick);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Begin(Begin) => self.broadcasting = true,
            Event::Deliver(delivery) => self.check(&delivery),
            Event::Room(room) => self.has_room = room == Room::Open,
            Event::Tick => {
                ctx.after_in_background(TICK, Event::Tick);
            }
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        self.shared.delivered[self.index].store(self.delivered, Relaxed);
        self.mark(now);
        if self.broadcasting {
            self.note_times(now);
            if self.has_room {
                self.fill_window(now, ctx);
            }
        }
    }
}

impl Client {
    fn spawn(index: usize, wiring: &Wiring, shared: Arc<Shared>) -> Addr<Begin> {
        // As of a replica, which gives those that straggle a state in the end.
        let room = |up| _ = wiring.pressure(Wait::for_majority(), up);
        let algorithm = shared.run.algorithm;
        let mut ordering = wiring.clone();
        ordering.total_order = shared.run.settings;
        let order = |up| {
            // Without a detector that an algorithm needs, nothing comes, and the run ends by that.
            let down = ordering.broadcast(algorithm, up);
            let down = down.unwrap_or_else(|_| Addr::nowhere());
            down.with(|request: total_order::Broadcast| request.payload)
        };
        let client = Client {
            index,
            template: vec![0xa5; shared.run.payload],
            shared,
            broadcasting: false,
            has_room: true,
            in_flight: VecDeque::new(),
            broadcast: 0,
            delivered: 0,
            before: 0,
            begin: None,
            ended: false,
            times: histogram(),
        };
        spawn_as(&wiring.host.at("client"), client, room, order)
    }

    fn check(&mut self, delivery: &Delivery) {
        for payload in &delivery.payloads {
            let number = payload
                .first_chunk::<NUMBER>()
                .copied()
                .map(u64::from_le_bytes);
            if number != Some(self.delivered) || payload.len() != self.shared.run.payload {
                let (place, process) = (self.delivered, self.index + 1);
                let wrong = format!("p{process}: message {number:?} delivered in place {place}");
                locked(&self.shared.wrong).get_or_insert(wrong);
            }
            self.delivered += 1;
        }
    }

    /// Records the progress of the process when the measured time begins, and reports the result at the end.
    fn mark(&mut self, now: Instant) {
        let from = self.shared.measured_from.load(Relaxed);
        if from == 0 || self.ended {
            return;
        }
        let from = self.shared.begun + Duration::from_nanos(from);
        let mark = || Mark {
            at: now,
            delivered: self.delivered,
            processor: machine::processor_time(),
        };
        match self.begin {
            None if now >= from => self.begin = Some(mark()),
            Some(begin) if now >= from + self.shared.run.measure => {
                let finding = Finding {
                    index: self.index,
                    begin,
                    end: mark(),
                    times: std::mem::replace(&mut self.times, histogram()),
                };
                self.ended = true;
                // The receiver is gone because the run has failed.
                let _ = self.shared.findings.send(finding);
            }
            _ => {}
        }
    }

    fn note_times(&mut self, now: Instant) {
        let measuring = self.begin.is_some() && !self.ended;
        for _ in self.before..self.delivered {
            let Some(sent) = self.in_flight.pop_front() else {
                break;
            };
            if measuring {
                self.times.saturating_record((now - sent).as_nanos() as u64);
            }
        }
        self.before = self.delivered;
    }

    fn fill_window(&mut self, now: Instant, ctx: &mut Ctx<Self>) {
        if self.ended {
            return;
        }
        if self.broadcast == 0 {
            let from = now - self.shared.begun + self.shared.run.warm;
            self.shared
                .measured_from
                .store(from.as_nanos() as u64, Relaxed);
        }
        while self.in_flight.len() < self.shared.run.window {
            let mut payload = self.template.clone();
            payload[..NUMBER].copy_from_slice(&self.broadcast.to_le_bytes());
            self.broadcast += 1;
            self.in_flight.push_back(now);
            let payload = Bytes::from(payload);
            ctx.trigger(Effect::Broadcast(total_order::Broadcast { payload }));
        }
        self.shared.broadcast.store(self.broadcast, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Transport;

    #[test]
    fn every_process_delivers_in_order() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let outcome = run(Run {
                n: 3,
                payload: 16,
                window: 64,
                warm: Duration::from_millis(20),
                measure: Duration::from_millis(100),
                network: Network {
                    transport,
                    ..Network::default()
                },
                algorithm: quorate_stacks::broadcasts::TOTAL_ORDER,
                settings: by_leader::OrderSettings::default(),
                strangers: None,
                counts: false,
            })
            .unwrap();
            assert!(outcome.slowest_per_s > 0.0 && outcome.p50_us > 0.0);
        }
    }
}
