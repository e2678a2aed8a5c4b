//! Every part of every property is violated by some mutant, and the checker says so. The mutants, and the runs
//! in which they were found, are in `docs/checkers.md`; `UPDATE_GOLDEN=1` rewrites it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_laboratory::{
    algorithms,
    checkers::{Table, run_in_rounds},
    document::checkers::page,
    rounds,
    scenario::{Layers, Scenario, Subject},
};
use std::{fs, path::Path};

#[test]
fn every_part_of_every_property_is_violated_by_a_mutant_and_found_when_the_page_says() {
    let table = Table::of_all_mutants();
    let mut trouble = table.trouble.clone();
    for row in table.rows() {
        let tag = row.property.tag;
        match row.clause {
            None => trouble.push(format!("{tag} ({}) has no parts", row.property.says)),
            Some(clause) if row.found.is_empty() => {
                trouble.push(format!("no mutant violates {tag}: {}", clause.says));
            }
            Some(_) => {}
        }
    }
    assert!(trouble.is_empty(), "{}", trouble.join("\n"));
    assert_holds_where_published_rules_break(&table);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checkers.md");
    let page = page(&table);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, page).unwrap();
    }
    let said = fs::read_to_string(path).unwrap_or_default();
    assert!(
        said == page,
        "docs/checkers.md is stale (scripts/golden): now\n{page}"
    );
}

/// In the run that shows that a published rule is wrong, the algorithm itself holds all its properties.
fn assert_holds_where_published_rules_break(table: &Table) {
    for (algorithm, mutant) in algorithms::mutants() {
        let Some(erratum) = algorithms::erratum(mutant.name) else {
            continue;
        };
        let runs = table.shown(mutant.name).unwrap();
        let subject = |mutant| Subject { algorithm, mutant };
        let scenario = Scenario {
            subject: subject(None),
            layers: Layers::Ideal,
            ..Scenario::of(subject(Some(mutant)))
        };
        let report = scenario.run_to_the_end(runs - 1).unwrap().report;
        assert!(report.all_hold(), "{erratum}, {}: {report}", algorithm.name);
    }
    let mut in_rounds = Vec::new();
    for (entry, mutant) in rounds::mutants() {
        let Some(erratum) = algorithms::erratum(mutant.name) else {
            continue;
        };
        in_rounds.push(erratum);
        let run = table.shown(mutant.name).unwrap() - 1;
        let broken = |mutant| {
            let judged = run_in_rounds(rounds::Subject { entry, mutant }, run);
            judged.unwrap().broken
        };
        let violated = broken(Some(mutant));
        assert!(
            violated.iter().any(|it| it.property == mutant.breaks),
            "{erratum}: {violated:?}"
        );
        let violated = broken(None);
        assert!(
            violated.is_empty(),
            "{erratum}, {}: {violated:?}",
            entry.name
        );
    }
    assert!(in_rounds.contains(&"C2-E2"), "{in_rounds:?}");
}
