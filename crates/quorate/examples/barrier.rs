//! A barrier: each process arrives as often as its user says, and passes when all have arrived as often.
//!
//! - B1 (safety): nobody passes for the k-th time before every process has arrived k times.
//! - B2 (liveness): if nobody crashes, and all arrive k times, all pass k times.
//!
//! `cargo run -p quorate --example barrier`
#[expect(dead_code, reason = "nothing is delivered here")]
mod three;

use quorate::{
    abstractions::link::{self, Links, To},
    core::{Algorithm, Ctx, Host, Observation, Observe, Time, ports, wire::Plain},
    prelude::*,
};
use quorate_sim::{
    Adversary, Completion, Crash, Property, Random, Report, SimHost, Timed, Verdict, Violation,
    World, property::Watch, trace::Record,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};
use three::{ExampleResult, builders, shut_down};

/// The request: the user arrives once more.
#[derive(Clone, Copy, Debug)]
struct Arrive;

/// The indication: all users have arrived this many times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Passed {
    times: u64,
}

/// The message, from each process to all: its user has arrived this many times.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Arrived(u64);

impl Plain for Arrived {}

impl Observe for Arrived {
    fn observe(&self) -> Observation {
        Observation::internal("Arrived").instance(self.0)
    }
}

impl Observe for Arrive {
    fn observe(&self) -> Observation {
        Observation::request("Arrive")
    }
}

impl Observe for Passed {
    fn observe(&self) -> Observation {
        Observation::indication("Passed").instance(self.times)
    }
}

ports! {
    offers (Arrive, Passed) => Arrive -> Passed;
    uses lane: link::Port<Arrived> => Link;
}

/// A barrier for all processes.
struct Barrier {
    /// The number of arrivals of the user here.
    own: u64,
    /// The known number of arrivals at each process.
    arrived: BTreeMap<ProcessId, u64>,
    /// The number of times that the user has passed.
    passed: u64,
}

impl Algorithm for Barrier {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Arrive(Arrive) => self.upon_arrive(ctx),
            Event::Link(link::Deliver { from, message }) => self.upon_arrived(from, message, ctx),
        }
    }
}

impl Barrier {
    fn new(host: &impl Host) -> Self {
        let nobody = host.processes().iter().map(|p| (p, 0));
        Barrier {
            own: 0,
            arrived: nobody.collect(),
            passed: 0,
        }
    }

    /// The message also goes to this process itself.
    fn upon_arrive(&mut self, ctx: &mut Ctx<Self>) {
        self.own += 1;
        let (to, message) = (To::All, Arrived(self.own));
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
    }

    /// Links promise no order: an older message may come after a newer one.
    fn upon_arrived(&mut self, from: ProcessId, Arrived(times): Arrived, ctx: &mut Ctx<Self>) {
        if let Some(known) = self.arrived.get_mut(&from) {
            *known = times.max(*known);
        }
        self.upon_all_arrived(ctx);
    }

    /// Passes as often as every process has arrived.
    fn upon_all_arrived(&mut self, ctx: &mut Ctx<Self>) {
        let all = self.arrived.values().min().copied().unwrap_or(0);
        while self.passed < all {
            self.passed += 1;
            let times = self.passed;
            ctx.trigger(Effect::Passed(Passed { times }));
        }
    }
}

/// B1: nobody passes for the k-th time before every process has arrived k times.
struct NobodyTooEarly {
    watch: Watch,
    arrived: BTreeMap<ProcessId, u64>,
}

impl Property for NobodyTooEarly {
    fn tag(&self) -> &'static str {
        "B1"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, _)) = self.watch.request(record, "Arrive") {
            *self.arrived.entry(p).or_default() += 1;
        }
        let Some((p, passed)) = self.watch.indication(record, "Passed") else {
            return Ok(());
        };
        let mut all = self.arrived.iter();
        match all.find(|(_, times)| Some(**times) < passed.instance) {
            None => Ok(()),
            Some((late, times)) => Err(Violation {
                tag: self.tag().to_owned(),
                time: record.time,
                text: format!("upon {passed} of {p}, {late} has arrived {times} times"),
            }),
        }
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// B2: if nobody crashes, and all arrive k times, all pass k times.
struct AllPass {
    watch: Watch,
    arrived: BTreeMap<ProcessId, u64>,
    passed: BTreeMap<ProcessId, u64>,
}

impl Property for AllPass {
    fn tag(&self) -> &'static str {
        "B2"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((p, _)) = self.watch.request(record, "Arrive") {
            *self.arrived.entry(p).or_default() += 1;
        }
        if let Some((p, _)) = self.watch.indication(record, "Passed") {
            *self.passed.entry(p).or_default() += 1;
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        if completion.correct.len() < self.arrived.len() {
            return Verdict::Holds;
        }
        let all = self.arrived.values().min().copied().unwrap_or(0);
        let waits = self.passed.iter().find(|(_, times)| **times < all);
        let waits = waits.map(|(p, times)| format!("{p} passed {times} times, of {all}"));
        completion.judge(self.tag(), waits)
    }
}

/// The size of the simulation: the number of processes, and the arrivals of each.
const PROCESSES: usize = 3;
const TIMES: u64 = 3;

/// One run, in which one process crashes if the seed is odd.
fn simulate<A: Algorithm<Event = Event, Effect = Effect>>(
    seed: u64,
    adversary: impl Adversary + 'static,
    barrier: impl Fn(&SimHost) -> A,
) -> ExampleResult<Report> {
    let mut world = World::new(PROCESSES, seed, adversary)?;
    let zero: BTreeMap<_, _> = world.processes().map(|p| (p, 0)).collect();
    let properties: [Box<dyn Property>; 2] = [
        Box::new(NobodyTooEarly {
            watch: Watch::new("barrier"),
            arrived: zero.clone(),
        }),
        Box::new(AllPass {
            watch: Watch::new("barrier"),
            arrived: zero.clone(),
            passed: zero,
        }),
    ];
    world.check(properties);
    for p in world.processes() {
        let host = world.host(p).at("barrier");
        let lane = world.links(p).at("barrier").lane();
        let port = spawn_as(&host, barrier(&host), lane, world.application(p));
        for time in 1..=TIMES {
            let at = Time::from_nanos(time * p.rank() as u64);
            world.request(p, at, &port, Arrive);
        }
    }
    if seed % 2 == 1 {
        let victim = world.membership().coordinator(seed);
        world.crash(victim, Crash::before_output(1 + seed % 10));
    }
    Ok(world.run())
}

/// Simulates one run for each seed; no run breaks a property.
///
/// # Errors
/// When a run breaks a property: its report, which names the property and the seed.
pub fn check(seeds: u64) -> ExampleResult<()> {
    for seed in 0..seeds {
        let report = simulate(seed, Random::new(), Barrier::new)?;
        if !report.all_hold() {
            return Err(report.to_string().into());
        }
    }
    Ok(())
}

/// Breaks B1: it does not wait for the process of the highest rank.
fn impatient(host: &SimHost) -> Barrier {
    let mut barrier = Barrier::new(host);
    barrier.arrived.pop_last();
    barrier
}

/// Breaks B2: the last message counts, even if it was sent before an earlier one.
struct Forgetful(Barrier);

impl Algorithm for Forgetful {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(link::Deliver { from, .. }) = &event {
            self.0.arrived.insert(*from, 0);
        }
        self.0.upon(event, ctx);
    }
}

/// The first violation in one run for each seed.
///
/// # Errors
/// When no run shows a violation. A run in lock step must not show one either way.
fn first_violation<A: Algorithm<Event = Event, Effect = Effect>>(
    seeds: u64,
    barrier: impl Fn(&SimHost) -> A,
) -> ExampleResult<Violation> {
    simulate(0, Timed::lock_step(), &barrier)?.assert_all_hold();
    for seed in 0..seeds {
        let report = simulate(seed, Random::new(), &barrier)?;
        if let Some(violation) = report.violation() {
            return Ok(violation.clone());
        }
    }
    Err("nothing was found".into())
}

/// The violations that the check finds in the two broken barriers.
///
/// # Errors
/// When it finds no violation in one of them.
pub fn find_the_broken(seeds: u64) -> ExampleResult<[Violation; 2]> {
    let impatient = first_violation(seeds, impatient)?;
    let forgetful = first_violation(seeds, |host| Forgetful(Barrier::new(host)))?;
    Ok([impatient, forgetful])
}

/// The handle of a barrier.
struct Gate {
    arrive: Requests<Arrive>,
    passed: Indications<Passed>,
}

/// Declares a barrier.
fn gate(builder: &mut Builder, name: &str) -> Result<Gate, StartError> {
    let barrier = Custom::new("barrier").answers(|_: &Passed| 1);
    let (arrive, passed) = builder.custom(name, barrier, |wiring, up| {
        let (host, lane) = (&wiring.host, wiring.links.lane());
        spawn_as(host, Barrier::new(host), lane, up)
    })?;
    Ok(Gate { arrive, passed })
}

impl Gate {
    /// Arrives, and waits until all processes have arrived. Returns the number of passages so far.
    ///
    /// # Errors
    /// When the node has not started, or has stopped, or may not take part.
    async fn pass(&mut self) -> Result<u64, StreamError> {
        self.arrive.request(Arrive).await?;
        let passed = self.passed.next().await.ok_or(Error::Stopped)??;
        Ok(passed.times)
    }
}

/// Three nodes meet at a barrier this many times. Returns how often a node passed too early: never.
///
/// # Errors
/// When a node does not start, or stops too early, or a handle goes on without its node.
pub async fn meet(times: u64) -> ExampleResult<u64> {
    let (mut nodes, mut members) = (Vec::new(), Vec::new());
    let arrived = Arc::new([0, 0, 0].map(AtomicU64::new));
    for mut builder in builders("barrier")? {
        let mut gate = gate(&mut builder, "barrier")?;
        let node = builder.start().await?;
        let (me, arrived) = (node.me().index(), arrived.clone());
        nodes.push(node);
        members.push(tokio::spawn(async move {
            let mut early = 0;
            for time in 1..=times {
                arrived[me].fetch_add(1, SeqCst);
                gate.pass().await?;
                let is_late = |other: &AtomicU64| other.load(SeqCst) < time;
                early += u64::from(arrived.iter().any(is_late));
            }
            Ok::<_, StreamError>((early, gate))
        }));
    }
    let (mut all_early, mut gates) = (0, Vec::new());
    for member in members {
        let (early, gate) = member.await??;
        all_early += early;
        gates.push(gate);
    }
    shut_down(nodes).await?;
    for mut gate in gates {
        if gate.pass().await.is_ok() {
            return Err("its node has stopped".into());
        }
    }
    Ok(all_early)
}

#[tokio::main]
async fn main() -> ExampleResult<()> {
    check(1_000)?;
    println!("B1 and B2 hold in 1,000 runs");
    for violation in find_the_broken(1_000)? {
        println!("a broken variant: {violation}");
    }
    let early = meet(100).await?;
    println!("three nodes have met 100 times, {early} times too early");
    Ok(())
}
