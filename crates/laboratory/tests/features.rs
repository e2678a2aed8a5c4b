//! What the facade brings along, by its features: as many packages as its documentation says, and nothing that
//! examines.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// No layer alone, over a socket, brings more.
const MOST: usize = 40;

/// The packages that the facade brings with these features, itself included, each with the features that it is
/// built with.
fn packages(features: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--package", "quorate"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--edges", "normal"])
        .args(["--no-default-features", "--features", features])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p} | {f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    tree.lines().map(str::to_owned).collect()
}

/// The rows of the documentation: features, and how many packages they bring.
fn rows() -> Vec<(String, usize)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../quorate/src/lib.rs");
    let text = fs::read_to_string(path).unwrap();
    let table = text
        .split("| features | packages | seconds |")
        .nth(1)
        .unwrap();
    let rows = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("//! | "));
    let row = |row: &str| {
        let mut cells = row.split(" | ");
        let features = cells.next().unwrap().replace(['`', ' '], "");
        (features, cells.next().unwrap().parse().unwrap())
    };
    rows.map(row).collect()
}

#[test]
fn each_layer_brings_as_many_packages_as_is_said() {
    let rows = rows();
    assert!(rows.len() > 5, "{rows:?}");
    for (features, said) in &rows {
        let count = packages(features).len();
        assert_eq!(count, *said, "{features}");
    }
    for features in ["links,udp", "links,tcp", "detectors,udp", "detectors,tcp"] {
        let count = packages(features).len();
        assert!(count <= MOST, "{features}: {count}");
    }
}

#[test]
fn a_user_gets_nothing_that_examines() {
    for package in packages("default,metrics") {
        let (package, features) = package.split_once(" | ").unwrap();
        let name = package.split(' ').next().unwrap();
        assert!(
            !["quorate-sim", "quorate-laboratory"].contains(&name),
            "{package}"
        );
        assert!(
            !features.split(',').any(|it| it == "mutants"),
            "{package}: {features}"
        );
    }
}
