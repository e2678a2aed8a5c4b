use super::*;
use quorate_core::Membership;
use quorate_stacks::{
    agreements::{Commit, Consensus},
    registers::Registers,
};
use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn names_are_unique_and_lower_layers_exist() {
    let mut names = BTreeSet::new();
    for algorithm in all() {
        for name in [&algorithm.name].into_iter().chain(algorithm.aliases) {
            assert!(names.insert(*name), "{name} is the name of two");
        }
        for below in algorithm.over {
            let is_edge = ["edge", "heartbeats"].contains(below);
            assert!(
                is_edge || all().any(|a| a.abstraction == *below),
                "{} stands on {below}, which nothing implements",
                algorithm.name
            );
        }
    }
    for (_, mutant) in mutants() {
        assert!(
            names.insert(mutant.name),
            "{} is the name of two",
            mutant.name
        );
    }
}

/// CONTRIBUTING.md has the recipe. An entry without a handle, or without its behaviour over a gap, does not
/// compile.
#[test]
fn every_algorithm_has_what_the_recipe_asks_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for algorithm in all() {
        let (name, file) = (algorithm.name, algorithm.file);
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        for section in ["Promises", "Assumes", "Cost", "Why it holds", "Source"] {
            let heading = format!("//! # {section}\n");
            assert!(text.contains(&heading), "{file} has no section {section}");
        }
        let beside = root.join(file.trim_end_matches(".rs").trim_end_matches("/mod"));
        let mut tests = ["tests.rs", "tests/mod.rs"].iter();
        let are_beside = tests.any(|it| beside.join(it).is_file());
        let is_tested = text.contains("mod tests {") || are_beside && text.contains("mod tests;");
        assert!(is_tested, "{file} has no tests");
        assert!(!algorithm.properties.is_empty(), "{name}: no property");
        assert!(!algorithm.mutants.is_empty(), "{name}: no mutant");
        let costs = algorithm.cost.is_some() || algorithm.rate != "none";
        assert!(costs, "{name}: neither a cost nor a rate");
    }
}

/// The checked properties are those that the entry promises, in that order; and a mutant breaks one of them.
#[test]
fn what_is_promised_is_checked() {
    let three = Membership::of_size(3).unwrap();
    for algorithm in all() {
        let checked = (algorithm.simulation.check)(&three);
        let checked: Vec<&str> = checked.iter().map(|property| property.tag()).collect();
        let promised: Vec<&str> = algorithm.properties.iter().map(|p| p.tag).collect();
        assert!(
            checked.starts_with(&promised),
            "{}: {promised:?} are promised, {checked:?} are checked",
            algorithm.name
        );
        for mutant in algorithm.mutants {
            assert!(promised.contains(&mutant.breaks), "{}", mutant.name);
        }
    }
}

/// Each mutant by a published rule is one of an algorithm, and breaks a property that the algorithm promises; and an
/// erratum is that of one mutant.
#[test]
fn each_published_rule_is_that_of_one_mutant_which_breaks_what_the_algorithm_promises() {
    let mut errata = BTreeSet::new();
    for (name, mutant) in published::all() {
        let algorithm = find(name).unwrap_or_else(|| panic!("there is no {name}"));
        assert!(algorithm.promises(mutant.breaks), "{}", mutant.name);
    }
    let names = mutants().map(|(_, mutant)| mutant.name);
    let names = names.chain(crate::rounds::mutants().map(|(_, mutant)| mutant.name));
    for erratum in names.filter_map(erratum) {
        assert!(errata.insert(erratum), "{erratum} is that of two mutants");
    }
    assert_eq!(
        errata.len(),
        published::all().count() + published::elsewhere()
    );
}

/// Each erratum that no mutant shows has none, and the test that stands for it exists.
#[test]
fn what_no_mutant_shows_is_tested_where_it_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut errata = BTreeSet::new();
    for Untold { erratum, why, test } in untold() {
        assert!(errata.insert(erratum), "{erratum} stands twice");
        assert!(!why.is_empty(), "{erratum}");
        let shows = |name: &str| super::erratum(name).is_some_and(|it| it == *erratum);
        let mut names = mutants().map(|(_, mutant)| mutant.name);
        assert_eq!(names.find(|name| shows(name)), None, "{erratum}");
        if let Some((file, test)) = test {
            let text =
                fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            let declared = format!("#[test]\nfn {test}() {{");
            assert!(text.contains(&declared), "{file} has no test {test}");
        }
    }
}

#[test]
fn a_list_of_mutants_says_which_rule_is_published() {
    let chosen: Vec<_> = all().filter(|it| it.name == "views-by-consensus").collect();
    let list = crate::document::mutants(&chosen, &[]);
    let line = |name: &str| {
        list.lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned)
    };
    assert!(
        line("views-erase-the-early")
            .unwrap()
            .ends_with("(published: D8-E4)"),
        "{list}"
    );
    assert!(
        !line("views-twice").unwrap().contains("published"),
        "{list}"
    );
    assert!(
        line("views-forget-flushes").is_none(),
        "of another algorithm"
    );
    let rounds = crate::document::mutants(&[], &crate::rounds::ENTRIES);
    assert!(rounds.contains("(published: C2-E2)"), "{rounds}");
}

#[test]
fn every_one_of_the_agreements_is_found_by_its_name_which_is_that_of_its_algorithm() {
    for consensus in Consensus::all() {
        assert_eq!(consensus.name().parse::<Consensus>(), Ok(consensus));
        let entry = find(consensus.name()).unwrap();
        let kind = if consensus.is_uniform() {
            "uniform"
        } else {
            "regular"
        };
        assert_eq!(entry.abstraction, format!("{kind} consensus"));
    }
    for commit in Commit::all() {
        assert_eq!(commit.name().parse::<Commit>(), Ok(commit));
        let entry = find(commit.name()).unwrap();
        assert_eq!(entry.abstraction, "atomic commit");
    }
    let unknown = "raffle".parse::<Consensus>().unwrap_err().to_string();
    assert!(unknown.contains("consensus `raffle`") && unknown.contains("leader-driven"));
    let unknown = "three-phase".parse::<Commit>().unwrap_err().to_string();
    assert!(unknown.contains("commit `three-phase`") && unknown.contains("two-phase"));
}

#[test]
fn every_one_of_the_registers_is_found_by_its_name_which_is_that_of_its_algorithm() {
    for registers in Registers::all() {
        assert_eq!(registers.name().parse::<Registers>(), Ok(registers));
        let entry = find(registers.name()).unwrap();
        assert!(entry.abstraction.ends_with("register"));
        let one_writer = entry.abstraction.starts_with("(1,N)");
        assert_eq!(registers.has_one_writer(), one_writer, "{registers}");
    }
    let unknown = "cash".parse::<Registers>().unwrap_err().to_string();
    assert!(unknown.contains("`cash`") && unknown.contains("majority-voting"));
}
