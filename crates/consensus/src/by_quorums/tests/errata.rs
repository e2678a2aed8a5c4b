//! Wrong rules, each with a run in which it breaks a property and the algorithm does not. The times at which
//! processes enter views are scripted.
use super::*;
use crate::by_quorums::mutant::{Rule, Ruled};
use crate::testing::Latencies;
use quorate_sim::Exhaustive;
use std::sync::{Arc, Mutex};

/// Processes that propose their ranks, by majorities, and enter views 1, 2, … at these steps.
fn run(rule: Rule, adversary: impl Adversary + 'static, entered: &[&[u32]]) -> Report {
    let world = built(rule, adversary, entered);
    world.check(properties::consensus(world.membership(), "consensus"));
    let mut world = world;
    world.run()
}

fn built(rule: Rule, adversary: impl Adversary + 'static, entered: &[&[u32]]) -> World {
    let world = World::new(entered.len(), 1, adversary).unwrap();
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let subscriber = Arc::new(Mutex::new(None));
        let keep = subscriber.clone();
        let views = Views {
            entered: Addr::new(move |up: Addr<Enter>| *keep.lock().unwrap() = Some(up)),
            catch_up: Addr::nowhere(),
        };
        let algorithm = Ruled::by(rule, ByQuorums::new(&host, majorities(&world)));
        let below = layer(&world, q, false);
        let port = start(&host, algorithm, &views, below, world.application(q));
        let views = subscriber.lock().unwrap().clone().unwrap();
        for (view, at) in (1..).zip(entered[q.index()]) {
            world.request(q, step(*at), &views, Enter { view });
        }
        let (instance, value) = (1, payload(q));
        world.request(q, step(0), &port, Propose { instance, value });
    }
    world
}

/// The same, to be searched, for safety only: the views of a schedule may all be over before anybody decides.
fn searched(rule: Rule, entered: &[&[u32]]) -> World {
    let world = built(rule, Timed::lock_step(), entered);
    let mut safety = properties::consensus(world.membership(), "consensus");
    safety.retain(|property| property.tag() != "UC4");
    world.check(safety);
    world
}

#[test]
fn every_schedule_of_two_views_is_safe_of_three_processes_as_deep_as_is_looked() {
    for (n, crashes, depth) in [(2, 0, 20), (2, 1, 16), (3, 0, 12), (3, 1, 10)] {
        let views: Vec<&[u32]> = vec![&[0, 0]; n];
        let search = Exhaustive::new().crashes(crashes).depth(depth);
        let found = search.explore(|| searched(Rule::Corrected, &views));
        println!("n = {n}, {crashes} crashes, depth {depth}: {found}");
        assert!(found.found.is_none(), "{found}");
        assert!(found.complete || n > 2, "{found}");
    }
}

#[test]
fn the_search_finds_what_comes_of_late_proposals_that_are_accepted() {
    let views: [&[u32]; 3] = [&[0], &[0, 0], &[0, 0]];
    let search = Exhaustive::new().depth(22).executions(400_000);
    let found = search.explore(|| searched(Rule::LateIsAccepted, &views));
    let text = found.to_string();
    assert!(text.contains("UC2 is violated"), "{text}");
}

#[track_caller]
fn assert_breaks(report: &Report, tag: &str) {
    let broken = report.violation().map(|v| &v.tag[..]);
    assert_eq!(broken, Some(tag), "{report}");
}

#[test]
fn g7_e1_uc4_is_broken_where_states_that_come_before_the_view_are_dropped() {
    // Each view's leader is the last to enter it.
    let run = |rule| {
        let entered: [&[u32]; 3] = [&[5, 10, 20], &[0, 15, 20], &[0, 10, 25]];
        run(rule, Timed::lock_step(), &entered)
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks(&run(Rule::EarlyIsDropped), "UC4");
}

#[test]
fn g7_e2_uc3_is_broken_where_a_decision_is_over_with_the_view() {
    let run = |rule| run(rule, Timed::lock_step(), &[&[0, 10], &[0, 10], &[0, 10]]);
    run(Rule::Corrected).assert_all_hold();
    assert_breaks(&run(Rule::DecisionIsForgotten), "UC3");
}

#[test]
fn g7_e3_uc2_is_broken_where_what_is_of_a_view_that_was_left_is_accepted() {
    // In view 1, p1 proposes to p5 and, late, to p3. By then p3 has entered view 2 and told its leader that
    // it has accepted nothing. With p3, p1 has a majority in view 1, and p2 has one in view 2.
    let run = |rule| {
        let adversary = Latencies::each(&[
            (1, 2, 30),
            (1, 3, 4),
            (1, 4, 30),
            (5, 2, 30),
            (5, 3, 30),
            (5, 4, 30),
            (2, 3, 3),
        ]);
        run(
            rule,
            adversary,
            &[&[0, 60], &[0, 3], &[0, 3], &[0, 3], &[0, 60]],
        )
    };
    run(Rule::Corrected).assert_all_hold();
    assert_breaks(&run(Rule::LateIsAccepted), "UC2");
}

#[test]
fn g7_e5_acceptances_of_an_older_view_count() {
    let mut p1 = context::Alone::new(3, two_of_three());
    p1.enter(3);
    for from in [p(2), p(3)] {
        let value = Bytes::from_static(b"value");
        let acceptance = Acceptance {
            instance: 1,
            view: 1,
            value,
        };
        p1.deliver(from, Message::Accepted { acceptance });
    }
    assert_eq!(p1.decided, 1);
}

#[test]
fn g7_e8_who_has_decided_answers_who_has_not() {
    let mut p1 = context::Alone::new(3, two_of_three());
    let value = Bytes::from_static(b"value");
    for instance in 1..=3 {
        let value = value.clone();
        p1.deliver(p(2), Message::Decided { instance, value });
    }
    p1.posted.clear();
    let state = |decided| Message::State {
        view: 1,
        decided,
        decided_above: Vec::new(),
        accepted: Acceptances(Vec::new()),
    };
    p1.deliver(p(3), state(1));
    p1.deliver(p(2), state(3));
    let said = [2, 3].map(|instance| Message::Decided {
        instance,
        value: value.clone(),
    });
    assert_eq!(p1.posted, said);
}

fn two_of_three() -> Quorums {
    Quorums {
        reads: Family::AtLeast(2),
        writes: Family::AtLeast(2),
    }
}

#[test]
fn g7_e6_views_are_led_in_turn_from_p1_on_and_a_leader_proposes_once() {
    let mut p1 = context::Alone::new(3, two_of_three());
    p1.propose(1);
    for view in 1..=7 {
        p1.enter(view);
        for from in [p(2), p(3), p(2)] {
            let state = Message::State {
                view,
                decided: 0,
                decided_above: Vec::new(),
                accepted: Acceptances(Vec::new()),
            };
            p1.deliver(from, state);
        }
    }
    let proposed: Vec<u64> = p1
        .posted
        .iter()
        .filter_map(|message| match message {
            Message::Proposal { proposal } => Some(proposal.view),
            _ => None,
        })
        .collect();
    assert_eq!(proposed, [1, 4, 7]);
}
