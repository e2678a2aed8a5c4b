mod errata;

use super::*;
use crate::testing::{each_steps, p, payload, step};
use quorate_abstractions::link::Links;
use quorate_broadcast::{best_effort, eager};
use quorate_core::{
    Addr, Context, Counters, Incarnation, Layer, MessageId, Observe, Time, message::Origin,
    wire::Wire,
};
use quorate_sim::{
    Crash, Oracle, Report, Timed, UNIT, Verdict, World, properties, testing::LOSSES,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// The steps after which the oracle reports a crash.
const DETECTION: u32 = 5;

/// Everybody proposes in instance 1, in lock step. Returns the report, and when each process decided.
fn run(n: usize, oracle: &Oracle, crash: Option<(usize, Crash)>) -> (Report, Vec<Option<u64>>) {
    let mut world = World::new(n, 11, Timed::lock_step()).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let (host, links) = (
            world.host(q).at("consensus"),
            world.links(q).at("consensus"),
        );
        let reliable = |up: Addr<reliable::Deliver>| {
            let lane = links.at("reliable").lane();
            eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
        };
        let detector = world.eventually_perfect(q, oracle);
        let port = spawn(
            &host,
            links.lane(),
            &links.status(),
            reliable,
            &detector,
            world.application(q),
        );
        let value = payload(q);
        world.request(q, Time::ZERO, &port, Propose { instance: 1, value });
    }
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    let times = each_steps(&world);
    (report, times)
}

fn accurate() -> Oracle {
    Oracle::accurate(UNIT * DETECTION)
}

#[test]
fn costs_with_the_first_coordinator_dead_are_what_the_header_says() {
    for n in 3..=8 {
        let (report, times) = run(n, &accurate(), Some((1, Crash::at(Time::ZERO))));
        report.assert_all_hold();
        let others = n as u64 - 1;
        assert_eq!(
            report.counts.messages,
            5 * n as u64 - 7 + others * others,
            "n = {n}"
        );
        let detection = u64::from(DETECTION);
        assert_eq!(times[1], Some(detection + 3), "p2 leads round 2, n = {n}");
        assert!(
            times[2..].iter().all(|time| *time == Some(detection + 4)),
            "{times:?}"
        );
    }
}

#[test]
fn uc2_uniform_agreement_wherever_the_coordinator_crashes() {
    for n in 3..=5 {
        for k in 1..6 * n as u64 {
            for lose in LOSSES {
                let crash = Crash::before_output(k).losing(lose);
                run(n, &accurate(), Some((1, crash))).0.assert_all_hold();
            }
        }
    }
}

#[test]
fn uc4_termination_a_refusal_releases_those_that_have_adopted() {
    // p3 alone suspects p1 and sends a nack; p2, which has adopted p1's value and waits for its outcome, has
    // no reason of its own to leave the round (D3-E1).
    for from in 0..4 {
        let oracle = accurate().suspecting(p(3), p(1), step(from), step(40));
        run(3, &oracle, None).0.assert_all_hold();
    }
}

#[test]
fn uc4_termination_after_everybody_suspected_everybody() {
    for n in 2..=6 {
        let mut oracle = accurate();
        for (by, of) in (1..=n).flat_map(|by| (1..=n).map(move |of| (by, of))) {
            oracle = oracle.suspecting(p(by), p(of), step((by * 3 % 5) as u32), step(60));
        }
        run(n, &oracle, None).0.assert_all_hold();
    }
}

/// Three processes propose, p1 last; if `early_is_dropped`, messages that reach a process before it has
/// proposed are dropped (B7-E3).
fn propose_late(early_is_dropped: bool) -> Report {
    let mut world = World::new(3, 11, Timed::lock_step()).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let links = world.links(q).at("consensus");
        let reliable = |up: Addr<reliable::Deliver>| {
            let lane = links.at("reliable").lane();
            eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
        };
        let has_proposed = Arc::new(AtomicBool::new(!early_is_dropped));
        let (heard, lane) = (has_proposed.clone(), links.lane());
        let link = move |up: Addr<link::Deliver<Message>>| {
            lane.attach(Addr::new(move |message| {
                if heard.load(Relaxed) {
                    up.send(message);
                }
            }))
        };
        let detector = world.eventually_perfect(q, &accurate());
        let port = spawn(
            &host,
            link,
            &links.status(),
            reliable,
            &detector,
            world.application(q),
        );
        let value = payload(q);
        let time = if q == p(1) { step(5) } else { step(0) };
        world.call(q, time, move || {
            has_proposed.store(true, Relaxed);
            port.send(Propose { instance: 1, value });
        });
    }
    world.run()
}

#[test]
fn uc4_is_broken_where_messages_that_come_before_the_proposal_are_dropped() {
    let broken = propose_late(true);
    let verdict = broken.verdict("UC4");
    assert!(matches!(verdict, Some(Verdict::Violated(_))), "{broken}");
    propose_late(false).assert_all_hold();
}

/// One process of three, p3, driven by hand.
struct Alone {
    algorithm: Rotating,
    ctx: Ctx<Rotating>,
    counters: Counters,
}

impl Alone {
    fn new() -> Self {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let counters = Counters::default();
        let ctx = Context::new("consensus".into(), 1, counters.clone());
        Alone {
            algorithm: Rotating::new(&world.host(p(3))),
            ctx,
            counters,
        }
    }

    /// The effects of one event.
    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.algorithm.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn hears(&mut self, from: usize, round: u64, content: Content) -> Vec<Effect> {
        let message = Message {
            instance: 1,
            round,
            content,
        };
        self.upon(Event::Link(link::Deliver {
            from: p(from),
            message,
        }))
    }

    fn proposes(&mut self, value: &'static [u8]) -> Vec<Effect> {
        self.upon(Event::Propose(Propose {
            instance: 1,
            value: Bytes::from_static(value),
        }))
    }

    fn suspects(&mut self, rank: usize) -> Vec<Effect> {
        self.upon(Event::Detector(eventually_perfect::Indication::Suspect(p(
            rank,
        ))))
    }
}

/// The messages that the effects send over the links, and their receivers.
fn said(effects: &[Effect]) -> Vec<(To, u64, &'static str)> {
    let said = effects.iter().filter_map(|effect| match effect {
        Effect::Link(send) => Some((send.to, send.message.round, send.message.observe().label)),
        Effect::Reliable(_) | Effect::Decide(_) => None,
    });
    said.collect()
}

fn proposal(value: &'static [u8]) -> Content {
    Content::Propose {
        value: Bytes::from_static(value),
    }
}

#[test]
fn nothing_is_acknowledged_in_a_round_that_was_left() {
    let mut p3 = Alone::new();
    p3.proposes(b"3");
    let left = said(&p3.suspects(1));
    let (nack, estimate) = ((To::One(p(1)), 1, "Nack"), (To::One(p(2)), 2, "Estimate"));
    assert_eq!(left, [nack, estimate]);
    assert!(p3.hears(1, 1, proposal(b"1")).is_empty(), "late: D3-E2");
    assert_eq!(
        said(&p3.hears(2, 2, proposal(b"2"))),
        [(To::One(p(2)), 2, "Ack")]
    );
}

#[test]
fn the_latest_adoption_wins_and_messages_of_later_rounds_wait() {
    let mut p3 = Alone::new();
    // Round 3 is p3's own. Its estimates come while it is still in round 1 (D3-E6).
    let estimate = |adopted, value| Content::Estimate {
        adopted,
        value: Bytes::from_static(value),
    };
    assert!(p3.hears(1, 3, estimate(0, b"old")).is_empty());
    assert!(p3.hears(2, 3, estimate(1, b"locked")).is_empty());
    p3.proposes(b"mine");
    p3.suspects(1);
    let effects = p3.suspects(2);
    let proposed = effects.iter().find_map(|effect| match effect {
        Effect::Link(link::SendRequest {
            message: Message {
                content, round: 3, ..
            },
            ..
        }) => matches!(content, Content::Propose { .. }).then(|| content.clone()),
        _ => None,
    });
    assert_eq!(proposed, Some(proposal(b"locked")), "D3-E3");
}

#[test]
fn a_decided_instance_is_pruned_and_stays_decided() {
    let mut p3 = Alone::new();
    p3.proposes(b"3");
    let origin = Origin {
        process: p(1),
        incarnation: Incarnation(1),
    };
    let id = MessageId {
        origin,
        sequence: 1,
    };
    let payload = decision(1, &Bytes::from_static(b"1"));
    let decided = p3.upon(Event::Reliable(reliable::Deliver {
        id,
        payload: payload.clone(),
    }));
    assert!(matches!(
        decided[..],
        [Effect::Decide(Decide { instance: 1, .. })]
    ));
    assert!(p3.algorithm.instances.is_empty());
    assert!(
        p3.upon(Event::Reliable(reliable::Deliver { id, payload }))
            .is_empty()
    );
    assert!(p3.proposes(b"again").is_empty());
    assert!(p3.hears(1, 1, proposal(b"1")).is_empty());
    assert!(
        p3.algorithm.instances.is_empty(),
        "a late message revives nothing"
    );
}

#[test]
fn what_only_a_coordinator_may_say_is_taken_from_it_alone() {
    let mut p3 = Alone::new();
    p3.proposes(b"3");
    assert!(p3.hears(2, 1, proposal(b"2")).is_empty());
    assert!(p3.hears(2, 1, Content::Abort).is_empty());
    assert!(
        p3.hears(2, 1, Content::Ack).is_empty(),
        "p3 does not coordinate round 1"
    );
    assert_eq!(p3.counters.total("not the coordinator"), 3);
    assert!(p3.hears(2, u64::MAX, Content::Abort).is_empty());
    assert_eq!(p3.counters.total("round too far ahead"), 1);
}

#[test]
fn no_instance_is_decided_whose_number_nobody_gets_to() {
    let mut p3 = Alone::new();
    for (number, decides) in [
        (LAST_NUMBER, true),
        (LAST_NUMBER + 1, false),
        (u64::MAX, false),
    ] {
        let mut payload = BytesMut::new();
        wire::put_number(number, &mut payload);
        let payload = payload.freeze();
        let id = MessageId {
            origin: Origin {
                process: p(1),
                incarnation: Incarnation(1),
            },
            sequence: 1,
        };
        let effects = p3.upon(Event::Reliable(reliable::Deliver { id, payload }));
        assert_eq!(effects.len(), usize::from(decides), "{number}");
    }
    assert_eq!(p3.counters.total("instance too far ahead"), 2);
}

#[test]
fn messages_survive_the_wire() {
    let value = Bytes::from_static(b"v");
    let estimate = Content::Estimate {
        adopted: 4,
        value: value.clone(),
    };
    let decided = Content::Decided {
        value: value.clone(),
    };
    let contents = [
        (estimate, &b"\0\x04v"[..]),
        (Content::Propose { value }, b"\x01v"),
        (Content::Ack, b"\x02"),
        (Content::Nack, b"\x03"),
        (Content::Abort, b"\x04"),
        (Content::Left, b"\x05"),
        (decided, b"\x06v"),
    ];
    for (content, said) in contents {
        let message = Message {
            instance: 3,
            round: 9,
            content,
        };
        let bytes = wire::encode(&message);
        assert_eq!(bytes, [&[3, 9], said].concat(), "{message:?}");
        assert_eq!(Message::decode(bytes), Ok(message));
    }
    assert!(
        Message::decode(Bytes::from_static(&[1, 1, 2, 0])).is_err(),
        "an Ack has no tail"
    );
    assert!(Message::decode(Bytes::from_static(&[1, 1, 77])).is_err());
}
