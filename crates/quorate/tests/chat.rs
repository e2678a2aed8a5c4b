//! The example `chat` does what it says.
#[path = "../examples/chat.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn an_answer_never_comes_before_its_question() {
    let chat = tokio::time::timeout(TIMEOUT, example::chat());
    let read = chat.await.expect("in time").expect("the nodes run");
    assert_eq!(read.len(), 3);
    for lines in read {
        assert_eq!(
            lines,
            ["p1: lunch?", "p2: yes, at noon", "p1: see you then"]
        );
    }
}
