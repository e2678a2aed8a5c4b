//! Each checker accepts a good trace and fires on one that is bad in its own way.
mod atomic_commit;
mod order;

use super::*;
use crate::testing::p;
use crate::{
    Completion, Kind, Loss, ModuleNumber, Record, Verdict,
    properties::{broadcast::family, links::Channel},
};
use quorate_core::{
    Incarnation, Membership, MessageId, Name, Observation, Time,
    message::{Origin, fold},
};

mod causal;
mod shared;
mod terminating;
mod views;

fn three() -> Membership {
    Membership::of_size(3).unwrap()
}

fn id(origin: usize, sequence: u64) -> MessageId {
    let origin = Origin {
        process: p(origin),
        incarnation: Incarnation(origin as u64),
    };
    MessageId { origin, sequence }
}

fn event(process: usize, observation: Observation) -> (usize, Kind) {
    (process, Kind::Event(observation))
}

fn effect(process: usize, observation: Observation) -> (usize, Kind) {
    (process, Kind::Effect(observation))
}

/// Process `by` requests a broadcast whose content has this digest.
fn broadcast(by: usize, digest: u64) -> (usize, Kind) {
    event(by, Observation::request("Broadcast").digest(digest))
}

/// Process `by` delivers this message of `origin`, with a content of this digest.
fn deliver(by: usize, origin: usize, sequence: u64, digest: u64) -> (usize, Kind) {
    let observation = Observation::indication("Deliver").message(id(origin, sequence));
    effect(by, observation.digest(digest))
}

fn propose(by: usize, instance: u64, value: u64) -> (usize, Kind) {
    let observation = Observation::request("Propose").instance(instance);
    event(by, observation.digest(value))
}

fn decide(by: usize, instance: u64, value: u64) -> (usize, Kind) {
    let observation = Observation::indication("Decide").instance(instance);
    effect(by, observation.digest(value))
}

fn tell(by: usize, label: &'static str, of: usize) -> (usize, Kind) {
    effect(by, Observation::indication(label).peer(p(of)))
}

fn crash(process: usize) -> (usize, Kind) {
    (process, Kind::Crash)
}

fn send(message: u64, from: usize, to: usize) -> (usize, Kind) {
    let (to, label, digest) = (p(to), "", 0);
    (
        from,
        Kind::Send {
            message,
            to,
            label,
            digest,
        },
    )
}

fn receive(message: u64, from: usize, to: usize) -> (usize, Kind) {
    let (from, label, digest) = (p(from), "", 0);
    (
        to,
        Kind::Receive {
            message,
            from,
            label,
            digest,
        },
    )
}

/// The verdict of each property on a trace of a module (and a lane) named `m` at three processes.
fn judge_with(
    properties: Properties,
    trace: &[(usize, Kind)],
    complete: bool,
    lane: &str,
) -> Vec<(String, Verdict)> {
    judge_at(Time::ZERO, properties, trace, complete, lane)
}

/// The same, where everything happens at this time.
fn judge_at(
    time: Time,
    properties: Properties,
    trace: &[(usize, Kind)],
    complete: bool,
    lane: &str,
) -> Vec<(String, Verdict)> {
    let mut correct = three().set();
    let mut found: Vec<Option<Verdict>> = vec![None; properties.len()];
    let mut properties = properties;
    for (index, (process, kind)) in trace.iter().enumerate() {
        if *kind == Kind::Crash {
            correct.remove(p(*process));
        }
        let observed = kind.observation().is_some();
        let record = Record {
            index: index as u64,
            time,
            process: p(*process),
            module: observed.then_some(ModuleNumber(*process)),
            name: Name::from(if observed { "top/m" } else { lane }),
            kind: *kind,
        };
        for (property, verdict) in properties.iter_mut().zip(&mut found) {
            if verdict.is_none() {
                *verdict = property.observe(&record).err().map(Verdict::Violated);
            }
        }
    }
    let completion = Completion {
        time,
        correct,
        complete,
        severed: false,
    };
    properties
        .iter_mut()
        .zip(found)
        .map(|(property, verdict)| {
            let verdict = verdict.unwrap_or_else(|| property.finish(&completion));
            (property.tag().to_owned(), verdict)
        })
        .collect()
}

/// The tags of the properties that this complete trace violates.
fn broken(properties: Properties, trace: &[(usize, Kind)]) -> Vec<String> {
    broken_at(Time::ZERO, properties, trace)
}

fn broken_at(time: Time, properties: Properties, trace: &[(usize, Kind)]) -> Vec<String> {
    judge_at(time, properties, trace, true, "m")
        .into_iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)))
        .map(|(tag, _)| tag)
        .collect()
}

fn everyone(what: impl Fn(usize) -> (usize, Kind)) -> impl Iterator<Item = (usize, Kind)> {
    (1..=3).map(what)
}

/// p1 broadcasts and every process delivers.
fn good() -> Vec<(usize, Kind)> {
    let mut trace = vec![broadcast(1, 10)];
    trace.extend(everyone(|q| deliver(q, 1, 1, 10)));
    trace
}

fn all_broadcasts() -> Vec<(&'static str, Properties)> {
    vec![
        ("RB", reliable(&three(), "m")),
        ("URB", uniform(&three(), "top/m")),
        ("TOB", family("TOB", three(), "m", true)),
    ]
}

#[test]
fn good_traces_are_accepted() {
    for (_, properties) in all_broadcasts() {
        assert!(broken(properties, &good()).is_empty());
    }
    assert!(broken(total_order(&three(), "m"), &good()).is_empty());
    assert!(broken(weak_total_order(&three(), "m", true), &good()).is_empty());
}

#[test]
fn another_module_is_not_watched() {
    assert!(broken(uniform(&three(), "other"), &[deliver(1, 1, 1, 10)]).is_empty());
}

#[test]
fn rb1_urb1_tob1_validity_correct_processes_deliver_what_correct_ones_broadcast() {
    for (prefix, properties) in all_broadcasts() {
        let trace = [broadcast(1, 10), broadcast(2, 20), crash(2)];
        assert_eq!(broken(properties, &trace), [format!("{prefix}1")]);
    }
}

#[test]
fn rb2_urb2_tob2_no_duplication() {
    for (prefix, properties) in all_broadcasts() {
        let mut trace = good();
        trace.push(deliver(2, 1, 1, 10));
        assert_eq!(broken(properties, &trace), [format!("{prefix}2")]);
    }
}

#[test]
fn rb3_urb3_tob3_no_creation() {
    let forged = [
        vec![broadcast(1, 10), deliver(1, 1, 1, 11)],
        vec![deliver(1, 1, 1, 10), broadcast(1, 10)],
        vec![broadcast(1, 10), deliver(1, 1, 2, 10)],
    ];
    for trace in forged {
        for (prefix, properties) in all_broadcasts() {
            let tags = broken(properties, &trace);
            assert!(tags.contains(&format!("{prefix}3")), "{tags:?}");
        }
    }
}

#[test]
fn rb4_agreement_binds_what_correct_processes_deliver() {
    let trace = [broadcast(1, 10), deliver(1, 1, 1, 10), crash(1)];
    assert!(broken(reliable(&three(), "m"), &trace).is_empty());
    let trace = [broadcast(1, 10), crash(1), deliver(2, 1, 1, 10)];
    assert_eq!(broken(reliable(&three(), "m"), &trace), ["RB4"]);
}

#[test]
fn urb4_tob4_uniform_agreement_binds_what_any_process_delivers() {
    let trace = [broadcast(1, 10), deliver(1, 1, 1, 10), crash(1)];
    assert_eq!(broken(uniform(&three(), "m"), &trace), ["URB4"]);
    assert_eq!(broken(family("TOB", three(), "m", true), &trace), ["TOB4"]);
}

#[test]
fn liveness_of_a_truncated_run_is_unknown_and_safety_is_not() {
    let trace = [broadcast(1, 10), deliver(1, 1, 1, 10), deliver(1, 1, 1, 10)];
    let verdicts = judge_with(uniform(&three(), "m"), &trace, false, "m");
    let unknown = |tag: &str| verdicts.contains(&(tag.to_owned(), Verdict::Unknown));
    assert!(unknown("URB1") && unknown("URB4"));
    assert!(matches!(verdicts[1].1, Verdict::Violated(_)));
    assert_eq!(verdicts[2].1, Verdict::Holds);
}

#[test]
fn tob5_uniform_total_order_even_of_a_process_that_crashes() {
    let mut trace = vec![broadcast(1, 10), broadcast(2, 20)];
    trace.extend([deliver(1, 2, 1, 20), crash(1)]);
    for q in [2, 3] {
        trace.extend([deliver(q, 1, 1, 10), deliver(q, 2, 1, 20)]);
    }
    assert_eq!(broken(total_order(&three(), "m"), &trace), ["TOB5"]);
}

#[test]
fn tob5_remembers_only_what_some_live_process_has_not_delivered() {
    let mut trace = vec![crash(3)];
    for k in 1..=1000 {
        trace.extend([broadcast(1, k), deliver(1, 1, k, k), deliver(2, 1, k, k)]);
    }
    trace.push(deliver(2, 1, 1002, 0));
    let tags = broken(total_order(&three(), "m"), &trace);
    assert_eq!(tags, ["TOB3", "TOB4", "FRB5"]);
}

#[test]
fn a_delivery_of_several_messages_is_taken_apart() {
    let mut trace = vec![broadcast(1, 10), broadcast(1, 11)];
    let content = fold(fold(0, 10), 11);
    let both = Observation::indication("Deliver")
        .message(id(1, 1))
        .count(2);
    trace.extend(everyone(|q| effect(q, both.digest(content))));
    assert!(broken(total_order(&three(), "m"), &trace).is_empty());
    trace[4] = effect(3, both.digest(1));
    let tags = broken(total_order(&three(), "m"), &trace);
    assert_eq!(tags, ["TOB3"]);
    trace[4] = deliver(3, 1, 2, fold(0, 11));
    let tags = broken(total_order(&three(), "m"), &trace);
    assert_eq!(tags, ["TOB1", "TOB4", "TOB5", "FRB5"]);
}

#[test]
fn frb5_first_in_first_out_order() {
    let mut trace = vec![broadcast(1, 10), broadcast(1, 11)];
    for q in 1..=3 {
        trace.extend([deliver(q, 1, 2, 11), deliver(q, 1, 1, 10)]);
    }
    assert_eq!(broken(total_order(&three(), "m"), &trace), ["FRB5"]);
}

#[test]
fn the_three_forms_of_total_order_differ() {
    let both = [broadcast(1, 10), broadcast(2, 20)];
    let all = || {
        let mut properties = total_order(&three(), "m").split_off(4);
        properties.truncate(1);
        properties.extend(weak_total_order(&three(), "m", true));
        properties
    };
    let with = |tail: &[(usize, Kind)]| broken(all(), &[&both, tail].concat());
    let first = [deliver(1, 1, 1, 10), deliver(1, 2, 1, 20)];
    // A process that skips a message breaks all but the weakest form.
    let skips = [&first[..], &[deliver(2, 2, 1, 20)]].concat();
    assert_eq!(with(&skips), ["TOB5", "TOB5-B"]);
    // Two processes that each deliver a different message and crash break only the strong form.
    let disjoint = [
        deliver(1, 1, 1, 10),
        deliver(2, 2, 1, 20),
        crash(1),
        crash(2),
    ];
    assert_eq!(with(&disjoint), ["TOB5"]);
    // Opposite orders break them all.
    let opposite = [&first[..], &[deliver(2, 2, 1, 20), deliver(2, 1, 1, 10)]].concat();
    assert_eq!(with(&opposite), ["TOB5", "TOB5-A", "TOB5-B"]);
}

#[test]
fn uc1_validity() {
    let trace = [propose(1, 1, 5), propose(2, 2, 6), decide(1, 1, 6)];
    assert_eq!(broken(consensus(&three(), "m"), &trace), ["UC1"]);
}

#[test]
fn uc2_uniform_agreement() {
    let mut trace: Vec<_> = everyone(|q| propose(q, 1, q as u64)).collect();
    trace.extend([decide(1, 1, 1), crash(1), decide(2, 1, 2), decide(3, 1, 2)]);
    assert_eq!(broken(consensus(&three(), "m"), &trace), ["UC2"]);
}

#[test]
fn uc3_integrity() {
    let mut trace: Vec<_> = everyone(|q| propose(q, 1, 5)).collect();
    trace.extend(everyone(|q| decide(q, 1, 5)));
    assert!(broken(consensus(&three(), "m"), &trace).is_empty());
    trace.push(decide(2, 1, 5));
    assert_eq!(broken(consensus(&three(), "m"), &trace), ["UC3"]);
}

#[test]
fn uc4_termination_where_every_correct_process_proposes() {
    let mut trace = vec![propose(1, 1, 5), propose(2, 1, 5), decide(1, 1, 5)];
    assert!(broken(consensus(&three(), "m"), &trace).is_empty());
    trace.push(crash(3));
    assert_eq!(broken(consensus(&three(), "m"), &trace), ["UC4"]);
}

#[test]
fn epfd1_strong_completeness() {
    let trace = [crash(3), tell(1, "Suspect", 3), tell(2, "Suspect", 3)];
    assert!(broken(eventually_perfect("m"), &trace).is_empty());
    assert_eq!(broken(eventually_perfect("m"), &trace[..2]), ["EPFD1"]);
}

#[test]
fn epfd2_eventual_strong_accuracy() {
    let trace = [tell(1, "Suspect", 3), tell(1, "Restore", 3)];
    assert!(broken(eventually_perfect("m"), &trace).is_empty());
    assert_eq!(broken(eventually_perfect("m"), &trace[..1]), ["EPFD2"]);
}

#[test]
fn pfd1_strong_completeness_and_pfd2_strong_accuracy() {
    let trace = [crash(3), tell(1, "Crash", 3)];
    assert_eq!(broken(perfect("m"), &trace), ["PFD1"]);
    let trace = [tell(1, "Crash", 3), tell(2, "Crash", 3), crash(3)];
    assert_eq!(broken(perfect("m"), &trace), ["PFD2"]);
}

#[test]
fn pfd2_strong_accuracy_a_crash_is_reported_once() {
    let once = [crash(3), tell(1, "Crash", 3), tell(2, "Crash", 3)];
    assert!(broken(perfect("m"), &once).is_empty());
    let twice: Vec<_> = once.into_iter().chain([tell(1, "Crash", 3)]).collect();
    assert_eq!(broken(perfect("m"), &twice), ["PFD2"]);
}

#[test]
fn epfd2_eventual_strong_accuracy_allows_no_mistake_in_a_stable_run() {
    let from = |time| eventually_perfect_from("m", Time::from_nanos(time));
    let early = [tell(1, "Suspect", 3), tell(1, "Restore", 3)];
    assert!(broken(from(0), &early).is_empty(), "not later than it");
    assert_eq!(broken(from(0), &early[..1]), ["EPFD2"], "it stands");
    let later = |trace: &[(usize, Kind)]| broken_at(Time::from_nanos(9), from(8), trace);
    assert_eq!(later(&early), ["EPFD2"]);
    let right = [
        crash(3),
        tell(1, "Suspect", 3),
        tell(1, "Restore", 3),
        tell(1, "Suspect", 3),
        tell(2, "Suspect", 3),
    ];
    assert!(later(&right).is_empty(), "a crashed one may be restored");
}

#[test]
fn eld1_eventual_accuracy_and_eld2_eventual_agreement() {
    let all = |leader| everyone(move |q| tell(q, "Trust", leader));
    let trace: Vec<_> = all(1).chain([crash(1)]).collect();
    assert_eq!(broken(leader("m"), &trace), ["ELD1"]);
    let mut trace: Vec<_> = trace.into_iter().chain(all(2)).collect();
    assert!(broken(leader("m"), &trace).is_empty());
    trace.push(tell(3, "Trust", 3));
    assert_eq!(broken(leader("m"), &trace), ["ELD2"]);
}

fn lane() -> Channel {
    Channel::Lane("m".to_owned())
}

#[test]
fn pl1_reliable_delivery() {
    let trace = [send(1, 1, 2), send(2, 1, 3), receive(1, 1, 2), crash(3)];
    assert!(broken(perfect_links(&lane()), &trace).is_empty());
    assert_eq!(broken(perfect_links(&lane()), &trace[..3]), ["PL1"]);
}

#[test]
fn pl2_no_duplication() {
    let trace = [send(1, 1, 2), receive(1, 1, 2), receive(1, 1, 2)];
    assert_eq!(broken(perfect_links(&lane()), &trace), ["PL2"]);
}

#[test]
fn pl3_no_creation() {
    let trace = [send(1, 1, 2), receive(1, 1, 2), receive(2, 1, 2)];
    assert_eq!(broken(perfect_links(&lane()), &trace), ["PL3"]);
}

#[test]
fn pl1_pl2_pl3_of_a_module_go_by_content() {
    let sent = |by, to, d| event(by, Observation::request("Send").peer(p(to)).digest(d));
    let got = |by, of, d| effect(by, Observation::indication("Deliver").peer(p(of)).digest(d));
    let channel = Channel::Module("m".to_owned());
    let check = |trace: &[(usize, Kind)]| broken(perfect_links(&channel), trace);
    assert!(check(&[sent(1, 2, 7), sent(1, 2, 7), got(2, 1, 7), got(2, 1, 7)]).is_empty());
    assert_eq!(check(&[sent(1, 2, 7)]), ["PL1"]);
    assert_eq!(check(&[sent(1, 2, 7), got(2, 1, 7), got(2, 1, 7)]), ["PL2"]);
    assert_eq!(check(&[got(2, 1, 7)]), ["PL3"]);
    // To every process: a request that names no receiver.
    let all = event(1, Observation::request("Send").digest(7));
    let mut trace = vec![all, got(1, 1, 7), got(2, 1, 7)];
    assert_eq!(check(&trace), ["PL1"]);
    trace.push(got(3, 1, 7));
    assert!(check(&trace).is_empty());
}

#[test]
fn al1_reliable_delivery_al2_no_duplication_and_al3_authenticity() {
    let check = |trace: &[(usize, Kind)]| broken(authenticated_links(&lane()), trace);
    let good = [send(1, 1, 2), send(2, 1, 3), receive(1, 1, 2), crash(3)];
    assert!(check(&good).is_empty());
    assert_eq!(check(&good[..3]), ["AL1"]);
    assert_eq!(
        check(&[send(1, 1, 2), receive(1, 1, 2), receive(1, 1, 2)]),
        ["AL2"]
    );
    assert_eq!(
        check(&[send(1, 1, 2), receive(1, 1, 2), receive(2, 1, 2)]),
        ["AL3"]
    );
    // p3 has sent it, and not p1.
    assert_eq!(
        check(&[send(1, 3, 2), receive(1, 3, 2), receive(1, 1, 2)]),
        ["AL3"]
    );
}

#[test]
fn fifo_order_of_a_link() {
    let trace = [
        send(1, 1, 2),
        send(2, 1, 2),
        receive(2, 1, 2),
        receive(1, 1, 2),
    ];
    assert_eq!(broken(vec![first_in_first_out(&lane())], &trace), ["FIFO"]);
}

#[test]
fn beb1_validity_beb2_no_duplication_and_beb3_no_creation() {
    let got = |by| effect(by, Observation::indication("Deliver").peer(p(1)).digest(7));
    let mut trace = vec![broadcast(1, 7), got(1), got(2)];
    assert_eq!(broken(best_effort("m"), &trace), ["BEB1"]);
    trace.push(got(3));
    assert!(broken(best_effort("m"), &trace).is_empty());
    trace.push(got(3));
    assert_eq!(broken(best_effort("m"), &trace), ["BEB2"]);
    assert_eq!(broken(best_effort("m"), &trace[1..2]), ["BEB3"]);
}

#[test]
fn fll1_fair_loss_fll2_finite_duplication_and_fll3_no_creation() {
    let lost = |message| {
        let (to, loss) = (p(2), Loss::Chance);
        (1, Kind::Drop { message, to, loss })
    };
    let check = |trace: &[(usize, Kind)]| {
        let verdicts = judge_with(fair_loss(2, 2), trace, true, "fair-loss");
        let violated = verdicts.into_iter();
        let violated = violated.filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)));
        violated.map(|(tag, _)| tag).collect::<Vec<_>>()
    };
    let row = [send(1, 1, 2), lost(1), send(2, 1, 2), lost(2)];
    let more = [send(3, 1, 2), lost(3)];
    assert!(check(&[&row[..], &[send(9, 1, 2)], &more].concat()).is_empty());
    assert_eq!(check(&[&row[..], &more].concat()), ["FLL1"]);
    let thrice = [receive(1, 1, 2); 3];
    assert_eq!(check(&[&[send(1, 1, 2)][..], &thrice].concat()), ["FLL2"]);
    assert_eq!(check(&thrice), ["FLL3"]);
}

#[test]
fn fll1_fll2_and_fll3_of_a_module_count_the_copies_of_a_message() {
    let sent = || event(1, Observation::request("Send").peer(p(2)).digest(7));
    let got = || effect(2, Observation::indication("Deliver").peer(p(1)).digest(7));
    let channel = Channel::Module("m".to_owned());
    let check = |sends: usize, arrivals: usize| {
        let trace: Vec<_> = std::iter::repeat_with(sent)
            .take(sends)
            .chain(std::iter::repeat_with(got).take(arrivals))
            .collect();
        broken(fair_loss_links(&channel, 3, 2), &trace)
    };
    assert!(check(2, 0).is_empty(), "both may be lost");
    assert_eq!(check(3, 0), ["FLL1"]);
    assert!(check(3, 1).is_empty());
    assert_eq!(check(6, 1), ["FLL1"]);
    assert!(check(1, 2).is_empty());
    assert_eq!(check(1, 3), ["FLL2"]);
    assert_eq!(check(0, 1), ["FLL3"]);
    let mut trace = vec![sent(), sent(), sent()];
    trace.push(crash(2));
    assert!(
        broken(fair_loss_links(&channel, 3, 2), &trace).is_empty(),
        "nothing is owed to a process that has crashed"
    );
}
