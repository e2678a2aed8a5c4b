//! The example `settings` does what it says.
#[path = "../examples/settings.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{CHANGES, Seen};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn readers_see_every_change_and_never_go_back() {
    let configure = tokio::time::timeout(TIMEOUT, example::configure());
    let all = configure.await.expect("in time").expect("the nodes run");
    assert_eq!(all.len(), 2);
    for (seen, last) in all.iter().zip([CHANGES + 1, CHANGES]) {
        for read in seen {
            let (version, returned) = (read.version(), read.returned);
            assert!(version >= returned, "read {version} after {returned}");
            if let Some(settings) = &read.settings {
                assert_eq!(settings.requests_per_second, 100 * version);
            }
        }
        let mut versions: Vec<_> = seen.iter().map(Seen::version).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        versions.dedup();
        versions.retain(|version| *version > 0);
        assert!(versions.into_iter().eq(1..=last), "each, once");
    }
}
