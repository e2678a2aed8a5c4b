//! The example `bank` does what it says.
#[path = "../examples/bank.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use std::{env, process::Command};

/// This is no test: the other test starts this program as a replica, and tells it to run only this
/// function.
#[test]
fn a_replica_if_told_to_be_one() {
    if example::told_to_be_a_replica() {
        example::replica().expect("the node runs");
    }
}

fn a_replica() -> Command {
    let mut command = Command::new(env::current_exe().expect("it is known"));
    command.args(["--exact", "a_replica_if_told_to_be_one", "--nocapture"]);
    command
}

#[test]
fn every_replica_is_back_after_its_restart_with_all_that_was_acknowledged() {
    let books = example::day(&a_replica).expect("the replicas run");
    let all = r#"{"ann": 30, "bob": 55, "eve": 15}"#;
    assert_eq!(books, [all; 3]);
}
