//! The rules as they are often told, each with a schedule that breaks it; the rule in force passes the same
//! schedule.
use super::*;
use quorate_core::{Addr, Layer};
use quorate_sim::Script;
use std::{collections::BTreeSet, sync::Mutex};

/// The rule that is changed, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Corrected,
    /// A coordinator that got a nack moves on and tells nobody.
    NoAbort,
    /// A proposal is also acknowledged in a round that was left.
    LateAck,
    /// Every estimate counts as never adopted: of several, the one of the lowest rank is proposed.
    AnyEstimate,
    /// The decision goes out once, and nobody relays it.
    NoRelay,
}

/// The links of a process, as the rule changes them.
fn mutated(rule: Rule, lane: impl Layer<link::Port<Message>>) -> impl Layer<link::Port<Message>> {
    move |up: Addr<link::Deliver<Message>>| {
        let refused: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
        let (left, port) = (refused.clone(), Arc::new(Mutex::new(Addr::nowhere())));
        let answer: Arc<Mutex<Addr<link::SendRequest<Message>>>> = port.clone();
        let down = lane.attach(Addr::new(move |mut delivery: link::Deliver<Message>| {
            let round = delivery.message.round;
            match &mut delivery.message.content {
                Content::Estimate { adopted, .. } if rule == Rule::AnyEstimate => *adopted = 0,
                Content::Propose { .. }
                    if rule == Rule::LateAck && left.lock().unwrap().contains(&round) =>
                {
                    let message = Message {
                        content: Content::Ack,
                        ..delivery.message.clone()
                    };
                    let to = To::One(delivery.from);
                    answer
                        .lock()
                        .unwrap()
                        .send(link::SendRequest { to, message });
                }
                _ => {}
            }
            up.send(delivery);
        }));
        *port.lock().unwrap() = down.clone();
        Addr::new(move |send: link::SendRequest<Message>| {
            match send.message.content {
                Content::Abort if rule == Rule::NoAbort => return,
                Content::Nack => _ = refused.lock().unwrap().insert(send.message.round),
                _ => {}
            }
            down.send(send);
        })
    }
}

/// Sends a payload to everybody, once.
fn unrelayed(
    lane: impl Layer<link::Port<Bytes>>,
    up: Addr<reliable::Deliver>,
) -> Addr<reliable::Broadcast> {
    let delivered = up.with(|link::Deliver { from, message }| reliable::Deliver {
        id: MessageId {
            origin: Origin {
                process: from,
                incarnation: Incarnation(1),
            },
            sequence: 1,
        },
        payload: message,
    });
    lane.attach(delivered)
        .with(|reliable::Broadcast { payload }| link::SendRequest {
            to: To::All,
            message: payload,
        })
}

/// Three processes propose their ranks; these suspect p1, falsely, for a while.
fn along(schedule: &str, rule: Rule, suspecting: &[usize]) -> Report {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    let oracle = suspecting.iter().fold(accurate(), |oracle, by| {
        oracle.suspecting(p(*by), p(1), step(0), step(1))
    });
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let links = world.links(q).at("consensus");
        let reliable = |up: Addr<reliable::Deliver>| {
            let links = links.at("reliable");
            match rule {
                Rule::NoRelay => unrelayed(links.lane(), up),
                _ => eager::spawn(&host.at("reliable"), best_effort::over(links.lane()), up),
            }
        };
        let link = mutated(rule, links.lane());
        let detector = world.eventually_perfect(q, &oracle);
        let port = spawn(
            &host,
            link,
            &links.status(),
            reliable,
            &detector,
            world.application(q),
        );
        let value = payload(q);
        world.request(q, Time::ZERO, &port, Propose { instance: 1, value });
    }
    let script: Script = schedule.parse().unwrap();
    // A message that the rule does not send cannot be delivered, and is left out of the schedule.
    script.run_leniently(world).report
}

/// The schedule breaks the property under this rule, and no property under the rule in force.
#[track_caller]
fn breaks(schedule: &str, suspecting: &[usize], rule: Rule, tag: &str) {
    let broken = along(schedule, rule, suspecting);
    let verdict = broken.verdict(tag);
    assert!(matches!(verdict, Some(Verdict::Violated(_))), "{broken}");
    along(schedule, Rule::Corrected, suspecting).assert_all_hold();
}

#[test]
fn d3_e1_without_abort_those_that_have_adopted_wait_for_ever() {
    // p3 sends a nack, and p1 moves on; p2 has adopted, and waits for the outcome of a round that is over.
    let schedule = "request p1\nrequest p2\nrequest p3\nsuspect p1 by p3\n\
                    deliver p2>p1 #1        # Estimate\ndeliver p1>p2 #1        # Propose\n\
                    deliver p3>p1 #2        # Nack\n";
    breaks(schedule, &[3], Rule::NoAbort, "UC4");
}

#[test]
fn d3_e2_acknowledging_in_a_round_that_was_left_breaks_agreement() {
    // p2 and p3 leave round 1, and p2 proposes in round 2; p1's proposal reaches p3 late.
    let schedule = "request p1\nrequest p2\nrequest p3\n\
                    deliver p2>p1 #1        # Estimate\nsuspect p1 by p2\nsuspect p1 by p3\n\
                    deliver p3>p2 #1        # Estimate, round 2\n\
                    deliver p1>p3 #1        # Propose, round 1\n\
                    deliver p3>p1 #3        # Ack, round 1\n\
                    deliver p2>p3 #1        # Propose, round 2\n\
                    deliver p3>p2 #2        # Ack, round 2\n";
    breaks(schedule, &[2, 3], Rule::LateAck, "UC2");
}

#[test]
fn d3_e3_proposing_any_estimate_breaks_agreement() {
    // p1 and p3 have adopted p1's value, which p1 decides; p2 coordinates round 2 with p3.
    let schedule = "request p1\nrequest p2\nrequest p3\n\
                    deliver p2>p1 #1        # Estimate\nsuspect p1 by p2\n\
                    deliver p1>p3 #1        # Propose, round 1\n\
                    deliver p3>p1 #2        # Ack, round 1\nsuspect p1 by p3\n\
                    deliver p3>p2 #1        # Estimate, round 2, adopted in round 1\n\
                    deliver p2>p3 #1        # Propose, round 2\n\
                    deliver p3>p2 #2        # Ack, round 2\n";
    breaks(schedule, &[2, 3], Rule::AnyEstimate, "UC2");
}

#[test]
fn d3_e4_a_decision_that_nobody_relays_breaks_termination() {
    // p1 decides, and crashes; its decision reaches p2, which decides and stops, but not p3.
    let schedule = "request p1\nrequest p2\nrequest p3\n\
                    deliver p2>p1 #1        # Estimate\ndeliver p1>p2 #1        # Propose\n\
                    deliver p2>p1 #2        # Ack\ndeliver p1>p2 #2        # the decision\n\
                    crash p1\nlose p1>p3 #2\n";
    breaks(schedule, &[], Rule::NoRelay, "UC4");
}
