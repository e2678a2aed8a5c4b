//! The horns, the general form, and what saves it.
use super::*;

#[test]
fn h1_each_protocol_breaks_its_horn_with_two_servers() {
    for protocol in Protocol::ALL {
        let shown = show(protocol, 2).unwrap();
        assert_eq!(shown.unexpected(), None, "{}", shown.text());
        assert!(!shown.broken().is_empty());
    }
}

#[test]
fn h1_e2_in_world_c_only_the_second_server_and_its_client_need_be_faulty() {
    let layout = Layout::new(2).unwrap();
    let faulty = World::C.pattern(&layout).faulty();
    assert_eq!(
        faulty,
        layout
            .ranks(2..=2)
            .union([layout.client(2)].into_iter().collect())
    );
}

#[test]
fn h1_e3_an_answer_holds_the_whole_log() {
    let shown = show(Protocol::Majority, 3).unwrap();
    let [c1, c2] = [1, 2].map(|number| shown.layout.client(number));
    let both = &shown.worlds[&World::C];
    let longest = both.answer(c1).max(both.answer(c2)).unwrap();
    assert_eq!(longest.len(), 2, "{}", shown.text());
}

#[test]
fn h1_e4_groups_of_at_most_f_break_the_same_horns() {
    for servers in [4, 6, 8] {
        for protocol in Protocol::ALL {
            let shown = show(protocol, servers).unwrap();
            assert_eq!(shown.unexpected(), None, "{}", shown.text());
        }
    }
}

#[test]
fn with_a_majority_of_correct_servers_nothing_breaks() {
    for servers in [3, 5, 7] {
        let shown = show(Protocol::Majority, servers).unwrap();
        assert_eq!(
            (shown.unexpected(), shown.broken()),
            (None, vec![]),
            "{}",
            shown.text()
        );
    }
}

#[test]
fn a_third_server_does_not_save_a_primary_that_never_changes() {
    let fixed = show(Protocol::StaticPrimary, 3).unwrap();
    assert_eq!(fixed.broken(), [Horn::LivenessInB]);
}

#[test]
fn a_picture_shows_world_c() {
    let svg = show(Protocol::PrimaryBackup, 2).unwrap().svg();
    assert!(svg.contains("World C") && svg.contains("round 6") && !svg.contains("round 7"));
}
