use super::*;
use quorate_core::Incarnation;

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

fn view() -> View {
    View::new(p(1), Membership::of_size(5).unwrap())
}

fn connect(view: &View, rank: usize) {
    view.upon_status(Status::Connected {
        peer: p(rank),
        incarnation: Incarnation(7),
    });
}

fn excluded(reason: &str) -> Status {
    Status::Excluded {
        by: p(2),
        reason: reason.into(),
    }
}

#[test]
fn ready_is_who_votes_and_sees_a_majority() {
    let view = view();
    assert_eq!(
        view.ready().unwrap_err(),
        "not admitted yet: 3 others must have met this process"
    );
    view.upon_status(Status::Admitted);
    connect(&view, 2);
    assert_eq!(
        view.ready().unwrap_err(),
        "no quorum: 2 processes seen, 3 needed"
    );
    connect(&view, 3);
    assert_eq!(view.ready(), Ok(()));
    view.upon_suspicion(Suspicion::Suspect(p(2)));
    assert!(view.ready().is_err());
    view.upon_suspicion(Suspicion::Restore(p(2)));
    assert_eq!(view.ready(), Ok(()));
    view.upon_status(Status::Lost { peer: p(3) });
    assert!(view.ready().is_err());
}

#[test]
fn exclusion_is_final_and_says_which_kind_it_is() {
    let restarted = view();
    restarted.upon_status(excluded("known as another"));
    restarted.upon_status(Status::Admitted);
    let words = restarted.ready().unwrap_err();
    assert!(words.contains("restarted without its memory") && words.contains("known as another"));

    let lost = view();
    lost.upon_status(Status::Admitted);
    lost.upon_status(excluded("p2 has lost p1"));
    lost.upon_status(excluded("something later"));
    let words = lost.ready().unwrap_err();
    assert!(words.contains("was given up by others") && words.contains("p2 has lost p1"));
    assert_eq!(lost.to_json()["standing"], "excluded");
}

#[test]
fn what_peers_refuse_is_shown() {
    let view = view();
    let refused = Status::Refused {
        peer: p(4),
        reason: "another cluster".into(),
    };
    view.upon_status(refused);
    assert_eq!(view.to_json()["peers"][2]["refused"], "another cluster");
    connect(&view, 4);
    assert!(view.to_json()["peers"][2]["refused"].is_null());
}
