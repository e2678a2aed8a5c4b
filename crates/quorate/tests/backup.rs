//! The example `backup` does what it says.
#[path = "../examples/backup.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{Account, Audit, Backup, OPENING, TRANSFERS, audit};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

/// The sums of all accounts. Of two values of a sum the larger is the later one.
fn totals(backup: &Backup) -> Vec<u64> {
    let account = |account: &Account| [account.sent, account.received].concat();
    backup.iter().flat_map(account).collect()
}

#[tokio::test]
async fn every_backup_is_of_one_moment() {
    let trade = tokio::time::timeout(TIMEOUT, example::trade());
    let backups = trade.await.expect("in time").expect("the nodes run");
    assert_eq!(backups.len(), 3);
    for backups in &backups {
        assert_eq!(backups.len(), TRANSFERS + 2);
        for backup in backups {
            let found = audit(backup).expect("of one moment");
            assert_eq!(found.there + found.in_flight, 3 * OPENING);
        }
        let last = backups.last().map(audit);
        let settled = Audit {
            there: 3 * OPENING,
            in_flight: 0,
        };
        assert_eq!(last, Some(Ok(settled)));
    }
    // The moments of all backups are ordered, whichever process took them.
    let mut all: Vec<_> = backups.concat().iter().map(totals).collect();
    all.sort_by_key(|totals| totals.iter().sum::<u64>());
    for (earlier, later) in all.iter().zip(&all[1..]) {
        let mut both = earlier.iter().zip(later);
        assert!(both.all(|(one, other)| one <= other), "{all:?}");
    }
}

#[test]
fn the_audit_finds_what_is_of_no_one_moment() {
    let mut backup = Backup::default();
    backup[0].sent[1] = 100;
    let in_flight = Audit {
        there: 3 * OPENING - 100,
        in_flight: 100,
    };
    assert_eq!(audit(&backup), Ok(in_flight));
    // p1 was read before it sent the money, and p2 after it had received it.
    backup[1].received[0] = 150;
    assert!(audit(&backup).is_err());
    // p1 was read before it received the money that it sent on.
    backup[1].received[0] = 100;
    backup[0].sent[2] = OPENING;
    assert!(audit(&backup).is_err());
}
