//! The example `fence` does what it says.
#[path = "../examples/fence.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{OPENING, Outcome, PAYMENTS, by_lease, with_token};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn with_a_token_the_late_write_is_refused_and_no_payment_is_lost() {
    let outcome = tokio::time::timeout(TIMEOUT, with_token());
    let outcome = outcome.await.expect("in time").expect("the nodes run");
    let expected = Outcome {
        late_write: false,
        balance: OPENING + PAYMENTS[0] + PAYMENTS[1],
    };
    assert_eq!(outcome, expected);
}

#[tokio::test]
async fn by_a_lease_alone_the_late_write_goes_through_and_a_payment_is_lost() {
    let outcome = tokio::time::timeout(TIMEOUT, by_lease());
    let outcome = outcome.await.expect("in time").expect("the nodes run");
    let expected = Outcome {
        late_write: true,
        balance: OPENING + PAYMENTS[1],
    };
    assert_eq!(outcome, expected);
}
