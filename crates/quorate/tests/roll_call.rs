//! The example `roll_call` does what it says.
#[path = "../examples/roll_call.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use example::{LEAVES, NAMES, ROUNDS};
use quorate::node::Content::{Message, SenderFaulty};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn of_everybody_all_hear_the_name_or_that_it_is_gone() {
    let call = tokio::time::timeout(TIMEOUT, example::call());
    let rolls = call.await.expect("in time").expect("the nodes run");
    assert_eq!(rolls.len(), 2);
    assert_eq!(rolls[0], rolls[1]);
    for (index, heard) in rolls[0].values().enumerate() {
        let named = heard
            .iter()
            .filter(|it| **it == Message(NAMES[index].to_owned()));
        let named = named.count();
        if index < 2 {
            assert_eq!((named, heard.len()), (ROUNDS, ROUNDS));
        } else {
            assert!(named == LEAVES - 1 || named == LEAVES, "{heard:?}");
            assert_eq!(heard.len(), named + 1);
            assert_eq!(heard.last(), Some(&SenderFaulty));
        }
    }
}
