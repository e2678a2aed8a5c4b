use super::*;
use quorate_sim::testing::p;

const HEAD: &str = "processes = [\"a\", \"b\", \"c\"]\n\n[[failure]]\n";

#[test]
fn what_makes_no_sense_is_named_with_its_line() {
    for (rest, expected) in [
        ("at = 5", "line 3: nothing fails here"),
        (
            "crash = [\n\"a\",\n\"d\"]",
            "line 6: there is no process `d`",
        ),
        ("crash = [\"a\", \"a\"]", "line 4: `a` crashes twice"),
        ("crash = \"a\"", "line 4: invalid type"),
        ("crashes = [\"a\"]", "line 4: unknown field"),
        ("at = -1\ncrash = [\"a\"]", "line 4: invalid value"),
        (
            "crash = [\"a\"]\nat = 86400001",
            "line 5: `at` is 86400001: later than a day",
        ),
        (
            "crash = [\"a\"]\nat = 1\nuntil = 9",
            "line 6: a crash is for good",
        ),
        (
            "at = 9\nuntil = 9\ndisconnect = [\"a>b\"]",
            "line 5: `until` is 9, and must be after `at`",
        ),
        (
            "until = 99999999\ndisconnect = [\"a>b\"]",
            "line 4: `until` is 99999999: later",
        ),
        ("disconnect = [\"a\"]", "line 4: `a` is no channel"),
        ("disconnect = [\"a>a\"]", "line 4: `a>a` is no channel"),
        ("disconnect = [\"a>d\"]", "line 4: there is no process `d`"),
        (
            "disconnect = [\"a<>b\", \"b>a\"]",
            "line 4: `b>a` fails while it has failed already",
        ),
        (
            "until = 9\ndisconnect = [\"a>b\"]\n[[failure]]\nat = 8\ndisconnect = [\"a>b\"]",
            "line 8: `a>b` fails while it has failed already",
        ),
    ] {
        let error = parse(&format!("{HEAD}{rest}")).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{rest}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for (text, expected) in [
        ("\nprocesses = 0", "line 2: "),
        ("processes = 999", "line 1: `processes` is 999: too many"),
        (
            "processes = [\"a\", \"a\"]",
            "line 1: two processes are called `a`",
        ),
        (
            "[[failure]]\ncrash = [\"p1\"]",
            "line 1: missing field `processes`",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn a_file_says_who_and_what_fails_and_when() {
    let text = format!(
        "{HEAD}at = 20\ncrash = [\"c\"]\ndisconnect = [\"a<>b\"]\n\
         [[failure]]\nuntil = 7\ndisconnect = [\"b>a\"]\n\
         [[failure]]\nat = 7\nuntil = 9\ndisconnect = [\"b>a\"]"
    );
    let failures = parse(&text).unwrap();
    let milliseconds = Duration::from_millis;
    assert_eq!(failures.names, ["a", "b", "c"]);
    assert_eq!(failures.crashes, BTreeMap::from([(p(3), milliseconds(20))]));
    let channels: Vec<_> = failures
        .channels
        .iter()
        .map(|it| (it.from, it.to, it.at, it.until))
        .collect();
    assert_eq!(
        channels,
        [
            (p(1), p(2), milliseconds(20), None),
            (p(2), p(1), milliseconds(20), None),
            (p(2), p(1), milliseconds(0), Some(milliseconds(7))),
            (p(2), p(1), milliseconds(7), Some(milliseconds(9))),
        ]
    );
    // Only what fails for good is in the pattern.
    let pattern = failures.pattern();
    assert_eq!(pattern.crash, ProcessSet::from_iter([p(3)]));
    assert_eq!(
        pattern.channels().collect::<Vec<_>>(),
        [(p(1), p(2)), (p(2), p(1))]
    );
    let nothing = parse("processes = 3").unwrap();
    assert!(nothing.crashes.is_empty() && nothing.pattern().channels().next().is_none());
}
