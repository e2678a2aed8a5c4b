//! Terminating reliable broadcast.
use super::*;

/// Process `by` delivers the message of this number of `source`, with a content of this digest.
fn message(by: usize, source: usize, number: u64, digest: u64) -> (usize, Kind) {
    let observation = Observation::indication("Deliver").peer(p(source));
    effect(by, observation.instance(number).digest(digest))
}

/// Process `by` delivers in this instance that `source` is faulty.
fn faulty(by: usize, source: usize, number: u64) -> (usize, Kind) {
    let observation = Observation::indication("SenderFaulty").peer(p(source));
    effect(by, observation.instance(number))
}

fn uniform_form() -> Properties {
    terminating(&three(), "m")
}

/// p1 broadcasts, every process delivers, p1 crashes, and the others deliver the report.
fn fine() -> Vec<(usize, Kind)> {
    let mut trace = vec![broadcast(1, 10)];
    trace.extend(everyone(|q| message(q, 1, 1, 10)));
    trace.extend([crash(1), faulty(2, 1, 2), faulty(3, 1, 2)]);
    trace
}

#[test]
fn a_message_and_then_the_report_are_accepted() {
    assert!(broken(uniform_form(), &fine()).is_empty());
    assert!(broken(regular_terminating(&three(), "top/m"), &fine()).is_empty());
    assert!(broken(uniform_form(), &[]).is_empty(), "nobody broadcasts");
}

#[test]
fn trb1_validity_every_correct_process_delivers_the_message_of_a_correct_source() {
    let trace = [broadcast(1, 10), message(2, 1, 1, 10), message(3, 1, 1, 10)];
    assert_eq!(broken(uniform_form(), &trace), ["TRB1", "TRB4"]);
    let mut trace = vec![broadcast(1, 10)];
    trace.extend(everyone(|q| faulty(q, 1, 1)));
    assert_eq!(broken(uniform_form(), &trace), ["TRB1", "TRB3"]);
}

#[test]
fn trb2_uniform_agreement_even_of_a_process_that_crashes() {
    let trace = [
        broadcast(1, 10),
        message(1, 1, 1, 10),
        crash(1),
        faulty(2, 1, 1),
        faulty(3, 1, 1),
    ];
    assert_eq!(broken(uniform_form(), &trace), ["TRB2"]);
    assert!(broken(regular_terminating(&three(), "m"), &trace).is_empty());
}

#[test]
fn trb2_agreement_of_correct_processes() {
    let trace = [
        broadcast(1, 10),
        crash(1),
        faulty(2, 1, 1),
        message(3, 1, 1, 10),
        faulty(3, 1, 2),
    ];
    assert_eq!(broken(regular_terminating(&three(), "m"), &trace), ["TRB2"]);
    let verdicts = judge_with(regular_terminating(&three(), "m"), &trace, false, "m");
    assert_eq!(verdicts[1].1, Verdict::Unknown, "one may still crash");
    assert_eq!(broken(uniform_form(), &trace), ["TRB2"]);
}

#[test]
fn trb3_integrity() {
    let end = |trace: &[(usize, Kind)]| trace.to_vec();
    let forged = [
        // Another content than the one broadcast; a message that was not broadcast.
        end(&[broadcast(1, 10), message(2, 1, 1, 11)]),
        end(&[message(2, 1, 1, 10), broadcast(1, 10)]),
        // The message of another number; the message of another source.
        end(&[broadcast(1, 10), broadcast(1, 11), message(2, 1, 1, 11)]),
        end(&[broadcast(2, 10), message(2, 1, 1, 10)]),
        // Delivered twice; out of order; after the report.
        end(&[broadcast(1, 10), message(2, 1, 1, 10), message(2, 1, 1, 10)]),
        end(&[broadcast(1, 10), broadcast(1, 11), message(2, 1, 2, 11)]),
        end(&[crash(1), faulty(2, 1, 1), faulty(2, 1, 1)]),
        end(&[
            broadcast(1, 10),
            crash(1),
            faulty(2, 1, 1),
            message(2, 1, 2, 10),
        ]),
        // Reported faulty before the crash.
        end(&[faulty(2, 1, 1), crash(1)]),
    ];
    for trace in forged {
        let tags = broken(uniform_form(), &trace);
        assert!(tags.contains(&"TRB3".to_owned()), "{trace:?}: {tags:?}");
    }
}

#[test]
fn trb4_termination_if_the_source_broadcasts_or_crashes() {
    let mut trace = fine();
    trace.pop();
    assert_eq!(broken(uniform_form(), &trace), ["TRB4"]);
    let verdicts = judge_with(uniform_form(), &trace, false, "m");
    assert_eq!(verdicts[3].1, Verdict::Unknown, "truncated");
    trace.push(crash(3));
    trace.push(faulty(2, 3, 1));
    assert!(
        broken(uniform_form(), &trace).is_empty(),
        "p3 is faulty too"
    );
    let trace = [broadcast(1, 10), message(1, 1, 1, 10), message(2, 1, 1, 10)];
    assert_eq!(broken(uniform_form(), &trace), ["TRB1", "TRB4"]);
}

#[test]
fn what_everybody_has_delivered_is_forgotten_and_still_not_forged() {
    let mut trace = vec![crash(3), faulty(1, 3, 1), faulty(2, 3, 1)];
    for k in 1..=1000 {
        trace.extend([broadcast(1, k), message(1, 1, k, k), message(2, 1, k, k)]);
    }
    assert!(broken(uniform_form(), &trace).is_empty());
    trace.push(message(2, 1, 1001, 0));
    assert_eq!(broken(uniform_form(), &trace), ["TRB3"]);
}
