//! The page on the checkers: each part of each property, and the mutants that violate it.
use crate::checkers::{Found, MOST, Row, Table};
use std::fmt::Write;

/// `docs/checkers.md`.
pub fn page(table: &Table) -> String {
    let mut text = format!(
        "# Can a check fail?\n\n\
         <!-- Generated from the laboratory: UPDATE_GOLDEN=1 cargo test -p quorate-laboratory --test checkers -->\n\n\
         Each property, the parts that its checker judges, and mutants that violate each part, as\n\
         algorithm/mutant: in brackets, in which run of fixed seeds the checker says so for the first time. Each\n\
         mutant runs on the seeds 0, 1, … (three processes, ideal layers, the faults of its entry), {MOST} at\n\
         most, until it has violated what it is made to violate; what else it violates up to then is counted,\n\
         too. `quorate sim MUTANT` shows one. Mutants in rounds run in four settings, one after the other: n = 3\n\
         and f = 1, n = 4 and f = 2, with crashes, and then with omissions.\n\n\
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
    text
}
