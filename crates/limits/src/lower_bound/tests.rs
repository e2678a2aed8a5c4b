use super::*;
use std::{fs, path::Path};

fn shown(families: Families, events: Events) -> Shown {
    run(families, events).unwrap()
}

#[test]
fn g8_inconsistent_quorums_keep_liveness_under_each_pattern_and_break_safety() {
    for events in [Events::F, Events::G] {
        shown(Families::Inconsistent, events)
            .report
            .assert_all_hold();
    }
    let merged = shown(Families::Inconsistent, Events::Merged);
    assert_eq!(merged.broken(), Some("LA1"), "{}", merged.report);
}

#[test]
fn g8_consistent_quorums_keep_safety_and_break_liveness_under_f() {
    for events in [Events::G, Events::Merged] {
        shown(Families::Unavailable, events)
            .report
            .assert_all_hold();
    }
    let blocked = shown(Families::Unavailable, Events::F);
    assert_eq!(blocked.broken(), Some("LA4"), "{}", blocked.report);
}

/// `UPDATE_GOLDEN=1` writes the pictures anew.
#[test]
fn the_pictures_in_the_documentation_are_those_that_are_drawn() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (name, families, events) in [
        ("lower-bound-safety", Families::Inconsistent, Events::Merged),
        ("lower-bound-liveness", Families::Unavailable, Events::F),
    ] {
        let shown = shown(families, events);
        for (ending, drawn) in [("svg", shown.svg()), ("txt", shown.text())] {
            let path = root.join(format!("docs/diagrams/{name}.{ending}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &drawn).unwrap();
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == drawn,
                "{name}.{ending} is stale: run with UPDATE_GOLDEN=1"
            );
        }
    }
}
