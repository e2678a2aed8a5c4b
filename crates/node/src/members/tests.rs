use super::*;
use serde_json::json;

#[test]
fn a_view_is_one_line() {
    let member = |seat, before| json!({ "seat": seat, "incarnation": "a", "held_before": before });
    let mut view = json!({
        "epoch": 2,
        "members": [member(1, 2), member(2, 0)],
        "leader": null,
        "suspected": [],
    });
    assert_eq!(line(&view), "epoch 2: p1#2 p2; no leader yet");
    view["leader"] = json!(2);
    view["suspected"] = json!([1, 3]);
    assert_eq!(line(&view), "epoch 2: p1#2 p2; leader p2; suspects p1 p3");
    assert_eq!(line(&json!({ "missed": 3 })), "… 3 views were missed");
}

#[test]
fn members_are_a_table() {
    let answer = json!({ "members": [{
        "seat": 1, "address": "127.0.0.1:7101", "incarnation": null,
        "held_before": 1, "role": "voter", "leader": true,
    }]});
    let table = table(&answer);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["seat", "address", "incarnation", "held", "before", "role"]
    );
    assert_eq!(
        lines[1],
        ["p1", "127.0.0.1:7101", "-", "1", "voter,", "leader"]
    );
}
