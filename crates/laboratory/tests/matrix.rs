//! The matrix: every property of every algorithm under every fault that its model allows.
//!
//! `cargo test` runs a few seeds per cell and prints the matrix; the ignored test runs many, and writes
//! `docs/matrix.md` if `UPDATE_GOLDEN` is set.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "the runs are independent, and take as long as they take"
)]

use quorate_laboratory::{
    failure_models::FALLS,
    matrix::{Cell, FAULTS, Tally, cells, completed, dated, page_rows, table},
    scenario::Scenario,
};
use quorate_sim::Verdict;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Seeds per cell in every test run.
const FEW: u64 = 8;
/// Seeds per cell in long explorations, where `SEEDS` names no other number.
const MANY: u64 = 1000;

fn many() -> u64 {
    let seeds = std::env::var("SEEDS").ok();
    seeds.map_or(MANY, |seeds| seeds.parse().unwrap())
}

/// The result of a cell, its duration, and a report and a replay of each seed for which a property did not
/// hold.
fn run(cell: &Cell, seeds: u64) -> (Tally, Duration, Vec<String>) {
    let begun = Instant::now();
    let mut tally = Tally {
        seeds,
        ..Tally::default()
    };
    let mut failures = Vec::new();
    for seed in 0..seeds {
        let report = cell.scenario.run(seed, false).unwrap().report;
        let is = |wanted: fn(&Verdict) -> bool| report.verdicts.iter().any(|(_, v)| wanted(v));
        tally.violated += u64::from(is(|verdict| matches!(verdict, Verdict::Violated(_))));
        tally.unknown += u64::from(is(|verdict| matches!(verdict, Verdict::Unknown)));
        if !report.all_hold() {
            let name = FAULTS[cell.column].name;
            let replay = cell.scenario.command(seed);
            failures.push(format!("{name}: {report}replay: {replay}\n"));
        }
    }
    (tally, begun.elapsed(), failures)
}

/// The results of cells, their durations, and the failures.
type Results = (Vec<Tally>, Vec<Duration>, Vec<String>);

/// Runs all cells, on all processors.
fn run_all(cells: &[Cell], seeds: u64) -> Results {
    let results: Mutex<Vec<_>> = Mutex::new(vec![None; cells.len()]);
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some((index, cell)) = {
            let index = next.fetch_add(1, Relaxed);
            cells.get(index).map(|cell| (index, cell))
        } {
            let result = run(cell, seeds);
            results.lock().unwrap()[index] = Some(result);
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(worker))));
    let results = results.into_inner().unwrap();
    let mut all = Results::default();
    for (tally, duration, failures) in results.into_iter().flatten() {
        all.0.push(tally);
        all.1.push(duration);
        all.2.extend(failures);
    }
    all
}

/// Runs and prints some cells of the matrix, and asserts that every property certainly held.
fn check(cells: &[Cell], seeds: u64) -> String {
    let begun = Instant::now();
    let (tallies, durations, failures) = run_all(cells, seeds);
    let text = table(cells, &tallies);
    // Not by `println!`, whose output the test runner captures.
    let mut out = std::io::stdout().lock();
    let seconds = begun.elapsed().as_secs_f64();
    let runs: u64 = tallies.iter().map(|tally| tally.seeds).sum();
    writeln!(out, "\n{text}{runs} runs, {seconds:.0} s\n").unwrap();
    for (column, fault) in FAULTS.iter().enumerate() {
        let of_column = cells.iter().zip(&durations);
        let of_column = of_column.filter(|(cell, _)| cell.column == column);
        let sum: Duration = of_column.map(|(_, duration)| *duration).sum();
        writeln!(out, "{:>6.1} s {}", sum.as_secs_f64(), fault.name).unwrap();
    }
    for failure in failures.iter().take(20) {
        writeln!(out, "{failure}").unwrap();
    }
    drop(out);
    assert!(failures.is_empty(), "{} runs did not hold", failures.len());
    text
}

/// The page of the matrix.
fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/matrix.md")
}

#[test]
fn every_property_holds_under_every_fault() {
    check(&cells(), FEW);
}

/// What is known to fall outside an algorithm's failure models falls still. Were the algorithm stronger than its entry
/// says, the entry would have to say so.
#[test]
fn what_is_known_to_fall_falls() {
    for fall in FALLS {
        let scenario = fall.scenario().unwrap();
        let report = scenario.run(fall.seed, false).unwrap().report;
        let verdict = report.verdict(fall.breaks);
        let shows = |seed: &u64| {
            let report = scenario.run(*seed, false).unwrap().report;
            report
                .verdict(fall.breaks)
                .is_some_and(Verdict::is_violated)
        };
        assert!(
            verdict.is_some_and(Verdict::is_violated),
            "seed {:?} would show it: {fall}\n{report}",
            (0..200).find(shows)
        );
        // And the entry does not promise it there.
        let judged = Scenario {
            beyond: false,
            ..scenario
        };
        let is_checked = judged.run(fall.seed, false).is_ok_and(|judged| {
            let checked = judged.report.verdict(fall.breaks);
            checked.is_some()
        });
        assert!(!is_checked, "{fall}");
    }
}

/// The day, as the page writes it.
fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output().unwrap();
    assert!(date.status.success());
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_page_has_each_algorithm_each_size_and_each_fault() {
    let page = std::fs::read_to_string(page()).unwrap();
    let rows = page_rows(&page)
        .unwrap_or_else(|stale| panic!("docs/matrix.md: {stale}: see CONTRIBUTING.md"));
    // The date, and in each cell the seeds and the violations, or why there are none.
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        for cell in &cells[3..] {
            let (seeds, rest) = cell.split_once(" / ").unwrap_or((cell, "0"));
            let enough = seeds.parse::<u64>().is_ok_and(|seeds| seeds >= 100);
            let is_known = seeds == "–" || cell.starts_with("falls: ");
            assert!(is_known || enough && rest.starts_with('0'), "{row}");
        }
    }
}

/// How the page is made.
const MADE_BY: &str =
    "`UPDATE_GOLDEN=1 cargo test --release -p quorate-laboratory --test matrix -- --ignored`";

/// With `ROWS`, names of algorithms separated by commas, the page keeps its other rows.
#[test]
#[ignore = "long: scripts/soak runs it"]
fn every_property_holds_under_every_fault_for_many_seeds() {
    let named = std::env::var("ROWS").ok();
    let is_wanted = |cell: &Cell| {
        let name = cell.scenario.subject.algorithm.name;
        named
            .as_deref()
            .is_none_or(|named| named.split(',').any(|wanted| wanted == name))
    };
    let wanted: Vec<_> = cells().into_iter().filter(is_wanted).collect();
    assert!(!wanted.is_empty(), "no algorithm of the name {named:?}");
    let mut text = check(&wanted, many());
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        return;
    }
    text = dated(&text, &today());
    if named.is_some() {
        let earlier = std::fs::read_to_string(page()).unwrap();
        text = completed(&text, &earlier).unwrap();
    }
    let text = format!(
        "# Every algorithm under every fault\n\n\
         Made by {MADE_BY}, a part of `scripts/soak`. With `ROWS=NAME,NAME` it runs these algorithms alone, and \
         keeps the other rows; with `SEEDS=NUMBER` it runs so many seeds in each cell, not a thousand.\n\n{text}\n\
         Seeds / violations, of every property; – where the model forbids the fault, or what it runs on here cannot have \
         it; (safety): of the safety properties alone; falls: a property that is known not to hold under a model outside \
         the algorithm's own, with a seed that shows it. The page is written only if no property was violated.\n"
    );
    // It has each algorithm, each size and each fault.
    page_rows(&text).unwrap();
    std::fs::write(page(), text).unwrap();
}
