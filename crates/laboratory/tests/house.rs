//! The rules of the workspace that no compiler checks: the allowed dependencies of pure crates, and that
//! every crate uses the workspace's lints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The crates whose code must run the same in the simulator and in production.
const PURE: [&str; 18] = [
    "core",
    "abstractions",
    "sim",
    "links",
    "detectors",
    "broadcast",
    "consensus",
    "commit",
    "membership",
    "quorums",
    "registers",
    "histories",
    "rounds",
    "limits",
    "stacks",
    "laboratory",
    "services",
    "sealed",
];

/// Crates with a clock, a socket, a thread or a runtime.
const IMPURE: [&str; 8] = [
    "tokio",
    "tokio-util",
    "socket2",
    "quinn-udp",
    "axum",
    "mio",
    "async-std",
    "quorate-runtime",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The manifest of every crate, by the name of its folder.
fn manifests() -> BTreeMap<String, String> {
    let entries = fs::read_dir(crates()).unwrap();
    let manifest = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        Some((
            name,
            fs::read_to_string(entry.path().join("Cargo.toml")).ok()?,
        ))
    };
    entries
        .filter_map(|entry| manifest(entry.unwrap()))
        .collect()
}

/// The names in the section `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .collect()
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    let manifests = manifests();
    for name in PURE {
        for dependency in dependencies(&manifests[name]) {
            assert!(
                !IMPURE.contains(&dependency),
                "{name} is pure, and depends on {dependency}"
            );
        }
    }
    assert!(
        dependencies(&manifests["runtime"]).contains(&"tokio"),
        "the search finds what there is"
    );
}

/// The crates that examine algorithms: the simulator, the laboratory with its mutants, and the crates over
/// both.
const EXAMINING: [&str; 3] = ["quorate-sim", "quorate-laboratory", "quorate-limits"];

/// The crates that may depend on them, and the binary, some of whose commands examine, too.
const EXAMINE: [&str; 4] = ["sim", "laboratory", "limits", "node"];

#[test]
fn what_is_deployed_never_depends_on_what_examines_it() {
    let manifests = manifests();
    for (name, manifest) in &manifests {
        let examines = EXAMINE.contains(&name.as_str());
        let depends = dependencies(manifest);
        let depends = depends.iter().find(|name| EXAMINING.contains(name));
        assert!(
            examines || depends.is_none(),
            "{name} is deployed, and depends on {depends:?}"
        );
        // The mutants are compiled only for the laboratory.
        let mutants = manifest.contains(r#"features = ["mutants"]"#);
        assert_eq!(mutants, name == "laboratory", "{name}");
    }
    let found = dependencies(&manifests["laboratory"]);
    assert!(
        found.contains(&"quorate-sim"),
        "the search finds what there is"
    );
}

#[test]
fn pure_crates_live_by_the_rules_of_the_workspace() {
    for name in PURE {
        let own = crates().join(name).join("clippy.toml");
        assert!(
            !own.exists(),
            "{name} is pure, and has a clippy.toml of its own"
        );
    }
}

#[test]
fn the_rules_name_the_same_pure_crates() {
    let rules = fs::read_to_string(crates().join("../clippy.toml")).unwrap();
    let line = rules.lines().next().unwrap();
    let named = line.split_once("pure crates: ").unwrap().1;
    let named: Vec<&str> = named.trim_end_matches('.').split(", ").collect();
    assert_eq!(named, PURE);
}

#[test]
fn every_crate_inherits_the_lints() {
    for (name, manifest) in manifests() {
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not inherit the lints"
        );
    }
}
