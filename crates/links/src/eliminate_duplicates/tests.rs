mod errata;

use super::*;
use crate::stubborn::Pauses;
use quorate_core::{Context, Counters, Name, Random as Generator, Time};
use quorate_sim::testing::p;
use quorate_sim::{
    Adversary, Crash as Dies, Random, Report, SimHost, Timed, UNIT, World,
    properties::{Channel, perfect_links},
};
use rand::{RngExt, SeedableRng};
use std::{collections::BTreeMap, time::Duration};

const MODULE: &str = "eliminate-duplicates";

const fn ms(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// Runs this algorithm at every process, over a stubborn link over fair-loss links.
fn wire_as<A, S>(
    world: &World,
    algorithm: impl Fn(&SimHost) -> A,
    below: impl Fn(&SimHost) -> S,
    detection: Option<Duration>,
) -> Vec<Addr<SendRequest<Bytes>>>
where
    A: Algorithm<Event = Event, Effect = Effect>,
    S: Algorithm<Event = stubborn::Event, Effect = stubborn::Effect>,
{
    world.check(perfect_links(&Channel::Module(MODULE.to_owned())));
    let spawn_at = |q| {
        let host = world.host(q);
        let stubborn = |up| {
            let edge = |up| world.fair_loss(q, up);
            stubborn::spawn_as(&host.at("stubborn"), below(&host), edge, up)
        };
        let detector = detection.map(|delay| world.perfect(q, delay));
        let up = world.application::<()>(q).with(|_: Deliver<Bytes>| ());
        let host = host.at(MODULE);
        spawn_as(&host, algorithm(&host), stubborn, detector.as_ref(), up)
    };
    world.processes().map(spawn_at).collect()
}

fn link(host: &SimHost) -> EliminateDuplicates {
    EliminateDuplicates::new(host.me(), *host.processes())
}

fn below(host: &SimHost) -> stubborn::Stubborn {
    stubborn::Stubborn::new(host.me(), Pauses::default())
}

fn wire(world: &World, detection: Option<Duration>) -> Vec<Addr<SendRequest<Bytes>>> {
    wire_as(world, link, below, detection)
}

fn send(to: To, message: &'static [u8]) -> SendRequest<Bytes> {
    let message = Bytes::from_static(message);
    SendRequest { to, message }
}

/// Three processes that send each other messages, of which many are equal.
fn busy(seed: u64, adversary: impl Adversary + 'static) -> World {
    let world = World::new(3, seed, adversary).unwrap();
    // A copy gets through at least every 17 times, and no pause is longer than 2.5 s.
    let world = world
        .maximum_time(ms(3_600_000))
        .settle(Duration::from_mins(1));
    let ports = wire(&world, None);
    for me in world.processes() {
        for number in 0..30 {
            let message = Bytes::from(format!("{}", number % 7));
            let to = match number % 4 {
                0 => To::All,
                rank => To::One(p(rank)),
            };
            let at = ms(number as u64 * 7 % 100);
            world.request(me, at, &ports[me.index()], SendRequest { to, message });
        }
    }
    world
}

fn timed(loss: f64, duplication: f64) -> Timed {
    Timed::uniform(Duration::from_micros(100), Duration::from_millis(20))
        .loss(loss)
        .duplication(duplication)
}

fn holds(report: &Report) {
    report.assert_all_hold();
}

#[test]
fn pl1_to_pl3_under_loss_duplication_and_reordering() {
    for seed in 0..100 {
        holds(&busy(seed, timed(0.3, 0.2)).run());
    }
}

#[test]
fn pl1_to_pl3_under_an_adversary_that_takes_any_enabled_step() {
    for seed in 0..30 {
        let report = busy(seed, Random::new().loss(0.1).duplication(0.1)).run();
        assert_eq!(report.violation(), None, "seed {seed}");
    }
}

#[test]
fn pl1_to_pl3_whoever_crashes_between_two_effects() {
    for seed in 0..60 {
        let mut world = busy(seed, timed(0.1, 0.1));
        world.crash(p(3), Dies::before_effect(5 * seed + 1));
        holds(&world.run());
    }
}

#[test]
fn pl1_over_a_cut_that_heals_and_a_pause() {
    for seed in 0..30 {
        let mut world = busy(seed, timed(0.05, 0.05));
        world.cut((p(1), p(2)), ms(20), Some(ms(3000)));
        world.pause(p(3), ms(50), Some(ms(4000)));
        holds(&world.run());
    }
}

/// p1 sends one message to every process in lock step. The run goes on for the given time afterwards.
fn run(
    n: usize,
    settle: Duration,
    detection: Option<Duration>,
    dead: Option<usize>,
) -> (Report, World) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap().settle(settle);
    let ports = wire(&world, detection);
    if let Some(rank) = dead {
        world.crash(p(rank), Dies::at(Time::ZERO));
    }
    world.request(p(1), ms(1), &ports[0], send(To::All, b"x"));
    let report = world.run();
    holds(&report);
    (report, world)
}

#[test]
fn a_message_costs_one_datum_one_acknowledgement_and_one_step() {
    for n in 1..=8 {
        let (report, world) = run(n, Duration::from_mins(10), None, None);
        assert_eq!(report.counts.datagrams, 2 * (n as u64 - 1));
        for q in world.processes() {
            let delivered = world.tally(q, MODULE, "Deliver").unwrap();
            let steps = u32::from(q != p(1));
            assert_eq!((delivered.count, delivered.last), (1, ms(1) + UNIT * steps));
        }
    }
}

#[test]
fn what_a_crashed_process_was_sent_is_repeated_until_p_reports_it() {
    let datagrams = |settle, detection| run(3, settle, detection, Some(3)).0.counts.datagrams;
    let (short, long) = (Duration::from_mins(1), Duration::from_mins(10));
    let detection = Some(Duration::from_secs(1));
    let forgotten = datagrams(short, detection);
    assert!(forgotten > 3);
    assert_eq!(datagrams(long, detection), forgotten);
    assert!(datagrams(long, None) > datagrams(short, None) + 200);
}

/// A link whose context is driven by hand.
struct Driven {
    link: EliminateDuplicates,
    counters: Counters,
    ctx: Context<Event, Effect>,
}

impl Driven {
    fn new(rank: usize) -> Self {
        let counters = Counters::default();
        Driven {
            link: EliminateDuplicates::new(p(rank), Membership::of_size(2).unwrap()),
            ctx: Context::new(Name::root(), rank as u64, counters.clone()),
            counters,
        }
    }

    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.link.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn send(&mut self, to: usize) -> Vec<Effect> {
        self.upon(Event::Send(send(To::One(p(to)), b"x")))
    }

    fn arrive(&mut self, from: usize, message: Message) -> Vec<Effect> {
        self.arrive_bytes(from, message.into_bytes())
    }

    fn arrive_bytes(&mut self, from: usize, bytes: Bytes) -> Vec<Effect> {
        let (from, id) = (p(from), 0);
        self.upon(Event::Arrive(stubborn::Deliver { from, id, bytes }))
    }

    fn counted(&self, what: &str) -> u64 {
        self.counters.total(what)
    }
}

/// A stubborn link at its worst: repeats anything that is not cancelled, in any order, and loses half
/// of the acknowledgements.
#[test]
fn memory_does_not_follow_the_number_of_messages() {
    const MESSAGES: u64 = 100_000;
    let (mut sender, mut receiver) = (Driven::new(1), Driven::new(2));
    let mut rng = Generator::seed_from_u64(3);
    let mut in_flight = BTreeMap::new();
    let (mut asked, mut delivered) = (0, 0);
    let mut most = (0, 0);
    while delivered < MESSAGES || !in_flight.is_empty() {
        let mut effects = Vec::new();
        while asked < MESSAGES && asked < delivered + 2 * WINDOW {
            effects.extend(sender.send(2));
            asked += 1;
        }
        let pick = rng.random_range(0..=in_flight.len().saturating_sub(1));
        if let Some((sequence, payload)) = in_flight.iter().nth(pick) {
            let data = Message::Data(*sequence, Bytes::clone(payload));
            for effect in receiver.arrive(1, data) {
                match effect {
                    Effect::Deliver(_) => delivered += 1,
                    Effect::Acknowledge(_, sequence) if rng.random_bool(0.5) => {
                        effects.extend(sender.arrive(2, Message::Acknowledge(sequence)));
                    }
                    _ => {}
                }
            }
        }
        for effect in effects {
            match effect {
                Effect::Send(_, sequence, payload) => drop(in_flight.insert(sequence, payload)),
                Effect::Cancel(_, sequence) => drop(in_flight.remove(&sequence)),
                Effect::Deliver(_) | Effect::Acknowledge(..) => {}
            }
        }
        let (there, here) = (&receiver.link.peers[0], &sender.link.peers[1]);
        let gaps = there.delivered.gaps().max(here.acknowledged.gaps());
        most = (most.0.max(gaps), most.1.max(in_flight.len()));
    }
    assert_eq!(delivered, MESSAGES);
    assert!(
        most.0 as u64 <= WINDOW / 2 && most.1 as u64 <= WINDOW,
        "{most:?}"
    );
    let (there, here) = (&receiver.link.peers[0], &sender.link.peers[1]);
    assert_eq!((there.delivered.gaps(), here.acknowledged.gaps()), (0, 0));
    assert_eq!((here.waiting.len(), here.in_flight().count()), (0, 0));
}

#[test]
fn input_that_no_correct_peer_sends_changes_nothing() {
    let mut link = Driven::new(1);
    link.send(2);
    let bad: [(usize, Bytes, &str); 7] = [
        (1, Message::Data(1, Bytes::new()).into_bytes(), "no member"),
        (3, Message::Data(1, Bytes::new()).into_bytes(), "no member"),
        (
            2,
            Message::Data(0, Bytes::new()).into_bytes(),
            "beyond the window",
        ),
        (
            2,
            Message::Data(WINDOW + 1, Bytes::new()).into_bytes(),
            "beyond the window",
        ),
        (
            2,
            Message::Acknowledge(2).into_bytes(),
            "acknowledges what was never sent",
        ),
        (
            2,
            Message::Acknowledge(0).into_bytes(),
            "acknowledged before",
        ),
        (2, Bytes::from_static(b"\xffgarbage"), "undecodable"),
    ];
    for (from, bytes, reason) in bad {
        let before = link.counted(reason);
        assert!(link.arrive_bytes(from, bytes).is_empty(), "{reason}");
        assert_eq!(link.counted(reason), before + 1);
    }
    assert!(link.send(3).is_empty());
    let long = [&Message::Acknowledge(1).into_bytes()[..], b"x"].concat();
    assert!(link.arrive_bytes(2, long.into()).is_empty());
    let effects = link.arrive(2, Message::Acknowledge(1));
    assert!(matches!(effects[..], [Effect::Cancel(q, 1)] if q == p(2)));
    assert!(link.arrive(2, Message::Acknowledge(1)).is_empty());
}

#[test]
fn a_crash_frees_what_was_kept_and_later_sends_cost_nothing() {
    let mut link = Driven::new(1);
    for _ in 0..WINDOW + 5 {
        link.send(2);
    }
    assert_eq!(link.link.peers[1].waiting.len(), 5);
    let cancelled = link.upon(Event::Crash(Crash(p(2))));
    assert_eq!(cancelled.len() as u64, WINDOW);
    assert!(link.upon(Event::Crash(Crash(p(2)))).is_empty());
    assert!(link.send(2).is_empty() && link.link.peers[1].waiting.is_empty());
    // What was in flight when it crashed may still arrive.
    let late = link.arrive(2, Message::Data(1, Bytes::new()));
    assert_eq!(late.len(), 2);
    assert!(link.arrive(2, Message::Acknowledge(1)).is_empty());
}
