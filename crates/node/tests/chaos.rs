//! Short forms of the scenes of `quorate chaos`: real processes, disturbed under load.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

/// Plays a scene; returns its output.
fn holds(arguments: &[&str]) -> String {
    let arguments = [&["chaos"], arguments].concat();
    let output = common::run(&arguments);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{errors}");
    table
}

#[test]
fn mixed_chaos_loses_no_replica_and_no_write() {
    let table = holds(&[
        "mixed",
        "--seed",
        "3",
        "--seconds",
        "6",
        "--longest-s",
        "3",
        "--value",
        "300000",
    ]);
    assert!(table.contains("every replica is ready"), "{table}");
    assert!(table.contains("linearizable             "), "{table}");
}

#[test]
fn a_state_of_many_chunks_reaches_a_restarted_replica_under_load() {
    // The waits of the writers are not checked here: the soak measures them on a quiet machine.
    let table = holds(&[
        "transfer",
        "--store-mib",
        "24",
        "--baseline-s",
        "1",
        "--rise-ms",
        "5000",
        "--longest-ms",
        "9000",
    ]);
    assert!(table.contains("caught up after"), "{table}");
}

#[test]
fn a_follower_that_stood_still_under_load_is_back_by_itself() {
    let table = holds(&[
        "backlog",
        "--stopped-s",
        "3",
        "--rate",
        "1000",
        "--limit-s",
        "30",
        "--transport",
        "tcp",
    ]);
    assert!(table.contains("caught up "), "{table}");
}
