//! Causal order, and the collection of the causal past.
use super::*;

fn check(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(causal(&three(), "m", false), trace)
}

/// The verdict of CRB5 alone, on a truncated run.
fn order(trace: &[(usize, Kind)]) -> Verdict {
    let verdicts = judge_with(causal(&three(), "m", false), trace, false, "m");
    let mut verdicts = verdicts.into_iter();
    let (_, verdict) = verdicts.find(|(tag, _)| tag == "CRB5").unwrap();
    verdict
}

/// Process `by` delivers the first message of `origin`, whose digest is ten times its rank.
fn first(by: usize, origin: usize) -> (usize, Kind) {
    deliver(by, origin, 1, 10 * origin as u64)
}

/// A chain: p1 broadcasts; p2 delivers that message and broadcasts; p3 delivers only p2's message and
/// broadcasts.
fn chain() -> Vec<(usize, Kind)> {
    vec![
        broadcast(1, 10),
        first(2, 1),
        broadcast(2, 20),
        first(3, 1),
        first(3, 2),
        broadcast(3, 30),
    ]
}

#[test]
fn crb1_to_crb4_are_those_of_the_family() {
    assert!(check(&good()).is_empty());
    assert_eq!(check(&[broadcast(1, 10)]), ["CRB1"]);
    assert_eq!(check(&[good(), vec![first(2, 1)]].concat()), ["CRB2"]);
    assert_eq!(check(&[first(1, 1)]), ["CRB3", "CRB4"]);
    let faulty = [broadcast(1, 10), first(1, 1), crash(1)];
    assert!(check(&faulty).is_empty());
    assert_eq!(broken(causal(&three(), "m", true), &faulty), ["CRB4"]);
}

#[test]
fn crb5_fires_when_two_of_one_origin_change_places() {
    let both = [broadcast(1, 10), broadcast(1, 11)];
    let inverted = [&both[..], &[deliver(2, 1, 2, 11)]].concat();
    assert!(matches!(order(&inverted), Verdict::Violated(v) if v.text.contains("before p1.1")));
    let in_order = [&both[..], &[deliver(2, 1, 1, 10), deliver(2, 1, 2, 11)]].concat();
    assert_eq!(order(&in_order), Verdict::Holds);
}

#[test]
fn crb5_fires_when_an_answer_overtakes_what_it_answers() {
    let question = [broadcast(1, 10), first(2, 1), broadcast(2, 20)];
    let answer = [&question[..], &[first(3, 2)]].concat();
    assert!(matches!(order(&answer), Verdict::Violated(v) if v.text.contains("before p1.1")));
    let in_order = [&question[..], &[first(3, 1), first(3, 2)]].concat();
    assert_eq!(order(&in_order), Verdict::Holds);
}

#[test]
fn crb5_fires_along_a_chain() {
    // p1 skips p2.1 on the way from its own message to p3.1, whose origin delivered both.
    let skipped = [chain(), vec![first(1, 1), first(1, 3)]].concat();
    assert!(matches!(order(&skipped), Verdict::Violated(v) if v.text.contains("before p2.1")));
    let whole = [chain(), vec![first(1, 1), first(1, 2), first(1, 3)]].concat();
    assert_eq!(order(&whole), Verdict::Holds);
    // A message that p2 itself has broadcast counts at p2 only once it is delivered.
    assert!(matches!(
        order(&[chain(), vec![first(2, 3)]].concat()),
        Verdict::Violated(_)
    ));
}

#[test]
fn crb5_leaves_concurrent_messages_in_any_order() {
    let mut trace = vec![broadcast(1, 10), broadcast(2, 20)];
    trace.extend([first(1, 1), first(1, 2), first(2, 2), first(2, 1)]);
    assert_eq!(order(&trace), Verdict::Holds);
    // A message that is delivered after a broadcast does not precede it.
    let late = [broadcast(1, 10), broadcast(2, 20), first(2, 1), first(3, 2)];
    assert_eq!(order(&late), Verdict::Holds);
}

#[test]
fn crb_holds_whether_or_not_what_went_down_with_its_senders_is_delivered() {
    // Only p2 gets p1's message, and its answer reaches p3; p1 and p2 crash.
    let lost = [
        broadcast(1, 10),
        first(1, 1),
        crash(1),
        first(2, 1),
        broadcast(2, 20),
        first(2, 2),
        crash(2),
    ];
    assert!(check(&lost).is_empty(), "p3 waits for ever");
    let carried = [&lost[..], &[first(3, 1), first(3, 2)]].concat();
    assert!(
        check(&carried).is_empty(),
        "p3 finds the first in the second"
    );
    assert_eq!(check(&[&lost[..], &[first(3, 2)]].concat()), ["CRB5"]);
}

#[test]
fn crb5_leaves_duplicates_and_inventions_to_crb2_and_crb3() {
    let trace = [broadcast(1, 10), first(1, 1), first(1, 1), first(2, 3)];
    assert_eq!(order(&trace), Verdict::Holds);
}

#[test]
fn crb5_remembers_only_what_some_live_process_has_not_delivered() {
    let mut trace = vec![crash(3)];
    for k in 1..=1000 {
        trace.extend([broadcast(1, k), deliver(1, 1, k, k), deliver(2, 1, k, k)]);
    }
    trace.extend([broadcast(1, 1001), broadcast(1, 1002)]);
    assert_eq!(order(&trace), Verdict::Holds);
    trace.push(deliver(2, 1, 1002, 1002));
    assert!(matches!(order(&trace), Verdict::Violated(v) if v.text.contains("before p1.1001")));
}

fn collect(by: usize, origin: usize, sequence: u64, left: u64) -> (usize, Kind) {
    let observation = Observation::internal("Collect").message(id(origin, sequence));
    effect(by, observation.digest(left))
}

fn check_collection(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(collected_past(&three(), "m"), trace)
}

#[test]
fn gc1_an_entry_stays_until_everybody_not_reported_has_delivered_it() {
    let two = [broadcast(1, 10), first(1, 1), first(2, 1), crash(3)];
    let one_collects = [&two[..], &[collect(1, 1, 1, 0), collect(2, 1, 1, 0)]].concat();
    assert_eq!(check_collection(&one_collects), ["GC1"]);
    let reported = |to| event(to, Observation::internal("Crash").peer(p(3)));
    let told = [&two[..], &[reported(1), collect(1, 1, 1, 0)]].concat();
    assert_eq!(check_collection(&told), ["GC2"], "p2 never collects");
    let both = [&told[..], &[reported(2), collect(2, 1, 1, 0)]].concat();
    assert!(check_collection(&both).is_empty());
    let only_one_told = [&told[..], &[collect(2, 1, 1, 0)]].concat();
    assert_eq!(check_collection(&only_one_told), ["GC1"]);
}

#[test]
fn gc2_in_the_end_the_past_is_empty() {
    let good = good();
    assert_eq!(check_collection(&good), ["GC2"]);
    let all: Vec<_> = everyone(|q| collect(q, 1, 1, 0)).collect();
    assert!(check_collection(&[&good[..], &all].concat()).is_empty());
    assert_eq!(check_collection(&[&good[..], &all[1..]].concat()), ["GC2"]);
    let residue: Vec<_> = everyone(|q| collect(q, 1, 1, 1)).collect();
    assert_eq!(check_collection(&[&good[..], &residue].concat()), ["GC2"]);
    // A request that its own process never delivers is in its past, too.
    let unheard = [&good[..], &all, &[broadcast(2, 20)]].concat();
    assert_eq!(check_collection(&unheard), ["GC2"]);
}
