//! Checks each algorithm over a gap against its entry: with one gap from each process to each other at every
//! step, and with many, drawn from seeds. And an algorithm that goes on over gaps stands still if it does not
//! learn of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::{
    atomic_commit::{Propose, Vote},
    link::{Links, Status},
};
use quorate_core::{Addr, Observation, ProcessId, Time};
use quorate_laboratory::{
    algorithm::{Algorithm, Kind, Substrate},
    algorithms,
    gaps::Gap as Row,
    wiring::{Action, Environment, Objects, Operation, Proposal, RequestPort, Wiring},
};
use quorate_sim::testing::p;
use quorate_sim::{Adversary, Crash, Gap, Keep, Report, Timed, UNIT, Verdict, World};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The number of processes.
const N: usize = 3;
/// The number of requests of each process.
const REQUESTS: u64 = 3;
/// An operation may depend on messages that are pushed once a period: a run goes on for this time.
const PUSHED: Duration = Duration::from_secs(2);

/// A gap: from whom, to whom, when, and how much gets through.
#[derive(Clone, Copy, Debug)]
struct Fault {
    way: (usize, usize),
    at: Time,
    keep: Keep,
}

/// Whether the algorithm learns of gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hears {
    Everything,
    Nothing,
}

/// The number of indications, by process and, for deliveries, by origin.
type Delivered = BTreeMap<(ProcessId, ProcessId), u64>;

/// The result of a run.
struct Run {
    report: Report,
    delivered: Delivered,
    /// How often an operation has ended, for each process.
    done: BTreeMap<ProcessId, u64>,
    /// The pairs of which the first process was told that its stream to the second has begun anew, and the
    /// second that the stream had a gap.
    begun: BTreeSet<(ProcessId, ProcessId)>,
    gaps: BTreeSet<(ProcessId, ProcessId)>,
}

#[derive(Default)]
struct Seen {
    delivered: Delivered,
    done: BTreeMap<ProcessId, u64>,
    begun: BTreeSet<(ProcessId, ProcessId)>,
    gaps: BTreeSet<(ProcessId, ProcessId)>,
    /// The operations still to be made, by process and the number of the operation before.
    next: BTreeMap<(ProcessId, u64), (Addr<Operation>, Operation)>,
}

/// Operates on the objects, one operation after the other.
fn operate(world: &World, q: ProcessId, objects: &Objects, seen: &Mutex<Seen>) {
    let may_write = objects.writer.is_none_or(|writer| writer == q);
    let most = REQUESTS.min(objects.most);
    let operation = |number: u64| {
        let writes = may_write && (number % 2 == 1 || !objects.readable);
        let action = if writes {
            Action::Write(Bytes::from(format!("{q}.{number}")))
        } else {
            Action::Read
        };
        Operation {
            number,
            object: 1,
            action,
        }
    };
    if !may_write && !objects.readable {
        return;
    }
    for number in 2..=most {
        let next = (objects.operate.clone(), operation(number));
        seen.lock().unwrap().next.insert((q, number - 1), next);
    }
    world.request(q, begin(q, 1), &objects.operate, operation(1));
}

/// When a process makes its request of this number.
fn begin(q: ProcessId, number: u64) -> Time {
    Time::ZERO + UNIT * (2 * number as u32) + UNIT / 4 * q.rank() as u32
}

fn ask(world: &World, q: ProcessId, port: &RequestPort, seen: &Mutex<Seen>) {
    for number in 1..=REQUESTS {
        let at = begin(q, number);
        match port {
            RequestPort::Broadcast(port)
            | RequestPort::Group {
                broadcast: port, ..
            } => {
                world.request(q, at, port, Bytes::from(format!("{q}.{number}")));
            }
            RequestPort::Propose(port) => {
                let (instance, value) = (number, Bytes::from(format!("{q}.{number}")));
                world.request(q, at, port, Proposal { instance, value });
            }
            RequestPort::Vote(port) => {
                // One process votes no in the second instance.
                let vote = match (number, q.rank()) {
                    (2, 3) => Vote::No,
                    _ => Vote::Yes,
                };
                let instance = number;
                world.request(q, at, port, Propose { instance, vote });
            }
            RequestPort::Operate(_)
            | RequestPort::Send { .. }
            | RequestPort::Leave(_)
            | RequestPort::Nothing => {}
        }
    }
    if let RequestPort::Operate(objects) = port {
        operate(world, q, objects, seen);
    }
}

fn run(
    algorithm: &Algorithm,
    hears: Hears,
    seed: u64,
    adversary: impl Adversary + 'static,
    faults: &[Fault],
) -> Run {
    let simulation = algorithm.simulation;
    let mut world = World::new(N, seed, adversary).unwrap();
    if simulation.substrate == Substrate::Pushes {
        world = world.settle(PUSHED);
    }
    world.check((simulation.check)(world.membership()));
    let below = Environment::ideal(simulation.substrate, algorithm.detector, UNIT);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    for q in world.processes() {
        let (told, done) = (seen.clone(), simulation.done);
        let audience = move |q: ProcessId, observation: &Observation, _: Time| {
            let mut seen = told.lock().unwrap();
            if observation.label == done {
                *seen.done.entry(q).or_default() += 1;
                let origin = observation.message.map(|id| id.origin.process);
                if let Some(origin) = origin.or(observation.peer) {
                    let count = observation.count.max(1);
                    *seen.delivered.entry((q, origin)).or_default() += count;
                }
            }
            let next = observation
                .instance
                .and_then(|number| seen.next.remove(&(q, number)));
            drop(seen);
            if let Some((operate, operation)) = next {
                operate.send(operation);
            }
        };
        let told = seen.clone();
        world.links(q).status().send(Addr::new(move |status| {
            let mut seen = told.lock().unwrap();
            _ = match status {
                Status::Begun { peer } => seen.begun.insert((q, peer)),
                Status::Gap { peer } => seen.gaps.insert((peer, q)),
                _ => false,
            };
        }));
        let wiring = Wiring::new(&world, q, &below).telling(Arc::new(audience));
        let wiring = match hears {
            Hears::Everything => wiring,
            Hears::Nothing => wiring.deaf(),
        };
        let port = (simulation.wire)(&wiring);
        ask(&world, q, &port, &seen);
        wiring.start();
    }
    for fault in faults {
        let way = (p(fault.way.0), p(fault.way.1));
        world.gap(way, Gap::at(fault.at).keeping(fault.keep));
    }
    // Views change only after a crash.
    if algorithm.is_group() && seed % 2 == 1 && faults.len() > 1 {
        let at = Time::ZERO + UNIT * (4 + seed as u32 % 12);
        world.crash(p(N), Crash::at(at));
    }
    let report = world.run();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    Run {
        report,
        delivered: seen.delivered,
        done: seen.done,
        begun: seen.begun,
        gaps: seen.gaps,
    }
}

/// The ordered pairs of processes.
fn ways() -> impl Iterator<Item = (usize, usize)> {
    (1..=N)
        .flat_map(|from| (1..=N).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
}

/// Every single gap, at every step: between two steps, when all messages just sent are in flight.
fn single(algorithm: &Algorithm) -> impl Iterator<Item = Fault> {
    let steps = 2 * REQUESTS as u32 + 14;
    let stride = match algorithm.simulation.substrate {
        Substrate::Links => 1,
        _ => 7,
    };
    ways().flat_map(move |way| {
        (0..steps).step_by(stride).flat_map(move |step| {
            let at = Time::ZERO + UNIT * step + UNIT / 2;
            [Keep::Nothing, Keep::First(1)].map(|keep| Fault { way, at, keep })
        })
    })
}

/// Many gaps drawn from the seed. The world draws how many copies of each get through.
fn many(seed: u64) -> Vec<Fault> {
    let ways: Vec<_> = ways().collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let drawn = (0..2 + draw(8)).map(|_| Fault {
        way: ways[draw(ways.len() as u64) as usize],
        at: Time::ZERO + UNIT / 4 * draw(4 * 20) as u32,
        keep: Keep::Drawn,
    });
    drawn.collect()
}

/// Latencies by which messages overtake each other.
fn uneven() -> Timed {
    Timed::uniform(UNIT / 2, UNIT * 4)
}

/// Whether the run has violated a safety property. What VS9 says of the last view is liveness: it is known only
/// in the end.
fn is_unsafe(report: &Report) -> bool {
    let is_liveness = |tag: &str| {
        let mut properties = algorithms::all().flat_map(|entry| entry.properties);
        properties.any(|property| property.tag == tag && property.kind == Kind::Liveness)
    };
    let mut verdicts = report.verdicts.iter();
    verdicts.any(|(tag, verdict)| match verdict {
        Verdict::Violated(violation) => {
            !is_liveness(tag) && !violation.text.starts_with("in the end")
        }
        Verdict::Holds | Verdict::Unknown => false,
    })
}

/// Whether the algorithm itself has kept its promises, and everything below it is safe: the entry of a layer
/// below may say that it ends.
fn goes_on(algorithm: &Algorithm, run: &Run) -> bool {
    let mut properties = algorithm.properties.iter();
    let kept = properties.all(|property| {
        let verdict = run.report.verdict(property.tag);
        verdict.is_none_or(|verdict| !verdict.is_violated())
    });
    kept && !is_unsafe(&run.report)
}

/// The seeds with which an entry is run: fewer if a run lasts long.
fn seeds(algorithm: &Algorithm) -> std::ops::Range<u64> {
    match algorithm.simulation.substrate {
        Substrate::Links => 0..60,
        _ => 0..6,
    }
}

fn rows(of: fn(Row) -> bool) -> impl Iterator<Item = &'static Algorithm> {
    algorithms::all().filter(move |algorithm| algorithm.is_over_streams() && of(algorithm.gap))
}

/// Asserts that both ends of a gap were told.
#[track_caller]
fn assert_told(run: &Run, fault: Fault, name: &str) {
    let way = (p(fault.way.0), p(fault.way.1));
    assert!(
        run.begun.contains(&way) && run.gaps.contains(&way),
        "{name}: {fault:?}"
    );
}

#[test]
fn what_goes_on_keeps_its_promises_over_one_gap_wherever_it_is() {
    for algorithm in rows(|row| matches!(row, Row::Repeats(_))) {
        let name = algorithm.name;
        for fault in single(algorithm) {
            let run = run(
                algorithm,
                Hears::Everything,
                1,
                Timed::lock_step(),
                &[fault],
            );
            assert!(
                goes_on(algorithm, &run),
                "{name}: {fault:?}\n{}",
                run.report
            );
            assert_told(&run, fault, name);
        }
    }
}

#[test]
fn what_goes_on_keeps_its_promises_over_many_gaps() {
    for algorithm in rows(|row| matches!(row, Row::Repeats(_))) {
        for seed in seeds(algorithm) {
            let run = run(algorithm, Hears::Everything, seed, uneven(), &many(seed));
            let name = algorithm.name;
            assert!(
                goes_on(algorithm, &run),
                "{name}: seed {seed}\n{}",
                run.report
            );
        }
    }
}

/// An algorithm that may end is safe and its users are told. Every process but the receiver of the gap
/// delivers what it would have delivered without it.
#[test]
fn what_may_end_does_so_for_the_pair_alone_and_says_so() {
    for algorithm in rows(|row| matches!(row, Row::Ends(_))) {
        let name = algorithm.name;
        let whole = run(algorithm, Hears::Everything, 1, Timed::lock_step(), &[]);
        assert!(whole.report.all_hold(), "{name}\n{}", whole.report);
        let pairs = match algorithm.abstraction {
            broadcast if broadcast.ends_with("broadcast") => N * N,
            _ if algorithm.is_shared_object() => N,
            _ => 0,
        };
        assert_eq!(whole.delivered.len(), pairs, "{name}: of everybody");
        assert_eq!(whole.done.len(), N, "{name}: at everybody");
        for fault in single(algorithm) {
            let run = run(
                algorithm,
                Hears::Everything,
                1,
                Timed::lock_step(),
                &[fault],
            );
            assert!(!is_unsafe(&run.report), "{name}: {fault:?}\n{}", run.report);
            assert_told(&run, fault, name);
            for (at, count) in &whole.done {
                let is_over = *at == p(fault.way.1);
                let got = run.done.get(at);
                assert!(is_over || got == Some(count), "{name}: {fault:?}: {at}");
            }
            for ((at, origin), count) in &whole.delivered {
                let is_over = *at == p(fault.way.1) && *origin == p(fault.way.0);
                let got = run.delivered.get(&(*at, *origin));
                assert!(
                    is_over || got == Some(count),
                    "{name}: {fault:?}: {origin} at {at}"
                );
            }
        }
    }
}

#[test]
fn what_may_end_is_safe_over_many_gaps() {
    for algorithm in rows(|row| matches!(row, Row::Ends(_))) {
        for seed in seeds(algorithm) {
            let run = run(algorithm, Hears::Everything, seed, uneven(), &many(seed));
            let name = algorithm.name;
            assert!(
                !is_unsafe(&run.report),
                "{name}: seed {seed}\n{}",
                run.report
            );
        }
    }
}

/// The mutant of every algorithm that repeats messages itself: if it does not learn of gaps, it repeats
/// nothing.
#[test]
fn what_does_not_hear_of_gaps_is_found_to_stand_still() {
    let says = |row| matches!(row, Row::Repeats(what) if !what.starts_with("nothing of its own"));
    for algorithm in rows(says) {
        let stands_still = |seed: &u64| {
            let run = run(algorithm, Hears::Nothing, *seed, uneven(), &many(*seed));
            assert!(
                !is_unsafe(&run.report),
                "{}\n{}",
                algorithm.name,
                run.report
            );
            !goes_on(algorithm, &run)
        };
        let mut seeds = 0..200;
        assert!(seeds.any(|seed| stands_still(&seed)), "{}", algorithm.name);
    }
}
