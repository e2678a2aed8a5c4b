//! The bound shows, and what would contradict it is noticed.
use super::*;

#[test]
fn h5_f_rounds_are_not_enough_and_f_plus_one_are() {
    let shown = show().unwrap();
    assert_eq!(shown.unexpected(), [""; 0]);
    let text = shown.text();
    assert!(
        text.contains("25616") && text.contains("104") && text.contains("broken: C2"),
        "{text}"
    );
    assert!(shown.svg().contains("p1 crashes in round 1"));
}

#[test]
fn what_contradicts_the_bound_is_noticed() {
    let mut shown = show().unwrap();
    shown.broken.clear();
    shown.findings[2].1.chain = Some(Vec::new());
    shown.findings[1].1.chain = None;
    shown.proof[3].similar_for = None;
    shown.decisions.clear();
    assert_eq!(shown.unexpected().len(), 5);
}
