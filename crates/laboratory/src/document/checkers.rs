//! The page on the checkers: each part of each property, and the mutants that violate it.
use crate::{
    algorithms::{self, Untold},
    checkers::{Found, MOST, Row, Table},
    rounds,
};
use std::fmt::Write;

/// `docs/checkers.md`.
pub fn page(table: &Table) -> String {
    let mut text = format!(
        "# Can a check fail?\n\n\
         <!-- Generated from the laboratory: UPDATE_GOLDEN=1 cargo test -p quorate-laboratory --test checkers -->\n\n\
         Each property, the parts that its checker judges, and mutants that violate each part, as\n\
         algorithm/mutant: in brackets, in which run of fixed seeds the checker says so for the first time. Each\n\
         mutant runs on the seeds 0, 1, … (three processes, or as many as the last table says; ideal layers, the\n\
         faults of its entry), {MOST} at most, until it has violated what it is made to violate; what else it\n\
         violates up to then is counted, too. `quorate sim MUTANT` shows one. Mutants in rounds run in four\n\
         settings, one after the other: n = 3 and f = 1, n = 4 and f = 2, with crashes, and then with omissions.\n\n\
         A mutant is an algorithm with one rule changed, or one that is altered on the way to its user: an\n\
         indication is left out, repeated, held back or changed.\n\n\
         | property | part | mutants, each with its first run |\n|---|---|---|\n"
    );
    let mut last = None;
    for Row {
        property,
        clause,
        found,
    } in table.rows()
    {
        let is_new = last.replace(property) != Some(property);
        let head = if is_new {
            format!("**{}** {} ({})", property.tag, property.says, property.kind)
        } else {
            String::new()
        };
        let says = clause.map_or("–", |clause| clause.says);
        let found: Vec<_> = found
            .iter()
            .map(|Found { of, mutant, runs }| format!("`{of}/{mutant}` ({runs})"))
            .collect();
        let _ = writeln!(text, "| {head} | {says} | {} |", found.join(", "));
    }
    text.push_str(&published(table));
    text.push_str(&untold());
    text
}

/// The section on the errata that no mutant shows.
fn untold() -> String {
    let mut text = String::from(
        "\n## Errata that no mutant shows\n\n\
         Remarks, rules that cost time or memory alone, and rules whose execution takes what no scenario of this\n\
         page draws. A test stands for each of them, where there is something to test.\n\n\
         | erratum | why no mutant shows it | test |\n|---|---|---|\n",
    );
    for Untold { erratum, why, test } in algorithms::untold() {
        let test = test.map_or("–".to_owned(), |(file, test)| {
            format!("[`{test}`](../{file})")
        });
        let _ = writeln!(text, "| {erratum} | {why} | {test} |");
    }
    text
}

/// The section on the mutants whose rule has an erratum, each with the command that shows its violation.
fn published(table: &Table) -> String {
    let mut text = String::from(
        "\n## Rules as they are published, or often told\n\n\
         Mutants whose rule stands in a source, or is how the algorithm is often told, each with its erratum, by\n\
         which the code and its tests know it. The command shows the run in which the property breaks; the\n\
         algorithm itself holds all its properties in the same run. `quorate algorithms --mutants` lists all\n\
         mutants, of one algorithm with its name.\n\n\
         | erratum | algorithm | the rule | breaks | command |\n|---|---|---|---|---|\n",
    );
    let events = algorithms::mutants().map(|(of, it)| (of.name, it.name, it.change, it.breaks));
    let in_rounds = rounds::mutants().map(|(of, it)| (of.name, it.name, it.change, it.breaks));
    let mut rows: Vec<_> = events
        .chain(in_rounds)
        .filter_map(|row| Some((algorithms::erratum(row.1)?, row)))
        .collect();
    rows.sort_by_key(|(erratum, _)| *erratum);
    for (erratum, (of, mutant, change, breaks)) in rows {
        let command = table.command(mutant).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {erratum} | {of} | {change} | {breaks} | `{command}` |"
        );
    }
    text
}
