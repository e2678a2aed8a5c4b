//! Checks that the generated documents are up to date. `UPDATE_GOLDEN=1` rewrites them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_laboratory::document::{self, gaps};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// Asserts that the file has this content, or writes it.
#[track_caller]
fn assert_says(name: &str, expected: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path(name), expected).unwrap();
    }
    let said = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        said == expected,
        "{name} is stale: UPDATE_GOLDEN=1 cargo test -p quorate-laboratory --test documents"
    );
}

#[test]
fn the_page_of_algorithms_is_that_of_the_laboratory() {
    assert_says("docs/algorithms.md", &document::page());
}

#[test]
fn the_page_of_gaps_is_that_of_the_laboratory() {
    assert_says("docs/gaps.md", &gaps::page());
}

/// The crates of the workspace that the crate in this folder depends on.
fn below(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(path("crates").join(folder).join("Cargo.toml")).unwrap();
    let section = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    let names = names.filter_map(|name| {
        name.strip_prefix("quorate-")
            .or((name == "quorate").then_some(name))
    });
    names.map(str::to_owned).collect()
}

#[test]
fn the_map_has_the_dependencies_that_the_manifests_have() {
    const BEGIN: &str = "<!-- generated from the manifests: begin -->\n";
    const END: &str = "<!-- generated from the manifests: end -->\n";
    let folders = fs::read_dir(path("crates")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: BTreeMap<String, Vec<String>> = folders
        .filter(|folder| path("crates").join(folder).join("Cargo.toml").is_file())
        .map(|folder| (folder.clone(), below(&folder)))
        .collect();
    // From the bottom up: a crate is next if it depends only on crates that are listed already.
    let mut graph = String::from("```text\n");
    let mut there: Vec<String> = Vec::new();
    while !left.is_empty() {
        let ready = |below: &Vec<String>| below.iter().all(|name| there.contains(name));
        let next: Vec<String> = left
            .iter()
            .filter(|(_, below)| ready(below))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!next.is_empty(), "a circle among {left:?}");
        for name in next {
            let mut below = left.remove(&name).unwrap();
            below.sort_by_key(|name| there.iter().position(|known| known == name));
            let line = format!("{name:<13}→ {}", below.join(", "));
            graph.push_str(if below.is_empty() {
                &name
            } else {
                line.trim_end()
            });
            graph.push('\n');
            there.push(name);
        }
    }
    graph.push_str("```\n");
    let map = fs::read_to_string(path("ARCHITECTURE.md")).unwrap();
    let (before, rest) = map.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert_says(
        "ARCHITECTURE.md",
        &format!("{before}{BEGIN}{graph}{END}{after}"),
    );
}
