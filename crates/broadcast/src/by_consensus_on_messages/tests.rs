mod costs;
mod errata;
mod exhaustive;
mod passive;
mod published;

use super::*;
use crate::{
    best_effort,
    by_consensus::tests::rotating_over,
    eager, lazy,
    testing::{all_but_one, at, minority, p, request_some, turbulent_world},
};
use published::{Flaw, Published};
use quorate_abstractions::{Subscribe, consensus, eventually_perfect, link::Links};
use quorate_consensus::hierarchical;
use quorate_core::{Addr, Context, Counters, Host, Incarnation, Layer, ProcessId, Time};
use quorate_sim::{
    Crash, Lose, Oracle, Report, Timed, UNIT, Verdict, World,
    properties::{self, Properties},
};
use std::time::Duration;

/// The time after which the oracles report a crash.
const DETECTION: Duration = Duration::from_millis(3);

fn request(text: &str) -> Broadcast {
    Broadcast {
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// The layers below total order at one process, connected to the mailbox of the algorithm above them.
struct Connected {
    reliable: Addr<reliable::Broadcast>,
    consensus: Addr<Propose>,
}

/// Starts the algorithm, or a mutant with a flaw, over the layers that `below` connects to it.
fn start<H: Host>(
    host: &H,
    (flaw, settings): (Option<Flaw>, ProposalSettings),
    below: impl FnOnce(Addr<reliable::Deliver>, Addr<Decide>) -> Connected,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let Connected {
        reliable,
        consensus,
    } = below(
        mailbox.addr().with(Event::Reliable),
        mailbox.addr().with(Event::Decide),
    );
    let route = move |effect| match effect {
        Effect::Reliable(request) => reliable.send(request),
        Effect::Propose(request) => consensus.send(request),
        Effect::Deliver(indication) => up.send(indication),
    };
    match flaw {
        None => host.start(mailbox, ByConsensusOnMessages::new(settings), route),
        Some(flaw) => host.start(mailbox, Published::new(flaw), route),
    }
    requests
}

fn eager_at<H: Host>(
    host: &H,
    links: &impl Links,
    up: Addr<reliable::Deliver>,
) -> Addr<reliable::Broadcast> {
    let (host, links) = (host.at("reliable"), links.at("reliable"));
    eager::spawn(&host, best_effort::over(links.lane()), up)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reliable {
    Eager,
    Lazy,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Consensus {
    Rotating,
    Hierarchical,
}

/// The algorithm at every process of `world`, over this broadcast and this consensus.
fn wire(
    world: &World,
    oracle: &Oracle,
    layers: (Reliable, Consensus),
    settings: ProposalSettings,
) -> Vec<Addr<Broadcast>> {
    wire_with(world, (oracle, DETECTION), layers, settings)
}

/// The algorithm at every process of `world`, over this broadcast and this consensus, with ◇P as the oracle
/// says and a P that reports a crash after this delay.
fn wire_with(
    world: &World,
    (oracle, delay): (&Oracle, Duration),
    (reliable, consensus): (Reliable, Consensus),
    settings: ProposalSettings,
) -> Vec<Addr<Broadcast>> {
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("tob"), world.links(q));
        let detector = world.eventually_perfect(q, oracle);
        let reliable = |up: Addr<reliable::Deliver>| match reliable {
            Reliable::Eager => eager_at(&host, &links, up),
            Reliable::Lazy => {
                let (host, lane) = (host.at("reliable"), links.at("reliable").lane());
                lazy::spawn(&host, lane, &links.status(), &detector, up)
            }
        };
        let consensus = |up: Addr<Decide>| {
            let (host, links) = (host.at("consensus"), links.at("consensus"));
            match consensus {
                Consensus::Rotating => rotating_at(&host, &links, &detector, up),
                Consensus::Hierarchical => {
                    let perfect = world.perfect(q, delay);
                    hierarchical::spawn(&host, links.lane(), &links.status(), &perfect, up)
                }
            }
        };
        let up = world.application(q);
        spawn(&host, settings, reliable, consensus, up)
    };
    world.processes().map(spawn_at).collect()
}

fn rotating_at<H: Host>(
    host: &H,
    links: &impl Links,
    detector: &Subscribe<eventually_perfect::Indication>,
    up: Addr<Decide>,
) -> Addr<Propose> {
    consensus::as_regular(|up| rotating_over(host, links, detector, up)).attach(up)
}

/// Everybody broadcasts a few messages, as many crash as consensus allows, and, if consensus allows it,
/// everybody suspects anybody for a while. Every second seed takes steps in any order.
fn storm(
    seed: u64,
    layers: (Reliable, Consensus),
    properties: impl Fn(&World) -> Properties,
) -> Report {
    let crashes = match layers.1 {
        Consensus::Rotating => minority,
        Consensus::Hierarchical => all_but_one,
    };
    let mut world = turbulent_world(seed, crashes);
    world.check(properties(&world));
    let processes = *world.membership();
    let oracle = Oracle::accurate(DETECTION).erratic(&processes, seed, processes.n(), at(6));
    let proposal_bytes = if seed % 8 < 4 { 1 } else { 1 << 16 };
    let ports = wire(&world, &oracle, layers, ProposalSettings { proposal_bytes });
    request_some(&world, &ports, |payload| Broadcast { payload });
    world.run()
}

fn regular(world: &World) -> Properties {
    let mut all = properties::regular_total_order(world.membership(), "tob");
    all.push(properties::first_in_first_out_order("tob"));
    all
}

/// The property of this tag certainly holds, in storms of every size.
fn holds_in_storms(tag: &str) {
    for seed in 0..200 {
        for reliable in [Reliable::Eager, Reliable::Lazy] {
            for consensus in [Consensus::Rotating, Consensus::Hierarchical] {
                let layers = (reliable, consensus);
                let report = storm(seed, layers, |world| {
                    let mut all = regular(world);
                    all.retain(|property| property.tag() == tag);
                    all
                });
                let holds = report.verdict(tag) == Some(&Verdict::Holds);
                assert!(holds, "{layers:?}, {report}");
            }
        }
    }
}

#[test]
fn tob1_validity_a_correct_process_is_delivered_by_every_correct_process() {
    holds_in_storms("TOB1");
}

#[test]
fn tob2_no_duplication() {
    holds_in_storms("TOB2");
}

#[test]
fn tob3_no_creation() {
    holds_in_storms("TOB3");
}

#[test]
fn tob4_agreement_of_correct_processes() {
    holds_in_storms("TOB4");
}

#[test]
fn tob5_total_order_of_correct_processes() {
    holds_in_storms("TOB5");
}

#[test]
fn frb5_first_in_first_out_order() {
    holds_in_storms("FRB5");
}

#[test]
fn over_the_rotating_coordinator_agreement_and_order_happen_to_be_uniform() {
    for seed in 0..300 {
        let layers = (Reliable::Eager, Consensus::Rotating);
        let uniform = |world: &World| properties::total_order(world.membership(), "tob");
        storm(seed, layers, uniform).assert_all_hold();
    }
}

/// One process of three, p1, driven by hand.
struct Alone {
    algorithm: ByConsensusOnMessages,
    ctx: Ctx<ByConsensusOnMessages>,
    counters: Counters,
}

impl Alone {
    fn new(proposal_bytes: usize) -> Self {
        let counters = Counters::default();
        Alone {
            algorithm: ByConsensusOnMessages::new(ProposalSettings { proposal_bytes }),
            ctx: Context::new("tob".into(), 1, counters.clone()),
            counters,
        }
    }

    /// The effects of one event.
    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.algorithm.upon(event, &mut self.ctx);
        self.algorithm.upon_idle(&mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn receives(&mut self, id: MessageId, length: usize) -> Vec<Effect> {
        let payload = Bytes::from(vec![7; length]);
        self.upon(Event::Reliable(reliable::Deliver { id, payload }))
    }

    fn decides(&mut self, instance: u64, ids: &[MessageId]) -> Vec<Effect> {
        let value = batch_of(ids);
        self.upon(Event::Decide(Decide { instance, value }))
    }
}

fn id(origin: usize, sequence: u64) -> MessageId {
    let origin = Origin {
        process: p(origin),
        incarnation: Incarnation(origin as u64),
    };
    MessageId { origin, sequence }
}

fn batch_of(ids: &[MessageId]) -> Bytes {
    let mut batch = BytesMut::new();
    for id in ids {
        put_message(*id, &Bytes::from_static(b"m"), &mut batch);
    }
    batch.freeze()
}

/// The messages that the effects propose, if they propose any.
fn proposed(effects: &[Effect]) -> Option<Vec<MessageId>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Propose(Propose { value, .. }) => {
            Some(take_messages(value.clone()).unwrap().into_keys().collect())
        }
        Effect::Reliable(_) | Effect::Deliver(_) => None,
    })
}

fn delivered(effects: &[Effect]) -> Vec<MessageId> {
    let delivered = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(Deliver { id, .. }) => Some(*id),
        Effect::Reliable(_) | Effect::Propose(_) => None,
    });
    delivered.collect()
}

#[test]
fn only_what_continues_an_origins_order_is_proposed() {
    let mut p1 = Alone::new(1 << 16);
    assert_eq!(
        proposed(&p1.receives(id(2, 2), 1)),
        None,
        "its first is not here"
    );
    assert_eq!(
        proposed(&p1.receives(id(3, 1), 1)),
        Some(vec![id(3, 1)]),
        "another origin does not wait for it"
    );
    p1.receives(id(2, 1), 1);
    let effects = p1.decides(1, &[id(3, 1)]);
    assert_eq!(proposed(&effects), Some(vec![id(2, 1), id(2, 2)]));
}

#[test]
fn a_proposal_is_limited_and_a_large_message_travels_alone() {
    let mut p1 = Alone::new(100);
    p1.receives(id(1, 1), 1);
    for (sequence, length) in [(1, 5000), (2, 20), (3, 20), (4, 90)] {
        p1.receives(id(2, sequence), length);
    }
    let next = |p1: &mut Alone, instance, decided: &[MessageId]| {
        proposed(&p1.decides(instance, decided)).unwrap_or_default()
    };
    assert_eq!(next(&mut p1, 1, &[id(1, 1)]), [id(2, 1)]);
    assert_eq!(next(&mut p1, 2, &[id(2, 1)]), [id(2, 2), id(2, 3)]);
    assert_eq!(next(&mut p1, 3, &[id(2, 2), id(2, 3)]), [id(2, 4)]);
}

#[test]
fn a_proposal_may_be_as_long_as_its_limit() {
    let both = [id(2, 1), id(2, 2)];
    let length = batch_of(&both).len();
    for (limit, expected) in [(length, &both[..]), (length - 1, &both[..1])] {
        let mut p1 = Alone::new(limit);
        p1.receives(id(1, 1), 1);
        for id in both {
            p1.receives(id, 1);
        }
        let effects = p1.decides(1, &[id(1, 1)]);
        assert_eq!(proposed(&effects).as_deref(), Some(expected));
    }
}

#[test]
fn the_limit_starves_no_origin() {
    let mut p1 = Alone::new(1);
    for origin in 1..=3 {
        for sequence in 1..=4 {
            p1.receives(id(origin, sequence), 1);
        }
    }
    let mut next = vec![id(1, 1)];
    let mut origins = Vec::new();
    for instance in 1..=9 {
        origins.extend(next.iter().map(|id| id.origin.process.rank()));
        next = proposed(&p1.decides(instance, &next)).unwrap_or_default();
    }
    let all = |three: &[usize]| (1..=3).all(|origin| three.contains(&origin));
    assert!(origins[1..].windows(3).all(all), "{origins:?}");
}

#[test]
fn a_message_that_comes_after_its_decision_is_not_proposed_again() {
    let mut p1 = Alone::new(100);
    assert_eq!(delivered(&p1.decides(1, &[id(2, 1)])), [id(2, 1)]);
    assert!(p1.receives(id(2, 1), 1).is_empty());
    assert!(p1.algorithm.streams[&id(2, 1).origin].held.is_empty());
}

#[test]
fn what_cannot_be_is_counted_and_changes_nothing_else() {
    let mut p1 = Alone::new(100);
    p1.receives(id(2, MESSAGES_AHEAD + 1), 1);
    assert_eq!(p1.counters.total("message too far ahead"), 1);
    let garbage = |instance| {
        let value = Bytes::from_static(&[200, 1, 2]);
        Event::Decide(Decide { instance, value })
    };
    assert!(p1.upon(garbage(DECISIONS_AHEAD + 1)).is_empty());
    assert_eq!(p1.counters.total("decision too far ahead"), 1);
    assert!(p1.upon(garbage(1)).is_empty());
    assert_eq!(p1.counters.total("undecodable decision"), 1);
    assert!(p1.upon(garbage(1)).is_empty());
    assert_eq!(p1.counters.total("repeated decision"), 1);
    assert!(delivered(&p1.decides(2, &[id(2, 2)])).is_empty(), "a gap");
    assert_eq!(delivered(&p1.decides(3, &[id(2, 1), id(2, 2)])).len(), 2);
    assert!(delivered(&p1.decides(4, &[id(2, 1)])).is_empty(), "again");
    assert_eq!(p1.counters.total("decided message out of turn"), 2);
    assert_eq!(p1.algorithm.applied, 4, "the order goes on");
}

#[test]
fn what_lies_just_within_the_limits_is_kept() {
    let mut p1 = Alone::new(100);
    p1.decides(1, &[id(2, 1)]);
    p1.receives(id(2, 1 + MESSAGES_AHEAD), 1);
    assert_eq!(p1.algorithm.streams[&id(2, 1).origin].held.len(), 1);
    p1.decides(1 + DECISIONS_AHEAD, &[]);
    assert_eq!(p1.algorithm.decisions.len(), 1);
    p1.receives(id(2, 2 + MESSAGES_AHEAD), 1);
    p1.decides(2 + DECISIONS_AHEAD, &[]);
    assert_eq!(p1.counters.total("message too far ahead"), 1);
    assert_eq!(p1.counters.total("decision too far ahead"), 1);
}

#[test]
fn memory_does_not_follow_the_length_of_the_run() {
    let mut p1 = Alone::new(1 << 16);
    for instance in 1..=100_000 {
        p1.receives(id(2, instance), 1);
        p1.decides(instance, &[id(2, instance)]);
    }
    let ByConsensusOnMessages {
        streams, decisions, ..
    } = &p1.algorithm;
    assert!(decisions.is_empty());
    assert_eq!(streams.len(), 1);
    assert!(streams.values().all(|stream| stream.held.is_empty()));
}
