//! The example `feed` does what it says.
#[path = "../examples/feed.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn everybody_reads_each_source_in_its_order() {
    let feed = tokio::time::timeout(TIMEOUT, example::feed());
    let all = feed.await.expect("in time").expect("the nodes run");
    assert_eq!(all.len(), 3);
    for sources in all {
        assert_eq!(sources.len(), 3);
        for readings in sources.values() {
            let numbers = readings.iter().map(|reading| reading.number);
            assert!(numbers.eq(1..=example::READINGS));
        }
    }
}
