//! Clocks of processes, and timing models.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use quorate_abstractions::heartbeat::Beat;
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ProcessId, Time};
use quorate_sim::{Clock, Kind, Loss, Report, Timed, TimingPolicy, UNIT, World, timing::Bounds};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{everywhere, p, payload};

const PERIOD: Duration = Duration::from_millis(10);

fn at(milliseconds: u64) -> Time {
    Time::ZERO + UNIT * milliseconds as u32
}

/// Says each period what its clock shows.
struct Metronome {
    left: u32,
}

struct Tick;

struct Shows(Time);

impl Observe for Tick {
    fn observe(&self) -> Observation {
        Observation::internal("Tick")
    }
}

impl Observe for Shows {
    fn observe(&self) -> Observation {
        Observation::indication("Shows")
    }
}

impl Algorithm for Metronome {
    type Event = Tick;
    type Effect = Shows;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.after(PERIOD, Tick);
    }

    fn upon(&mut self, _: Tick, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        ctx.trigger(Shows(now));
        self.left -= 1;
        if self.left > 0 {
            ctx.after(PERIOD, Tick);
        }
    }
}

/// The simulated time and the time by its own clock at which p1 said something, in milliseconds.
type Said = Vec<(u64, u64)>;

/// p1 says something ten times, in a world that `prepare` makes of it.
fn said(prepare: impl Fn(&World)) -> Said {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    prepare(&world);
    let said: Arc<Mutex<Said>> = Arc::default();
    let mine = said.clone();
    let up = world.application_with(p(1), move |Shows(shown), now| {
        let milliseconds = |time: Time| time.as_nanos() / 1_000_000;
        mine.lock()
            .unwrap()
            .push((milliseconds(now), milliseconds(shown)));
    });
    let host = world.host(p(1)).at("metronome");
    let mailbox = host.mailbox();
    host.start(mailbox, Metronome { left: 10 }, move |shows| up.send(shows));
    world.run();
    let said = said.lock().unwrap().clone();
    assert_eq!(said.len(), 10);
    said
}

#[test]
fn s2_without_a_clock_of_its_own_a_process_sees_the_time() {
    let usual: Said = (1..=10).map(|k| (10 * k, 10 * k)).collect();
    assert_eq!(said(|_| {}), usual);
    assert_eq!(said(|world| world.clock(p(1), Clock::new())), usual);
    assert_eq!(
        said(|world| world.clock(p(2), Clock::new().drift(0.5))),
        usual
    );
}

#[test]
fn s2_timers_go_by_the_clock_of_their_process() {
    let offset = said(|world| world.clock(p(1), Clock::new().offset(UNIT * 500)));
    assert_eq!(
        offset,
        (1..=10).map(|k| (10 * k, 500 + 10 * k)).collect::<Said>()
    );
    let fast = said(|world| world.clock(p(1), Clock::new().drift(1.0)));
    assert_eq!(fast, (1..=10).map(|k| (5 * k, 10 * k)).collect::<Said>());
    let slow = said(|world| world.clock(p(1), Clock::new().drift(-0.5)));
    assert_eq!(slow, (1..=10).map(|k| (20 * k, 10 * k)).collect::<Said>());
}

/// What the jump leaps over is due at once, and from then on the clock is ahead.
#[test]
fn s2_a_jump_makes_timers_due() {
    let jumped = said(|world| world.clock(p(1), Clock::new().jump(at(25), UNIT * 100)));
    assert_eq!(jumped[..4], [(10, 10), (20, 20), (25, 125), (35, 135)]);
}

/// Its clock goes on while it takes no step, so that its timer is late, and its clock seems to have jumped.
#[test]
fn s2_a_pause_is_a_suspension() {
    let suspended = said(|world| world.pause(p(1), at(25), Some(at(125))));
    assert_eq!(suspended[..4], [(10, 10), (20, 20), (125, 125), (135, 135)]);
}

const BOUNDS: Bounds = Bounds {
    delay: Duration::from_millis(20),
    lateness: Duration::from_millis(3),
    start: Duration::from_millis(50),
};
const GST: Time = Time::from_nanos(500_000_000);

/// Three processes broadcast a message every five milliseconds of the first second, and send a heartbeat then.
fn run(seed: u64, policy: Option<TimingPolicy>) -> (World, Report) {
    let mut world = World::new(3, seed, Timed::lock_step())
        .unwrap()
        .keep_trace();
    let urb = everywhere(&world, 2);
    if let Some(policy) = policy {
        world.timing(policy);
    }
    for p in world.processes() {
        let beat = world.heartbeat(p, Addr::nowhere());
        for k in 0..200 {
            world.request(p, at(5 * k), &urb[p.index()], payload("m"));
            world.request(p, at(5 * k), &beat, Beat::default());
        }
    }
    let report = world.run();
    (world, report)
}

/// When each copy that arrived was sent, and how long it took.
fn flights(world: &World) -> Vec<(Time, Duration)> {
    let mut sent: BTreeMap<u64, Time> = BTreeMap::new();
    let mut flights = Vec::new();
    for record in world.trace().records() {
        match record.kind {
            Kind::Send { message, .. } => drop(sent.insert(message, record.time)),
            Kind::Receive { message, .. } => {
                flights.push((sent[&message], record.time.since(sent[&message])));
            }
            Kind::Drop { loss, .. } => assert_eq!(loss, Loss::Unborn),
            _ => {}
        }
    }
    flights
}

fn starts(world: &World) -> Vec<(ProcessId, Time)> {
    let trace = world.trace();
    let started = trace.records().iter().filter(|it| it.kind == Kind::Start);
    started.map(|it| (it.process, it.time)).collect()
}

#[test]
fn s2_a_synchronous_system_keeps_its_bounds_and_makes_use_of_them() {
    let (mut longest, mut latest) = (0, Time::ZERO);
    for seed in 0..10 {
        let (world, report) = run(seed, Some(TimingPolicy::Synchronous(BOUNDS)));
        assert!(report.completion.complete);
        // A message to a process that starts later waits for it.
        let started = starts(&world);
        let started = started.iter().map(|(_, at)| *at).max().unwrap_or_default();
        assert!(started <= Time::ZERO + BOUNDS.start);
        latest = latest.max(started);
        let flights = flights(&world).into_iter();
        for (_, took) in flights.filter(|(sent, _)| *sent >= started) {
            assert!(took <= BOUNDS.delay);
            longest += u64::from(took == BOUNDS.delay);
        }
    }
    assert!(longest > 1000);
    assert!(latest > at(40));
}

#[test]
fn s2_an_eventually_synchronous_system_is_bounded_from_gst_on() {
    let start = Duration::ZERO;
    let policy = TimingPolicy::EventuallySynchronous {
        bounds: Bounds { start, ..BOUNDS },
        gst: GST,
    };
    for seed in 0..5 {
        let (world, report) = run(seed, Some(policy));
        assert!(report.completion.complete && report.completion.time >= GST);
        let flights = flights(&world);
        let bound = |sent: Time| GST.since(sent) + BOUNDS.delay;
        assert!(flights.iter().all(|(sent, took)| *took <= bound(*sent)));
        let long = flights.iter().filter(|(_, took)| *took > BOUNDS.delay * 2);
        assert!(long.count() > 100, "seed {seed}");
        let last = flights
            .iter()
            .filter(|(sent, took)| *sent + *took == GST + BOUNDS.delay);
        assert!(last.count() > 100, "seed {seed}");
    }
}

#[test]
fn s2_an_asynchronous_system_has_no_bound() {
    let (world, report) = run(1, Some(TimingPolicy::Asynchronous));
    assert!(report.completion.complete);
    let longest = flights(&world).iter().map(|(_, took)| *took).max();
    assert!(longest > Some(UNIT * 200), "{longest:?}");
}

#[test]
fn s2_no_policy_is_the_adversary_and_the_same_seed_the_same_run() {
    let (world, usual) = run(1, None);
    assert!(flights(&world).iter().all(|(_, took)| *took == UNIT));
    assert!(starts(&world).is_empty());
    let hash = |seed| run(seed, Some(TimingPolicy::Asynchronous)).1.hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
    assert_ne!(hash(1), usual.hash);
}

/// The simulated times at which a process that is alone says something.
fn alone(seed: u64, policy: TimingPolicy) -> Vec<Time> {
    let mut world = World::new(1, seed, Timed::lock_step()).unwrap();
    world.timing(policy);
    let said: Arc<Mutex<Vec<Time>>> = Arc::default();
    let mine = said.clone();
    let up = world.application_with(p(1), move |Shows(_), now| mine.lock().unwrap().push(now));
    let host = world.host(p(1)).at("metronome");
    let mailbox = host.mailbox();
    host.start(mailbox, Metronome { left: 10 }, move |shows| up.send(shows));
    world.run();
    said.lock().unwrap().clone()
}

#[test]
fn s2_timers_fire_at_most_so_late() {
    let start = Duration::ZERO;
    let mut latest = 0;
    for seed in 0..20 {
        let mut before = Time::ZERO;
        for now in alone(seed, TimingPolicy::Synchronous(Bounds { start, ..BOUNDS })) {
            assert!(now >= before + PERIOD, "no timer fires early");
            let late = now.since(before + PERIOD);
            assert!(late <= BOUNDS.lateness, "{late:?}");
            latest += u32::from(late == BOUNDS.lateness);
            before = now;
        }
    }
    assert!(latest > 20, "a quarter of them: {latest}");
}
