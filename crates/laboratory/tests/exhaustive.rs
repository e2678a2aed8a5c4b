//! Every schedule at small size, of every broadcast of the laboratory: on ideal links and oracles, with every
//! crash that the model allows, between steps and inside them, and every loss that a crash permits. The same
//! search finds every mutant.
//!
//! The number of classes of equivalent schedules, and the worlds in which the mutants are found, are in
//! `docs/exhaustive.md`; `UPDATE_GOLDEN=1` rewrites it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::atomic_commit::{Propose, Vote};
use quorate_core::{ProcessId, ProcessSet, Time};
use quorate_laboratory::{
    algorithm::{Algorithm, Substrate, Wire},
    algorithms,
    rounds::{self, Failures},
    wiring::{Action, Environment, Objects, Operation, Proposal, RequestPort, Wiring},
};
use quorate_sim::{Exhaustive, Exploration, Oracle, Timed, UNIT, World, golden, testing::p};
use std::{
    fmt::Write,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The requests to the processes, made at any step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// p1 broadcasts once.
    One,
    /// p2 broadcasts once, or it alone votes yes, or it alone proposes in lattice agreement.
    Second,
    /// p1 and p2 broadcast once each.
    Two,
    /// p1 broadcasts twice.
    Twice,
}

/// A search: how many processes there are, the requests to them, and how many may crash.
#[derive(Clone, Copy)]
struct Case {
    n: usize,
    load: Load,
    crashes: usize,
    /// The rank of the process that may crash, in the search for a mutant.
    mortal: usize,
    /// The rank of the process that may falsely suspect all others, where the detector is ◇P or poses as P.
    errs: Option<usize>,
}

const fn case(n: usize, load: Load, crashes: usize) -> Case {
    Case {
        n,
        load,
        crashes,
        mortal: 1,
        errs: None,
    }
}

/// The process of this rank may crash.
const fn mortal(rank: usize, n: usize, load: Load) -> Case {
    Case {
        mortal: rank,
        ..case(n, load, 1)
    }
}

/// The cases in which every broadcast is searched.
const CASES: [(Case, &str); 4] = [
    (case(2, Load::One, 1), "n = 2, one broadcast, one crash"),
    (case(2, Load::Two, 0), "n = 2, two broadcasts"),
    (case(2, Load::Two, 1), "n = 2, two broadcasts, one crash"),
    (case(3, Load::One, 1), "n = 3, one broadcast, one crash"),
];

const fn erring(n: usize, crashes: usize, by: usize) -> Case {
    Case {
        errs: Some(by),
        ..case(n, Load::One, crashes)
    }
}

/// The case in which a mutant is searched for that is not named below. For most mutants this is the smallest
/// world that shows the violation. Only p1 may crash, where the case names no other.
const SHOWN: Case = case(3, Load::One, 1);

/// The cases for the other mutants.
const MUTANTS: &[(&str, Case)] = &[
    ("loyal-to-the-dead", case(2, Load::One, 1)),
    ("all-but-oneself", case(2, Load::One, 0)),
    ("all-ack-with-errors", erring(2, 1, 1)),
    ("all-ack-without-reports", case(2, Load::Second, 1)),
    ("nothing-held-back", case(2, Load::Twice, 0)),
    ("causal-without-past", case(2, Load::Twice, 0)),
    ("never-collecting", case(2, Load::Second, 1)),
    ("never-waiting", case(2, Load::Twice, 0)),
    ("hierarchical-with-errors", erring(2, 0, 2)),
    ("hierarchical-without-reports", case(2, Load::One, 1)),
    ("uniform-hierarchical-with-errors", erring(2, 1, 1)),
    ("one-report", case(3, Load::One, 0)),
    ("non-blocking-with-errors", erring(2, 0, 2)),
    ("non-blocking-without-reports", case(2, Load::One, 1)),
    ("every-vote-a-yes", case(2, Load::Second, 0)),
    ("two-phase-without-reports", mortal(2, 2, Load::One)),
    ("as-they-come", case(2, Load::Two, 0)),
    ("on-messages-never-suspects", case(3, Load::Second, 1)),
    ("ordered-by-the-dead", case(3, Load::Second, 1)),
    ("answering-at-once", case(2, Load::One, 1)),
    ("log-kept-back", case(3, Load::Second, 1)),
    ("ordered-again", case(2, Load::Second, 1)),
    ("primary-for-ever", case(2, Load::Second, 1)),
    ("two-primaries", erring(2, 0, 2)),
    ("first-come", case(2, Load::One, 0)),
    ("terminating-without-reports", case(2, Load::One, 1)),
    ("terminating-with-errors", erring(2, 0, 1)),
    ("anybodys-data", case(2, Load::Second, 0)),
    ("terminating-not-uniform", case(2, Load::One, 1)),
    ("group-with-errors", erring(2, 0, 2)),
    ("group-without-reports", case(2, Load::One, 1)),
    ("views-with-errors", erring(2, 0, 2)),
    ("awaiting-the-faulty", case(2, Load::One, 1)),
    ("uniform-views-at-once", case(2, Load::One, 1)),
    ("views-by-consensus-with-errors", erring(2, 0, 2)),
    ("views-by-consensus-without-reports", case(2, Load::One, 1)),
    ("read-one-write-some", erring(2, 0, 1)),
    ("forgetful-voters", case(2, Load::One, 0)),
    ("impose-on-some", erring(2, 0, 1)),
    ("impose-without-reports", case(2, Load::One, 1)),
    ("forgetful-majority", case(2, Load::One, 0)),
    ("consult-some", erring(2, 0, 1)),
    ("consult-without-reports", case(2, Load::One, 1)),
    ("forgetful-replicas", case(2, Load::One, 0)),
    ("flooding-forgetful", case(2, Load::One, 0)),
    ("quorums-of-one", case(2, Load::One, 0)),
    ("register-on-quorums-of-one", case(2, Load::One, 0)),
    ("register-without-agreement", case(2, Load::Two, 0)),
    ("segments-on-quorums-of-one", case(2, Load::One, 0)),
    ("collects-on-quorums-of-one", case(2, Load::One, 0)),
    ("snapshot-on-quorums-of-one", case(2, Load::One, 0)),
    ("scans-first", case(2, Load::Second, 0)),
    ("agreement-on-quorums-of-one", case(2, Load::Two, 0)),
];

/// Mutants whose shortest schedules no search reaches: random runs find them, in `scenarios.rs`.
const TOO_DEEP: &[&str] = &[
    "undecided-views",
    "swallowing-views",
    "writing-off-views",
    "collects-once",
    "register-never-suspects",
];

/// A search that distinguishes the schedules that the algorithm's properties distinguish.
fn exhaustive(algorithm: &Algorithm) -> Exhaustive {
    if algorithm.is_shared_object() {
        Exhaustive::new().real_time()
    } else {
        Exhaustive::new()
    }
}

/// The search for a mutant.
fn hunt(algorithm: &Algorithm, case: &Case) -> Exhaustive {
    let mortal = ProcessSet::from_iter(ProcessId::from_rank(case.mortal));
    exhaustive(algorithm)
        .crashes(case.crashes)
        .of(mortal)
        .deepening()
}

/// The operations on a shared object, in words.
fn operations(algorithm: &Algorithm, load: Load) -> String {
    let (write, read) = algorithm.verbs();
    match (load, read) {
        (Load::Second, None) => format!(", p2 alone {write}s"),
        (Load::Second, Some(read)) => format!(", p2 {write}s, the others {read}"),
        (Load::One | Load::Twice, Some(read)) => format!(", p1 {write}s, the others {read}"),
        (Load::Two, _) | (Load::One | Load::Twice, None) => format!(", all {write}"),
    }
}

/// A case in words.
fn describe(algorithm: &Algorithm, case: &Case) -> String {
    let operations = operations(algorithm, case.load);
    let load = match case.load {
        _ if algorithm.abstraction.contains("consensus") => ", all propose",
        Load::Second if algorithm.abstraction.contains("commit") => ", p2 alone votes yes",
        _ if algorithm.abstraction.contains("commit") => ", all vote yes",
        _ if algorithm.is_shared_object() => &operations,
        _ if !is_broadcast(algorithm) => "",
        Load::One => ", p1 broadcasts",
        Load::Second => ", p2 broadcasts",
        Load::Two => ", p1 and p2 broadcast",
        Load::Twice => ", p1 broadcasts twice",
    };
    let crash = match case.crashes {
        0 => String::new(),
        _ => format!(", p{} may crash", case.mortal),
    };
    let errs = case
        .errs
        .map_or(String::new(), |by| format!(", p{by} may err"));
    format!("{}{load}{crash}{errs}", case.n)
}

fn world(algorithm: &Algorithm, wire: Wire, case: Case) -> World {
    let world = World::new(case.n, 1, Timed::lock_step()).unwrap();
    let simulation = &algorithm.simulation;
    let mut below = Environment::ideal(simulation.substrate, algorithm.detector, Duration::ZERO);
    if let Some(by) = case.errs {
        below.oracle = errors(by, case.n);
    }
    for p in world.processes() {
        let wiring = Wiring::new(&world, p, &below);
        ask(&world, p, case.load, &wire(&wiring));
        wiring.start();
    }
    world.check((simulation.check)(world.membership()));
    world
}

/// One process suspects all others for a while.
fn errors(by: usize, n: usize) -> Oracle {
    let later = Time::ZERO + UNIT;
    (1..=n).fold(Oracle::accurate(Duration::ZERO), |oracle, rank| {
        oracle.suspecting(p(by), p(rank), Time::ZERO, later)
    })
}

fn ask(world: &World, p: ProcessId, load: Load, port: &RequestPort) {
    let payload = Bytes::from_static(b"m");
    match port {
        RequestPort::Broadcast(port)
        | RequestPort::Group {
            broadcast: port, ..
        } => {
            let times = match (load, p.rank()) {
                (Load::One | Load::Two, 1) | (Load::Two | Load::Second, 2) => 1,
                (Load::Twice, 1) => 2,
                _ => 0,
            };
            for _ in 0..times {
                world.request(p, Time::ZERO, port, payload.clone());
            }
        }
        RequestPort::Propose(port) => {
            let value = Bytes::from(vec![p.rank() as u8]);
            world.request(p, Time::ZERO, port, Proposal { instance: 1, value });
        }
        RequestPort::Vote(port) => {
            let instance = 1;
            let vote = match load {
                Load::Second if p.rank() != 2 => Vote::No,
                Load::One | Load::Second | Load::Two | Load::Twice => Vote::Yes,
            };
            world.request(p, Time::ZERO, port, Propose { instance, vote });
        }
        RequestPort::Operate(objects) => operate(world, p, load, objects),
        RequestPort::Send { .. } | RequestPort::Leave(_) | RequestPort::Nothing => {}
    }
}

/// One operation per process: p1 or p2 writes and the others read, or all writers write. An object that
/// cannot be read is written by p2 alone, or by all.
fn operate(world: &World, p: ProcessId, load: Load, objects: &Objects) {
    let may_write = objects.writer.is_none_or(|writer| writer == p);
    let writes = match (load, p.rank()) {
        (Load::One | Load::Twice, 1) | (Load::Second, 2) | (Load::Two, _) => may_write,
        _ => false,
    };
    if !objects.readable && load == Load::Second && !writes {
        return;
    }
    let action = if writes || !objects.readable {
        Action::Write(Bytes::from(vec![p.rank() as u8]))
    } else {
        Action::Read
    };
    let (number, object) = (1, 1);
    let operation = Operation {
        number,
        object,
        action,
    };
    world.request(p, Time::ZERO, &objects.operate, operation);
}

/// The number of steps after which a search goes no deeper, for algorithms with rounds or a collection.
fn depth(algorithm: &Algorithm) -> Option<usize> {
    const DEPTHS: &[(&str, usize)] = &[
        ("causal-collected", 6),
        ("causal-collected-uniform", 6),
        ("by-consensus-on-messages", 7),
        ("by-consensus", 7),
        ("by-leader", 7),
        ("by-total-order", 7),
    ];
    let mut depths = DEPTHS.iter();
    let found = depths.find(|(name, _)| *name == algorithm.name);
    found.map(|(_, depth)| *depth)
}

fn search(algorithm: &Algorithm, case: Case) -> Exploration {
    let mut search = exhaustive(algorithm).crashes(case.crashes);
    if let Some(depth) = depth(algorithm) {
        search = search.depth(depth);
    }
    let wire = algorithm.simulation.wire;
    search.explore(|| world(algorithm, wire, case))
}

fn is_broadcast(algorithm: &Algorithm) -> bool {
    algorithm.abstraction.ends_with("broadcast")
}

/// Searches every schedule of every broadcast. Returns a table of the numbers of classes.
fn every_broadcast_holds() -> String {
    let mut page = String::from(
        "Every broadcast on ideal links and accurate detectors: every order of steps, every crash between\n\
         two steps and inside one, every loss that a crash excuses. The numbers count classes of\n\
         schedules that differ in nothing that any process can see; in every one of them every property\n\
         holds. “To depth d”: the first d steps of every schedule, safety only beyond which nothing is\n\
         said; – where the model forbids the crash.\n\n| algorithm |",
    );
    for (_, title) in CASES {
        let _ = write!(page, " {title} |");
    }
    page.push_str("\n|---|---|---|---|---|\n");
    for algorithm in algorithms::all().filter(|a| is_broadcast(a)) {
        let _ = write!(page, "| {} |", algorithm.name);
        for (case, title) in CASES {
            let three = quorate_core::Membership::of_size(case.n).unwrap();
            if case.crashes > algorithm.bound.most(&three) {
                page.push_str(" – |");
                continue;
            }
            let found = search(algorithm, case);
            assert!(
                found.found.is_none(),
                "{}, {title}: {found}",
                algorithm.name
            );
            let _ = match depth(algorithm) {
                Some(depth) if found.truncated > 0 => {
                    write!(
                        page,
                        " {} to depth {depth} |",
                        found.truncated + found.executions
                    )
                }
                _ => {
                    assert!(found.complete, "{}, {title}: {found}", algorithm.name);
                    write!(page, " {} |", found.executions)
                }
            };
        }
        page.push('\n');
    }
    page
}

/// The cases in which every shared object is searched: p1 writes, or updates, and the others read.
const SHARED: [(Case, Option<usize>, &str); 4] = [
    (case(2, Load::One, 0), None, "n = 2"),
    (case(2, Load::One, 1), None, "n = 2, one crash"),
    (case(2, Load::Two, 0), None, "n = 2, all write that may"),
    (case(3, Load::One, 1), Some(8), "n = 3, one crash"),
];

/// A search that made this many worlds was given up, and has not seen all schedules of its depth.
const MOST: u64 = 1_000_000;

/// The number of steps after which that search goes no deeper, for objects that operate repeatedly on the
/// layer below.
fn shared_depth(algorithm: &Algorithm, case: &Case) -> Option<usize> {
    match (algorithm.name, case.n) {
        ("snapshot-from-registers" | "snapshot-by-double-collect" | "register-by-consensus", 2) => {
            Some(11)
        }
        ("snapshot-from-registers" | "snapshot-by-double-collect", _) => Some(5),
        ("lattice-agreement", 2) => Some(18),
        ("register-by-consensus", _) => Some(6),
        _ => None,
    }
}

/// Searches every schedule of every shared object. Returns a table of the numbers of classes.
fn every_shared_object_holds() -> String {
    let mut page = String::from(
        "Of objects that processes share, p1 makes a write and every other process a read, at any time; which\n\
         operation ends before another begins matters, so that more schedules differ. A write is also an\n\
         update, a set, or a proposal of lattice agreement, which all make; a read is also a scan or a get.\n\n\
         | algorithm |",
    );
    for (_, _, title) in SHARED {
        let _ = write!(page, " {title} |");
    }
    page.push_str("\n|---|---|---|---|---|\n");
    let shared = algorithms::all().filter(|a| a.is_shared_object());
    for algorithm in shared.filter(|a| a.simulation.substrate == Substrate::Links) {
        let _ = write!(page, "| {} |", algorithm.name);
        for (case, depth, title) in SHARED {
            let depth = shared_depth(algorithm, &case).or(depth);
            let processes = quorate_core::Membership::of_size(case.n).unwrap();
            if case.crashes > algorithm.bound.most(&processes) {
                page.push_str(" – |");
                continue;
            }
            let mut search = exhaustive(algorithm).crashes(case.crashes);
            if let Some(depth) = depth {
                search = search.depth(depth);
            }
            let wire = algorithm.simulation.wire;
            let found = search.explore(|| world(algorithm, wire, case));
            assert!(
                found.found.is_none() && found.worlds < MOST,
                "{}, {title}: {found}",
                algorithm.name
            );
            let _ = match depth {
                Some(depth) if found.truncated > 0 => {
                    let all = found.truncated + found.executions;
                    write!(page, " {all} to depth {depth} |")
                }
                _ => {
                    assert!(found.complete, "{}, {title}: {found}", algorithm.name);
                    write!(page, " {} |", found.executions)
                }
            };
        }
        page.push('\n');
    }
    page
}

/// Searches for every mutant. Returns a table of the cases in which they were found, and after how many
/// worlds.
fn every_mutant_is_found() -> String {
    let mut page = format!(
        "The same search finds every mutant of these, of consensus and of leader election, one step\n\
         deeper at a time, so that the schedule is as short as any. The numbers are the steps of that\n\
         schedule and the worlds that were made, those of the lesser depths with them; led along as many\n\
         worlds of the same size, the algorithm breaks nothing. Who “may err” suspects all others for a\n\
         while, falsely. Not in the table, since no search gets so deep, but found in drawn schedules: {}.\n\n\
         | mutant | of | in a world of | breaks | steps | worlds |\n|---|---|---|---|---|---|\n",
        TOO_DEEP.join(", "),
    );
    let mutants = algorithms::changed();
    let on_links = mutants.filter(|(a, _)| a.simulation.substrate == Substrate::Links);
    for (algorithm, mutant) in on_links.filter(|(_, mutant)| !TOO_DEEP.contains(&mutant.name)) {
        let row = MUTANTS.iter().find(|(name, _)| *name == mutant.name);
        let case = row.map_or(&SHOWN, |(_, case)| case);
        let mutants = hunt(algorithm, case).explore(|| world(algorithm, mutant.wire, *case));
        let found = mutants.found.as_ref().map(|found| &found.violation.tag[..]);
        assert_eq!(found, Some(mutant.breaks), "{}: {mutants}", mutant.name);
        let own = hunt(algorithm, case).executions(mutants.worlds);
        let own = own.explore(|| world(algorithm, algorithm.simulation.wire, *case));
        assert!(own.found.is_none(), "{}: {own}", algorithm.name);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            mutant.name,
            algorithm.name,
            describe(algorithm, case),
            mutant.breaks,
            mutants.deepest,
            mutants.worlds,
        );
    }
    page
}

/// The sizes in which every algorithm of synchronous rounds is run: processes, and failures.
const IN_ROUNDS: [(usize, usize); 4] = [(2, 1), (3, 1), (4, 1), (4, 2)];
/// A mutant that breaks a property under omissions alone is searched for in so many drawn runs.
const SEEDS: u64 = 10_000;

/// Runs every algorithm of synchronous rounds under every pattern of crashes. Returns a table of the numbers of
/// runs, and a table of the mutants and of how many runs it took to find them.
fn every_algorithm_of_rounds_holds() -> String {
    let mut page = String::from(
        "In synchronous rounds there is no order of steps: who crashes in which round, and whom its last\n\
         messages reach, says all. These are the numbers of runs: every pattern of at most f crashes,\n\
         with all proposals of 0 and 1; in every one of them every property holds. “breaks” where the\n\
         algorithm, which is not made for crashes, does not survive one.\n\n| algorithm |",
    );
    for (n, f) in IN_ROUNDS {
        let _ = write!(page, " n = {n}, f = {f} |");
    }
    page.push_str("\n|---|---|---|---|---|\n");
    let scenario = |name: &str, (n, f), failures| rounds::Scenario {
        subject: name.parse().unwrap(),
        processes: quorate_core::Membership::of_size(n).unwrap(),
        f,
        rounds: None,
        failures,
    };
    for entry in &rounds::ENTRIES {
        let _ = write!(page, "| {} |", entry.name);
        for size in IN_ROUNDS {
            let (runs, first) = scenario(entry.name, size, Failures::Crashes).exhaust();
            let _ = match first {
                None => write!(page, " {runs} |"),
                Some(_) => write!(page, " breaks |"),
            };
            let may_break = entry.is_baseline() || first.is_none();
            assert!(may_break, "{}, {size:?}", entry.name);
        }
        page.push('\n');
    }
    page.push_str(
        "\nOf the mutants, the first violation among these patterns for n = 4 and f = 2, or, where it takes\n\
         omissions, among runs in which two processes omit messages that they send, at random.\n\n\
         | mutant | of | under | breaks | runs |\n|---|---|---|---|---|\n",
    );
    for entry in &rounds::ENTRIES {
        for mutant in entry.mutants {
            let found = scenario(mutant.name, (4, 2), mutant.under).hunt(SEEDS);
            let (runs, judged) = found.unwrap();
            let mut broken = judged.broken.iter().map(|broken| broken.property);
            assert!(broken.any(|tag| tag == mutant.breaks), "{}", mutant.name);
            let under = match mutant.under {
                Failures::Crashes => "crashes",
                Failures::Omissions(_) => "send omission",
            };
            let (name, of, breaks) = (mutant.name, entry.name, mutant.breaks);
            let _ = writeln!(page, "| {name} | {of} | {under} | {breaks} | {runs} |");
        }
    }
    page
}

/// The heading between the two parts of the page.
const ROUNDS: &str = "\n## Synchronous rounds\n\n";

/// Asserts that the page has these parts, as far as they are given, or writes them.
#[track_caller]
fn assert_page_has(schedules: Option<&str>, in_rounds: Option<&str>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/exhaustive.md");
    let said = fs::read_to_string(&path).unwrap_or_default();
    let (before, after) = said.split_once(ROUNDS).unwrap_or((&said, ""));
    let (before, after) = (schedules.unwrap_or(before), in_rounds.unwrap_or(after));
    let page = format!("{before}{ROUNDS}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, page).unwrap();
    }
    assert!(
        said == page,
        "docs/exhaustive.md is stale (scripts/golden): now\n{page}"
    );
}

#[test]
fn every_broadcast_holds_in_every_schedule_and_every_mutant_is_found() {
    let page = format!(
        "# Every schedule at small size\n\n\
         <!-- Generated: UPDATE_GOLDEN=1 cargo test -p quorate-laboratory --test exhaustive -->\n\n\
         {}\n## Shared objects\n\n{}\n## The mutants\n\n{}",
        every_broadcast_holds(),
        every_shared_object_holds(),
        every_mutant_is_found(),
    );
    assert_page_has(Some(&page), None);
}

#[test]
fn every_algorithm_of_rounds_holds_under_every_pattern_and_its_mutants_are_found() {
    assert_page_has(None, Some(&every_algorithm_of_rounds_holds()));
}

#[test]
fn the_schedule_that_breaks_uniform_broadcast_on_one_acknowledgement_is_kept() {
    let (algorithm, mutant) = algorithms::mutants()
        .find(|(_, mutant)| mutant.name == "one-ack")
        .unwrap();
    let build = || world(algorithm, mutant.wire, case(3, Load::One, 1));
    let found = Exhaustive::new().crashes(1).explore(build).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let page = golden::page(&found.shrunk(build), build()).unwrap();
    golden::check("testdata/uniform_on_one_ack.txt", &page);
    golden::play("testdata/uniform_on_one_ack.txt", build());
}
