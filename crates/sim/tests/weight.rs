//! Channels with weight, byte streams, late and repeated starts, old copies, slow users.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss::{Indication, Transmit},
    link::{Deliver, Links, SendRequest, To},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Incarnation, Observation, Observe, ProcessId, Time,
};
use quorate_sim::{Channel, Crash, Kind, Latency, Loss, SimHost, Timed, UNIT, World};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use support::p;

const SECOND: Duration = Duration::from_secs(1);

fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// The datagrams that arrived, with their times.
type Arrivals = Arc<Mutex<Vec<(Time, u8)>>>;

fn first_byte(indication: &Indication) -> Option<u8> {
    match indication {
        Indication::Arrive { bytes, .. } => bytes.first().copied(),
        Indication::Reopened(_) => None,
    }
}

/// A world of two processes whose p2 collects the datagrams that arrive over fair-loss links, and the edge of
/// p1.
fn datagrams(seed: u64, adversary: Timed) -> (World, Addr<Transmit>, Arrivals) {
    let world = World::new(2, seed, adversary).unwrap().keep_trace();
    let (log, edge) = (Arrivals::default(), world.fair_loss(p(1), Addr::nowhere()));
    listen(&world, p(2), &log);
    (world.settle(30 * SECOND), edge, log)
}

/// `q` collects datagrams in the order of their arrival.
fn listen(world: &World, q: ProcessId, log: &Arrivals) {
    let (log, host) = (log.clone(), world.host(q).at("listener"));
    let mailbox = host.mailbox();
    world.fair_loss(q, mailbox.addr().with(Arrived));
    host.start(mailbox, Listener, move |Noted(time, byte)| {
        log.lock().unwrap().push((time, byte));
    });
}

/// Records the arrival times of datagrams.
struct Listener;
struct Arrived(Indication);
struct Noted(Time, u8);

impl Observe for Arrived {
    fn observe(&self) -> Observation {
        self.0.observe()
    }
}

impl Observe for Noted {
    fn observe(&self) -> Observation {
        Observation::internal("Noted")
    }
}

impl Algorithm for Listener {
    type Event = Arrived;
    type Effect = Noted;

    fn upon(&mut self, Arrived(indication): Arrived, ctx: &mut Ctx<Self>) {
        if let Some(byte) = first_byte(&indication) {
            let now = ctx.now();
            ctx.trigger(Noted(now, byte));
        }
    }
}

/// A datagram that begins with this byte and occupies a channel like 1,000 bytes.
fn transmit(byte: u8) -> Transmit {
    Transmit {
        to: p(2),
        bytes: Bytes::from(vec![byte; 972]),
        segment: 972,
    }
}

fn losses(world: &World, kind: Loss) -> usize {
    let trace = world.trace();
    let is = |kind_of: &Kind| matches!(kind_of, Kind::Drop { loss, .. } if *loss == kind);
    trace.records().iter().filter(|r| is(&r.kind)).count()
}

#[test]
fn a_message_costs_its_size_and_waits_behind_those_before_it() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap().keep_trace();
    world.channel((p(1), p(2)), Channel::new().bandwidth(100_000).queue(1));
    let ports: Vec<_> = world
        .processes()
        .map(|q| {
            world
                .links(q)
                .at("lane")
                .open(Addr::<Deliver<Bytes>>::nowhere())
        })
        .collect();
    for _ in 0..5 {
        let (to, message) = (To::One(p(2)), Bytes::from(vec![0; 972]));
        world.request(p(1), Time::ZERO, &ports[0], SendRequest { to, message });
    }
    let (to, message) = (To::One(p(1)), Bytes::from(vec![0; 972]));
    world.request(p(2), Time::ZERO, &ports[1], SendRequest { to, message });
    let report = world.run();
    assert!(report.completion.complete);
    assert_eq!(
        report.counts.lost, 0,
        "perfect links wait, however long the queue"
    );
    let trace = world.trace();
    let arrived: Vec<_> = trace
        .records()
        .iter()
        .filter_map(|record| match record.kind {
            Kind::Receive { from, .. } => Some((from.rank(), record.time)),
            _ => None,
        })
        .collect();
    let weighed = (1..=5).map(|k| (1, at(10 * k) + UNIT));
    let light = (2, Time::ZERO + UNIT);
    assert_eq!(
        arrived,
        std::iter::once(light).chain(weighed).collect::<Vec<_>>()
    );
}

#[test]
fn a_full_queue_drops_datagrams_and_drains_with_time() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    world.channels(Channel::new().bandwidth(100_000).queue(3000));
    for byte in 0..10 {
        world.request(p(1), Time::ZERO, &edge, transmit(byte));
    }
    world.request(p(1), at(10), &edge, transmit(10));
    world.run();
    let arrived: Vec<_> = log.lock().unwrap().iter().map(|(_, byte)| *byte).collect();
    assert_eq!(arrived, [0, 1, 2, 10]);
    assert_eq!(losses(&world, Loss::Queue), 7);
}

#[test]
fn over_a_byte_stream_a_loss_is_a_delay_and_the_order_stays() {
    for seed in 0..40 {
        let adversary = Timed::uniform(UNIT, 30 * UNIT).loss(0.2).duplication(0.2);
        let (mut world, edge, log) = datagrams(seed, adversary);
        world.channels(Channel::new().bandwidth(1_000_000).stream());
        for byte in 0..100 {
            world.request(p(1), at(10 * u64::from(byte)), &edge, transmit(byte));
        }
        world.cut((p(1), p(2)), at(400), Some(at(1500)));
        let report = world.run();
        assert_eq!(report.counts.lost, 0);
        let arrived = log.lock().unwrap().clone();
        let bytes: Vec<_> = arrived.iter().map(|(_, byte)| *byte).collect();
        assert_eq!(bytes, (0..100).collect::<Vec<_>>(), "seed {seed}");
        let late = |(time, byte): &(Time, u8)| *time >= at(10 * u64::from(*byte) + 200);
        assert!(
            arrived[..30].iter().any(late),
            "seed {seed}: some were lost at first"
        );
        assert!(
            arrived[45..].iter().all(|(time, _)| *time >= at(1700)),
            "seed {seed}"
        );
    }
}

#[test]
fn a_byte_stream_that_is_cut_keeps_no_more_than_its_queue() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    world.channels(Channel::new().bandwidth(1_000_000).queue(5000).stream());
    world.cut((p(1), p(2)), Time::ZERO, Some(at(5000)));
    for byte in 0..100 {
        world.request(p(1), at(10 * u64::from(byte)), &edge, transmit(byte));
    }
    world.run();
    let arrived: Vec<_> = log.lock().unwrap().iter().map(|(_, byte)| *byte).collect();
    assert_eq!(arrived, [0, 1, 2, 3, 4]);
    assert_eq!(losses(&world, Loss::Queue), 95);
}

#[test]
fn a_channel_may_have_a_latency_of_its_own() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    let slow = Latency::Uniform(SECOND, 2 * SECOND);
    world.channel((p(1), p(2)), Channel::new().latency(slow));
    for byte in 0..100 {
        world.request(p(1), Time::ZERO, &edge, transmit(byte));
    }
    world.run();
    let arrived = log.lock().unwrap().clone();
    assert!(!arrived.iter().map(|(_, byte)| *byte).is_sorted());
    assert!(
        arrived
            .iter()
            .all(|(time, _)| (at(1000)..=at(2000)).contains(time))
    );
}

/// Reports when it started, and sends a heartbeat once a second.
struct Beating {
    beats: u32,
}
struct Tick;
enum Word {
    Began(Time),
    Beat,
}

impl Observe for Tick {
    fn observe(&self) -> Observation {
        Observation::internal("Tick")
    }
}

impl Observe for Word {
    fn observe(&self) -> Observation {
        match self {
            Word::Began(_) => Observation::internal("Began"),
            Word::Beat => Observation::indication("Beat"),
        }
    }
}

impl Algorithm for Beating {
    type Event = Tick;
    type Effect = Word;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        ctx.trigger(Word::Began(now));
        ctx.after(SECOND, Tick);
    }

    fn upon(&mut self, _: Tick, ctx: &mut Ctx<Self>) {
        ctx.trigger(Word::Beat);
        self.beats += 1;
        if self.beats < 10 {
            ctx.after(SECOND, Tick);
        }
    }
}

fn beating(host: &SimHost, began: &Arc<Mutex<Vec<Time>>>, up: Addr<Beat>) {
    let host = host.at("beating");
    let (mailbox, began) = (host.mailbox(), began.clone());
    host.start(mailbox, Beating { beats: 0 }, move |word| match word {
        Word::Began(time) => began.lock().unwrap().push(time),
        Word::Beat => up.send(Beat),
    });
}

struct Beat;

impl Observe for Beat {
    fn observe(&self) -> Observation {
        Observation::indication("Beat")
    }
}

#[test]
fn who_starts_late_takes_no_step_before_and_misses_what_fair_loss_links_carry() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    let began = Arc::default();
    for q in [p(1), p(2)] {
        beating(&world.host(q), &began, world.application(q));
    }
    world.start_at(p(2), at(5500));
    world.pause(p(2), at(1000), Some(at(2000)));
    for byte in 0..10 {
        world.request(p(1), at(1000 * u64::from(byte)), &edge, transmit(byte));
    }
    let report = world.run();
    assert!(report.completion.complete && !report.completion.severed);
    assert_eq!(report.completion.correct.len(), 2);
    assert_eq!(*began.lock().unwrap(), [Time::ZERO, at(5500)]);
    assert_eq!(
        world.tally(p(2), "beating", "Beat").unwrap().first,
        at(6500)
    );
    let arrived: Vec<_> = log.lock().unwrap().iter().map(|(_, byte)| *byte).collect();
    assert_eq!(arrived, [6, 7, 8, 9]);
    assert_eq!(losses(&world, Loss::Unborn), 6);
}

#[test]
fn what_perfect_links_carry_waits_for_a_late_start() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut world = world.keep_trace();
    let urb = support::everywhere(&world, 2);
    world.start_at(p(2), at(700));
    world.request(p(1), Time::ZERO, &urb[0], support::payload("m"));
    assert!(world.run().completion.complete);
    for rank in [1, 2] {
        let delivered = world.tally(p(rank), "urb", "Deliver").unwrap();
        assert!(delivered.first >= at(700) && delivered.count == 1);
    }
    assert!(world.diagram().contains("▸ start"));
}

#[test]
fn who_starts_again_is_new_and_what_its_earlier_start_sent_still_arrives() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    world.channel(
        (p(1), p(2)),
        Channel::new().latency(Latency::Constant(4 * SECOND)),
    );
    let began = Arc::default();
    beating(&world.host(p(1)), &began, world.application(p(1)));
    world.request(p(1), at(1000), &edge, transmit(1));
    world.request(p(1), at(3500), &edge, transmit(2));
    assert!(!world.restart(p(1), Incarnation(9)), "it lives");
    world.crash(p(1), Crash::at(at(2500)));
    world.call(p(2), at(3000), || {});
    world.run_until(at(3000));
    assert!(world.restart(p(1), Incarnation(77)));
    assert_eq!(world.incarnation(p(1)), Incarnation(77));
    beating(&world.host(p(1)), &began, world.application(p(1)));
    let edge = world.fair_loss(p(1), Addr::nowhere());
    world.request(p(1), at(3600), &edge, transmit(3));
    let report = world.run();
    assert_eq!(*began.lock().unwrap(), [Time::ZERO, at(3000)]);
    assert!(
        !report.completion.correct.contains(p(1)),
        "it has crashed once"
    );
    let arrived = log.lock().unwrap().clone();
    assert_eq!(
        arrived,
        [(at(5000), 1), (at(7600), 3)],
        "nothing more of the first start"
    );
    let beats = world.trace();
    let beats = beats.records().iter();
    let beats = beats.filter(|r| r.kind.indication().is_some_and(|o| o.label == "Beat"));
    assert_eq!(beats.count(), 2 + 10);
}

#[test]
fn an_old_datagram_arrives_once_more_whoever_is_there_then() {
    let (mut world, edge, log) = datagrams(1, Timed::lock_step());
    world.echo((p(1), p(2)), at(1000), at(2000), 5 * SECOND);
    world.request(p(1), at(500), &edge, transmit(1));
    world.request(p(1), at(1500), &edge, transmit(2));
    world.crash(p(1), Crash::at(at(1600)));
    world.run();
    let arrived = log.lock().unwrap().clone();
    assert_eq!(arrived, [(at(501), 1), (at(1501), 2), (at(6501), 2)]);
}

#[test]
fn a_slow_user_takes_one_indication_after_the_other() {
    let mut world = World::new(1, 1, Timed::lock_step()).unwrap();
    let (times, began) = (Arc::<Mutex<Vec<Time>>>::default(), Arc::default());
    let noted = times.clone();
    let up = world.application_with(p(1), move |_: Beat, now| noted.lock().unwrap().push(now));
    beating(&world.host(p(1)), &began, up);
    world.slow_user(p(1), 3 * SECOND);
    assert!(world.run().completion.complete);
    let expected: Vec<_> = (0..10).map(|k| at(4000 + 3000 * k)).collect();
    assert_eq!(*times.lock().unwrap(), expected);
    assert_eq!(
        world.tally(p(1), "beating", "Beat").unwrap().last,
        at(10_000)
    );
}

#[test]
fn minutes_with_megabytes_are_soon_over() {
    let (mut world, edge, log) = datagrams(1, Timed::uniform(UNIT, 5 * UNIT));
    world.channels(Channel::new().bandwidth(1_000_000).queue(64_000));
    for k in 0..60_000 {
        world.request(p(1), at(2 * k), &edge, transmit(0));
    }
    world.call(p(2), at(121_000), || {});
    let report = world.run();
    assert!(report.completion.complete && report.completion.time > at(120_000));
    assert_eq!(log.lock().unwrap().len(), 60_000);
}
