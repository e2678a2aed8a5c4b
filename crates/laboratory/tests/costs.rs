//! Costs equal the laboratory's formulas, on ideal lower layers, in lock step: failure-free, with one
//! process dead, and with the sender crashing after each of its sends. Those of the algorithms of synchronous
//! rounds do, for each number of failures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::atomic_commit::{Propose, Vote};
use quorate_core::{Membership, ProcessId, Time};
use quorate_laboratory::{
    algorithm::{Algorithm, Cost, Dead, Formula, Size, Substrate},
    algorithms, rounds,
    wiring::{Action, Environment, Operation, Proposal, RequestPort, Wiring},
};
use quorate_sim::{Crash, Report, Timed, UNIT, World, testing::p};
use std::{collections::BTreeMap, sync::Arc, sync::Mutex};

const SIZES: std::ops::RangeInclusive<u64> = 1..=8;
/// How many steps the failure detector takes to report a crash.
const DETECTION: [u64; 3] = [1, 3, 5];

/// The cost of a run: messages, how many of them p1 sent, and the step at which each process was done.
struct Paid {
    messages: u64,
    of_p1: u64,
    steps: BTreeMap<ProcessId, u64>,
}

impl Paid {
    fn last(&self) -> u64 {
        self.steps.values().copied().max().unwrap_or(0)
    }
}

/// The operation whose cost is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The operation of the abstraction; for a shared object, a write.
    Operation,
    /// A read of a shared object.
    Read,
}

/// Makes one request at the first process, or proposes a value at each, with a fault at one process.
fn pay(
    algorithm: &Algorithm,
    what: What,
    n: u64,
    d: u64,
    crash: Option<(ProcessId, Crash)>,
) -> Paid {
    let mut world = World::new(n as usize, 1, Timed::lock_step()).unwrap();
    let simulation = &algorithm.simulation;
    let below = Environment::ideal(simulation.substrate, algorithm.detector, UNIT * d as u32);
    let steps: Arc<Mutex<BTreeMap<ProcessId, u64>>> = Arc::default();
    let (done, label) = (steps.clone(), simulation.done);
    let is_shared = algorithm.is_shared_object();
    let audience = Arc::new(
        move |p, observation: &quorate_core::Observation, now: Time| {
            // A shared object has one indication per operation.
            if is_shared || observation.label == label {
                let step = now.as_nanos() / UNIT.as_nanos() as u64;
                done.lock().unwrap().insert(p, step);
            }
        },
    );
    for p in world.processes() {
        let wiring = Wiring::new(&world, p, &below).telling(audience.clone());
        let payload = Bytes::from_static(b"one message");
        match (simulation.wire)(&wiring) {
            RequestPort::Broadcast(port)
            | RequestPort::Group {
                broadcast: port, ..
            } if p.rank() == 1 => {
                world.request(p, Time::ZERO, &port, payload);
            }
            RequestPort::Propose(port) => {
                let (instance, value) = (1, payload);
                world.request(p, Time::ZERO, &port, Proposal { instance, value });
            }
            RequestPort::Vote(port) => {
                let (instance, vote) = (1, Vote::Yes);
                world.request(p, Time::ZERO, &port, Propose { instance, vote });
            }
            RequestPort::Operate(objects) if p.rank() == 1 => {
                let (number, object) = (1, 1);
                let action = match what {
                    What::Operation => Action::Write(payload),
                    What::Read => Action::Read,
                };
                let operation = Operation {
                    number,
                    object,
                    action,
                };
                world.request(p, Time::ZERO, &objects.operate, operation);
            }
            RequestPort::Broadcast(_)
            | RequestPort::Group { .. }
            | RequestPort::Leave(_)
            | RequestPort::Operate(_)
            | RequestPort::Send { .. }
            | RequestPort::Nothing => {}
        }
        wiring.start();
    }
    if let Some((p, crash)) = crash {
        world.crash(p, crash);
    }
    let report: Report = world.run();
    assert!(report.completion.complete);
    let correct = report.completion.correct;
    let mut steps = steps.lock().unwrap().clone();
    steps.retain(|p, _| correct.contains(*p));
    Paid {
        messages: report.counts.messages,
        of_p1: report.counts.by_process[0],
        steps,
    }
}

/// Every algorithm on perfect links, with each of its costs.
fn paying() -> impl Iterator<Item = (&'static Algorithm, What, Cost)> {
    let on_links = |substrate| [Substrate::Links, Substrate::Pushes].contains(&substrate);
    let on_links = algorithms::all().filter(move |a| on_links(a.simulation.substrate));
    on_links.flat_map(|algorithm| {
        let operation = algorithm.cost.map(|cost| (What::Operation, cost));
        let read = algorithm.reads.map(|cost| (What::Read, cost));
        let costs = operation.into_iter().chain(read);
        costs.map(move |(what, cost)| (algorithm, what, cost))
    })
}

/// How many processes are done in the end; for a shared object, only the one that operates.
fn done(algorithm: &Algorithm, alive: u64) -> usize {
    if algorithm.is_shared_object() {
        1
    } else {
        alive as usize
    }
}

#[track_caller]
fn assert_is(formula: Formula, size: Size, paid: u64, what: &str) {
    let expected = (formula.value)(size);
    assert_eq!(paid, expected, "{what}: {} at {size:?}", formula.text);
}

#[test]
fn failure_free_costs_are_what_the_laboratory_says() {
    for ((algorithm, what, cost), n) in paying().flat_map(|a| SIZES.map(move |n| (a, n))) {
        let (size, paid) = (Size { n, k: 0, d: 1 }, pay(algorithm, what, n, 1, None));
        let name = algorithm.name;
        let expected = done(algorithm, n);
        assert_eq!(paid.steps.len(), expected, "{name}: everybody is done");
        assert_is(
            cost.messages,
            size,
            paid.messages,
            &format!("{name}, messages"),
        );
        assert_is(cost.steps, size, paid.last(), &format!("{name}, steps"));
    }
}

#[test]
fn costs_with_a_dead_process_are_what_the_laboratory_says() {
    for ((algorithm, what, cost), n) in paying().flat_map(|a| (3..=8).map(move |n| (a, n))) {
        let Some(cost) = cost.one_dead else {
            continue;
        };
        for d in DETECTION {
            let dead = match cost.which {
                Dead::First => p(1),
                Dead::Last => p(n as usize),
            };
            let crash = (dead, Crash::at(Time::ZERO));
            let paid = pay(algorithm, what, n, d, Some(crash));
            let (name, size) = (algorithm.name, Size { n, k: 0, d });
            let expected = done(algorithm, n - 1);
            assert_eq!(paid.steps.len(), expected, "{name}: everybody is done");
            let what = format!("{name}, one dead");
            assert_is(
                cost.messages,
                size,
                paid.messages,
                &format!("{what}, messages"),
            );
            assert_is(cost.steps, size, paid.last(), &format!("{what}, steps"));
        }
    }
}

/// The cost if p1 crashes after exactly `k` sends.
fn pay_after(algorithm: &Algorithm, n: u64, d: u64, k: u64) -> Paid {
    let pay = |crash| pay(algorithm, What::Operation, n, d, Some((p(1), crash)));
    let before = |output| pay(Crash::before_output(output));
    let cut_short = (1..=2 * n)
        .map(before)
        .find(|paid| paid.of_p1 == k && !paid.steps.contains_key(&p(1)));
    cut_short.unwrap_or_else(|| {
        let soon = Time::from_nanos(1);
        pay(Crash::at(soon))
    })
}

#[test]
fn costs_with_a_sender_that_crashes_are_what_the_laboratory_says() {
    for ((algorithm, what, cost), n) in paying().flat_map(|a| (2..=8).map(move |n| (a, n))) {
        let Some(cost) = cost.sender_crashes.filter(|_| what == What::Operation) else {
            continue;
        };
        for (d, k) in DETECTION
            .into_iter()
            .flat_map(|d| (1..n).map(move |k| (d, k)))
        {
            let paid = pay_after(algorithm, n, d, k);
            let (name, size) = (algorithm.name, Size { n, k, d });
            let what = format!("{name}, sender crashes");
            assert_is(
                cost.messages,
                size,
                paid.messages,
                &format!("{what}, messages"),
            );
            if let Some(steps) = cost.steps {
                assert_is(steps, size, paid.last(), &format!("{what}, steps"));
            }
        }
    }
}

#[test]
fn costs_in_rounds_are_what_the_laboratory_says() {
    for entry in &rounds::ENTRIES {
        for cost in entry.costs {
            let mut paid = 0;
            for (n, f) in SIZES.flat_map(|n| (0..n).map(move |f| (n, f))) {
                if !(cost.applies)(n, f) {
                    continue;
                }
                let processes = Membership::of_size(n as usize).unwrap();
                let judged = entry.pay(cost, processes, f as usize);
                let said = [cost.messages, cost.outputs, cost.halts];
                let said = said.map(|formula| (formula.value)(n, f));
                let is = [judged.sent, judged.outputs.unwrap_or(0), judged.rounds];
                let (name, when) = (entry.name, cost.when);
                assert_eq!(is, said, "{name}, {when}: n = {n}, f = {f}");
                assert!(judged.broken.is_empty(), "{}", judged.grid);
                paid += 1;
            }
            assert!(paid > 6, "{}, {}: {paid}", entry.name, cost.when);
        }
    }
}
