use super::*;
use crate::{best_effort, eager, majority_ack, testing::*};
use quorate_abstractions::{link::Links, uniform};
use quorate_core::{Addr, Context, Counters, Host, Incarnation, Layer, ProcessId, Time};
use quorate_sim::{Crash, Exhaustive, Report, SimHost, Timed, World, properties};

/// The form of the algorithm, and the layer below it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Which {
    Regular,
    Uniform,
    /// Nothing is held back.
    Broken,
}

fn reliable_at(world: &World, q: ProcessId) -> impl Layer<reliable::Port> + use<> {
    let (host, lane) = (world.host(q).at("rb"), world.links(q).at("rb").lane());
    move |up| eager::spawn(&host, best_effort::over(lane), up)
}

fn uniform_at(world: &World, q: ProcessId) -> impl Layer<reliable::Port> + use<> {
    let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
    let status = world.links(q).status();
    uniform::as_reliable(move |up| majority_ack::spawn(&host, lane, &status, up))
}

/// Delivers what comes from below at once.
struct Broken;

impl Algorithm for Broken {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => {
                ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
            }
            Event::Reliable(reliable::Deliver { id, payload }) => {
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
            }
        }
    }
}

fn spawn_mutant(
    host: &SimHost,
    reliable: impl Layer<reliable::Port>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(Event::Broadcast);
    let below = reliable.attach(mailbox.addr().with(Event::Reliable));
    host.start(mailbox, Broken, move |effect| match effect {
        Effect::Reliable(request) => below.send(request),
        Effect::Deliver(indication) => up.send(indication),
    });
    requests
}

/// First-in first-out broadcast at every process.
fn wire(world: &World, which: Which) -> Vec<Addr<Broadcast>> {
    let family = match which {
        Which::Regular | Which::Broken => properties::reliable,
        Which::Uniform => properties::uniform,
    };
    world.check(family(world.membership(), "fifo"));
    world.check([properties::first_in_first_out_order("fifo")]);
    let spawn_at = |q| {
        let (host, up) = (world.host(q).at("fifo"), world.application(q));
        match which {
            Which::Regular => spawn(&host, reliable_at(world, q), up),
            Which::Uniform => spawn(&host, uniform_at(world, q), up),
            Which::Broken => spawn_mutant(&host, reliable_at(world, q), up),
        }
    };
    world.processes().map(spawn_at).collect()
}

fn payload() -> Bytes {
    Bytes::from_static(b"m")
}

#[test]
fn frb1_to_5_hold_over_a_reliable_broadcast() {
    for seed in 0..400 {
        let mut world = turbulent_world(seed, all_but_one);
        let ports = wire(&world, Which::Regular);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

#[test]
fn frb1_to_5_hold_uniformly_over_a_uniform_broadcast() {
    for seed in 0..400 {
        let mut world = turbulent_world(seed, minority);
        let ports = wire(&world, Which::Uniform);
        request_some(&world, &ports, |payload| Broadcast { payload });
        world.run().assert_all_hold();
    }
}

/// p1 broadcasts twice; on every way, the first message takes longer than the second.
fn overtaken(which: Which) -> Report {
    let script = Latencies::default().way(1, 2, &[9, 1]).way(1, 3, &[9, 1]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire(&world, which);
    for _ in 0..2 {
        let payload = payload();
        world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
    }
    world.run()
}

#[test]
fn frb5_is_broken_where_nothing_is_held_back() {
    assert_violates(&overtaken(Which::Broken), "FRB5");
    overtaken(Which::Regular).assert_all_hold();
    overtaken(Which::Uniform).assert_all_hold();
}

#[test]
fn frb5_a_gap_that_a_crash_leaves_holds_back_what_is_behind_it() {
    // p1's first message is in flight for long, and lost when p1 crashes; its second arrives.
    let script = Latencies::default().way(1, 2, &[9, 1]).way(1, 3, &[9, 1]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire(&world, Which::Regular);
    for _ in 0..2 {
        let payload = payload();
        world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
    }
    world.crash(p(1), Crash::at(at(2)).losing(quorate_sim::Lose::Everything));
    world.run().assert_all_hold();
    for rank in [2, 3] {
        assert_eq!(world.tally(p(rank), "rb", "Deliver").unwrap().count, 1);
        assert!(world.tally(p(rank), "fifo", "Deliver").is_none());
    }
}

/// One broadcast by p1 in lock step.
fn cost(n: usize, which: Which, crash: Option<(usize, Crash)>) -> (Report, World) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, which);
    let payload = payload();
    world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    (report, world)
}

#[test]
fn costs_are_those_of_the_layer_below() {
    for n in 2..=8_usize {
        let others = n as u64 - 1;
        for which in [Which::Regular, Which::Uniform] {
            let (report, world) = cost(n, which, None);
            let messages = report.counts.messages;
            assert_eq!(messages, n as u64 * others, "{which:?}, n = {n}");
            let slowest = world
                .processes()
                .map(|q| world.tally(q, "fifo", "Deliver").unwrap().last)
                .max();
            let steps = if which == Which::Regular { 1 } else { 2 };
            assert_eq!(slowest, Some(at(steps)), "{which:?}, n = {n}");
        }
    }
    for n in 3..=8_usize {
        let others = n as u64 - 1;
        for which in [Which::Regular, Which::Uniform] {
            let dead = Some((n, Crash::at(Time::ZERO)));
            let messages = cost(n, which, dead).0.counts.messages;
            assert_eq!(messages, others * others, "{which:?}, n = {n}, one dead");
            for k in 1..=others {
                let cut_short = Some((1, Crash::before_output(k + 1)));
                let messages = cost(n, which, cut_short).0.counts.messages;
                let expected = k + others * others;
                assert_eq!(messages, expected, "{which:?}, n = {n}, k = {k}");
            }
        }
    }
}

#[test]
fn what_cannot_be_next_is_counted_and_dropped() {
    let counters = Counters::default();
    let mut ctx = Context::new("fifo".into(), 1, counters.clone());
    let mut fifo = FirstInFirstOut::default();
    let origin = Origin {
        process: p(2),
        incarnation: Incarnation(2),
    };
    let mut deliver = |sequence| {
        let id = MessageId { origin, sequence };
        let payload = payload();
        fifo.upon(Event::Reliable(reliable::Deliver { id, payload }), &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects.len()
    };
    assert_eq!(deliver(0), 0);
    assert_eq!(deliver(2), 0, "its turn has not come");
    assert_eq!(deliver(WINDOW + 1), 0);
    assert_eq!(deliver(1), 2);
    assert_eq!(deliver(1), 0, "once is enough");
    assert_eq!(deliver(WINDOW + 2), 0, "at the end of the window");
    assert_eq!(deliver(u64::MAX), 0);
    assert_eq!(counters.total("delivered before"), 2);
    assert_eq!(counters.total("identifier too far ahead"), 2);
    assert_eq!(fifo.pending.len(), 1, "nothing else is remembered");
}

#[test]
fn what_is_held_back_does_not_keep_what_it_arrived_with() {
    let mut ctx = Context::new("fifo".into(), 1, Counters::default());
    let mut fifo = FirstInFirstOut::default();
    let origin = Origin {
        process: p(2),
        incarnation: Incarnation(2),
    };
    let arrived = Bytes::from(vec![0; 60_000]);
    for (sequence, is_kept) in [(2, true), (1, false)] {
        let id = MessageId { origin, sequence };
        let payload = arrived.slice(0..1);
        fifo.upon(Event::Reliable(reliable::Deliver { id, payload }), &mut ctx);
        assert_eq!(
            arrived.is_unique(),
            is_kept,
            "what is next is passed on as it is"
        );
    }
}

#[test]
fn behind_a_message_that_never_comes_only_so_much_waits() {
    let counters = Counters::default();
    let mut ctx = Context::new("fifo".into(), 1, counters.clone());
    let most = 100;
    let mut fifo = FirstInFirstOut {
        most,
        ..FirstInFirstOut::default()
    };
    let mut deliver = |fifo: &mut FirstInFirstOut, rank, sequence, length| {
        let origin = Origin {
            process: p(rank),
            incarnation: Incarnation(2),
        };
        let (id, payload) = (MessageId { origin, sequence }, Bytes::from(vec![0; length]));
        fifo.upon(Event::Reliable(reliable::Deliver { id, payload }), &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects.len()
    };
    for sequence in 2..=20 {
        assert_eq!(deliver(&mut fifo, 2, sequence, 10), 0);
        assert_eq!(deliver(&mut fifo, 2, 2, 10), 0, "twice is once");
    }
    let held: usize = fifo.pending.values().map(Bytes::len).sum();
    assert_eq!(
        (held, counters.total("too much before its turn")),
        (most, 9 + 10)
    );
    assert_eq!(deliver(&mut fifo, 3, 2, most), 0);
    assert_eq!(
        deliver(&mut fifo, 3, 1, 2 * most),
        2,
        "another is not concerned"
    );
    assert_eq!(deliver(&mut fifo, 2, 1, 10), 11, "what has waited comes");
    assert_eq!(deliver(&mut fifo, 2, 13, most), 0, "there is room again");
    assert_eq!(fifo.pending.len(), 1);
}

#[test]
fn frb1_to_5_hold_in_every_schedule_with_a_crash() {
    let every = |n, crashes, senders: &[usize], which| {
        let search = Exhaustive::new().crashes(crashes);
        let wire = |world: &World| wire(world, which);
        explore(&search, n, senders, wire, |payload| Broadcast { payload })
    };
    let all = |n, crashes, senders: &[usize], which| {
        let all = every(n, crashes, senders, which);
        all.assert_all_hold();
        all.executions
    };
    assert_eq!(all(2, 1, &[1, 1], Which::Regular), 74);
    assert_eq!(all(3, 1, &[1], Which::Regular), 145);
    assert_eq!(all(2, 0, &[1, 1], Which::Uniform), 5);
    assert_eq!(all(3, 1, &[1], Which::Uniform), 139);
    let found = every(2, 0, &[1, 1], Which::Broken).found.unwrap();
    assert_eq!(found.violation.tag, "FRB5");
}
