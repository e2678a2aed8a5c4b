//! The example `transfer` does what it says, wherever a bank is killed.
#[path = "../examples/transfer.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{Audit, Decision, Kill, OPENING, TRANSFERS, audit, trade};
use std::{env, process::Command, thread};

/// This is no test: the others start this program as a bank, and tell it to run only this function.
#[test]
fn a_bank_if_told_to_be_one() {
    if let Some(rank) = example::told_to_be_a_bank() {
        example::bank(rank).expect("the node runs");
    }
}

fn a_bank() -> Command {
    let mut command = Command::new(env::current_exe().expect("it is known"));
    command.args(["--exact", "a_bank_if_told_to_be_one", "--nocapture"]);
    command
}

#[test]
fn failure_free_all_commit_what_can_be_paid_for() {
    let books = trade(&a_bank, None).expect("the banks run");
    let Audit { committed, aborted } = audit(&books, None).expect("they agree");
    assert!(committed > 0 && aborted > 0, "{committed}, {aborted}");
    assert_eq!(committed + aborted, TRANSFERS);
}

#[test]
fn wherever_a_bank_is_killed_the_others_decide_all_and_agree_with_it() {
    let kills = [(1, 1), (2, 30), (3, 111), (1, 200)];
    let runs = kills.map(|(bank, after)| {
        thread::spawn(move || {
            let kill = Kill { bank, after };
            let books = trade(&a_bank, Some(kill)).expect("the banks run");
            let found = audit(&books, Some(kill)).expect("they agree");
            let dead = books[bank - 1].len() as u64;
            assert!(dead >= after, "it had decided before it was killed");
            assert!(found.aborted >= TRANSFERS - dead - 1, "{found:?}, {dead}");
        })
    });
    for run in runs {
        run.join().expect("each agrees");
    }
}

#[test]
fn the_audit_finds_what_is_wrong() {
    let kill = Some(Kill { bank: 3, after: 1 });
    let aborted = Decision {
        is_commit: false,
        balance: OPENING,
    };
    let all = vec![aborted; TRANSFERS as usize];
    let books = |third| vec![all.clone(), all.clone(), third];
    assert!(audit(&books(vec![aborted]), kill).is_ok());
    assert!(
        audit(&books(vec![aborted]), None).is_err(),
        "it is not done"
    );
    let is_commit = true;
    let otherwise = Decision {
        is_commit,
        ..aborted
    };
    assert!(audit(&books(vec![otherwise]), kill).is_err());
    let balance = OPENING + 1;
    let richer = Decision { balance, ..aborted };
    assert!(audit(&books(vec![richer]), kill).is_err());
}
