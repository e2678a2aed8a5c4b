//! The example `motion` does what it says.
#[path = "../examples/motion.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{FAILURES, Outcome};
use quorate::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn all_decide_in_two_rounds_and_late_messages_are_reported() {
    let vote = tokio::time::timeout(TIMEOUT, example::vote());
    let Outcome {
        in_time,
        late,
        omissions,
    } = vote.await.expect("in time").expect("the nodes run");
    let round = FAILURES as u64 + 1;
    // Whoever is called before it proposes does not propose its own value.
    let value = in_time[0].value;
    assert!([10, 20, 30, 40].contains(&value), "{value}");
    assert_eq!(in_time, [InRound { value, round }; 4]);
    // p4, whose messages are late, is the faulty one.
    let [ours, its] = [20, 10].map(|value| InRound { value, round });
    assert_eq!(late, [ours, ours, ours, its]);
    let p4 = ProcessId::from_rank(4).expect("there are four");
    let two = BTreeMap::from([(p4, 2)]);
    assert_eq!(omissions, [two.clone(), two.clone(), two, BTreeMap::new()]);
}
