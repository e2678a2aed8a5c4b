use super::*;
use proptest::prelude::*;

#[test]
fn a_line_that_is_wrong_is_named() {
    for (text, line, what) in [
        ("x p1 invoke read \"k\"", 1, "no time"),
        ("1 q1 invoke read \"k\"", 1, "no process"),
        ("1 p1 begin read \"k\"", 1, "none of"),
        ("1 p1 invoke scan \"k\"", 1, "neither"),
        ("1 p1 invoke read \"k", 1, "do not end"),
        ("1 p1 invoke read k", 1, "quotes"),
        ("1 p1 invoke read \"\\xzz\"", 1, "no byte"),
        ("1 p1 invoke read \"k\" \"v\"", 1, "without"),
        ("1 p1 invoke write \"k\"", 1, "with its value"),
        ("\n# \n1 p1 ok read \"k\" nil", 3, "in flight"),
        (
            "2 p1 invoke read \"k\"\n1 p2 invoke read \"k\"",
            2,
            "before",
        ),
        (
            "1 p1 invoke read \"k\"\n2 p1 invoke read \"k\"",
            2,
            "in flight",
        ),
        (
            "1 p1 invoke read \"k\"\n2 p1 ok read \"l\" nil",
            2,
            "another",
        ),
        (
            "1 p1 invoke write \"k\" \"v\"\n2 p1 ok write \"k\" \"w\"",
            2,
            "another value",
        ),
        (
            "1 p1 invoke read \"k\"\n2 p1 ok read \"k\" nil 1.x",
            2,
            "no tag",
        ),
        (
            "1 p1 invoke read \"k\"\n2 p1 ok read \"k\" nil 0.0 y",
            2,
            "too much",
        ),
        ("1 p1 invoke read \"k\"\n2 p1 ok read \"k\"", 2, "or nil"),
        ("1 p1 invoke read \"\\x+f\"", 1, "no byte"),
    ] {
        let malformed = parse(text).unwrap_err();
        assert_eq!(malformed.line, line, "{text}");
        assert!(malformed.what.contains(what), "{text}: {malformed}");
    }
}

#[test]
fn what_failed_is_left_out_and_what_nobody_knows_is_open() {
    let history = parse(
        "1 p1 invoke write \"k\" \"a\"\n2 p1 fail write \"k\"\n3 p1 invoke write \"k\" \"b\"\n\
         4 p1 info write \"k\"\n5 p1 invoke read \"k\"\n6 p2 invoke read \"k\"\n\
         7 p2 ok read \"k\" \"b\" 3.1\n",
    )
    .unwrap();
    let (_, operations) = history.registers().next().unwrap();
    let seen: Vec<_> = operations.iter().map(|o| (o.process, o.returned)).collect();
    assert_eq!(seen, [(1, None), (2, Some(7)), (1, None)]);
    let tag = operations[1].tag.unwrap();
    assert_eq!((tag.timestamp, tag.writer), (3, 1));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..6)
}

proptest! {
    #[test]
    fn a_history_survives_the_format(
        drawn in prop::collection::vec((0..3_u64, bytes(), prop::option::of(bytes()), any::<bool>(), 0..5_u64, any::<bool>()), 0..20)
    ) {
        let mut clocks = [0_u64; 3];
        let mut history = Recorded::default();
        let mut count = 0;
        for (process, register, value, writes, length, ends) in drawn {
            let clock = &mut clocks[process as usize];
            let invoked = *clock + 1;
            *clock = invoked + length;
            let action = match (writes, value) {
                (true, value) => Action::Write(value.unwrap_or_default()),
                (false, value) => Action::Read(value.filter(|_| ends)),
            };
            let returned = ends.then_some(*clock);
            let tag = ends.then_some(Tag { timestamp: length, writer: process });
            count += 1;
            history.push(register, Operation { process, action, invoked, returned, tag });
        }
        let text = write(&history);
        let read = parse(&text).unwrap();
        prop_assert_eq!(read.len(), count);
        let flat = |history: &Recorded| {
            let mut all: Vec<_> = history
                .registers()
                .flat_map(|(k, os)| os.iter().map(move |o| (k.clone(), o.action.clone(), o.invoked, o.returned, o.tag)))
                .collect();
            all.sort();
            all
        };
        prop_assert_eq!(flat(&read), flat(&history));
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(text in ".{0,200}") {
        let _ = parse(&text);
    }
}
