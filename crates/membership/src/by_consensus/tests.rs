use super::{
    mutant::{Rule, Ruled},
    *,
};
use crate::testing::{Latencies, Log, broadcast, delivered, half, last_view, p, step, user};
use quorate_abstractions::link::Links;
use quorate_consensus::uniform_hierarchical;
use quorate_core::Addr;
use quorate_core::Time;
use quorate_sim::{
    Adversary, Crash, Exhaustive, Lose, Report, Timed, UNIT, World, properties,
    testing::{any_pace, losing},
};
use std::time::Duration;

/// Everybody is a member; P reports to view synchrony at each process after this many steps, and to consensus
/// after one.
fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    rule: Rule,
    detection: impl Fn(ProcessId) -> Duration,
) -> (World, Vec<Addr<Request>>, Vec<Log>) {
    let world = World::new(n, seed, adversary).unwrap().keep_trace();
    if rule.is_uniform() {
        world.check(properties::uniform_view_synchrony(
            world.membership(),
            "views",
        ));
    } else {
        world.check(properties::view_synchrony(world.membership(), "views"));
    }
    let (mut ports, mut logs) = (Vec::new(), Vec::new());
    for q in world.processes() {
        let (host, links) = (world.host(q).at("views"), world.links(q).at("views"));
        let (up, back, log) = user(&world, q);
        let consensus = |up: Addr<Decide>| {
            let links = links.at("consensus");
            let (lane, status) = (links.lane(), links.status());
            let detector = world.perfect(q, UNIT.min(detection(q)));
            uniform_hierarchical::spawn(&host.at("consensus"), lane, &status, &detector, up)
        };
        let algorithm = Ruled::by(
            rule,
            match rule {
                Rule::Uniform | Rule::AllButOne => ByConsensus::uniform(&host),
                _ => ByConsensus::new(&host),
            },
        );
        let detector = world.perfect(q, detection(q));
        let (lane, status) = (links.lane(), links.status());
        let port = spawn_as(&host, algorithm, lane, &status, consensus, &detector, up);
        assert!(back.set(port.clone()).is_ok());
        ports.push(port);
        logs.push(log);
    }
    (world, ports, logs)
}

fn steps(steps: u32) -> impl Fn(ProcessId) -> Duration {
    move |_| UNIT * steps
}

#[test]
fn a_broadcast_costs_what_the_header_says() {
    for n in 1..=8_u64 {
        let (adversary, rule) = (Timed::lock_step(), Rule::Corrected);
        let (mut world, ports, logs) = world(n as usize, 1, adversary, rule, steps(1));
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, n - 1);
        assert!(logs.iter().all(|log| delivered(log) == [&b"m"[..]]));
    }
}

#[test]
fn a_view_change_costs_what_the_header_says() {
    for (n, d) in (2..=8_u64).flat_map(|n| [1, 3].map(|d| (n, d))) {
        let adversary = Timed::lock_step();
        // Consensus also learns of crashes only after this many steps.
        let (mut world, _, logs) =
            world(n as usize, 1, adversary, Rule::Corrected, steps(d as u32));
        world.crash(p(n as usize), Crash::at(Time::ZERO));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, 2 * (n - 1).pow(2), "n = {n}");
        for q in 1..n as usize {
            assert_eq!(last_view(&logs[q - 1]).0, 1);
            let last = world.tally(p(q), "views", "View").unwrap().last;
            let took = last.as_nanos() / UNIT.as_nanos() as u64 - d;
            let expected = match q as u64 {
                1 if n == 2 => 0,
                q if q == n - 1 => n - 1,
                _ => n,
            };
            assert_eq!(took, expected, "n = {n}, d = {d}, p{q}");
        }
    }
}

#[test]
fn a_broadcast_of_the_uniform_form_costs_what_the_header_says() {
    for n in 1..=8_u64 {
        let (adversary, rule) = (Timed::lock_step(), Rule::Uniform);
        let (mut world, ports, logs) = world(n as usize, 1, adversary, rule, steps(1));
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, n * (n - 1));
        assert!(logs.iter().all(|log| delivered(log) == [&b"m"[..]]));
        let last = world
            .processes()
            .map(|q| world.tally(q, "views", "Deliver").unwrap().last);
        let expected = if n == 1 { Time::ZERO } else { step(2) };
        assert_eq!(last.max(), Some(expected), "n = {n}");
    }
}

/// p1 broadcasts, and crashes half a step later with its copies, at least the one to p3. In the second
/// half of the run p2 crashes, too, before it flushes.
fn crash_with_its_copies(rule: Rule, crash_of_p2: Option<u32>) -> Report {
    let (mut world, ports, _) = world(3, 1, Latencies::each(&[(1, 3, 9)]), rule, steps(1));
    world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    let (first, lost) = match crash_of_p2 {
        None => (1, Lose::Everything),
        Some(_) => (5, Lose::Everything),
    };
    world.crash(p(1), Crash::at(half(first)).losing(lost));
    if let Some(halves) = crash_of_p2 {
        let crash = Crash::at(half(halves));
        world.crash(p(2), crash.losing(Lose::Everything));
    }
    world.run()
}

#[test]
fn d7_e10_delivering_at_once_breaks_uniform_agreement() {
    let report = crash_with_its_copies(Rule::DeliversAtOnce, None);
    assert_eq!(report.violation().unwrap().tag, "UVS9", "{report}");
    crash_with_its_copies(Rule::Uniform, None).assert_all_hold();
}

#[test]
fn uvs9_delivering_when_all_but_one_have_it_breaks_uniform_agreement() {
    let report = crash_with_its_copies(Rule::AllButOne, Some(5));
    assert_eq!(report.violation().unwrap().tag, "UVS9", "{report}");
    crash_with_its_copies(Rule::Uniform, Some(5)).assert_all_hold();
}

#[test]
fn uvs9_holds_wherever_processes_crash_and_leave() {
    for seed in 0..400 {
        let report = drawn(seed, Rule::Uniform, 4);
        assert!(report.all_hold(), "seed {seed}, {report}");
        let report = drawn_leaving(seed, Rule::Uniform);
        assert!(report.all_hold(), "leaving, seed {seed}, {report}");
    }
}

#[test]
fn every_schedule_of_the_uniform_form_of_two_and_three_holds() {
    for (n, depth) in [(2, 30), (3, 9)] {
        let search = Exhaustive::new().crashes(1).depth(depth);
        let found = search.explore(|| {
            let (world, ports, _) = world(n, 1, Timed::lock_step(), Rule::Uniform, steps(0));
            world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
            world
        });
        assert!(found.found.is_none(), "n = {n}: {found}");
        assert!(n > 2 || found.complete, "{found}");
    }
}

#[test]
fn every_schedule_search_finds_that_delivering_at_once_is_not_uniform() {
    let found = Exhaustive::new().crashes(1).depth(30).explore(|| {
        let rule = Rule::DeliversAtOnce;
        let (world, ports, _) = world(2, 1, Timed::lock_step(), rule, steps(0));
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
        world
    });
    assert_eq!(found.found.unwrap().violation.tag, "UVS9");
}

/// Whether a process was told that it has left.
fn has_left(log: &Log) -> bool {
    let log = log.lock().unwrap();
    log.iter().any(|it| matches!(it, Indication::Left { .. }))
}

#[test]
fn a_process_that_leaves_costs_what_the_header_says() {
    for (n, rank) in (1..=8_usize).flat_map(|n| [1, n].map(|rank| (n, rank))) {
        let (adversary, rule) = (Timed::lock_step(), Rule::Corrected);
        let (mut world, ports, logs) = world(n, 1, adversary, rule, steps(1));
        world.request(p(rank), Time::ZERO, &ports[rank - 1], Request::Leave);
        let report = world.run();
        report.assert_all_hold();
        let expected = 2 * n * (n - 1);
        assert_eq!(report.counts.messages, expected as u64, "n = {n}");
        for (q, log) in (1..).zip(&logs) {
            assert_eq!(has_left(log), q == rank, "n = {n}, p{q}");
        }
    }
}

#[test]
fn who_leaves_delivers_what_it_broadcast_before_and_nothing_after() {
    let (adversary, rule) = (Timed::lock_step(), Rule::Corrected);
    let (mut world, ports, logs) = world(3, 1, adversary, rule, steps(1));
    // More than the window.
    for _ in 0..300 {
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"before"));
    }
    world.request(p(1), Time::ZERO, &ports[0], Request::Leave);
    world.request(p(1), Time::ZERO, &ports[0], broadcast(b"after"));
    world.request(p(1), Time::ZERO, &ports[0], Request::Leave);
    world.request(p(2), step(20), &ports[1], broadcast(b"without p1"));
    let report = world.run();
    let validity = report.verdict("VS6").unwrap();
    assert!(!validity.is_violated(), "{report}");
    let counts: Vec<_> = logs.iter().map(|log| delivered(log).len()).collect();
    assert_eq!(counts, [300, 301, 301]);
    assert_eq!(world.counters(p(1)).total("broadcast after leaving"), 1);
    assert_eq!(world.counters(p(1)).total("leaves already"), 1);
}

/// As [`drawn`], where processes leave, too.
fn drawn_leaving(seed: u64, rule: Rule) -> Report {
    let n = 2 + seed as usize % 4;
    let detection = |q: ProcessId| UNIT * (1 + (q.rank() as u32 + seed as u32) % 3);
    let (mut world, ports, _) = world(n, seed, any_pace(seed), rule, detection);
    for (port, rank) in ports.iter().zip(1_u64..) {
        for k in 0..3 {
            let at = half((seed as u32 + 5 * k + 3 * rank as u32) % 23);
            world.request(p(rank as usize), at, port, broadcast(&[k as u8]));
        }
        // In some runs all processes leave.
        if (seed / 4 + rank) % 3 < seed % 4 {
            let at = half(23 + ((seed + 5 * rank) % 31) as u32);
            world.request(p(rank as usize), at, port, Request::Leave);
        }
    }
    for rank in 1..n {
        if (seed / 3 + rank as u64).is_multiple_of(2) {
            let at = 1 + (seed / 5 + 7 * rank as u64) % (9 * n as u64);
            let lose = losing(seed + rank as u64);
            world.crash(p(rank), Crash::before_output(at).losing(lose));
        }
    }
    world.run()
}

#[test]
fn vs11_and_vs12_hold_wherever_processes_leave_and_crash() {
    for seed in 0..400 {
        let report = drawn_leaving(seed, Rule::Corrected);
        assert!(report.all_hold(), "seed {seed}, {report}");
    }
}

#[test]
fn every_schedule_in_which_one_leaves_holds() {
    for (n, depth) in [(2, 30), (3, 9)] {
        let search = Exhaustive::new().crashes(1).depth(depth);
        let found = search.explore(|| {
            let (world, ports, _) = world(n, 1, Timed::lock_step(), Rule::Corrected, steps(0));
            world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
            world.request(p(1), Time::ZERO, &ports[0], Request::Leave);
            world
        });
        assert!(found.found.is_none(), "n = {n}: {found}");
    }
}

/// p3 crashes at once, and p4 after it has flushed: its crash is known before the view without p3.
fn crash_while_flushing(rule: Rule) -> Report {
    let (mut world, _, _) = world(4, 1, Timed::lock_step(), rule, steps(1));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.crash(p(4), Crash::at(half(3)));
    world.run()
}

#[test]
fn d8_e1_forgetting_crashes_while_flushing_breaks_completeness() {
    let report = crash_while_flushing(Rule::NoFurtherFlush);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    crash_while_flushing(Rule::Corrected).assert_all_hold();
}

/// p4 crashes, and p3 once it has flushed, which p1 alone does not learn: p1 proposes p1 and p2, which is
/// decided before p2 learns of p3's crash.
fn crash_of_the_excluded(rule: Rule) -> Report {
    let detection = |q| if q == p(1) { UNIT } else { UNIT * 3 };
    let (mut world, ports, _) = world(4, 1, Latencies::each(&[(3, 1, 10)]), rule, detection);
    world.crash(p(4), Crash::at(Time::ZERO));
    world.crash(p(3), Crash::at(half(7)));
    world.request(p(2), step(20), &ports[1], broadcast(b"m"));
    world.run()
}

#[test]
fn d8_e2_a_flush_for_the_excluded_breaks_validity() {
    let report = crash_of_the_excluded(Rule::FlushForTheExcluded);
    assert_eq!(report.violation().unwrap().tag, "VS6");
    crash_of_the_excluded(Rule::Corrected).assert_all_hold();
}

/// p3 crashes, and p2 before it flushes.
fn crash_of_the_awaited(rule: Rule) -> Report {
    let (mut world, _, _) = world(3, 1, Timed::lock_step(), rule, steps(1));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.crash(p(2), Crash::at(half(1)));
    world.run()
}

#[test]
fn d8_e3_looking_for_the_last_flush_only_upon_flushes_breaks_completeness() {
    let report = crash_of_the_awaited(Rule::FlushesOnly);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    crash_of_the_awaited(Rule::Corrected).assert_all_hold();
}

/// As `crash_while_flushing`, but p1 learns of the decision late: the flush of the next view arrives before
/// it. (Consensus by hierarchy needs every correct proposal, so that it is missed.)
fn flush_of_the_next_view(rule: Rule) -> Report {
    let (mut world, _, _) = world(
        5,
        1,
        Latencies::default().way(5, 1, &[1, 6]),
        rule,
        steps(1),
    );
    world.crash(p(2), Crash::at(Time::ZERO));
    world.crash(p(3), Crash::at(half(3)));
    world.run()
}

#[test]
fn d8_e4_erasing_early_flushes_breaks_completeness() {
    let report = flush_of_the_next_view(Rule::EarlyFlushIsErased);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    flush_of_the_next_view(Rule::Corrected).assert_all_hold();
}

/// p1 and p2 broadcast the same content; p2's message is slow to p1, which gets it from a flush.
fn equal_contents(rule: Rule) -> Report {
    let (mut world, ports, _) = world(3, 1, Latencies::each(&[(2, 1, 4)]), rule, steps(1));
    world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    world.request(p(2), Time::ZERO, &ports[1], broadcast(b"m"));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.run()
}

#[test]
fn d8_e5_knowing_messages_by_their_content_breaks_agreement() {
    let report = equal_contents(Rule::KnownByContent);
    assert_eq!(report.violation().unwrap().tag, "VS9");
    equal_contents(Rule::Corrected).assert_all_hold();
}

/// p4 is dead. p1 learns of the decision late: what p3 broadcasts in the next view arrives before it.
fn data_of_the_next_view(rule: Rule) -> (Report, Vec<usize>) {
    let adversary = Latencies::default().way(3, 1, &[1, 6]);
    let (mut world, ports, logs) = world(4, 1, adversary, rule, steps(1));
    world.crash(p(4), Crash::at(Time::ZERO));
    world.request(p(3), step(6), &ports[2], broadcast(b"m"));
    let report = world.run();
    let delivered = logs[..3].iter().map(|log| delivered(log).len()).collect();
    (report, delivered)
}

#[test]
fn d8_e6_dropping_data_of_the_next_view_breaks_validity_and_agreement_in_the_last_view() {
    let (report, delivered) = data_of_the_next_view(Rule::EarlyDataIsDropped);
    assert_eq!(delivered, [0, 1, 1], "p1 never gets it");
    assert_eq!(report.violation().unwrap().tag, "VS6");
    for tag in ["VS6", "VS9"] {
        assert!(report.verdict(tag).unwrap().is_violated(), "{report}");
    }
    let (report, delivered) = data_of_the_next_view(Rule::Corrected);
    report.assert_all_hold();
    assert_eq!(delivered, [1; 3]);
}

/// A run in which all processes broadcast, and p1 to the one of this rank may crash, early or late.
fn drawn(seed: u64, rule: Rule, crashes: usize) -> Report {
    let n = 2 + seed as usize % 4;
    let detection = |q: ProcessId| UNIT * (1 + (q.rank() as u32 + seed as u32) % 3);
    let (mut world, ports, _) = world(n, seed, any_pace(seed), rule, detection);
    for (number, port) in ports.iter().enumerate() {
        for k in 0..3 {
            let at = half((seed as u32 + 5 * k + 3 * number as u32) % 23);
            world.request(p(number + 1), at, port, broadcast(&[k as u8]));
        }
    }
    for rank in 1..=crashes.min(n - 1) {
        let lose = losing(seed + rank as u64);
        let at = 1 + (seed / 5 + 7 * rank as u64) % (6 * n as u64);
        world.crash(p(rank), Crash::before_output(at).losing(lose));
    }
    world.run()
}

#[test]
fn vs1_to_vs9_wherever_processes_crash() {
    for seed in 0..400 {
        let report = drawn(seed, Rule::Corrected, 4);
        assert!(report.all_hold(), "seed {seed}, {report}");
    }
}

/// Tens of thousands of runs, for the soak.
#[test]
#[ignore = "tens of thousands of runs"]
fn vs1_to_vs9_in_tens_of_thousands_of_runs() {
    for seed in 400..40_000 {
        for crashes in [1, 4] {
            let report = drawn(seed, Rule::Corrected, crashes);
            assert!(report.all_hold(), "seed {seed}, {report}");
        }
    }
}

#[test]
fn d8_e6_chance_finds_that_data_of_the_next_view_is_dropped() {
    let found = |seed| !drawn(seed, Rule::EarlyDataIsDropped, 1).all_hold();
    assert!((0..400).any(found));
}

#[test]
fn every_schedule_of_two_and_three_holds() {
    for (n, depth) in [(2, 30), (3, 10)] {
        let search = Exhaustive::new().crashes(1).depth(depth);
        let found = search.explore(|| {
            let (world, ports, _) = world(n, 1, Timed::lock_step(), Rule::Corrected, steps(0));
            world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
            world
        });
        assert!(found.found.is_none(), "n = {n}: {found}");
        assert!(n > 2 || found.complete, "{found}");
    }
}

#[test]
fn what_is_stable_is_forgotten_and_a_sender_waits_for_the_others() {
    let adversary = Timed::lock_step();
    let (mut world, ports, logs) = world(3, 1, adversary, Rule::Corrected, steps(1));
    let many = 3 * crate::within::WINDOW;
    for _ in 0..many {
        world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    }
    let first = world.run_until(half(1));
    let window = crate::within::WINDOW;
    assert_eq!(delivered(&logs[0]).len() as u64, window);
    assert_eq!(first.counts.messages, 2 * window + 2 * (window / 32));
    world.run().assert_all_hold();
    assert!(logs.iter().all(|log| delivered(log).len() as u64 == many));
}

#[test]
fn what_nobody_correct_sends_is_dropped() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let counters = quorate_core::Counters::default();
    let mut ctx = quorate_core::Context::new("views".into(), 1, counters);
    let mut p1 = ByConsensus::new(&world.host(p(1)));
    let id = |rank: usize| quorate_core::MessageId {
        origin: quorate_core::message::Origin {
            process: p(rank),
            incarnation: quorate_core::Incarnation(1),
        },
        sequence: 1,
    };
    let data = |rank, number| Data {
        number,
        id: id(rank),
        payload: bytes::Bytes::new(),
    };
    let deliver = |view, data| {
        Event::BestEffort(best_effort::Deliver {
            from: p(2),
            message: Message::Data { view, data },
        })
    };
    let decide = Event::Decide(Decide {
        instance: 1,
        value: bytes::Bytes::from_static(b"?"),
    });
    let hostile = [
        deliver(0, data(1, 1)),
        deliver(0, data(2, 1 << 40)),
        deliver(1, data(2, 1 << 40)),
        deliver(7, data(2, 1)),
        Event::Request(Request::BlockOk),
        Event::Request(Request::Join),
        decide,
    ];
    for event in hostile {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        assert!(effects.is_empty(), "{effects:?}");
    }
}

/// After its flush a process learns that every member has its broadcast, and delivers it; what comes only now, it does
/// not.
#[test]
fn in_the_uniform_form_what_every_member_has_received_is_delivered_after_the_flush_too() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let counters = quorate_core::Counters::default();
    let mut ctx = quorate_core::Context::new("views".into(), 1, counters);
    let mut p1 = ByConsensus::uniform(&world.host(p(1)));
    let mut deliveries = |events: Vec<Event>| {
        let mut effects = Vec::new();
        for event in events {
            p1.upon(event, &mut ctx);
            ctx.take_effects(&mut effects);
        }
        let delivers = |it: &&Effect| matches!(it, Effect::Indicate(Indication::Deliver(_)));
        effects.iter().filter(delivers).count()
    };
    let hear = |rank, message| {
        let from = p(rank);
        Event::BestEffort(best_effort::Deliver { from, message })
    };
    let reports = |rank| {
        let counts = vec![(p(1), 1)];
        hear(rank, Message::Stable { view: 0, counts })
    };
    let late = Data {
        number: 1,
        id: quorate_core::MessageId {
            origin: quorate_core::message::Origin {
                process: p(2),
                incarnation: quorate_core::Incarnation(1),
            },
            sequence: 1,
        },
        payload: bytes::Bytes::new(),
    };
    let flushes = vec![
        Event::Request(broadcast(b"m")),
        reports(2),
        Event::Crash(perfect::Crash(p(3))),
        Event::Request(Request::BlockOk),
    ];
    assert_eq!(deliveries(flushes), 0, "p3 may lack it");
    let data = Message::Data {
        view: 0,
        data: late,
    };
    assert_eq!(
        deliveries(vec![hear(2, data)]),
        0,
        "it is in the flush of p2"
    );
    assert_eq!(deliveries(vec![reports(3)]), 1, "everybody has it");
}
