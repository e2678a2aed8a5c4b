//! The example `counter` does what it says.
#[path = "../examples/counter.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn what_one_has_counted_everybody_counts() {
    let count = tokio::time::timeout(TIMEOUT, example::count());
    let counted = count.await.expect("in time").expect("the nodes run");
    assert_eq!(counted.stayed, [111 * example::ADDITIONS; 2]);
    assert!(counted.left >= 100 * example::ADDITIONS);
}
