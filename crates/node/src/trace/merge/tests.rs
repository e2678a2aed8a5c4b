use super::*;

fn send(at: u64, to: usize, number: u64, digest: u64) -> Line {
    let label = "Data".to_owned();
    let what = LineKind::Send {
        to,
        number,
        label,
        digest,
    };
    line(at, what)
}

fn receive(at: u64, from: usize, number: u64, digest: u64) -> Line {
    let what = LineKind::Receive {
        from,
        number,
        digest,
    };
    line(at, what)
}

fn line(at: u64, what: LineKind) -> Line {
    let name = "chat".to_owned();
    Line { at, name, what }
}

fn recorded(process: usize, forgotten: u64, lines: Vec<Line>) -> Recorded {
    let head = Head {
        process,
        processes: 2,
        cluster: "test".to_owned(),
        incarnation: process.to_string(),
        forgotten,
    };
    Recorded { head, lines }
}

/// For each record: the process, whether it sends, and the message's number.
fn merged(traces: &[Recorded]) -> Vec<(usize, bool, u64)> {
    let of = |record: &Record| match record.kind {
        Kind::Send { message, .. } => (record.process.rank(), true, message),
        Kind::Receive { message, .. } => (record.process.rank(), false, message),
        _ => unreachable!("only copies were recorded"),
    };
    merge(traces, 0).unwrap().iter().map(of).collect()
}

#[test]
fn nothing_arrives_before_it_is_sent_whatever_the_clocks_say() {
    // The clock of p2 is far behind.
    let one = recorded(1, 0, vec![send(1000, 2, 1, 7), receive(1010, 2, 1, 8)]);
    let other = recorded(2, 0, vec![receive(5, 1, 1, 7), send(6, 1, 1, 8)]);
    let expected = [(1, true, 1), (2, false, 1), (2, true, 2), (1, false, 2)];
    assert_eq!(merged(&[one, other]), expected);
}

#[test]
fn a_copy_that_carries_something_else_is_not_the_one_that_was_sent() {
    let one = recorded(1, 0, vec![send(1, 2, 1, 7)]);
    let other = recorded(2, 0, vec![receive(2, 1, 1, 9), receive(3, 1, 2, 7)]);
    let expected = [(1, true, 1), (2, false, 0), (2, false, 0)];
    assert_eq!(merged(&[one, other]), expected);
}

#[test]
fn what_one_process_has_forgotten_is_left_out_of_all() {
    let one = recorded(1, 3, vec![send(50, 2, 4, 7)]);
    let other = recorded(2, 0, vec![receive(20, 1, 1, 7), receive(60, 1, 4, 7)]);
    assert_eq!(merged(&[one, other]), [(1, true, 1), (2, false, 1)]);
}

#[test]
fn traces_that_contradict_each_other_are_merged_all_the_same() {
    let one = recorded(1, 0, vec![receive(1, 2, 1, 8), send(2, 2, 1, 7)]);
    let other = recorded(2, 0, vec![receive(3, 1, 1, 7), send(4, 1, 1, 8)]);
    let merged = merged(&[one, other]);
    assert_eq!(merged.len(), 4);
    assert_eq!(merged[0], (1, false, 0));
}

#[test]
fn hostile_lines_are_errors() {
    let long = "x".repeat(65);
    let what = LineKind::Send {
        to: 2,
        number: 1,
        label: long,
        digest: 0,
    };
    assert!(merge(&[recorded(1, 0, vec![line(1, what)])], 0).is_err());
    assert!(merge(&[recorded(1, 0, vec![send(1, 0, 1, 0)])], 0).is_err());
    assert!(merge(&[recorded(0, 0, vec![send(1, 1, 1, 0)])], 0).is_err());
}
