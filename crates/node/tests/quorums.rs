//! `quorate quorums check`, with the files that ship.
mod common;

use common::run;
use std::{fs, process::Output};

fn check(arguments: &[&str]) -> Output {
    run(&[&["quorums", "check"], arguments].concat())
}

fn shipped(name: &str) -> String {
    format!(
        "{}/../../config/quorums/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn figure_1_has_its_only_solution() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("figure-1.svg");
    let output = check(&[&shipped("figure-1"), "--svg", picture.to_str().unwrap()]);
    let printed = words(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    for line in [
        "There is a generalized quorum system, and only one, up to which read quorums are left larger.",
        "f1       {a, b}          {a, c}         {a, b, c}  {a, b}",
        "f2       {b, c}          {b, d}         {b, c, d}  {b, c}",
        "f3       {c, d}          {a, c}         {a, c, d}  {c, d}",
        "f4       {a, d}          {b, d}         {a, b, d}  {a, d}",
        "read quorums: {a, c} {b, d}",
        "write quorums: {a, b} {b, c} {a, d} {c, d}",
        "Read and write quorums that reach each other, as requests and answers need: there are none.",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line}\nin\n{printed}");
    }
    let alone = check(&[&shipped("figure-1"), "--svg", "-"]);
    assert_eq!(alone.stdout, fs::read(&picture).unwrap());
    let root = env!("CARGO_MANIFEST_DIR");
    let golden = format!("{root}/../../docs/quorums/figure-1.svg");
    let drawn = fs::read_to_string(picture).unwrap();
    assert_eq!(
        drawn,
        fs::read_to_string(golden).unwrap(),
        "draw it anew: quorate quorums check config/quorums/figure-1.toml --svg docs/quorums/figure-1.svg"
    );
}

#[test]
fn one_more_channel_failure_is_impossible_and_why_is_told() {
    for (name, component) in [
        ("figure-1-without-ab", "f1: (1) W {a} R {a, b, c}"),
        ("figure-1-without-ba", "f1: (1) W {b} R {a, b, c}"),
        ("figure-1-without-ca", "f1: (1) W {a, b} R {a, b}"),
    ] {
        let output = check(&[&shipped(name)]);
        let printed = words(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{name}: {printed}");
        assert!(printed.contains("Impossible: "), "{name}: {printed}");
        // Each of the four patterns is needed.
        let all = "These patterns f1, f2, f3, f4 cannot be served together";
        assert!(printed.contains(all), "{name}: {printed}");
        assert!(printed.contains(component), "{name}: {printed}");
    }
}

#[test]
fn two_patterns_that_cannot_agree_are_named_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.toml");
    let split = "processes = 4\n[[pattern]]\nname = \"calm\"\n[[pattern]]\nname = \"left\"\n\
                 crash = [\"p3\", \"p4\"]\n[[pattern]]\nname = \"right\"\ncrash = [\"p1\", \"p2\"]\n";
    fs::write(&file, split).unwrap();
    let picture = folder.path().join("split.svg");
    let output = check(&[file.to_str().unwrap(), "--svg", picture.to_str().unwrap()]);
    let printed = words(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed.contains("These two patterns left, right cannot be served together"),
        "{printed}"
    );
    let drawn = fs::read_to_string(picture).unwrap();
    assert!(drawn.contains("there are no quorums"), "{drawn}");
}

#[test]
fn what_is_not_decided_and_what_cannot_be_read_have_a_code_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("open.toml");
    // There are three components in each pattern, so that the answer needs a search; and several pairs of
    // them agree.
    let open =
        "processes = 3\n[[pattern]]\ncorrect = [\"p1>p2\"]\n[[pattern]]\ncorrect = [\"p2>p3\"]\n";
    fs::write(&file, open).unwrap();
    let output = check(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let output = check(&[file.to_str().unwrap(), "--budget", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output.stdout).contains("Unknown: the budget is spent"));

    let file = folder.path().join("bad.toml");
    fs::write(&file, "processes = 3\ncrashes = 1\nnonsense = 4\n").unwrap();
    let output = check(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = words(&output.stderr);
    assert!(
        told.contains("line 3") && told.contains("nonsense"),
        "{told}"
    );

    // For several files the exit code is that of the worst answer, and all answers are printed.
    let output = check(&[
        &shipped("majorities-5"),
        "/no/such/file",
        &shipped("figure-1"),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output.stdout).contains("only one"));
    assert!(words(&output.stderr).contains("/no/such/file"));
}

#[test]
fn quorums_that_a_file_gives_are_verified() {
    for name in ["majorities-5", "grid-3x3", "weighted"] {
        let output = check(&[&shipped(name)]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let printed = words(&output.stdout);
        assert!(
            printed.contains("The quorums of the file are a generalized quorum system."),
            "{printed}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("halves.toml");
    let halves = "processes = 4\ncrashes = 1\n[quorums]\nreads = 2\nwrites = 2\n";
    fs::write(&file, halves).unwrap();
    let output = check(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let printed = words(&output.stdout);
    assert!(printed.contains("have nobody in common"), "{printed}");
}
