//! What the tests of the algorithms share.
pub(crate) mod memory;
pub(crate) mod snapshots;

use crate::{
    exchange::{Effect, Event, spawn_as},
    message::{Content, Message},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, eventually_perfect,
    link::{Deliver, Links},
    perfect,
    register::{Action, Indication, Refusal, RegisterResponse, Request},
};
use quorate_core::{Addr, Algorithm, Context, Counters, Ctx, Host, ProcessId, Time};
pub(crate) use quorate_sim::testing::{Latencies, p};
use quorate_sim::{
    Crash, Exhaustive, Oracle, SimHost, Timed, UNIT, World, properties::Properties, testing,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

/// So many steps after the start.
pub(crate) fn at(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

/// The time this many steps and a half after the start: between two steps.
pub(crate) fn after(steps: u32) -> Time {
    at(steps) + UNIT / 2
}

/// The algorithm over a link that delivers everything twice.
pub(crate) struct Duplicating<A>(pub(crate) A);

impl<A: Algorithm<Event = Event, Effect = Effect>> Algorithm for Duplicating<A> {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Link(Deliver { from, message }) = &event {
            let (from, message) = (*from, message.clone());
            self.0.upon(Event::Link(Deliver { from, message }), ctx);
        }
        self.0.upon(event, ctx);
    }
}

/// The effects of an event at the algorithm without a world around it.
pub(crate) fn reaction<A: Algorithm<Event = Event, Effect = Effect>>(
    algorithm: &mut A,
    event: Event,
) -> Vec<Effect> {
    let mut ctx = Context::new("register".into(), 1, Counters::default());
    algorithm.upon(event, &mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    effects
}

/// The reason of a refusal, if the operation was refused and nothing else has happened.
pub(crate) fn refusal(effects: &[Effect]) -> Option<Refusal> {
    match effects {
        [
            Effect::Indication(Indication {
                outcome: RegisterResponse::Refused(refusal),
                ..
            }),
        ] => Some(*refusal),
        _ => None,
    }
}

/// The detector P at a process, if the algorithm uses one.
pub(crate) type Detect<'d> = &'d dyn Fn(&World, ProcessId) -> Option<Subscribe<perfect::Crash>>;

/// No detector.
pub(crate) fn blind(_: &World, _: ProcessId) -> Option<Subscribe<perfect::Crash>> {
    None
}

/// P, which reports each crash after this many steps.
pub(crate) fn reported_after(
    steps: u32,
) -> impl Fn(&World, ProcessId) -> Option<Subscribe<perfect::Crash>> {
    move |world, q| Some(world.perfect(q, UNIT * steps))
}

/// A detector that poses as P and errs: these suspicions of p1 are taken for reports.
pub(crate) fn mistaken(
    of: usize,
    from: Time,
    to: Time,
) -> impl Fn(&World, ProcessId) -> Option<Subscribe<perfect::Crash>> {
    let oracle = Oracle::accurate(UNIT).suspecting(p(1), p(of), from, to);
    move |world, q| {
        let suspicions = world.eventually_perfect(q, &oracle);
        Some(suspicions.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                eventually_perfect::Indication::Suspect(q) => up.send(perfect::Crash(q)),
                eventually_perfect::Indication::Restore(_) => {}
            })
        }))
    }
}

/// Handles the indications of a process.
pub(crate) type Told = Arc<dyn Fn(ProcessId, &Indication) + Send + Sync>;

/// Wires the algorithm at every process, and lets the properties watch.
pub(crate) fn wire_telling<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    detect: Detect<'_>,
    properties: Properties,
    make: impl Fn(&SimHost) -> A,
    told: &Told,
) -> Vec<Addr<Request>> {
    world.check(properties);
    let wire = |q| {
        let (host, links) = (world.host(q).at("register"), world.links(q).at("register"));
        let told = told.clone();
        let up = world.application_with(q, move |indication, _| told(q, &indication));
        let detector = detect(world, q).unwrap_or_else(Addr::nowhere);
        let (lane, status) = (links.lane(), links.status());
        spawn_as(&host, make(&host), lane, &status, &detector, up)
    };
    world.processes().map(wire).collect()
}

/// The same, with indications that only the properties see.
pub(crate) fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    detect: Detect<'_>,
    properties: Properties,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let told: Told = Arc::new(|_, _| {});
    wire_telling(world, detect, properties, make, &told)
}

/// The register that most tests operate on.
pub(crate) const X: Bytes = Bytes::from_static(b"x");

pub(crate) fn read(operation: u64) -> Request {
    Request {
        register: X,
        operation,
        action: Action::Read,
    }
}

/// Writes a value that nobody else writes.
pub(crate) fn write(by: usize, operation: u64) -> Request {
    Request {
        register: X,
        operation,
        action: Action::Write(Bytes::from(format!("{by}.{operation}"))),
    }
}

/// The step at which a process's operation returned first.
pub(crate) fn returned(world: &World, by: usize, label: &str) -> Option<u64> {
    let tally = world.tally(p(by), "register", label)?;
    Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
}

/// The cost of one operation of p1: messages, and the step at which it returns. One process may be dead.
pub(crate) fn cost<A: Algorithm<Event = Event, Effect = Effect>>(
    n: usize,
    detect: Detect<'_>,
    properties: impl Fn(&World) -> Properties,
    make: impl Fn(&SimHost) -> A,
    request: Request,
    dead: Option<usize>,
) -> (u64, u64) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, detect, properties(&world), make);
    let label = match request.action {
        Action::Read => "ReadReturn",
        Action::Write(_) => "WriteReturn",
    };
    world.request(p(1), Time::ZERO, &ports[0], request);
    if let Some(dead) = dead {
        world.crash(p(dead), Crash::at(Time::ZERO));
    }
    let report = world.run();
    report.assert_all_hold();
    let steps = returned(&world, 1, label).unwrap();
    (report.counts.messages, steps)
}

/// [Full of faults](testing::turbulent): so many as `most` says crash.
pub(crate) fn turbulent(seed: u64, most: impl Fn(&World) -> usize) -> World {
    testing::turbulent(seed, most, 6)
}

/// The properties hold whoever of so many crashes.
pub(crate) fn assert_holds_in_turbulence<A: Algorithm<Event = Event, Effect = Effect>>(
    most: impl Fn(&World) -> usize,
    writer: Option<ProcessId>,
    detect: Detect<'_>,
    properties: impl Fn(&World) -> Properties,
    make: impl Fn(&SimHost) -> A,
) {
    for seed in 0..400 {
        let mut world = turbulent(seed, &most);
        operate(&world, seed, writer, detect, properties(&world), &make);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

/// P, which reports crashes sooner at some processes than at others.
pub(crate) const REPORTED_UNEVENLY: Detect<'static> =
    &|world, q| Some(world.perfect(q, UNIT * (1 + q.rank() as u32 % 3)));

/// The properties hold in every schedule in which p1 of two writes and p2 reads, and so of three processes as deep as is
/// looked; so many of n crash.
pub(crate) fn assert_holds_in_every_schedule<A: Algorithm<Event = Event, Effect = Effect>>(
    depth_of_three: usize,
    crashes: impl Fn(usize) -> usize,
    detect: Detect<'_>,
    properties: impl Fn(&World) -> Properties,
    make: impl Fn(&SimHost) -> A,
) {
    for (n, depth) in [(2, None), (3, Some(depth_of_three))] {
        let build = || {
            let world = World::new(n, 1, Timed::lock_step()).unwrap();
            let ports = wire(&world, detect, properties(&world), &make);
            world.request(p(1), Time::ZERO, &ports[0], write(1, 1));
            world.request(p(2), Time::ZERO, &ports[1], read(1));
            world
        };
        let search = Exhaustive::new().real_time().crashes(crashes(n));
        let search = match depth {
            None => search,
            Some(depth) => search.depth(depth),
        };
        let found = search.explore(build);
        assert!(found.found.is_none(), "{found}");
        assert!(depth.is_some() || found.complete, "{found}");
    }
}

/// p1 of three, alone.
pub(crate) fn alone<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> impl FnMut(Event) -> Vec<Effect> {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = make(&world.host(p(1)));
    let mut ctx = Context::new("register".into(), 1, Counters::default());
    move |event| {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    }
}

/// What arrives from this process, of this request.
pub(crate) fn from(rank: usize, request: u64, content: Content) -> Event {
    let (from, message) = (p(rank), Message { request, content });
    Event::Link(Deliver { from, message })
}

/// Makes every process operate on two registers: on each, one operation after the other; half of them are
/// writes, if the process may write.
pub(crate) fn operate<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    seed: u64,
    writer: Option<ProcessId>,
    detect: Detect<'_>,
    properties: Properties,
    make: impl Fn(&SimHost) -> A,
) {
    let ports: Arc<OnceLock<Vec<Addr<Request>>>> = Arc::default();
    let left: Arc<Mutex<BTreeMap<(ProcessId, Bytes), u64>>> = Arc::default();
    let next = move |q: ProcessId, register: &Bytes, left: u64| {
        let draw = seed / 3 + 7 * q.rank() as u64 + 5 * left;
        let writes = !draw.is_multiple_of(2) && writer.is_none_or(|writer| writer == q);
        let operation = 10 * left + u64::from(register[0] == b'y');
        let action = if writes {
            Action::Write(Bytes::from(format!("{q}.{operation}")))
        } else {
            Action::Read
        };
        Request {
            register: register.clone(),
            operation,
            action,
        }
    };
    let (open, counts) = (ports.clone(), left.clone());
    let told: Told = Arc::new(move |q, indication| {
        let register = indication.register.clone();
        let mut counts = counts.lock().unwrap();
        let left = counts.entry((q, register.clone())).or_default();
        if *left > 0 {
            *left -= 1;
            open.get().unwrap()[q.index()].send(next(q, &register, *left));
        }
    });
    let wired = wire_telling(world, detect, properties, make, &told);
    for (q, port) in world.processes().zip(&wired) {
        for register in [Bytes::from_static(b"x"), Bytes::from_static(b"y")] {
            let begin = at((seed as u32 + 3 * q.rank() as u32) % 9);
            world.request(q, begin, port, next(q, &register, 5));
            left.lock().unwrap().insert((q, register), 5);
        }
    }
    assert!(ports.set(wired).is_ok());
}
