use super::*;
use quorate_sim::testing::p;

#[test]
fn lemma_1_each_choice_of_quorums_breaks_one_horn_alone() {
    let shown = show().unwrap();
    for families in Families::ALL {
        assert_eq!(shown.broken(families), [families.horn()], "{families}");
        assert!(shown.cannot_tell(families), "{families}");
    }
    assert_eq!(shown.unexpected(), Vec::<String>::new());
}

#[test]
fn quorums_of_each_component_decide_incomparable_values_in_c() {
    let worlds = Worlds::new(Families::OfEach, set("ac")).unwrap();
    let both = &worlds.0[&Proposals::C];
    let decisions = [both.decision(p(3)), both.decision(p(1))];
    assert_eq!(
        decisions.map(|it| it.map(value)),
        [Some("x2".to_owned()), Some("x1".to_owned())]
    );
    // p3 has decided before p1 proposes: the two are not even concurrent.
    let records = both.trace.records();
    let decided = records
        .iter()
        .position(|it| it.process == p(3) && is_decision(it))
        .unwrap();
    let proposed = records.iter().position(|it| {
        it.process == p(1)
            && it
                .kind
                .request()
                .is_some_and(|request| request.label == "Propose")
    });
    assert!(Some(decided) < proposed);
    // p3 hears of p1 in C, but only after its decision.
    assert_ne!(decisions[0], None);
}

#[test]
fn a_promise_within_one_component_is_kept() {
    assert!(show().unwrap().is_possible());
    // The checker judges it: within the other component it is broken with the same quorums.
    let other = Worlds::new(Families::OfTheSecond, set("ab")).unwrap();
    assert_eq!(other.broken(), [Horn::LivenessInB]);
}

/// A check of views that cannot fail would be none.
#[test]
fn views_of_worlds_that_differ_are_told_apart() {
    let worlds = Worlds::new(Families::OfEach, set("ac")).unwrap();
    let [a, b] = [Proposals::A, Proposals::B].map(|world| &worlds.0[&world]);
    assert_ne!(a.view(p(1), NEVER), b.view(p(1), NEVER));
    assert_ne!(a.view(p(3), NEVER), b.view(p(3), NEVER));
}
