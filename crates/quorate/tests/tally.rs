//! The example `tally` does what it says.
#[path = "../examples/tally.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{VOTES, sum};
use quorate::prelude::Lattice;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn all_that_is_read_can_be_ordered_and_every_vote_is_counted() {
    let tally = tokio::time::timeout(TIMEOUT, example::tally());
    let tally = tally.await.expect("in time").expect("the nodes run");
    assert_eq!(tally.counted.len(), 3);
    for decisions in &tally.counted {
        assert_eq!(decisions.len() as u64, VOTES);
        // A process reads its own vote: so the sum grows each time.
        let sums: Vec<_> = decisions.iter().map(sum).collect();
        assert!(sums.is_sorted_by(|one, other| one < other), "{sums:?}");
    }
    let mut all = tally.counted.concat();
    all.extend(tally.last.clone());
    all.sort_by_key(sum);
    for (earlier, later) in all.iter().zip(&all[1..]) {
        assert!(earlier.is_at_most(later), "{earlier:?}, {later:?}");
    }
    for last in &tally.last {
        assert_eq!(sum(last), 3 * VOTES);
    }
}
