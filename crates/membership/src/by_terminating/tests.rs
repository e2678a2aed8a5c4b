mod errata;

use super::*;
use crate::{
    group,
    testing::{Log, broadcast, delivered, half, last_view, p, step, user},
    within::{BYTES, WINDOW},
};
use quorate_abstractions::{
    Subscribe,
    consensus::{Decide, Propose},
    link::Links,
    perfect,
};
use quorate_broadcast::terminating as trb;
use quorate_consensus::uniform_hierarchical;
use quorate_core::{Addr, Context, Counters, Incarnation, Layer, MessageId, Time, message::Origin};
use quorate_sim::{
    Adversary, Crash, Exhaustive, IdealLinks, Report, SimHost, Timed, UNIT, World, properties,
    testing::{any_pace, losing},
};
use std::time::Duration;

/// Uniform hierarchical consensus under this name.
fn consensus<'d>(
    name: &str,
    host: &SimHost,
    links: &IdealLinks,
    detector: &'d Subscribe<perfect::Crash>,
) -> impl Layer<(Propose, Decide)> + use<'d> {
    let (host, links) = (host.at(name), links.at(name));
    move |up| uniform_hierarchical::spawn(&host, links.lane(), &links.status(), detector, up)
}

/// An algorithm at `q`, over group membership and terminating broadcast by uniform hierarchical
/// consensus.
fn stack<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    q: ProcessId,
    detector: &Subscribe<perfect::Crash>,
    algorithm: A,
    up: Addr<Indication>,
) -> Addr<Request> {
    let (host, links) = (world.host(q).at("views"), world.links(q).at("views"));
    let group = |up: Addr<group_membership::Indication>| {
        let (host, links) = (host.at("group"), links.at("group"));
        let consensus = consensus("consensus", &host, &links, detector);
        let (lane, status) = (links.lane(), links.status());
        group::spawn(&host, lane, &status, consensus, detector, up)
    };
    let terminating = |up: Addr<terminating::Deliver>| {
        let (host, links) = (host.at("flush"), links.at("flush"));
        let agreed = |source: ProcessId, up| {
            consensus(&source.to_string(), &host, &links, detector).attach(up)
        };
        trb::spawn(&host, links.lane(), &links.status(), agreed, detector, up)
    };
    let (lane, status) = (links.at("data").lane(), links.status());
    spawn_as(&host, algorithm, group, terminating, lane, &status, up)
}

/// This algorithm everywhere; users answer `Block` at once.
fn world_of<A: Algorithm<Event = Event, Effect = Effect>>(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    algorithm: impl Fn(ByTerminating) -> A,
    detection: impl Fn(ProcessId) -> Duration,
) -> (World, Vec<Addr<Request>>, Vec<Log>) {
    let world = World::new(n, seed, adversary).unwrap();
    let (ports, logs) = wire(&world, algorithm, detection, |_| true);
    (world, ports, logs)
}

/// The same on this world, with users that answer `Block` at these processes.
fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    algorithm: impl Fn(ByTerminating) -> A,
    detection: impl Fn(ProcessId) -> Duration,
    answers: impl Fn(ProcessId) -> bool,
) -> (Vec<Addr<Request>>, Vec<Log>) {
    world.check(properties::view_synchrony(world.membership(), "views"));
    let at = |q| {
        let (up, back, log) = user(world, q);
        let detector = world.perfect(q, detection(q));
        let algorithm = algorithm(ByTerminating::new(&world.host(q).at("views")));
        let port = stack(world, q, &detector, algorithm, up);
        let answer = if answers(q) {
            port.clone()
        } else {
            Addr::nowhere()
        };
        assert!(back.set(answer).is_ok());
        (port, log)
    };
    world.processes().map(at).unzip()
}

fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    detection: impl Fn(ProcessId) -> Duration,
) -> (World, Vec<Addr<Request>>, Vec<Log>) {
    world_of(n, seed, adversary, |views| views, detection)
}

fn steps(steps: u32) -> impl Fn(ProcessId) -> Duration {
    move |_| UNIT * steps
}

#[test]
fn a_broadcast_costs_what_the_header_says() {
    for n in 1..=8_u64 {
        let (mut world, ports, logs) = world(n as usize, 1, Timed::lock_step(), steps(1));
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, n - 1);
        assert!(logs.iter().all(|log| delivered(log) == [&b"m"[..]]));
        assert!(report.completion.time <= step(1));
    }
}

#[test]
fn a_view_change_costs_what_the_header_says() {
    for (n, d) in (2..=8_u64).flat_map(|n| [1, 3].map(|d| (n, d))) {
        for dead in [1, n as usize] {
            let (mut world, _, logs) = world(n as usize, 1, Timed::lock_step(), steps(d));
            world.crash(p(dead), Crash::at(Time::ZERO));
            let report = world.run();
            report.assert_all_hold();
            let expected = (n - 1).pow(2) * (n + 2);
            assert_eq!(report.counts.messages, expected, "n = {n}, p{dead} dead");
            let alive = (1..=n as usize).filter(|rank| *rank != dead);
            assert!(alive.clone().all(|rank| last_view(&logs[rank - 1]).0 == 1));
            let last = alive.map(|rank| world.tally(p(rank), "views", "View").unwrap().last);
            let took = last.max().unwrap().as_nanos() / UNIT.as_nanos() as u64;
            let d = u64::from(d);
            let expected = match n {
                2 => d,
                3 => d + 4,
                _ => d + 2 * n - 1,
            };
            assert_eq!(took, expected, "n = {n}, D = {d}, p{dead} dead");
        }
    }
}

#[test]
fn who_leaves_costs_a_change_of_the_group_and_the_flushes() {
    for (n, rank) in (1..=8_usize).flat_map(|n| [1, n].map(|rank| (n, rank))) {
        let (mut world, ports, logs) = world(n, 1, Timed::lock_step(), steps(1));
        world.request(p(rank), Time::ZERO, &ports[rank - 1], Request::Leave);
        let report = world.run();
        report.assert_all_hold();
        let group = (n - 1) + n * (n - 1);
        let flushes = n * ((n - 1) + n * (n - 1));
        assert_eq!(report.counts.messages, (group + flushes) as u64, "n = {n}");
        for (q, log) in (1..).zip(&logs) {
            let log = log.lock().unwrap();
            let has_left = log.iter().any(|it| matches!(it, Indication::Left { .. }));
            assert_eq!(has_left, q == rank, "n = {n}, p{q}");
        }
    }
}

#[test]
fn vs11_and_vs12_hold_wherever_processes_leave_and_crash() {
    for seed in 0..300_u64 {
        let n = 2 + seed as usize % 4;
        let (mut world, ports, _) = world(n, seed, any_pace(seed), some_delay(seed));
        let crashes = if seed.is_multiple_of(3) { 2 } else { 0 };
        trouble(&world, &ports, seed, crashes);
        for (port, rank) in ports.iter().zip(1_u64..) {
            // In some runs all processes leave. Those that stay broadcast on.
            if (seed / 4 + rank) % 3 < seed % 4 {
                let at = half(61 + ((seed + 5 * rank) % 31) as u32);
                world.request(p(rank as usize), at, port, Request::Leave);
            } else {
                world.request(p(rank as usize), half(95), port, broadcast(b"later"));
            }
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
    }
}

/// Requests, and crashes of p1 to the one of this rank, but not of the last process, as the seed determines.
fn trouble(world: &World, ports: &[Addr<Request>], seed: u64, crashes: usize) {
    let n = ports.len();
    for (number, port) in ports.iter().enumerate() {
        for k in 0..4 {
            let at = half((seed as u32 + 13 * k + 3 * number as u32) % 61);
            world.request(p(number + 1), at, port, broadcast(&[k as u8]));
        }
    }
    for rank in 1..=crashes.min(n - 1) {
        let lose = losing(seed + rank as u64);
        let at = 1 + (seed / 5 + 7 * rank as u64) % (8 * n as u64);
        world.crash(p(rank), Crash::before_output(at).losing(lose));
    }
}

fn some_delay(seed: u64) -> impl Fn(ProcessId) -> Duration {
    move |q| UNIT * (1 + (q.rank() as u32 + seed as u32) % 3)
}

#[test]
fn vs1_to_vs9_wherever_processes_crash() {
    for seed in 0..300 {
        let n = 2 + seed as usize % 4;
        let (mut world, ports, _) = world(n, seed, any_pace(seed), some_delay(seed));
        trouble(&world, &ports, seed, 4);
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
    }
}

/// Tens of thousands of runs, for the soak.
#[test]
#[ignore = "tens of thousands of runs"]
fn vs1_to_vs9_in_tens_of_thousands_of_runs() {
    for seed in 300..30_000 {
        for crashes in [1, 4] {
            let n = 2 + seed as usize % 4;
            let (mut world, ports, _) = world(n, seed, any_pace(seed), some_delay(seed));
            trouble(&world, &ports, seed, crashes);
            let report = world.run();
            assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
        }
    }
}

/// Users answer at arbitrary times, which have nothing to do with the times at which they are asked.
#[test]
fn vs1_to_vs9_with_users_that_take_their_time() {
    let mut unasked = 0;
    for seed in 0..100_u64 {
        let n = 3 + seed as usize % 2;
        let mut world = World::new(n, seed, Timed::uniform(UNIT / 2, UNIT * 6)).unwrap();
        let (ports, _) = wire(&world, |views| views, some_delay(seed), |_| false);
        trouble(&world, &ports, seed, 4);
        for (number, port) in ports.iter().enumerate() {
            for k in 1..60 {
                let at = step(k * (9 + (seed as u32 + 5 * number as u32) % 23));
                world.request(p(number + 1), at, port, Request::BlockOk);
            }
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
        unasked += world.counters(p(n)).total("unasked BlockOk");
    }
    assert!(unasked > 0);
}

#[test]
fn every_schedule_of_two_and_three_holds() {
    for (n, depth) in [(2, 30), (3, 9)] {
        let search = Exhaustive::new().crashes(1).depth(depth);
        let found = search.explore(|| {
            let (world, ports, _) = world(n, 1, Timed::lock_step(), steps(0));
            world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
            world
        });
        assert!(found.found.is_none(), "n = {n}: {found}");
        assert!(n > 2 || found.complete, "{found}");
    }
}

#[test]
fn what_is_stable_is_forgotten_and_a_sender_waits_for_the_others() {
    let (mut world, ports, logs) = world(3, 1, Timed::lock_step(), steps(1));
    let many = 3 * WINDOW;
    for _ in 0..many {
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    }
    let first = world.run_until(half(1));
    assert_eq!(delivered(&logs[0]).len() as u64, WINDOW);
    assert_eq!(first.counts.messages, 2 * WINDOW + 2 * (WINDOW / 32));
    world.run().assert_all_hold();
    assert!(logs.iter().all(|log| delivered(log).len() as u64 == many));
}

#[test]
fn a_sender_of_few_long_messages_is_told_in_time_as_well() {
    let (mut world, ports, logs) = world(3, 1, Timed::lock_step(), steps(1));
    let long = vec![b'm'; BYTES / 3 / 3];
    for _ in 0..20 {
        world.request(p(1), Time::ZERO, &ports[0], broadcast(&long));
    }
    world.run_until(half(1));
    assert_eq!(
        delivered(&logs[0]).len(),
        4,
        "its share, and what exceeds it"
    );
    world.run().assert_all_hold();
    assert!(logs.iter().all(|log| delivered(log).len() == 20));
}

/// The algorithm at p1 of `n`, driven by hand.
fn by_hand(n: usize) -> impl FnMut(Event) -> Vec<Effect> {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let mut views = ByTerminating::new(&world.host(p(1)));
    let mut ctx = Context::new("views".into(), 1, Counters::default());
    move |event| {
        views.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    }
}

fn data(rank: usize, number: u64) -> Data {
    let (process, incarnation) = (p(rank), Incarnation(1));
    let origin = Origin {
        process,
        incarnation,
    };
    let (sequence, payload) = (number, Bytes::from_static(b"m"));
    let id = MessageId { origin, sequence };
    Data {
        number,
        id,
        payload,
    }
}

fn flush(rank: usize, number: u64, payload: &'static [u8]) -> Event {
    let outcome = Content::Message(Bytes::from_static(payload));
    let source = p(rank);
    Event::Terminating(terminating::Deliver {
        source,
        number,
        outcome,
    })
}

#[test]
fn what_nobody_correct_sends_is_dropped() {
    let mut upon = by_hand(2);
    let deliver = |message| {
        let from = p(2);
        Event::BestEffort(best_effort::Deliver { from, message })
    };
    let told = |view, data| deliver(Message::Data { view, data });
    let (view, leaves, messages) = (0, false, Vec::new());
    let hostile = [
        told(0, data(1, 1)),
        told(0, data(2, 1 << 40)),
        told(1, data(2, 1 << 40)),
        told(7, data(2, 1)),
        deliver(Message::Flush {
            view,
            leaves,
            messages,
        }),
        flush(2, 0, b""),
        flush(2, 9, b""),
        flush(2, 1, b"?"),
        Event::Request(Request::Join),
    ];
    for event in hostile {
        let effects = upon(event);
        assert!(effects.is_empty(), "{effects:?}");
    }
}

#[test]
fn d7_e8_block_ok_counts_once_and_only_if_it_was_asked_for() {
    let mut upon = by_hand(2);
    let block_ok = || Event::Request(Request::BlockOk);
    assert!(upon(block_ok()).is_empty());
    let members = [p(1)].into_iter().collect();
    let next = Event::Group(group_membership::Indication::View(View { id: 1, members }));
    assert!(matches!(
        upon(next)[..],
        [Effect::Indicate(Indication::Block)]
    ));
    assert!(matches!(upon(block_ok())[..], [Effect::Terminating(_)]));
    assert!(upon(block_ok()).is_empty(), "its flushes are counted");
}
