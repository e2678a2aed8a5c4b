//! What the tests of the causal broadcasts share: layers below, applications that answer, and a process
//! driven by hand.
pub(crate) use crate::causal_collected::mutant::{Flaw, Held};

use crate::{
    best_effort,
    causal_collected::{self, CausalCollected, mutant::Published},
    eager, lazy, majority_ack,
    testing::*,
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    causal::{Broadcast, Deliver},
    link::Links,
    perfect, reliable, uniform,
};
use quorate_core::{
    Addr, Algorithm, Context, Counters, Host, MessageId, Name, ProcessId, Time, message::fold,
};
use quorate_sim::{Crash, Exhaustive, Oracle, Report, SimHost, Timed, Verdict, World, properties};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The time after which a crash is reported.
pub(crate) const DETECTION: Duration = Duration::from_millis(5);

/// The reliable broadcast of one process, not yet connected to the layer above.
pub(crate) type StartReliable =
    Box<dyn FnOnce(Addr<reliable::Deliver>) -> Addr<reliable::Broadcast>>;

/// Starts a causal broadcast at a process.
pub(crate) type Start<'a> =
    &'a dyn Fn(&World, &SimHost, StartReliable, Addr<Deliver>) -> Addr<Broadcast>;

/// Whether the causal broadcast is uniform, and what it stands on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Form {
    /// Over eager reliable broadcast.
    Regular,
    /// Over lazy reliable broadcast.
    Lazy,
    /// Over majority-ack uniform broadcast.
    Uniform,
}

/// The regular forms.
pub(crate) const REGULAR: [Form; 2] = [Form::Regular, Form::Lazy];

fn below(world: &World, q: ProcessId, form: Form) -> StartReliable {
    let (host, links) = (world.host(q).at("below"), world.links(q).at("below"));
    let (lane, status) = (links.lane(), links.status());
    match form {
        Form::Regular => Box::new(move |up| eager::spawn(&host, best_effort::over(lane), up)),
        Form::Lazy => {
            let detector = world.eventually_perfect(q, &Oracle::accurate(DETECTION));
            Box::new(move |up| lazy::spawn(&host, lane, &status, &detector, up))
        }
        Form::Uniform => {
            let uniform =
                uniform::as_reliable(move |up| majority_ack::spawn(&host, lane, &status, up));
            Box::new(move |up| quorate_core::Layer::attach(uniform, up))
        }
    }
}

/// A causal broadcast at every process, whose application answers each delivery with the broadcasts that
/// `answer` returns.
pub(crate) fn wire_with<A>(
    world: &World,
    form: Form,
    start: Start<'_>,
    answer: impl Fn(ProcessId) -> A,
) -> Vec<Addr<Broadcast>>
where
    A: FnMut(&Deliver) -> Option<Bytes> + Send + 'static,
{
    let is_uniform = form == Form::Uniform;
    world.check(properties::causal(world.membership(), "causal", is_uniform));
    let start_at = |q| {
        let (port, mut answer) = (Arc::new(OnceLock::<Addr<Broadcast>>::new()), answer(q));
        let up = {
            let port = port.clone();
            world.application_with(q, move |delivery: Deliver, _| {
                if let (Some(payload), Some(port)) = (answer(&delivery), port.get()) {
                    port.send(Broadcast { payload });
                }
            })
        };
        let host = world.host(q).at("causal");
        let addr = start(world, &host, below(world, q, form), up);
        port.get_or_init(|| addr).clone()
    };
    world.processes().map(start_at).collect()
}

/// The same with an application that answers nothing.
pub(crate) fn wire(world: &World, form: Form, start: Start<'_>) -> Vec<Addr<Broadcast>> {
    wire_with(world, form, start, |_| |_: &Deliver| None)
}

/// A run full of faults in which everybody broadcasts, and answers half of what it delivers up to three
/// times; `seed` determines the rest.
pub(crate) fn turbulent(form: Form, start: Start<'_>, seed: u64) -> Report {
    let maximum = match form {
        Form::Regular | Form::Lazy => all_but_one,
        Form::Uniform => minority,
    };
    let mut world = turbulent_world(seed, maximum);
    let ports = wire_with(&world, form, start, |q| {
        let mut answers = 0;
        move |delivery: &Deliver| {
            let MessageId { origin, sequence } = delivery.id;
            let coin = fold(fold(seed, q.rank() as u64), origin.process.rank() as u64);
            let answers_this = answers < 3 && fold(coin, sequence).is_multiple_of(2);
            answers += u64::from(answers_this);
            answers_this.then(|| Bytes::from_static(b"answer"))
        }
    });
    request_some(&world, &ports, |payload| Broadcast { payload });
    world.run()
}

/// These properties hold in [turbulent] runs of these forms.
pub(crate) fn assert_hold_in_turbulence(start: Start<'_>, forms: &[Form], tags: &[&str]) {
    for (form, seed) in forms
        .iter()
        .flat_map(|form| (0..150).map(move |seed| (*form, seed)))
    {
        let report = turbulent(form, start, seed);
        for tag in tags {
            assert_eq!(
                report.verdict(tag),
                Some(&Verdict::Holds),
                "{form:?}: {report}"
            );
        }
    }
}

/// How many messages one broadcast by p1 of `n` costs in lock step, when this befalls one process.
pub(crate) fn cost(n: usize, form: Form, start: Start<'_>, crash: Option<(usize, Crash)>) -> u64 {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    let ports = wire(&world, form, start);
    request(&world, &ports, 1, Time::ZERO, b"m");
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    report.counts.messages
}

/// One broadcast costs what the reliable broadcast below costs.
pub(crate) fn assert_costs_what_is_below_costs(start: Start<'_>) {
    for n in 2..=8_usize {
        let (all, others) = (n as u64, n as u64 - 1);
        let dead = Some((n, Crash::at(Time::ZERO)));
        assert_eq!(cost(n, Form::Regular, start, None), all * others);
        assert_eq!(cost(n, Form::Regular, start, dead), others * others);
        assert_eq!(cost(n, Form::Lazy, start, None), others);
        assert_eq!(cost(n, Form::Lazy, start, dead), others);
        for k in 1..=others {
            let cut_short = Some((1, Crash::before_output(k + 1)));
            let eager = cost(n, Form::Regular, start, cut_short);
            assert_eq!(eager, k + others * others, "n = {n}, k = {k}");
            assert_eq!(
                cost(n, Form::Lazy, start, cut_short),
                k * all,
                "n = {n}, k = {k}"
            );
        }
    }
}

/// Has one process broadcast this.
pub(crate) fn request(
    world: &World,
    ports: &[Addr<Broadcast>],
    rank: usize,
    at: Time,
    payload: &'static [u8],
) {
    let payload = Bytes::from_static(payload);
    world.request(p(rank), at, &ports[rank - 1], Broadcast { payload });
}

/// An algorithm by itself, as p1 of three: fed by hand.
pub(crate) struct Alone<A: Algorithm> {
    pub(crate) algorithm: A,
    context: Context<A::Event, A::Effect>,
    pub(crate) counters: Counters,
}

impl<A: Algorithm> Alone<A> {
    pub(crate) fn new(algorithm: impl FnOnce(&SimHost) -> A) -> Self {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let (host, counters) = (world.host(p(1)), Counters::default());
        Alone {
            algorithm: algorithm(&host),
            context: Context::new(Name::root(), 1, counters.clone()),
            counters,
        }
    }

    /// The effects of this event.
    pub(crate) fn upon(&mut self, event: A::Event) -> Vec<A::Effect> {
        self.algorithm.upon(event, &mut self.context);
        self.effects()
    }

    /// The effects of the end of a batch of events.
    pub(crate) fn idle(&mut self) -> Vec<A::Effect> {
        self.algorithm.upon_idle(&mut self.context);
        self.effects()
    }

    fn effects(&mut self) -> Vec<A::Effect> {
        let mut effects = Vec::new();
        self.context.take_effects(&mut effects);
        effects
    }
}

/// Starts any algorithm, as a wiring function would.
pub(crate) fn start_mutant<A, H: Host>(
    host: &H,
    algorithm: A,
    join: impl FnOnce(&quorate_core::Mailbox<A::Event>) -> Box<dyn FnMut(A::Effect) + Send>,
) -> Addr<A::Event>
where
    A: Algorithm,
{
    let mailbox = host.mailbox();
    let (addr, route) = (mailbox.addr(), join(&mailbox));
    host.start(mailbox, algorithm, route);
    addr
}

/// Starts the published algorithm without waiting, with this flaw.
pub(crate) fn published(
    host: &SimHost,
    (flaw, held): (Flaw, Held),
    below: StartReliable,
    detector: &Subscribe<perfect::Crash>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let algorithm = Published::by(flaw, held, &CausalCollected::new(host));
    causal_collected::spawn_as(host, algorithm, below, detector, up)
}

/// A small world: the number of processes, the ranks that broadcast (once each time that they are named; p2
/// also answers the first message of p1), and how many may crash.
pub(crate) type Small<'a> = (usize, &'a [usize], usize);

pub(crate) fn small_world(n: usize, form: Form, start: Start<'_>, requests: &[usize]) -> World {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire_with(&world, form, start, |q| {
        move |delivery: &Deliver| {
            (q == p(2) && delivery.id == id(1, 1)).then(|| Bytes::from_static(b"answer"))
        }
    });
    for rank in requests {
        request(&world, &ports, *rank, Time::ZERO, b"m");
    }
    world
}

/// Follows every schedule: none violates a property, and there are this many classes of schedules.
#[track_caller]
pub(crate) fn assert_holds_in_every_schedule(
    form: Form,
    start: Start<'_>,
    (n, requests, crashes): Small<'_>,
    classes: u64,
) {
    let search = Exhaustive::new().crashes(crashes);
    let all = search.explore(|| small_world(n, form, start, requests));
    all.assert_all_hold();
    assert_eq!(
        all.executions, classes,
        "{form:?}, n = {n}, {requests:?}: {all}"
    );
}

/// The search finds a schedule that violates this property.
#[track_caller]
pub(crate) fn assert_search_finds(
    form: Form,
    start: Start<'_>,
    (n, requests, crashes): Small<'_>,
    tag: &str,
) {
    let search = Exhaustive::new().crashes(crashes);
    let all = search.explore(|| small_world(n, form, start, requests));
    let found = all.found.map(|found| found.violation.tag);
    assert_eq!(found.as_deref(), Some(tag));
}
