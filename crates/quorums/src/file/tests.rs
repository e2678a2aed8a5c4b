use super::*;
use quorate_sim::testing::p;

fn words(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn what_makes_no_sense_is_named() {
    for (text, expected) in [
        ("processes = 3\ncrashs = 1", "line 2"),
        ("processes = 3\n\n[[pattern]]\ncrash = \"a\"", "line 4"),
        ("processes = 3", "no pattern"),
        ("processes = 0\ncrashes = 0", "1 to 128"),
        ("processes = 999\ncrashes = 0", "too many"),
        ("processes = 3\ncrashes = 3", "`crashes` is 3"),
        ("processes = [\"a\", \"a\"]\ncrashes = 0", "two processes"),
        ("processes = [\"a b\"]\ncrashes = 0", "no name"),
        ("processes = 100\ncrashes = 5", "more than"),
        ("processes = 2\n[[pattern]]\ncrash = [\"p3\"]", "`p3`"),
        (
            "processes = 2\n[[pattern]]\ndisconnect = [\"p1\"]",
            "no channel",
        ),
        (
            "processes = 2\n[[pattern]]\ndisconnect = [\"p1>p1\"]",
            "himself",
        ),
        (
            "processes = 2\n[[pattern]]\ndisconnect = []\ncorrect = []",
            "not both",
        ),
        (
            "processes = 2\n[[pattern]]\ncrash = [\"p1\"]\ncorrect = [\"p1>p2\"]",
            "may crash",
        ),
        (
            "processes = 2\n[[pattern]]\nname = \"f\"\n[[pattern]]\nname = \"f\"",
            "two patterns",
        ),
        (
            "processes = 2\ncrashes = 0\n[quorums]\nreads = 3\nwrites = 1",
            "`reads` is 3",
        ),
        (
            "processes = 2\ncrashes = 0\n[quorums]\nreads = [[]]\nwrites = 1",
            "empty",
        ),
        (
            "processes = 2\ncrashes = 0\n[quorums]\nreads = 1\nwrites = 1\nweights = [1]",
            "`weights`",
        ),
    ] {
        let said = words(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn channels_are_named_by_what_fails_or_by_what_stays() {
    let disconnect = "processes = 3\n[[pattern]]\ndisconnect = [\"p1<>p2\", \"p2>p3\", \"p3<>p1\"]";
    let correct = "processes = 3\n[[pattern]]\ncorrect = [\"p3>p2\"]";
    let pattern = |text: &str| parse(text).unwrap().system.patterns.remove(0);
    assert_eq!(pattern(disconnect), pattern(correct));
    let residual = pattern(correct).residual(&Membership::of_size(3).unwrap());
    assert!(residual.channels(p(3)).contains(p(2)));
    assert!(residual.channels(p(1)).is_empty() && residual.channels(p(2)).is_empty());
}

#[test]
fn what_goes_without_saying_is_noted() {
    let text = "processes = 3\n[[pattern]]\ncrash = [\"p1\"]\ndisconnect = [\"p1>p2\"]";
    let described = parse(text).unwrap();
    assert_eq!(described.notes.len(), 1);
    assert!(
        described.system.patterns[0]
            .disconnect
            .iter()
            .all(|to| to.is_empty())
    );
}

#[test]
fn any_two_of_four_are_six_patterns() {
    let described = parse("processes = 4\ncrashes = 2").unwrap();
    assert_eq!(described.system.patterns.len(), 6);
    assert_eq!(described.system.patterns[0].name, "p1+p2 crash");
}
