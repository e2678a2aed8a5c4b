//! Every part of every property is violated by some mutant, and the checker says so. The mutants, and the runs
//! in which they were found, are in `docs/checkers.md`; `UPDATE_GOLDEN=1` rewrites it.
use quorate_laboratory::{checkers::Table, document::checkers::page};
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
