//! What is generated from the laboratory is what it says now. `UPDATE_GOLDEN=1` rewrites it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quorate_laboratory::{document, gaps};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// Asserts that the file says this, or makes it say so.
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
