use super::*;
use crate::{
    hierarchical, rotating,
    testing::{each_steps, p, payload, step},
};
use quorate_abstractions::{
    Subscribe, eventually_perfect, link::Links, perfect, regular_consensus, reliable, uniform,
};
use quorate_broadcast::{best_effort, by_consensus, eager, majority_ack};
use quorate_core::{
    Context, Counters, Incarnation, ProcessId,
    message::{Origin, fold},
};
use quorate_sim::{
    Crash, Lose, Oracle, Random, Report, Timed, UNIT, Verdict, World,
    properties::{self, Properties},
    testing::losing,
};
use std::time::Duration;

/// Total order by this consensus, below `host`.
fn over<H: Host>(
    host: &H,
    links: &impl Links,
    consensus: impl Layer<(Propose, Decide)>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let uniform = |up: Addr<uniform::Deliver>| {
        majority_ack::spawn(
            &host.at("uniform"),
            links.at("uniform").lane(),
            &links.status(),
            up,
        )
    };
    let settings = by_consensus::OrderSettings::default();
    by_consensus::spawn(host, settings, uniform, consensus, up)
}

/// Uniform total order by consensus, below `host`.
fn total_order_at<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let (host, links) = (host.at("tob"), links.at("tob"));
    let rotating = |up: Addr<Decide>| {
        let (host, links) = (host.at("rotating"), links.at("rotating"));
        let reliable = |up: Addr<reliable::Deliver>| {
            let lane = links.at("reliable").lane();
            eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
        };
        rotating::spawn(&host, links.lane(), &links.status(), reliable, detector, up)
    };
    over(&host, &links, rotating, up)
}

/// Total order that is not uniform, below `host`: a regular consensus poses as a uniform one.
fn regular_total_order_at<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let (host, links) = (host.at("tob"), links.at("tob"));
    let regular = |up: Addr<Decide>| {
        let (host, links) = (host.at("hierarchical"), links.at("hierarchical"));
        let (lane, status) = (links.lane(), links.status());
        let decided = |regular_consensus::Decide { instance, value }| Decide { instance, value };
        hierarchical::spawn(&host, lane, &status, detector, up.with(decided))
            .with(|Propose { instance, value }| regular_consensus::Propose { instance, value })
    };
    over(&host, &links, regular, up)
}

/// The algorithm at every process of `world`, over the whole stack of total order by consensus.
fn wire(world: &World, oracle: &Oracle) -> Vec<Addr<Propose>> {
    let spawn_at = |q: ProcessId| {
        let (host, links) = (world.host(q).at("consensus"), world.links(q));
        let detector = world.eventually_perfect(q, oracle);
        let total_order = |up: Addr<Deliver>| total_order_at(&host, &links, &detector, up);
        spawn(&host, total_order, world.application(q))
    };
    world.processes().map(spawn_at).collect()
}

/// Everybody proposes in three instances, in any order, and some twice; a minority crashes, and there
/// are false suspicions for a while. Every second seed takes steps in any order.
fn storm(seed: u64, properties: impl Fn(&World) -> Properties) -> Report {
    let n = 2 + seed % 4;
    let draw = |what: u64, below: u64| fold(fold(seed, what), 7) % below;
    let mut world = if seed.is_multiple_of(2) {
        let latency = Timed::uniform(Duration::from_micros(50), Duration::from_millis(2));
        World::new(n as usize, seed, latency).unwrap()
    } else {
        World::new(n as usize, seed, Random::new()).unwrap()
    };
    world.check(properties(&world));
    let processes = *world.membership();
    let oracle = Oracle::accurate(UNIT * 3).erratic(&processes, seed, n as usize, step(6));
    for (q, port) in world.processes().zip(wire(&world, &oracle)) {
        for instance in 1..=3 {
            let draw = |what, below| draw(fold(q.rank() as u64, 10 * instance + what), below);
            for again in 0..=draw(1, 2) {
                let value = Bytes::from(vec![draw(2 + again, 3) as u8]);
                let time = step(draw(4 + again, 8) as u32);
                world.request(q, time, &port, Propose { instance, value });
            }
        }
    }
    for victim in 0..draw(1, (n - 1) / 2 + 1) {
        let draw = |what, below| draw(100 * (victim + 1) + what, below);
        let crash = match draw(1, 3) {
            0 => Crash::at(step(draw(2, 12) as u32)),
            1 => Crash::before_output(1 + draw(2, 20 * n)),
            _ => Crash::before_effect(1 + draw(2, 60 * n)),
        };
        let lose = losing(draw(3, 3));
        world.crash(p(1 + draw(4, n) as usize), crash.losing(lose));
    }
    world.run()
}

/// The property of this tag certainly holds in every storm.
fn holds_in_storms(tag: &str) {
    for seed in 0..300 {
        let report = storm(seed, |world| {
            let mut all = properties::consensus(world.membership(), "consensus");
            all.retain(|property| property.tag() == tag);
            all
        });
        assert_eq!(report.verdict(tag), Some(&Verdict::Holds), "{report}");
    }
}

#[test]
fn uc1_validity() {
    holds_in_storms("UC1");
}

#[test]
fn uc2_uniform_agreement() {
    holds_in_storms("UC2");
}

#[test]
fn uc3_integrity() {
    holds_in_storms("UC3");
}

#[test]
fn uc4_termination() {
    holds_in_storms("UC4");
}

#[test]
fn uc4_termination_if_one_correct_process_proposes() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    let ports = wire(&world, &Oracle::accurate(UNIT * 3));
    let (instance, value) = (1, payload(p(2)));
    world.request(p(2), step(0), &ports[1], Propose { instance, value });
    world.run().assert_all_hold();
    assert!(each_steps(&world).iter().all(Option::is_some));
}

/// Three processes propose at once, over one total order or the other. The processes order different messages
/// first; p1 decides at step 1, and then crashes and loses all its copies.
fn crash_after_the_first_decision(is_uniform: bool) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let (host, links) = (world.host(q).at("consensus"), world.links(q));
        let eventually = world.eventually_perfect(q, &Oracle::accurate(UNIT * 3));
        let perfect = world.perfect(q, UNIT * 3);
        let total_order = |up: Addr<Deliver>| {
            if is_uniform {
                total_order_at(&host, &links, &eventually, up)
            } else {
                regular_total_order_at(&host, &links, &perfect, up)
            }
        };
        let port = spawn(&host, total_order, world.application(q));
        let (instance, value) = (1, payload(q));
        world.request(q, step(0), &port, Propose { instance, value });
    }
    let crash = Crash::at(step(1) + UNIT / 2);
    world.crash(p(1), crash.losing(Lose::Everything));
    world.run()
}

#[test]
fn uc2_is_broken_over_a_total_order_that_is_not_uniform() {
    let broken = crash_after_the_first_decision(false);
    let verdict = broken.verdict("UC2");
    assert!(matches!(verdict, Some(Verdict::Violated(_))), "{broken}");
    crash_after_the_first_decision(true).assert_all_hold();
}

#[test]
fn a_proposal_costs_what_one_broadcast_of_the_total_order_below_does() {
    for n in 2..=8 {
        let oracle = Oracle::accurate(UNIT * 3);
        let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
        let ports = wire(&world, &oracle);
        let (instance, value) = (1, payload(p(1)));
        world.request(p(1), step(0), &ports[0], Propose { instance, value });
        let proposal = world.run().counts.messages;

        let mut below = World::new(n, 5, Timed::lock_step()).unwrap();
        let ports: Vec<Addr<Broadcast>> = below
            .processes()
            .map(|q| {
                let (host, links) = (below.host(q), below.links(q));
                let detector = below.eventually_perfect(q, &oracle);
                total_order_at(&host, &links, &detector, below.application(q))
            })
            .collect();
        let payload = Bytes::from_static(b"m");
        below.request(p(1), step(0), &ports[0], Broadcast { payload });
        let broadcast = below.run().counts.messages;

        assert_eq!(proposal, broadcast, "n = {n}");
        let size = n as u64;
        assert_eq!(proposal, (2 * size + 3) * (size - 1), "n = {n}");
        let delivered = |q| below.tally(q, "tob", "Deliver").map(|tally| tally.first);
        let decided = |q| {
            world
                .tally(q, "consensus", "Decide")
                .map(|tally| tally.first)
        };
        for q in world.processes() {
            assert!(decided(q).is_some(), "n = {n}");
            assert_eq!(decided(q), delivered(q), "n = {n}");
        }
    }
}

/// One process, driven by hand.
struct Alone {
    algorithm: ByTotalOrder,
    ctx: Ctx<ByTotalOrder>,
    counters: Counters,
    given: Option<View>,
}

impl Alone {
    fn new() -> Self {
        let counters = Counters::default();
        Alone {
            algorithm: ByTotalOrder::default(),
            ctx: Context::new("consensus".into(), 1, counters.clone()),
            counters,
            given: None,
        }
    }

    /// Its state, in chunks.
    fn gives(&mut self) -> Vec<Bytes> {
        self.upon(Event::Order(Indication::StateWanted { transfer: 1 }));
        let mut view = self.given.take().unwrap();
        std::iter::from_fn(move || view.next_chunk()).collect()
    }

    fn takes(&mut self, restore: Restore) -> Vec<(u64, Bytes)> {
        let (_, decisions) = self.upon(Event::Order(Indication::Restore(restore)));
        let decided = decisions.into_iter();
        decided.map(|d| (d.instance, d.value)).collect()
    }

    /// The effects of one event: the number of broadcasts, and the decisions.
    fn upon(&mut self, event: Event) -> (usize, Vec<Decide>) {
        self.algorithm.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        let (mut broadcasts, mut decisions) = (0, Vec::new());
        for effect in effects {
            match effect {
                Effect::Order(Request::Broadcast(_)) => broadcasts += 1,
                Effect::Decide(decision) => decisions.push(decision),
                Effect::Order(Request::State { view, .. }) => self.given = Some(view),
            }
        }
        (broadcasts, decisions)
    }

    fn proposes(&mut self, instance: u64) -> usize {
        let value = payload(p(1));
        self.upon(Event::Propose(Propose { instance, value })).0
    }

    fn delivers(&mut self, payloads: Vec<Bytes>) -> Vec<(u64, Bytes)> {
        let origin = Origin {
            process: p(2),
            incarnation: Incarnation(2),
        };
        let first = 1;
        let deliver = Deliver {
            origin,
            first,
            payloads,
        };
        let (_, decisions) = self.upon(Event::Order(Indication::Deliver(deliver)));
        decisions
            .into_iter()
            .map(|d| (d.instance, d.value))
            .collect()
    }
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn the_first_proposal_of_an_instance_decides_it() {
    let mut p1 = Alone::new();
    let proposals = vec![
        proposal(2, &value("a")),
        proposal(1, &value("b")),
        proposal(2, &value("c")),
    ];
    let decided = [(2, value("a")), (1, value("b"))];
    assert_eq!(p1.delivers(proposals), decided);
    assert!(p1.delivers(vec![proposal(1, &value("d"))]).is_empty());
}

#[test]
fn a_process_proposes_once_an_instance_and_not_in_a_decided_one() {
    let mut p1 = Alone::new();
    assert_eq!(p1.proposes(1), 1);
    assert_eq!(p1.proposes(1), 0);
    p1.delivers(vec![proposal(2, &value("a"))]);
    assert_eq!(p1.proposes(2), 0);
    assert_eq!(p1.proposes(0), 0, "instances are counted from 1");
}

#[test]
fn what_cannot_be_is_counted_and_dropped() {
    let mut p1 = Alone::new();
    let endless = Bytes::from(vec![0xff; 20]);
    assert!(p1.delivers(vec![Bytes::new(), endless]).is_empty());
    assert_eq!(p1.counters.total("undecodable proposal"), 2);
    let far = [u64::MAX, INSTANCES_AHEAD + 1].map(|number| proposal(number, &value("a")));
    assert!(p1.delivers(far.into()).is_empty());
    assert_eq!(p1.proposes(u64::MAX), 0);
    assert_eq!(p1.counters.total("instance too far ahead"), 3);
    assert!(p1.algorithm.decisions.is_idle());
}

#[test]
fn memory_does_not_follow_the_length_of_the_run() {
    let mut p1 = Alone::new();
    for instance in 1..=100_000 {
        p1.proposes(instance);
        p1.delivers(vec![proposal(instance, &value("a"))]);
    }
    assert!(p1.algorithm.decisions.is_idle());
}

#[test]
fn who_has_skipped_proposals_decides_what_the_others_did() {
    let (mut p1, mut p3) = (Alone::new(), Alone::new());
    p1.delivers(vec![proposal(1, &value("a"))]);
    p3.delivers(vec![proposal(1, &value("a"))]);
    assert_eq!(p3.proposes(2), 1);
    assert_eq!(p3.proposes(4), 1);
    p1.delivers(vec![proposal(2, &value("b")), proposal(3, &value("c"))]);
    let state = p1.gives();
    assert!(p3.takes(Restore::Begin).is_empty());
    assert!(
        p3.takes(Restore::Chunk(Bytes::from_static(b"void")))
            .is_empty()
    );
    assert!(p3.takes(Restore::Abandoned).is_empty());
    assert!(p3.takes(Restore::Begin).is_empty());
    for chunk in state {
        assert!(p3.takes(Restore::Chunk(chunk)).is_empty());
    }
    let news = [(2, value("b")), (3, value("c"))];
    assert_eq!(p3.takes(Restore::Whole), news);
    let later = vec![proposal(2, &value("z")), proposal(4, &value("d"))];
    assert_eq!(
        p3.delivers(later),
        [(4, value("d"))],
        "its own is the first"
    );
}

#[test]
fn who_has_skipped_proposals_and_has_no_state_decides_nothing() {
    let mut p3 = Alone::new();
    p3.delivers(vec![proposal(1, &value("a"))]);
    p3.delivers(Vec::new());
    assert!(p3.delivers(vec![proposal(2, &value("z"))]).is_empty());
    assert_eq!(p3.counters.total("proposal behind one that was skipped"), 1);
}

#[test]
fn behind_what_is_no_state_nothing_is_decided() {
    let mut p3 = Alone::new();
    p3.takes(Restore::Begin);
    p3.takes(Restore::Chunk(Bytes::from_static(&[1])));
    assert!(p3.takes(Restore::Whole).is_empty());
    assert!(p3.delivers(vec![proposal(2, &value("z"))]).is_empty());
    assert_eq!(p3.counters.total("undecodable state"), 1);
}
