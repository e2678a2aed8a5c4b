use super::*;
use std::time::Duration;

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

fn origin() -> Origin {
    Origin {
        process: p(1),
        incarnation: Incarnation(1),
    }
}

fn view() -> View {
    View::new(
        origin(),
        Membership::of_size(5).unwrap(),
        Duration::from_secs(2),
    )
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

#[tokio::test]
async fn ready_is_who_takes_part_and_is_answered_in_time() {
    let view = view();
    view.outcomes().upon_return(Duration::ZERO);
    assert_eq!(
        view.ready().unwrap_err(),
        "not admitted yet: 3 others must have met this process"
    );
    view.upon_status(Status::Admitted);
    assert_eq!(view.ready(), Ok(()), "whomever it sees");
}

#[tokio::test]
async fn who_is_not_answered_says_whom_it_does_not_reach_and_who_is_to_lead() {
    let view = view();
    view.upon_status(Status::Admitted);
    for rank in 2..=4 {
        connect(&view, rank);
    }
    view.upon_suspicion(Suspicion::Suspect(p(2)));
    view.upon_suspicion(Suspicion::Suspect(p(3)));
    let reach = |cut_off: &[usize]| Reach {
        suspected: [p(2), p(3)].into_iter().collect(),
        cut_off: cut_off.iter().copied().map(p).collect(),
    };
    view.upon_reach(reach(&[3]));
    view.upon_trust(Trust(p(4)));
    let because = "no quorum: nothing that was asked for has come back in time for 0 s; ";
    let words = |view: &View| view.ready().unwrap_err().replace(because, "");
    assert_eq!(words(&view), "not reached: p2 p5; p4 is to lead");
    view.upon_reach(reach(&[1]));
    view.upon_trust(Trust(p(1)));
    let all = "not reached: p2 p3 p5; cut off from a majority; this process is to lead";
    assert_eq!(words(&view), all);
    assert_eq!(view.to_json()["cut_off"], json!([1]));
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
    assert_eq!(lost.live().unwrap_err(), words, "a supervisor is to act");
    assert_eq!(view().live(), Ok(()));
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

#[test]
fn a_newcomer_catches_up_before_it_votes() {
    let restarted = view();
    let view = view();
    view.upon_status(Status::Newcomer {
        by: p(2),
        known: Incarnation(3),
    });
    assert_eq!(view.to_json()["standing"], "newcomer");
    view.upon_status(Status::Admitted);
    assert_eq!(view.ready().unwrap_err(), "newcomer: catching up");
    view.upon_caught_up();
    assert_eq!(view.to_json()["standing"], "voter");

    restarted.upon_status(Status::Newcomer {
        by: p(2),
        known: Incarnation(3),
    });
    restarted.upon_status(excluded("a later one came"));
    restarted.upon_caught_up();
    let words = restarted.ready().unwrap_err();
    assert!(
        words.contains("was started again") && words.contains("a later one came"),
        "{words}"
    );
}

fn configuration(number: u64, newcomers: &[(usize, u64, u64)]) -> Configuration {
    let newcomer = |&(rank, incarnation, before): &(usize, u64, u64)| {
        let origin = Origin {
            process: p(rank),
            incarnation: Incarnation(incarnation),
        };
        (origin, before)
    };
    Configuration {
        number,
        newcomers: newcomers.iter().map(newcomer).collect(),
    }
}

#[test]
fn members_are_who_holds_the_slots() {
    let view = view();
    let addresses: Vec<String> = (1..=5).map(|rank| format!("a:{rank}")).collect();
    view.upon_status(Status::Admitted);
    connect(&view, 2);
    connect(&view, 3);
    connect(&view, 4);
    view.upon_trust(Trust(p(1)));
    view.upon_suspicion(Suspicion::Suspect(p(3)));
    view.upon_status(Status::Replaced {
        peer: p(4),
        known: Incarnation(7),
        newcomer: Incarnation(8),
    });
    let standing = |view: &View| {
        let members = view.members(&addresses)["members"].clone();
        let words = members.as_array().unwrap().iter();
        let words = words.map(|m| m["standing"].as_str().unwrap().to_owned());
        (
            members[0]["leader"].clone(),
            words.collect::<Vec<_>>().join(" "),
        )
    };
    let words = "voter voter suspected newcomer unknown".to_owned();
    assert_eq!(standing(&view), (true.into(), words));

    view.upon_configuration(configuration(1, &[(4, 8, 1)]));
    view.upon_status(Status::Connected {
        peer: p(4),
        incarnation: Incarnation(8),
    });
    let words = "voter voter suspected voter unknown".to_owned();
    assert_eq!(standing(&view), (true.into(), words));
    let fourth = view.members(&addresses)["members"][3].clone();
    assert_eq!(fourth["held_before"], 1);
    assert_eq!(fourth["address"], "a:4");
    assert_eq!(fourth["incarnation"], Incarnation(8).to_string());
}

#[test]
fn both_parts_of_a_timeout_are_shown() {
    let view = view();
    let timeout = Timeout {
        floor: Duration::from_millis(525),
        excess: Duration::from_micros(262_500),
    };
    view.upon_timeout(Allowed {
        process: p(3),
        timeout,
    });
    let shown = view.to_json()["peers"][1]["timeout_ms"].clone();
    assert_eq!(shown, json!({ "floor": 525, "excess": 262 }));
}

#[test]
fn every_change_is_told_in_order() {
    let view = view();
    let mut changes = view.changes();
    view.upon_trust(Trust(p(1)));
    view.upon_suspicion(Suspicion::Suspect(p(1)));
    view.upon_trust(Trust(p(2)));
    view.upon_configuration(configuration(1, &[(1, 8, 1)]));
    let mut next = || changes.try_recv().unwrap();
    assert_eq!(next()["leader"], 1);
    assert_eq!(next()["suspected"][0], 1);
    assert_eq!(next()["leader"], 2);
    let last = next();
    assert_eq!(
        (&last["configuration"], &last["members"][0]["held_before"]),
        (&1.into(), &1.into())
    );
    assert_eq!(last, view.present());
    assert!(changes.try_recv().is_err());
}
