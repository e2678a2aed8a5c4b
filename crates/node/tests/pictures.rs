//! The pictures of `quorate sim`, as files and as streams.
mod common;

use common::run;
use std::{fs, process::Output};

fn sim(extra: &[&str]) -> Output {
    let scenario = [
        "sim",
        "uniform",
        "--processes",
        "3",
        "--crash",
        "1",
        "--requests",
        "1",
        "--layers",
        "ideal",
        "--seeds",
        "7..8",
    ];
    run(&[&scenario, extra].concat())
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_becomes_an_svg_and_a_shiviz_log() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, log) = (folder.path().join("run.svg"), folder.path().join("run.log"));
    let output = sim(&[
        "--svg",
        svg.to_str().unwrap(),
        "--shiviz",
        log.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    assert!(words(&output.stdout).contains("URB4"));
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for part in [
        ", 3 processes, seed 7<",
        "Hold: URB1, URB2, URB3, URB4.",
        ">Deliver p1.1<",
        ">2 of 3: p",
        ">crash<",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("}\nuniform Broadcast\n"), "{log}");
    assert!(log.contains("\nreceive uniform Data p1.1 from p"), "{log}");
}

#[test]
fn a_picture_on_the_standard_output_is_alone_there() {
    let output = sim(&["--svg", "-"]);
    let svg = words(&output.stdout);
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert!(words(&output.stderr).contains("URB4"));
    let output = sim(&["--svg", "-", "--shiviz", "-"]);
    assert!(!output.status.success());
    assert!(words(&output.stderr).contains("takes one of --svg and --shiviz"));
}

#[test]
fn a_violation_is_drawn_and_still_an_error() {
    let output = run(&[
        "sim",
        "broken-uniform",
        "--crash",
        "1",
        "--layers",
        "ideal",
        "--seeds",
        "0..200",
        "--svg",
        "-",
    ]);
    assert!(!output.status.success());
    let svg = words(&output.stdout);
    assert!(svg.contains("Violated: URB4."), "{svg}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    for option in ["--svg", "--shiviz"] {
        let output = sim(&[option, "no/such/folder/run"]);
        assert!(!output.status.success());
        let error = words(&output.stderr);
        assert!(
            error.contains("quorate: cannot write no/such/folder/run: "),
            "{error}"
        );
    }
}
