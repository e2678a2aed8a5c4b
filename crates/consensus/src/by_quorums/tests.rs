mod apart;
mod errata;
mod figure_1;

use super::*;
use crate::{
    testing::{each_steps, p, payload, step},
    view_synchronizer,
};
use quorate_abstractions::link::Links;
use quorate_core::{Time, wire::Wire};
use quorate_quorums::{Family, flooding as over};
use quorate_sim::{
    Adversary, Crash, Random, Report, Timed, UNIT, World,
    properties::{self, consensus_at},
};
use std::time::Duration;

/// Views of 8 steps, 16 steps, 24 steps, and so on.
const VIEWS: view_synchronizer::ViewSettings = view_synchronizer::ViewSettings {
    unit: Duration::from_nanos(UNIT.as_nanos() as u64 * 8),
};

/// Starts consensus at a process, in these views and over these quorums, with or without flooding.
type Start = fn(&World, ProcessId, &Quorums, &Views, bool) -> Addr<Propose>;

fn layer(world: &World, q: ProcessId, floods: bool) -> impl Layer<flooding::Port<Message>> + use<> {
    let (host, links) = (world.host(q).at("flooding"), world.links(q));
    move |up| {
        if floods {
            let lane = links.at("flooded").lane();
            over::spawn(&host, over::FloodingSettings::default(), lane, up)
        } else {
            over::direct(links.at("direct").lane()).attach(up)
        }
    }
}

fn started(
    world: &World,
    q: ProcessId,
    quorums: &Quorums,
    views: &Views,
    floods: bool,
) -> Addr<Propose> {
    let host = world.host(q).at("consensus");
    let below = layer(world, q, floods);
    spawn(&host, quorums.clone(), views, below, world.application(q))
}

fn majorities(world: &World) -> Quorums {
    Quorums::majorities(world.membership())
}

/// Everybody proposes its rank in this many instances, without flooding.
fn run(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    instances: u64,
    crashes: &[(usize, Crash)],
) -> (Report, Vec<Option<u64>>) {
    run_as(n, seed, adversary, instances, crashes, started)
}

fn run_as(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    instances: u64,
    crashes: &[(usize, Crash)],
    start: Start,
) -> (Report, Vec<Option<u64>>) {
    let mut world = World::new(n, seed, adversary).unwrap().settle(UNIT * 200);
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let views = view_synchronizer::spawn(&world.host(q).at("views"), VIEWS);
        let port = start(&world, q, &majorities(&world), &views, false);
        for instance in 1..=instances {
            let value = payload(q);
            world.request(q, Time::ZERO, &port, Propose { instance, value });
        }
    }
    for (rank, crash) in crashes {
        world.crash(p(*rank), *crash);
    }
    let report = world.run();
    let steps = each_steps(&world);
    (report, steps)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 2..=8 {
        let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
        world.check(properties::consensus(world.membership(), "consensus"));
        for q in world.processes() {
            let views = view_synchronizer::spawn(&world.host(q).at("views"), VIEWS);
            let port = started(&world, q, &majorities(&world), &views, false);
            let value = payload(q);
            world.request(q, Time::ZERO, &port, Propose { instance: 1, value });
        }
        let report = world.run();
        report.assert_all_hold();
        let n = n as u64;
        let decided = n * (n - 1);
        assert_eq!(report.counts.messages, (n - 1) * (n + 2) + decided);
        assert_eq!(each_steps(&world).into_iter().max(), Some(Some(3)));
    }
}

#[test]
fn what_is_proposed_in_a_view_that_all_are_in_takes_two_steps() {
    let n = 5;
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    world.check(consensus_at(
        world.membership(),
        "consensus",
        world.membership().set(),
    ));
    for q in world.processes() {
        let views = view_synchronizer::spawn(&world.host(q).at("views"), VIEWS);
        let port = started(&world, q, &majorities(&world), &views, false);
        if q == p(1) {
            let value = payload(q);
            world.request(q, step(3), &port, Propose { instance: 1, value });
        }
    }
    let report = world.run();
    report.assert_all_hold();
    let n = n as u64;
    let messages = (n - 1) + (n - 1) * (n + 1) + n * (n - 1);
    assert_eq!(report.counts.messages, messages);
    assert!(each_steps(&world).iter().all(|steps| *steps == Some(5)));
}

#[test]
fn uc4_termination_although_a_minority_with_the_first_leader_is_dead() {
    for n in 3..=7 {
        let dead: Vec<_> = (1..=(n - 1) / 2)
            .map(|rank| (rank, Crash::at(Time::ZERO)))
            .collect();
        let (report, _) = run(n, 1, Timed::lock_step(), 3, &dead);
        report.assert_all_hold();
    }
}

#[test]
fn everything_holds_wherever_a_leader_crashes_and_whatever_messages_take() {
    for seed in 0..300 {
        let n = 2 + seed as usize % 4;
        let crashes: Vec<_> = (1..=(n - 1) / 2)
            .map(|rank| {
                (
                    rank,
                    Crash::before_output(1 + (seed / 3 + rank as u64) % 14),
                )
            })
            .collect();
        let adversary = Timed::uniform(UNIT / 2, UNIT * 12);
        let (report, _) = run(n, seed, adversary, 3, &crashes);
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}

#[test]
fn safety_holds_under_any_schedule() {
    for seed in 0..200 {
        let n = 2 + seed as usize % 4;
        let (report, _) = run(n, seed, Random::new(), 3, &[]);
        // If messages take as long as they like, no view may ever be long enough.
        let broken = report.violation().map(|v| &v.tag[..]);
        assert!([None, Some("UC4")].contains(&broken), "n = {n}, {report}");
    }
}

#[test]
fn uc2_is_broken_where_everybody_leads_every_view() {
    let broken: Start = |world, q, quorums, views, floods| {
        let host = world.host(q).at("consensus");
        let below = layer(world, q, floods);
        spawn_mutant(&host, quorums.clone(), views, below, world.application(q))
    };
    let violations = (0..20).filter_map(|seed| {
        let adversary = Timed::uniform(UNIT / 2, UNIT * 5);
        let (report, _) = run_as(3, seed, adversary, 1, &[], broken);
        report.violation().map(|v| v.tag.clone())
    });
    let violations: Vec<_> = violations.collect();
    assert!(violations.iter().all(|tag| tag == "UC2"), "{violations:?}");
    assert!(violations.len() > 5, "{violations:?}");
}

#[test]
fn ten_thousand_instances_leave_what_is_said_to_stand() {
    let mut algorithm = context::Alone::new(
        1,
        Quorums {
            reads: Family::AtLeast(1),
            writes: Family::AtLeast(1),
        },
    );
    algorithm.enter(1);
    for instance in 1..=10_000 {
        algorithm.propose(instance);
    }
    let inner = &algorithm.algorithm;
    assert!(inner.instances.is_empty());
    assert_eq!(inner.instances.retired().gaps(), 0);
    assert_eq!(inner.retained.len(), DECISIONS);
    assert_eq!(algorithm.retained.len(), 1 + DECISIONS);
    assert_eq!(algorithm.decided, 10_000);
}

#[test]
fn messages_are_decoded_to_what_was_encoded_and_nothing_else_is() {
    let accepted = |instance, view, value: &'static str| Acceptance {
        instance,
        view,
        value: Bytes::from_static(value.as_bytes()),
    };
    let state = [
        &[0, 251, 44, 1, 7, 2, 9, 12, 14, 14][..],
        &[2, 8, 3, 13, 251, 43, 1],
        b"\x01x\0",
    ];
    let last = [&[2, 253][..], &[255; 8], &[253], &[255; 8]];
    let messages = [
        Message::State {
            view: 300,
            decided: 7,
            decided_above: vec![(9, 12), (14, 14)],
            accepted: Acceptances(vec![accepted(8, 3, "x"), accepted(13, 299, "")]),
        },
        Message::Proposal {
            proposal: accepted(1, 2, "proposal"),
        },
        Message::Accepted {
            acceptance: accepted(u64::MAX, u64::MAX, ""),
        },
        Message::Decided {
            instance: 5,
            value: Bytes::from_static(b"decided"),
        },
    ];
    let all = [
        state.concat(),
        b"\x01\x01\x02proposal".to_vec(),
        last.concat(),
        b"\x03\x05decided".to_vec(),
    ];
    for (message, expected) in messages.into_iter().zip(all) {
        let bytes = message.clone().into_bytes();
        assert_eq!(bytes, expected, "{message:?}");
        assert_eq!(Message::decode(bytes.clone()), Ok(message));
        for length in 0..bytes.len() {
            // The value is the rest of the message, so that any part of it decodes, too.
            let _ = Message::decode(bytes.slice(..length));
        }
    }
    assert!(Message::decode(Bytes::from_static(&[9, 9])).is_err());
    assert!(Message::decode(Bytes::new()).is_err());
}

#[test]
fn what_nobody_sends_is_survived() {
    let mut alone = context::Alone::new(
        3,
        Quorums {
            reads: Family::AtLeast(2),
            writes: Family::AtLeast(2),
        },
    );
    alone.enter(1);
    let value = Bytes::from_static(b"v");
    for (instance, view) in [(0, 1), (1, 0), (1, u64::MAX), (u64::MAX, 1)] {
        let acceptance = Acceptance {
            instance,
            view,
            value: value.clone(),
        };
        for from in [p(1), p(2), p(3)] {
            let proposal = acceptance.clone();
            alone.deliver(from, Message::Proposal { proposal });
            let acceptance = acceptance.clone();
            let accepted = Acceptances(vec![acceptance.clone()]);
            alone.deliver(from, Message::Accepted { acceptance });
            alone.deliver(
                from,
                Message::State {
                    view,
                    decided: 3,
                    decided_above: vec![(5, 4), (u64::MAX, 1), (1, u64::MAX)],
                    accepted,
                },
            );
        }
    }
    assert_eq!(watermark(3, vec![(5, 6), (1, u64::MAX)]).high(), 6);
    assert_eq!(watermark(3, vec![(5, u64::MAX)]).high(), 3);
}

/// The algorithm at p1, by itself: what it posts to all or to itself is delivered to it. A proposal of a view
/// that nobody reaches would keep those of all earlier views from being accepted.
#[test]
fn what_is_of_a_view_that_nobody_reaches_is_dropped() {
    let quorums = Quorums::majorities(&Membership::of_size(3).unwrap());
    let mut p1 = context::Alone::new(3, quorums);
    let acceptance = |view| Acceptance {
        instance: 1,
        view,
        value: Bytes::from_static(b"value"),
    };
    for view in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
        for rank in 1..=3 {
            let proposal = acceptance(view);
            p1.deliver(p(rank), Message::Proposal { proposal });
            let acceptance = acceptance(view);
            let accepted = Acceptances(vec![acceptance.clone()]);
            p1.deliver(p(rank), Message::Accepted { acceptance });
            let (decided, decided_above) = (0, Vec::new());
            p1.deliver(
                p(rank),
                Message::State {
                    view: 1,
                    decided,
                    decided_above,
                    accepted,
                },
            );
        }
    }
    assert_eq!(p1.counters.total("view out of range"), 3 * 3 * 3);
    assert_eq!((p1.decided, p1.posted.len()), (0, 0));
    p1.enter(2);
    let proposal = acceptance(2);
    p1.deliver(p(2), Message::Proposal { proposal });
    let accepted = |message: &Message| matches!(message, Message::Accepted { acceptance } if acceptance.view == 2);
    assert!(p1.posted.iter().any(accepted));
}

mod context {
    use super::*;
    use quorate_core::{Context, Counters};
    use std::collections::BTreeSet;

    pub(super) struct Alone {
        pub(super) algorithm: ByQuorums,
        ctx: Ctx<ByQuorums>,
        /// The slots in which a message is retained.
        pub(super) retained: BTreeSet<Slot>,
        pub(super) decided: u64,
        pub(super) posted: Vec<Message>,
        pub(super) counters: Counters,
    }

    impl Alone {
        pub(super) fn new(n: usize, quorums: Quorums) -> Self {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let counters = Counters::default();
            Alone {
                algorithm: ByQuorums::new(&world.host(p(1)), quorums),
                ctx: Context::new("consensus".into(), 1, counters.clone()),
                counters,
                retained: BTreeSet::new(),
                decided: 0,
                posted: Vec::new(),
            }
        }

        pub(super) fn enter(&mut self, view: u64) {
            self.upon(Event::Enter(Enter { view }));
        }

        pub(super) fn propose(&mut self, instance: u64) {
            let value = Bytes::from_static(b"value");
            self.upon(Event::Propose(Propose { instance, value }));
        }

        pub(super) fn deliver(&mut self, from: ProcessId, message: Message) {
            self.upon(Event::Flooding(Deliver { from, message }));
        }

        fn upon(&mut self, event: Event) {
            self.algorithm.upon(event, &mut self.ctx);
            let mut effects = Vec::new();
            self.ctx.take_effects(&mut effects);
            for effect in effects {
                match effect {
                    Effect::Flooding(flooding::Request::Post { slot, message, .. }) => {
                        self.retained.insert(slot);
                        self.posted.push(message.clone());
                        self.deliver(p(1), message);
                    }
                    Effect::Flooding(flooding::Request::Withdraw { slot }) => {
                        self.retained.remove(&slot);
                    }
                    Effect::CatchUp(_) => {}
                    Effect::Decide(_) => self.decided += 1,
                }
            }
        }
    }
}
