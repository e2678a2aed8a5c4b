//! The example `barrier` works as described, and docs/own-algorithm.md consists of its code.
#[path = "../examples/barrier.rs"]
#[expect(dead_code, reason = "its main function prints")]
mod example;

#[test]
fn the_blocks_of_the_page_are_the_program() {
    let page = include_str!("../docs/own-algorithm.md");
    let blocks = page.split("```rust\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    let told = blocks.collect::<Vec<_>>().join("\n");
    let program = include_str!("../examples/barrier.rs");
    for (number, (told, line)) in (1..).zip(told.lines().zip(program.lines())) {
        assert_eq!(told, line, "in line {number} of the example");
    }
    assert_eq!(told, program);
}

#[test]
fn b1_and_b2_hold_in_many_runs() {
    example::check(2_000).expect("both properties hold");
}

#[test]
fn each_broken_variant_is_found_by_its_property() {
    let found = example::find_the_broken(2_000).expect("both are found");
    assert_eq!(found.map(|violation| violation.tag), ["B1", "B2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_meet_and_none_is_too_early() {
    assert_eq!(example::meet(100).await.expect("the nodes run"), 0);
}
