//! Every schedule at small size, of every broadcast of the catalogue: on ideal links and oracles, with
//! every crash that the model allows, between steps and inside them, and every loss that a crash
//! excuses. The same search finds every broken twin.
//!
//! How many classes of equivalent schedules there are stands in `docs/exhaustive.md`;
//! `UPDATE_GOLDEN=1` rewrites it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_catalogue::{
    algorithm::{Algorithm, Detector, Ground, Wire},
    algorithms,
    site::{Below, Door, Proposal, Site},
};
use quorate_core::{ProcessId, Time};
use quorate_sim::{Exhaustive, Exploration, Oracle, Timed, UNIT, World, golden};
use std::{fmt::Write, fs, path::Path, time::Duration};

/// What is asked of the processes. What is asked at a later time may also be asked at any later step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// p1 broadcasts once.
    One,
    /// p1 broadcasts, and p2.
    Two,
    /// p1 broadcasts twice.
    Twice,
    /// p1 broadcasts, and, at some time later, p2.
    Reply,
}

/// A search: how many processes, what is asked of them, and how many may crash.
#[derive(Clone, Copy)]
struct Case {
    n: usize,
    load: Load,
    crashes: usize,
    /// The rank of who may falsely suspect all others, where the detector is ◇P or poses as P.
    errs: Option<usize>,
}

const fn case(n: usize, load: Load, crashes: usize) -> Case {
    Case {
        n,
        load,
        crashes,
        errs: None,
    }
}

/// What every broadcast is searched for.
const CASES: [(Case, &str); 4] = [
    (case(2, Load::One, 1), "n = 2, one broadcast, one crash"),
    (case(2, Load::Two, 0), "n = 2, two broadcasts"),
    (case(2, Load::Two, 1), "n = 2, two broadcasts, one crash"),
    (case(3, Load::One, 1), "n = 3, one broadcast, one crash"),
];

fn world(algorithm: &Algorithm, wire: Wire, case: Case) -> World {
    let world = World::new(case.n, 1, Timed::lock_step()).unwrap();
    let simulation = &algorithm.simulation;
    let mut below = Below::ideal(simulation.ground, algorithm.detector, Duration::ZERO);
    if let Some(by) = case.errs {
        below.oracle = errors(by, case.n);
    }
    for p in world.processes() {
        let site = Site::new(&world, p, &below);
        ask(&world, p, case.load, &wire(&site));
        site.start();
    }
    world.check((simulation.check)(world.membership()));
    world
}

/// One process suspects all others for a while.
fn errors(by: usize, n: usize) -> Oracle {
    let p = |rank| ProcessId::from_rank(rank).unwrap();
    let later = Time::ZERO + UNIT;
    (1..=n).fold(Oracle::accurate(Duration::ZERO), |oracle, rank| {
        oracle.suspecting(p(by), p(rank), Time::ZERO, later)
    })
}

fn ask(world: &World, p: ProcessId, load: Load, door: &Door) {
    let payload = Bytes::from_static(b"m");
    match door {
        Door::Broadcast(door) => {
            let times: &[u32] = match (load, p.rank()) {
                (Load::One | Load::Two | Load::Reply, 1) | (Load::Two, 2) => &[0],
                (Load::Twice, 1) => &[0, 0],
                (Load::Reply, 2) => &[1],
                _ => &[],
            };
            for time in times {
                world.request(p, Time::ZERO + UNIT * *time, door, payload.clone());
            }
        }
        Door::Propose(door) => {
            let value = Bytes::from(vec![p.rank() as u8]);
            world.request(p, Time::ZERO, door, Proposal { instance: 1, value });
        }
        Door::Send { .. } | Door::Nothing => {}
    }
}

/// Steps after which a search goes no deeper, for algorithms with rounds or a collection.
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
    let mut search = Exhaustive::new().crashes(case.crashes);
    if let Some(depth) = depth(algorithm) {
        search = search.depth(depth);
    }
    let wire = algorithm.simulation.wire;
    search.explore(|| world(algorithm, wire, case))
}

fn is_broadcast(algorithm: &Algorithm) -> bool {
    algorithm.abstraction.ends_with("broadcast")
}

#[test]
fn every_broadcast_holds_in_every_schedule() {
    let mut page = String::from(
        "# Every schedule at small size\n\n\
         <!-- Generated: UPDATE_GOLDEN=1 cargo test -p quorate-catalogue --test exhaustive -->\n\n\
         Every broadcast on ideal links and accurate detectors: every order of steps, every crash between\n\
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/exhaustive.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, page).unwrap();
    }
    let said = fs::read_to_string(path).unwrap_or_default();
    assert!(
        said == page,
        "docs/exhaustive.md is stale (scripts/golden): now\n{page}"
    );
}

/// So many worlds are looked at for a twin, of one case.
const WORLDS: u64 = 20_000;

/// Every twin of what stands on links is found, in one of few small worlds; but those of what has many
/// rounds, which only longer runs show (the scenarios' test finds them).
#[test]
fn the_same_search_finds_every_broken_twin() {
    let erring = |by| Case {
        errs: Some(by),
        ..case(3, Load::One, 1)
    };
    let cases = [
        case(3, Load::One, 1),
        case(2, Load::Twice, 0),
        case(3, Load::Reply, 0),
        case(2, Load::Two, 1),
        erring(1),
        erring(3),
    ];
    for (algorithm, twin) in algorithms::twins() {
        if algorithm.simulation.ground != Ground::Links || depth(algorithm).is_some() {
            continue;
        }
        let errs = |case: &&Case| case.errs.is_none() || algorithm.detector != Detector::None;
        let found = cases.iter().filter(errs).find_map(|case| {
            let search = Exhaustive::new().crashes(case.crashes).executions(WORLDS);
            let found = search
                .explore(|| world(algorithm, twin.wire, *case))
                .found?;
            (found.violation.tag == twin.breaks).then_some(found)
        });
        assert!(found.is_some(), "{} is not found", twin.name);
    }
}

#[test]
fn the_schedule_that_breaks_uniform_broadcast_on_one_acknowledgement_is_kept() {
    let (algorithm, twin) = algorithms::twins()
        .find(|(_, twin)| twin.name == "one-ack")
        .unwrap();
    let build = || world(algorithm, twin.wire, case(3, Load::One, 1));
    let found = Exhaustive::new().crashes(1).explore(build).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let page = golden::page(&found.shrunk(build), build()).unwrap();
    golden::check("testdata/uniform_on_one_ack.txt", &page);
    golden::play("testdata/uniform_on_one_ack.txt", build());
}
