//! Group membership and view synchrony.
use super::*;
use quorate_core::ProcessSet;

fn view(by: usize, id: u64, members: &[usize]) -> (usize, Kind) {
    let members: ProcessSet = members.iter().map(|rank| p(*rank)).collect();
    let observation = Observation::indication("View").instance(id);
    effect(by, observation.digest(members.low_bits()))
}

/// Process `by` delivers p1's message of this number in this view.
fn within(by: usize, sequence: u64, view: u64) -> (usize, Kind) {
    let observation = Observation::indication("Deliver").message(id(1, sequence));
    effect(by, observation.instance(view).digest(10 * sequence))
}

fn first_views() -> Vec<(usize, Kind)> {
    everyone(|q| view(q, 0, &[1, 2, 3])).collect()
}

/// p3 crashes, and the others install the next view.
fn change() -> Vec<(usize, Kind)> {
    vec![crash(3), view(1, 1, &[1, 2]), view(2, 1, &[1, 2])]
}

fn members(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(group_membership(&three(), "m"), trace)
}

/// The first views and four broadcasts of p1, and then this.
fn after_broadcasts(trace: &[(usize, Kind)]) -> Vec<(usize, Kind)> {
    let mut all = first_views();
    all.extend((1..=4).map(|k| broadcast(1, 10 * k)));
    all.extend_from_slice(trace);
    all
}

/// The violated properties of this trace, which is put after the first views and four broadcasts of p1.
fn synchrony(trace: &[(usize, Kind)]) -> Vec<String> {
    // That p1 delivers all of its broadcasts is not a subject of these tests.
    let mut broken = broken(view_synchrony(&three(), "m"), &after_broadcasts(trace));
    broken.retain(|tag| tag != "VS6");
    broken
}

/// The verdicts on this property at a trace that ends, after the first views and four broadcasts of p1.
fn said(tag: &str, trace: &[(usize, Kind)]) -> String {
    let all = after_broadcasts(trace);
    let verdicts = judge_with(view_synchrony_with_joins(&three(), "m"), &all, true, "m");
    let verdict = verdicts.into_iter().find(|(known, _)| known == tag);
    verdict.unwrap().1.to_string()
}

#[test]
fn good_views_are_accepted() {
    assert!(members(&[first_views(), change()].concat()).is_empty());
    let before = [within(1, 1, 0), within(2, 1, 0), within(3, 1, 0)];
    let after = [within(1, 2, 1), within(2, 2, 1)];
    assert!(synchrony(&[&before[..], &change(), &after].concat()).is_empty());
}

#[test]
fn gmp1_monotonicity_views_get_higher_and_smaller() {
    let back = [crash(3), view(1, 1, &[1, 2]), view(1, 0, &[1, 2])];
    assert_eq!(
        members(&[first_views(), back.to_vec()].concat()),
        ["GMP1", "GMP2", "GMP3"]
    );
    let grown = [view(1, 1, &[1, 2]), view(1, 2, &[1, 2, 3])];
    let with_crash = [
        &[crash(3)],
        &grown[..],
        &[view(1, 3, &[1, 2]), view(2, 3, &[1, 2])],
    ]
    .concat();
    assert_eq!(members(&with_crash), ["GMP1"]);
    let twice = [view(1, 0, &[1, 2, 3]), view(1, 0, &[1, 2, 3])];
    assert_eq!(members(&twice), ["GMP1"]);
}

#[test]
fn gmp2_agreement_the_same_view_has_the_same_members() {
    let trace = [
        crash(2),
        crash(3),
        view(1, 1, &[1, 2]),
        view(3, 1, &[1, 3]),
        view(1, 2, &[1]),
    ];
    assert_eq!(members(&[first_views(), trace.to_vec()].concat()), ["GMP2"]);
}

#[test]
fn gmp3_completeness_whoever_crashes_leaves_the_views_of_correct_processes() {
    let trace = [crash(3), view(1, 1, &[1, 2])];
    assert_eq!(members(&[first_views(), trace.to_vec()].concat()), ["GMP3"]);
    assert_eq!(members(&[crash(3)]), ["GMP3"], "the view before any is all");
    let truncated = judge_with(group_membership(&three(), "m"), &trace, false, "m");
    assert_eq!(truncated[2], ("GMP3".to_owned(), Verdict::Unknown));
}

#[test]
fn gmp4_accuracy_nobody_who_lives_is_left_out() {
    assert_eq!(members(&[view(1, 1, &[1, 2])]), ["GMP4"]);
    let early = [view(1, 1, &[1, 2]), view(2, 1, &[1, 2]), crash(3)];
    assert_eq!(members(&early), ["GMP4"]);
}

fn leave(by: usize) -> (usize, Kind) {
    event(by, Observation::request("Leave"))
}

/// Process `by` is told that it has left for this view.
fn left(by: usize, id: u64) -> (usize, Kind) {
    effect(by, Observation::indication("Left").instance(id))
}

/// p3 has asked to leave, and the others install the next view.
fn departure() -> Vec<(usize, Kind)> {
    vec![leave(3), view(1, 1, &[1, 2]), view(2, 1, &[1, 2])]
}

#[test]
fn gmp4_and_gmp5_who_asks_to_leave_is_left_out_and_told() {
    let told = [first_views(), departure(), vec![left(3, 1)]].concat();
    assert!(members(&told).is_empty());
    let untold = [first_views(), departure()].concat();
    assert_eq!(members(&untold), ["GMP5"]);
    let crashed = [untold.clone(), vec![crash(3)]].concat();
    assert!(members(&crashed).is_empty(), "only correct ones are told");
    let stays = [first_views(), vec![leave(3), left(3, 1)]].concat();
    assert_eq!(members(&stays), ["GMP5"], "the others keep it");
    let truncated = judge_with(group_membership(&three(), "m"), &untold, false, "m");
    assert_eq!(truncated[4], ("GMP5".to_owned(), Verdict::Unknown));
}

#[test]
fn gmp6_who_has_left_has_asked_and_installs_no_view() {
    let unasked = [first_views(), vec![left(3, 1)]].concat();
    assert_eq!(members(&unasked), ["GMP5", "GMP6"]);
    let back = [
        first_views(),
        departure(),
        vec![left(3, 1), view(3, 1, &[1, 2])],
    ];
    // Whoever installs a view after it has left has not left.
    assert_eq!(members(&back.concat()), ["GMP5", "GMP6"]);
    let old = [first_views(), vec![leave(3), left(3, 0)]].concat();
    assert!(members(&old).contains(&"GMP6".to_owned()), "it was in it");
    let other = [first_views(), vec![leave(3), left(3, 1)]].concat();
    let other = [other, vec![view(1, 1, &[1, 2, 3])]].concat();
    assert!(members(&other).contains(&"GMP6".to_owned()), "it is in it");
}

#[test]
fn vs9_who_leaves_has_delivered_what_the_others_have() {
    let both = [within(1, 1, 0), within(2, 1, 0)];
    let lacking = [&both[..], &departure(), &[left(3, 1)]].concat();
    assert_eq!(synchrony(&lacking), ["VS9"]);
    let all = [&both[..], &[within(3, 1, 0)], &departure(), &[left(3, 1)]].concat();
    assert!(synchrony(&all).is_empty());
}

/// Whether UVS9 is violated by this trace, which is put after the first views and four broadcasts of p1.
fn is_not_uniform(trace: &[(usize, Kind)]) -> bool {
    let broken = broken(
        uniform_view_synchrony(&three(), "m"),
        &after_broadcasts(trace),
    );
    broken.contains(&"UVS9".to_owned())
}

#[test]
fn uvs9_what_a_process_delivers_that_crashes_every_correct_one_of_the_view_delivers() {
    let by_p3 = [within(3, 1, 0)];
    assert!(is_not_uniform(&[&by_p3[..], &change()].concat()));
    let others = [within(1, 1, 0), within(2, 1, 0)];
    let all = [&by_p3[..], &others, &change()].concat();
    assert!(!is_not_uniform(&all));
    let one = [&by_p3[..], &others[..1], &change()].concat();
    assert!(is_not_uniform(&one), "p2, too");
    assert!(!is_not_uniform(&[&one[..], &[crash(2)]].concat()));
}

#[test]
fn uvs9_in_the_last_view_and_not_of_views_that_a_process_was_not_in() {
    let last = [&change()[..], &[within(1, 1, 1)]].concat();
    assert!(is_not_uniform(&last));
    assert!(!is_not_uniform(&[&last[..], &[within(2, 1, 1)]].concat()));
    let after = [within(1, 1, 1), within(2, 1, 1)];
    let gone = [&departure()[..], &[left(3, 1)], &after].concat();
    assert!(!is_not_uniform(&gone), "p3 has left before");
    let before = [within(1, 1, 0), within(2, 1, 0)];
    let early = [&before[..], &departure(), &[left(3, 1)]].concat();
    assert!(is_not_uniform(&early), "p3 was in that view");
}

#[test]
fn vs12_who_leaves_has_delivered_what_it_broadcast_before() {
    let asked = [broadcast(3, 10), leave(3), broadcast(3, 20)];
    let installed = [view(1, 1, &[1, 2]), view(2, 1, &[1, 2])];
    let early = [&asked[..], &installed, &[left(3, 1)]].concat();
    assert_eq!(synchrony(&early), ["VS12"]);
    let own = everyone(|q| {
        let observation = Observation::indication("Deliver").message(id(3, 1));
        effect(q, observation.instance(0).digest(10))
    });
    let own: Vec<_> = own.collect();
    let good = [&asked[..], &own, &installed, &[left(3, 1)]].concat();
    assert!(synchrony(&good).is_empty());
}

#[test]
fn vs12_who_has_left_comes_back_only_if_it_asks_to_join() {
    let gone = [departure(), vec![left(3, 1)]].concat();
    let joined = |q| view(q, 2, &[1, 2, 3]);
    let back = [gone.clone(), everyone(joined).collect()].concat();
    assert!(said("VS12", &back).contains("after it has left"));
    let join = event(3, Observation::request("Join"));
    let asked = [gone, vec![join], everyone(joined).collect()].concat();
    assert!(!said("VS12", &asked).contains("after it has left"));
    assert!(!said("VS11", &asked).contains("asked"));
}

/// p3 is excluded.
fn exclusion() -> Vec<(usize, Kind)> {
    let excluded = effect(3, Observation::indication("Excluded").instance(1));
    vec![view(1, 1, &[1, 2]), view(2, 1, &[1, 2]), excluded]
}

#[test]
fn vs11_who_asks_to_leave_while_it_joins_leaves_the_view_that_it_joins() {
    let join = || event(3, Observation::request("Join"));
    let joined = || everyone(|q| view(q, 2, &[1, 2, 3])).collect::<Vec<_>>();
    for gone in [exclusion(), [departure(), vec![left(3, 1)]].concat()] {
        let joins = [gone.clone(), vec![join(), leave(3)]].concat();
        // A second request to join changes nothing.
        for asked in [joins.clone(), [joins, vec![join()]].concat()] {
            assert!(
                !said("VS11", &asked).contains("never"),
                "it is still outside"
            );
            let stays = [asked, joined()].concat();
            assert!(said("VS11", &stays).contains("p3 asked to leave, and is never told"));
            let others = [view(1, 3, &[1, 2]), view(2, 3, &[1, 2]), left(3, 3)];
            let told = [&stays[..], &others].concat();
            assert!(!said("VS11", &told).contains("asked"));
            assert!(!said("VS12", &told).contains("ask"));
        }
        // Who is outside has nothing to leave.
        let outside = [gone, vec![leave(3), join()], joined()].concat();
        assert!(!said("VS11", &outside).contains("asked"));
    }
}

#[test]
fn vs11_who_asks_to_leave_before_its_first_view_leaves_it() {
    let says = |trace: &[(usize, Kind)]| {
        let verdicts = judge_with(view_synchrony_with_joins(&three(), "m"), trace, true, "m");
        let verdict = verdicts.into_iter().find(|(tag, _)| tag == "VS11");
        verdict.unwrap().1.to_string()
    };
    assert!(!says(&[leave(3)]).contains("never"), "it has no view");
    let stays = [vec![leave(3)], first_views()].concat();
    assert!(says(&stays).contains("p3 asked to leave, and is never told"));
    let told = [stays, departure(), vec![left(3, 1)]].concat();
    assert!(!says(&told).contains("asked"));
}

#[test]
fn vs11_with_joins_who_would_leave_no_majority_behind_waits() {
    let two = [crash(3), view(1, 1, &[1, 2]), view(2, 1, &[1, 2])];
    let waits = [&two[..], &[leave(2)]].concat();
    assert!(!said("VS11", &waits).contains("is never told"));
    assert!(said("VS11", &[leave(2)]).contains("is never told"));
}

#[test]
fn vs1_inclusion_a_message_is_delivered_in_one_view() {
    let straddling = [&[within(1, 1, 0)], &change()[..], &[within(2, 1, 1)]].concat();
    assert_eq!(synchrony(&straddling), ["VS1", "VS9"]);
    let elsewhere = [within(1, 1, 1)];
    assert_eq!(
        synchrony(&elsewhere),
        ["VS1", "VS9"],
        "p1 is not in that view"
    );
    assert_eq!(
        broken(
            view_synchrony(&three(), "m"),
            &[broadcast(1, 10), within(1, 1, 0)]
        ),
        ["VS1"],
        "nor in any before the first is indicated"
    );
}

#[test]
fn vs1_inclusion_what_is_forgotten_is_not_delivered_later_either() {
    // Every process delivers p1.2 in the first view: p1.1 was broadcast before it.
    let before = [within(1, 2, 0), within(2, 2, 0), within(3, 2, 0)];
    let after = [within(1, 1, 1), within(2, 1, 1)];
    let trace = [&before[..], &change(), &after].concat();
    assert_eq!(synchrony(&trace), ["VS1"]);
}

#[test]
fn vs1_inclusion_a_message_is_not_in_a_view_that_its_origin_had_left_when_it_was_requested() {
    let block = effect(1, Observation::indication("Block"));
    let answer = event(1, Observation::request("BlockOk"));
    let both = |view| [within(1, 5, view), within(2, 5, view)];
    let blocked = [block, answer, broadcast(1, 50)];
    let old = [&blocked[..], &both(0), &change()].concat();
    assert_eq!(synchrony(&old), ["VS1"], "p1 was blocked");
    let new = [&blocked[..], &change(), &both(1)].concat();
    assert!(synchrony(&new).is_empty());
    let asked = [
        &[block, broadcast(1, 50)],
        &both(0)[..],
        &[answer],
        &change(),
    ]
    .concat();
    assert!(synchrony(&asked).is_empty(), "p1 had not answered");
}

#[test]
fn vs2_to_vs5_are_the_properties_of_views() {
    let back = [
        crash(3),
        view(1, 1, &[1, 2]),
        view(2, 1, &[1, 2]),
        view(2, 0, &[1, 2]),
    ];
    assert_eq!(synchrony(&back), ["VS2"]);
    let others = [crash(3), view(1, 1, &[1, 2]), view(2, 1, &[1, 2, 3])];
    assert_eq!(synchrony(&others), ["VS3", "VS4"]);
    assert_eq!(synchrony(&[crash(3), view(1, 1, &[1, 2])]), ["VS4"]);
    assert_eq!(synchrony(&[view(1, 1, &[1, 2])]), ["VS5"]);
}

#[test]
fn vs6_validity_a_correct_member_delivers_its_own() {
    let trace = [
        first_views(),
        vec![broadcast(1, 10), broadcast(2, 20), crash(2)],
    ]
    .concat();
    let without_views = |trace: &[(usize, Kind)]| {
        let mut tags = broken(view_synchrony(&three(), "m"), trace);
        tags.retain(|tag| tag != "VS4");
        tags
    };
    assert_eq!(without_views(&trace), ["VS6"]);
    let at_the_sender = [trace.clone(), vec![within(1, 1, 0)]].concat();
    assert_eq!(without_views(&at_the_sender), ["VS6", "VS9"], "p3, too");
    let delivered = [at_the_sender, vec![within(3, 1, 0)]].concat();
    assert!(without_views(&delivered).is_empty());
    let excluded = effect(1, Observation::indication("Excluded").instance(1));
    assert!(without_views(&[trace, vec![excluded]].concat()).is_empty());
}

#[test]
fn vs7_no_duplication_and_vs8_no_creation() {
    let by_all = |sequence| everyone(move |q| within(q, sequence, 0)).collect::<Vec<_>>();
    assert_eq!(synchrony(&[by_all(1), by_all(1)].concat()), ["VS7"]);
    assert_eq!(synchrony(&by_all(5)), ["VS8"]);
}

#[test]
fn vs9_agreement_who_pass_together_have_delivered_the_same() {
    let one_more = [&[within(1, 1, 0)], &change()[..]].concat();
    assert_eq!(synchrony(&one_more), ["VS9"]);
    // The same number of messages, but different ones.
    let others = [&[within(1, 1, 0), within(2, 2, 0)], &change()[..]].concat();
    assert_eq!(synchrony(&others), ["VS9"]);
    // The order does not matter, nor do the deliveries of a process that does not pass.
    let same = [
        within(1, 1, 0),
        within(1, 2, 0),
        within(2, 2, 0),
        within(2, 1, 0),
    ];
    let same = [&same[..], &[within(3, 3, 0)], &change()].concat();
    assert!(synchrony(&same).is_empty());
    // Nothing is broken before the second process has passed, unless it never does.
    let first = [crash(3), within(1, 1, 0), view(1, 1, &[1, 2])];
    assert_eq!(synchrony(&first), ["VS4", "VS9"]);
    let truncated = judge_with(
        view_synchrony(&three(), "m"),
        &after_broadcasts(&first),
        false,
        "m",
    );
    assert_eq!(truncated[8], ("VS9".to_owned(), Verdict::Unknown));
}

#[test]
fn vs6_and_vs9_are_judged_in_the_last_view_too() {
    let lacking = [&change()[..], &[within(1, 1, 1)]].concat();
    assert_eq!(synchrony(&lacking), ["VS9"]);
    // p1 has delivered all of its broadcasts, and p2 one less.
    let own = (1..=4).map(|k| within(1, k, 1));
    let others = (1..=3).map(|k| within(2, k, 1));
    let trace = [&change()[..], &own.chain(others).collect::<Vec<_>>()].concat();
    assert!(said("VS6", &trace).contains("in the end p1 has delivered 4"));
    assert!(said("VS9", &trace).contains("in the end"));
    let whole = [trace, vec![within(2, 4, 1)]].concat();
    assert_eq!(said("VS6", &whole), "holds");
    assert_eq!(said("VS9", &whole), "holds");
}

#[test]
fn vs6_validity_holds_in_views_that_have_ended_too() {
    let own: Vec<_> = (1..=4).map(|k| within(1, k, 0)).collect();
    let others: Vec<_> = (1..=3).map(|k| within(2, k, 0)).collect();
    let trace = [&own[..], &others, &change()].concat();
    assert!(said("VS6", &trace).contains("which has ended"));
    let crashed = [&trace[..], &[view(2, 2, &[2]), crash(1)]].concat();
    assert_eq!(said("VS6", &crashed), "holds", "p1 is not correct");
}

/// p3 is excluded from the first view, and joins in the second with this state, which p1 has given before it
/// has delivered its second message; then p3 delivers these messages.
fn joining(state: u64, completed: &[u64]) -> Vec<(usize, Kind)> {
    let give = Observation::request("State").instance(1).digest(7);
    let take = Observation::indication("State").digest(state);
    let mut trace = vec![
        view(1, 1, &[1, 2]),
        view(2, 1, &[1, 2]),
        effect(3, Observation::indication("Excluded").instance(1)),
        within(1, 1, 1),
        within(2, 1, 1),
        event(1, give),
        within(1, 2, 1),
        within(2, 2, 1),
        view(1, 2, &[1, 2, 3]),
        view(2, 2, &[1, 2, 3]),
        effect(3, take),
    ];
    trace.extend(completed.iter().map(|sequence| within(3, *sequence, 1)));
    trace.push(view(3, 2, &[1, 2, 3]));
    trace
}

fn joined(state: u64, completed: &[u64]) -> String {
    said("VS9", &joining(state, completed))
}

#[test]
fn vs9_agreement_who_joins_knows_of_the_same() {
    assert_eq!(joined(7, &[2]), "holds");
    assert!(joined(7, &[]).contains("joins, and knows of 1"));
    assert!(joined(8, &[2]).contains("no member has given"));
}

#[test]
fn vs9_agreement_a_strange_state_is_found_after_others_are_forgotten() {
    let again = |state: u64| {
        let mut trace = joining(7, &[2]);
        trace.extend((1..=3).map(|p| view(p, 3, &[1, 2, 3])));
        trace.extend((1..=2).map(|p| view(p, 4, &[1, 2])));
        let excluded = Observation::indication("Excluded").instance(4);
        trace.push(effect(3, excluded));
        trace.extend((1..=2).map(|p| view(p, 5, &[1, 2, 3])));
        trace.push(effect(3, Observation::indication("State").digest(state)));
        trace.push(view(3, 5, &[1, 2, 3]));
        said("VS9", &trace)
    };
    assert!(again(9).contains("no member has given"));
    assert_eq!(again(7), "holds", "it was given, and is forgotten");
}

/// The violated properties if p3 is excluded from the first view, in which it has delivered two of its
/// broadcasts, and p1 and p2 only the first.
fn returned(told: &[(&'static str, u64)]) -> Vec<String> {
    let of_p3 = |by, sequence| {
        let observation = Observation::indication("Deliver").message(id(3, sequence));
        effect(by, observation.instance(0).digest(sequence))
    };
    let mut trace = first_views();
    trace.extend([broadcast(3, 1), broadcast(3, 2)]);
    trace.extend([of_p3(3, 1), of_p3(3, 2), of_p3(1, 1), of_p3(2, 1)]);
    trace.extend([view(1, 1, &[1, 2]), view(2, 1, &[1, 2])]);
    trace.push(effect(3, Observation::indication("Excluded").instance(1)));
    for (what, sequence) in told {
        trace.push(effect(
            3,
            Observation::indication(what).message(id(3, *sequence)),
        ));
    }
    broken(view_synchrony_with_joins(&three(), "m"), &trace)
}

#[test]
fn vs10_nothing_is_swallowed_who_is_outside_learns_what_the_others_lack() {
    assert!(returned(&[("Lost", 2)]).is_empty());
    assert_eq!(returned(&[]), ["VS10"], "it is not told");
    let others_have_it = [("Lost", 1), ("Lost", 2)];
    assert_eq!(returned(&others_have_it), ["VS10"]);
    assert_eq!(
        returned(&[("Lost", 2), ("Lost", 7)]),
        ["VS10"],
        "what is that?"
    );
    assert_eq!(returned(&[("Lost", 2), ("Lost", 2)]), ["VS10"], "once");
    let late = [("StateWanted", 2), ("Lost", 2)];
    assert_eq!(returned(&late), ["VS10"], "not right after it was told");
    assert_eq!(
        returned(&[("Doubtful", 2)]),
        ["VS10"],
        "it knows what was decided"
    );
    let member = [first_views(), vec![broadcast(1, 10), within(1, 1, 0)]].concat();
    let lost = effect(1, Observation::indication("Lost").message(id(1, 1)));
    let mut tags = broken(
        view_synchrony_with_joins(&three(), "m"),
        &[member, vec![lost]].concat(),
    );
    tags.retain(|tag| !["VS6", "VS9"].contains(&&tag[..]));
    assert_eq!(tags, ["VS10"], "it is a member");
}

#[test]
fn vs10_who_missed_a_decision_is_told_of_all_that_it_is_not_sure_has_arrived() {
    let given = |what| {
        let mut trace = first_views();
        trace.push(broadcast(3, 1));
        let delivered = Observation::indication("Deliver").message(id(3, 1));
        trace.push(effect(3, delivered.instance(0).digest(1)));
        trace.extend([view(1, 1, &[1, 2]), view(2, 1, &[1, 2])]);
        trace.push(event(3, Observation::internal("Restored").instance(4)));
        trace.push(effect(3, Observation::indication("Excluded").instance(4)));
        trace.push(effect(3, Observation::indication(what).message(id(3, 1))));
        broken(view_synchrony_with_joins(&three(), "m"), &trace)
    };
    assert!(given("Doubtful").is_empty());
    assert!(given("Lost").is_empty(), "nobody else has it");
    assert_eq!(given("Block"), ["VS10"], "it is not told");
}
