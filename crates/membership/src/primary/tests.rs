use super::*;
use crate::testing::{Back, Latencies, Log, broadcast, half, last_view, p, step};
use quorate_abstractions::link::Links;
use quorate_consensus::leader_driven;
use quorate_core::{MessageId, Time, message::fold};
use quorate_detectors::lowest_rank;
use quorate_sim::{
    Adversary, Crash, Exhaustive, Oracle, Report, Timed, UNIT, World, properties,
    testing::{any_pace, losing},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The group's state at a user: every message, with its content.
type Store = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A process of a test.
struct Wired {
    port: Addr<Request>,
    log: Log,
    store: Store,
}

fn name(id: MessageId) -> String {
    id.to_string()
}

fn pack(store: &BTreeMap<String, Bytes>) -> Bytes {
    let list: Vec<_> = store.iter().map(|(k, v)| (k, v.to_vec())).collect();
    wire::encode_value(&list).unwrap()
}

fn unpack(state: &Bytes) -> BTreeMap<String, Bytes> {
    let list: Vec<(String, Vec<u8>)> = wire::decode_value(state).unwrap();
    list.into_iter().map(|(k, v)| (k, v.into())).collect()
}

/// The question that a user leaves unanswered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silent {
    Never,
    /// It does not give its state.
    State,
    /// It does not ask to join.
    Join,
}

fn user(world: &World, q: ProcessId, silent: Silent) -> (Addr<Indication>, Back, Log, Store) {
    let (back, log, store) = (Back::default(), Log::default(), Store::default());
    let (port, told, mine) = (back.clone(), log.clone(), store.clone());
    let up = world.application_with(q, move |indication: Indication, _| {
        let port = port.get().unwrap();
        let mut mine = mine.lock().unwrap();
        match &indication {
            Indication::Block => port.send(Request::BlockOk),
            Indication::StateWanted { view } if silent != Silent::State => {
                let (view, state) = (*view, pack(&mine));
                port.send(Request::State { view, state });
            }
            Indication::State(state) => *mine = unpack(state),
            Indication::Excluded { .. } if silent != Silent::Join => port.send(Request::Join),
            Indication::Deliver(deliver) => {
                let had = mine.insert(name(deliver.id), deliver.payload.clone());
                assert!(had.is_none(), "what the state has is not delivered again");
            }
            _ => {}
        }
        told.lock().unwrap().push(indication);
    });
    (up, back, log, store)
}

fn world(
    n: usize,
    seed: u64,
    adversary: impl Adversary + 'static,
    oracle: &Oracle,
    silent: impl Fn(ProcessId) -> Silent,
) -> (World, Vec<Wired>) {
    let world = World::new(n, seed, adversary).unwrap().keep_trace();
    world.check(properties::view_synchrony_with_joins(
        world.membership(),
        "views",
    ));
    let sites = world.processes().map(|q| {
        let (host, links) = (world.host(q).at("views"), world.links(q).at("views"));
        let (up, back, log, store) = user(&world, q, silent(q));
        let detector = world.eventually_perfect(q, oracle);
        let consensus = |up: Addr<Decide>| {
            let leader = lowest_rank::spawn(&host.at("leader"), &detector);
            let lane = links.at("consensus").lane();
            leader_driven::spawn(&host.at("consensus"), lane, &links.status(), &leader, up)
        };
        let port = spawn(
            &host,
            links.lane(),
            &links.status(),
            consensus,
            &detector,
            up,
        );
        assert!(back.set(port.clone()).is_ok());
        Wired { port, log, store }
    });
    let sites = sites.collect();
    (world, sites)
}

/// All processes but the crashed ones are in one view, and have the same messages.
#[track_caller]
fn assert_together(report: &Report, sites: &[Wired], what: &str) {
    let correct = report.completion.correct;
    let first = correct.iter().next().unwrap();
    let theirs = sites[first.index()].store.lock().unwrap().clone();
    for q in correct.iter() {
        let site = &sites[q.index()];
        assert_eq!(last_view(&site.log).1, correct, "{what}: {q}");
        let mine = site.store.lock().unwrap().clone();
        assert_eq!(mine, theirs, "{what}: {q}");
    }
}

fn indications(site: &Wired) -> Vec<Indication> {
    site.log.lock().unwrap().clone()
}

/// p1 and p2 suspect p3 for a while.
fn mistake(n: usize) -> Oracle {
    (1..n).fold(Oracle::accurate(UNIT), |oracle, rank| {
        oracle.suspecting(p(rank), p(n), step(2), step(4))
    })
}

#[test]
fn a_broadcast_costs_what_the_header_says() {
    for n in 1..=8_u64 {
        let (adversary, oracle) = (Timed::lock_step(), Oracle::accurate(UNIT));
        let (mut world, sites) = world(n as usize, 1, adversary, &oracle, never);
        world.request(p(1), Time::ZERO, &sites[0].port, broadcast(b"m"));
        let report = world.run();
        report.assert_all_hold();
        assert_eq!(report.counts.messages, n - 1);
        assert_together(&report, &sites, "a broadcast");
    }
}

#[test]
fn a_view_change_costs_what_the_header_says() {
    for (n, d) in (3..=8_u64).flat_map(|n| [1, 3].map(|d| (n, d))) {
        let (adversary, oracle) = (Timed::lock_step(), Oracle::accurate(UNIT * d as u32));
        let (mut world, sites) = world(n as usize, 1, adversary, &oracle, never);
        world.crash(p(n as usize), Crash::at(Time::ZERO));
        let report = world.run();
        report.assert_all_hold();
        assert_together(&report, &sites, "a crash");
        let all = world
            .processes()
            .filter_map(|q| world.tally(q, "views", "View"));
        let last = all.map(|tally| tally.last).max().unwrap();
        let took = last.as_nanos() / UNIT.as_nanos() as u64 - d;
        assert_eq!(report.counts.messages, 2 * (n - 1).pow(2), "n = {n}");
        assert_eq!(took, 3, "n = {n}, d = {d}");
    }
}

#[test]
fn who_is_excluded_by_mistake_learns_it_joins_and_gets_the_state() {
    let (mut world, sites) = world(
        3,
        1,
        Latencies::each(&[(3, 1, 3), (3, 2, 3)]),
        &mistake(3),
        never,
    );
    for (k, rank) in [1, 2, 3, 1, 2, 3, 1, 2, 3].into_iter().enumerate() {
        let at = step(4 * k as u32);
        world.request(p(rank), at, &sites[rank - 1].port, broadcast(&[k as u8]));
    }
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "a mistake");
    let told = indications(&sites[2]);
    let place = |what: fn(&Indication) -> bool| told.iter().position(what).unwrap();
    let excluded = place(|i| matches!(i, Indication::Excluded { .. }));
    let state = place(|i| matches!(i, Indication::State(_)));
    let wanted = |i: &Indication| matches!(i, Indication::StateWanted { .. });
    assert!(excluded < state);
    assert!(
        matches!(told[state + 1..].iter().find(|i| !matches!(i, Indication::Deliver(_))),
        Some(Indication::View { newcomers, .. }) if newcomers.contains(p(3)))
    );
    assert_eq!(
        indications(&sites[0]).iter().filter(|i| wanted(i)).count(),
        1
    );
    assert_eq!(sites[0].store.lock().unwrap().len(), 9);
}

/// The identifiers of the messages that a process got back, each with whether it is certainly lost.
fn given_back(site: &Wired) -> Vec<(u64, bool)> {
    let told = indications(site);
    let lost = told.iter().filter_map(|indication| match indication {
        Indication::Lost(lost) => Some((lost.id.sequence, lost.is_certain)),
        _ => None,
    });
    lost.collect()
}

#[test]
fn who_is_excluded_gets_back_what_the_others_do_not_have_and_nothing_else() {
    let (mut world, sites) = world(
        3,
        1,
        Latencies::each(&[(3, 1, 3), (3, 2, 3)]),
        &mistake(3),
        never,
    );
    // The others flush at step 2: the first is there by then, and the others are not.
    for at in [Time::ZERO, step(1), step(2)] {
        world.request(p(3), at, &sites[2].port, broadcast(b"m"));
    }
    // A message that it broadcasts when it is back is delivered.
    world.request(p(3), step(30), &sites[2].port, broadcast(b"m"));
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "given back");
    let lost = given_back(&sites[2]);
    assert!(!lost.is_empty() && lost.iter().all(|(_, is_certain)| *is_certain));
    let has = sites[0].store.lock().unwrap().len();
    assert_eq!(has + lost.len(), 4, "{lost:?}");
    assert!(given_back(&sites[0]).is_empty() && given_back(&sites[1]).is_empty());
}

#[test]
fn storms_of_false_suspicions_never_divide_a_group_and_end_with_all_in_it() {
    for seed in 0..600 {
        let n = 3 + seed as usize % 3;
        let draw = |what: u64, below: u64| fold(fold(seed, what), 7) % below;
        let oracle = Oracle::accurate(UNIT * (1 + draw(1, 4) as u32));
        let membership = Membership::of_size(n).unwrap();
        let lies = 2 + draw(2, 5 * n as u64) as usize;
        let oracle = oracle.erratic(&membership, seed, lies, step(60));
        let (mut world, sites) = world(n, seed, any_pace(seed), &oracle, never);
        for (index, site) in sites.iter().enumerate() {
            for k in 0..8 {
                let at = half(draw(100 * k + index as u64, 160) as u32);
                world.request(p(index + 1), at, &site.port, broadcast(&[k as u8]));
            }
        }
        for victim in 0..draw(3, 1 + membership.minority() as u64) {
            let rank = 1 + ((draw(4, n as u64) + victim) % n as u64) as usize;
            let lose = losing(draw(5, 3));
            let crash = match draw(6, 2) {
                0 => Crash::at(half(draw(7 + victim, 160) as u32)),
                _ => Crash::before_output(1 + draw(8 + victim, 100)),
            };
            world.crash(p(rank), crash.losing(lose));
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
        assert_together(&report, &sites, &format!("n = {n}, seed {seed}"));
    }
}

/// How often a process has indicated this.
fn times(site: &Wired, what: fn(&Indication) -> bool) -> usize {
    indications(site).iter().filter(|it| what(it)).count()
}

fn has_left(site: &Wired) -> bool {
    times(site, |it| matches!(it, Indication::Left { .. })) > 0
}

#[test]
fn who_leaves_is_told_and_may_join_again() {
    let (adversary, oracle) = (Timed::lock_step(), Oracle::accurate(UNIT));
    let (mut world, sites) = world(3, 1, adversary, &oracle, never);
    let port = &sites[2].port;
    world.request(p(3), Time::ZERO, port, broadcast(b"before"));
    world.request(p(3), Time::ZERO, port, Request::Leave);
    world.request(p(3), step(15), port, broadcast(b"after"));
    world.run_until(step(20));
    assert!(has_left(&sites[2]));
    let two = [p(1), p(2)].into_iter().collect();
    assert_eq!(last_view(&sites[0].log), (1, two));
    assert_eq!(sites[0].store.lock().unwrap().len(), 1, "the one before");
    world.request(p(3), step(21), port, Request::Join);
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "joined again");
    assert_eq!(sites[0].store.lock().unwrap().len(), 2, "and the one after");
}

#[test]
fn who_leaves_waits_until_a_majority_remains() {
    let (adversary, oracle) = (Timed::lock_step(), Oracle::accurate(UNIT));
    let (mut world, sites) = world(5, 1, adversary, &oracle, never);
    for (site, rank) in sites.iter().zip(1..) {
        world.request(p(rank), Time::ZERO, &site.port, Request::Leave);
    }
    world.run_until(step(30));
    let left = |sites: &[Wired]| sites.iter().filter(|site| has_left(site)).count();
    assert_eq!(left(&sites), 2, "three of five remain");
    world.request(p(1), step(31), &sites[0].port, Request::Join);
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(left(&sites), 3, "another leaves for the one that joins");
}

/// p3 is excluded by mistake at about step 6, and asks to join.
#[test]
fn vs11_who_asks_to_leave_while_it_joins_leaves_the_view_that_it_joins() {
    let mut while_joining = 0;
    for at in 0..60 {
        let slow = Latencies::each(&[(3, 1, 3), (3, 2, 3)]);
        let (mut world, sites) = world(3, 1, slow, &mistake(3), never);
        world.request(p(3), half(at), &sites[2].port, Request::Leave);
        let report = world.run();
        report.assert_all_hold();
        let told = indications(&sites[2]);
        let excluded = told
            .iter()
            .position(|it| matches!(it, Indication::Excluded { .. }));
        let left = told
            .iter()
            .position(|it| matches!(it, Indication::Left { .. }));
        // Either it was excluded with its wish, or it leaves.
        assert!(excluded.is_some() || left.is_some(), "{at}: {told:?}");
        assert_eq!(
            last_view(&sites[0].log).1.contains(p(3)),
            left.is_none(),
            "{at}"
        );
        let joins = |world: &World| world.tally(p(3), "views", "State").map(|it| it.first);
        let asked = Time::ZERO + UNIT / 2 * at;
        if left.is_some() && joins(&world).is_some_and(|joined| asked < joined) {
            while_joining += 1;
        }
    }
    assert!(while_joining > 3, "{while_joining}");
}

#[test]
fn vs11_a_wish_to_leave_before_the_first_view_is_kept() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::rejoining(&world.host(p(1)));
    assert!(upon(&mut p1, [Event::Request(Request::Leave)]).is_empty());
    let told = upon(&mut p1, [Event::Status(link::Status::Admitted)]);
    assert!(matches!(
        told[..],
        [
            Effect::Indicate(Indication::View { .. }),
            Effect::Indicate(Indication::Block)
        ]
    ));
    let told = upon(&mut p1, [Event::Request(Request::BlockOk)]);
    let leaves = |effect: &Effect| matches!(effect, Effect::Link(link::SendRequest { message: Message::Flush { flush, .. }, .. }) if flush.leaves);
    assert!(told.iter().any(leaves), "{told:?}");
}

#[test]
fn who_is_outside_and_does_not_join_has_nothing_to_leave() {
    let (adversary, oracle) = (Timed::lock_step(), Oracle::accurate(UNIT));
    let (mut world, sites) = world(3, 1, adversary, &oracle, never);
    let port = &sites[2].port;
    for at in [Time::ZERO, step(20)] {
        world.request(p(3), at, port, Request::Leave);
    }
    world.request(p(3), step(30), port, Request::Join);
    let report = world.run();
    report.assert_all_hold();
    assert_eq!(world.counters(p(3)).total("nothing to leave"), 1);
    assert_together(&report, &sites, "the second wish is void");
}

#[test]
fn vs11_and_vs12_hold_through_storms_and_crashes() {
    let mut left = 0;
    for seed in 0..400 {
        let n = 3 + seed as usize % 3;
        let draw = |what: u64, below: u64| fold(fold(seed, what), 11) % below;
        let oracle = Oracle::accurate(UNIT * (1 + draw(1, 4) as u32));
        let membership = Membership::of_size(n).unwrap();
        let lies = draw(2, 2) as usize * 3 * n;
        let oracle = oracle.erratic(&membership, seed, lies, step(60));
        let (mut world, sites) = world(n, seed, any_pace(seed), &oracle, never);
        let crashes = n == 5 && draw(3, 2) == 0;
        for (index, site) in sites.iter().enumerate() {
            let q = p(index + 1);
            for k in 0..6 {
                let at = half(draw(100 * k + index as u64, 160) as u32);
                world.request(q, at, &site.port, broadcast(&[k as u8]));
            }
            // Who has left for good and who has crashed are a minority together.
            if draw(700 + index as u64, 2) == 0 && (!crashes || index == 0) {
                let at = draw(800 + index as u64, 120) as u32;
                world.request(q, half(at), &site.port, Request::Leave);
                if draw(900 + index as u64, 2) == 0 {
                    world.request(q, half(at + 60), &site.port, Request::Join);
                    // Most of these are still joining.
                    let again = half(at + 60 + draw(1000 + index as u64, 8) as u32);
                    world.request(q, again, &site.port, Request::Leave);
                }
            }
        }
        if crashes {
            let rank = 1 + draw(4, n as u64) as usize;
            let crash = Crash::before_output(1 + draw(8, 100));
            world.crash(p(rank), crash.losing(losing(draw(5, 3))));
        }
        let report = world.run();
        assert!(report.all_hold(), "n = {n}, seed {seed}, {report}");
        left += sites.iter().filter(|site| has_left(site)).count();
    }
    assert!(left > 100, "{left}");
}

fn never(_: ProcessId) -> Silent {
    Silent::Never
}

/// How often a process was asked for its state.
fn asked(site: &Wired) -> usize {
    let told = indications(site);
    let wanted = told
        .iter()
        .filter(|i| matches!(i, Indication::StateWanted { .. }));
    wanted.count()
}

#[test]
fn two_join_at_once_with_one_state() {
    let oracle = (1..=3).fold(Oracle::accurate(UNIT), |oracle, by| {
        let oracle = oracle.suspecting(p(by), p(4), step(2), step(4));
        oracle.suspecting(p(by), p(5), step(2), step(4))
    });
    // The flushes of p4 and p5 come too late.
    let slow = [4, 5].map(|from| [1, 2, 3].map(|to| (from, to, 4)));
    let slow = Vec::leak(slow.concat());
    let (mut world, sites) = world(5, 1, Latencies::each(slow), &oracle, never);
    for k in 0..9_u8 {
        let rank = 1 + usize::from(k) % 5;
        let at = step(4 * u32::from(k));
        world.request(p(rank), at, &sites[rank - 1].port, broadcast(&[k]));
    }
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "two join");
    assert_eq!((asked(&sites[0]), last_view(&sites[0].log).0), (1, 2));
}

#[test]
fn the_next_gives_its_state_if_the_first_crashes_before_it_has() {
    for output in 1..40 {
        let oracle = mistake(5);
        let slow = &[(5, 1, 4), (5, 2, 4), (5, 3, 4), (5, 4, 4)];
        let (mut world, sites) = world(5, 1, Latencies::each(slow), &oracle, never);
        world.request(p(2), step(1), &sites[1].port, broadcast(b"m"));
        world.crash(p(1), Crash::before_output(output));
        let report = world.run();
        assert!(report.all_hold(), "{output}: {report}");
        assert_together(&report, &sites, &format!("before output {output}"));
    }
}

#[test]
fn a_user_that_gives_no_state_lets_nobody_in_until_another_is_asked() {
    // p1 does not answer; once it has crashed, p2 is asked.
    let silent = |q| {
        if q == p(1) {
            Silent::State
        } else {
            Silent::Never
        }
    };
    let slow = &[(5, 1, 4), (5, 2, 4), (5, 3, 4), (5, 4, 4)];
    let (mut world, sites) = world(5, 1, Latencies::each(slow), &mistake(5), silent);
    world.crash(p(1), Crash::at(step(40)));
    world.run_until(step(39));
    assert_eq!((asked(&sites[0]), asked(&sites[1])), (1, 0));
    assert_eq!(last_view(&sites[1].log).1.len(), 4);
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "another was asked");
}

#[test]
fn who_does_not_ask_stays_outside_and_what_it_broadcasts_waits() {
    let silent = |q| {
        if q == p(3) {
            Silent::Join
        } else {
            Silent::Never
        }
    };
    let slow = &[(3, 1, 3), (3, 2, 3)];
    let (mut world, sites) = world(3, 1, Latencies::each(slow), &mistake(3), silent);
    world.request(p(3), step(20), &sites[2].port, broadcast(b"m"));
    world.run().assert_all_hold();
    assert_eq!(
        last_view(&sites[0].log),
        (1, [p(1), p(2)].into_iter().collect())
    );
    assert!(sites[0].store.lock().unwrap().is_empty());
    world.request(p(3), step(50), &sites[2].port, Request::Join);
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "asked at last");
    assert_eq!(sites[0].store.lock().unwrap().len(), 1);
}

#[test]
fn a_minority_that_suspects_the_others_waits() {
    let oracle = Oracle::accurate(UNIT).suspecting(p(1), p(2), step(1), step(50));
    let oracle = oracle.suspecting(p(1), p(3), step(1), step(50));
    let (mut world, sites) = world(3, 1, Timed::lock_step(), &oracle, never);
    world.run_until(step(20));
    let excludes = |indication: &Indication| match indication {
        Indication::View { view, .. } => view.members.len() < 3,
        Indication::Excluded { .. } => true,
        _ => false,
    };
    assert!(!sites.iter().flat_map(indications).any(|i| excludes(&i)));
    let report = world.run();
    report.assert_all_hold();
    assert_together(&report, &sites, "the suspicions have ended");
}

#[test]
fn every_schedule_of_two_and_three_holds() {
    for (n, crashes, depth) in [(2, 0, 12), (3, 1, 6)] {
        let oracle = Oracle::accurate(std::time::Duration::ZERO);
        let oracle = oracle.suspecting(p(1), p(2), Time::ZERO, step(1));
        let search = Exhaustive::new().crashes(crashes).depth(depth);
        let found = search.explore(|| {
            let (world, sites) = world(n, 1, Timed::lock_step(), &oracle, never);
            world.request(p(2), Time::ZERO, &sites[1].port, broadcast(b"m"));
            world
        });
        assert!(found.found.is_none(), "n = {n}: {found}");
    }
}

#[test]
fn what_nobody_correct_sends_is_dropped() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut ctx = quorate_core::Context::new("views".into(), 1, quorate_core::Counters::default());
    let mut p1 = Primary::new(&world.host(p(1)));
    let from = |message| {
        Event::Link(link::Deliver {
            from: p(2),
            message,
        })
    };
    let (view, state) = (0, Bytes::from_static(b"mine"));
    let transfer = Message::Transfer {
        view,
        counts: vec![(p(3), u64::MAX)],
        all: Transferred {
            messages: Vec::new(),
            state: state.clone(),
        },
    };
    let flush = Flush {
        copy: None,
        leaves: false,
        counts: Vec::new(),
        messages: Vec::new(),
    };
    let hostile = [
        from(transfer),
        from(Message::Flush { view: 9, flush }),
        from(Message::Join { view: 7 }),
        from(Message::Outside { view: 7 }),
        Event::Request(Request::State { view, state }),
        Event::Request(Request::BlockOk),
        Event::Request(Request::Join),
        Event::Order(Ordered::Decide(Decide {
            instance: 1,
            value: Bytes::from_static(b"?"),
        })),
    ];
    for event in hostile {
        p1.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        assert!(effects.is_empty(), "{effects:?}");
    }
    assert!(p1.candidates.joiners() <= 3);
}

#[test]
fn a_transfer_that_nobody_correct_sends_does_no_harm_when_the_view_comes() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut ctx = quorate_core::Context::new("views".into(), 1, quorate_core::Counters::default());
    let mut p1 = Primary::new(&world.host(p(1)));
    let start = world.host(p(1)).incarnation();
    let decide = |instance, ranks: &[usize], newcomers: &[usize], messages| {
        let value = wire::encode(&Decision {
            members: ranks.iter().map(|rank| p(*rank)).collect(),
            newcomers: newcomers.iter().map(|rank| (p(*rank), start)).collect(),
            counts: Vec::new(),
            messages,
        });
        Event::Order(Ordered::Decide(Decide { instance, value }))
    };
    let id = MessageId {
        origin: quorate_core::message::Origin {
            process: p(3),
            incarnation: world.host(p(3)).incarnation(),
        },
        sequence: 1,
    };
    let data = Data {
        number: 1,
        id,
        payload: Bytes::new(),
    };
    let transfer = Message::Transfer {
        view: 1,
        counts: vec![(p(3), u64::MAX)],
        all: Transferred {
            messages: Vec::new(),
            state: Bytes::new(),
        },
    };
    p1.upon(decide(1, &[2, 3], &[], Vec::new()), &mut ctx);
    p1.upon(Event::Request(Request::Join), &mut ctx);
    let (from, message) = (p(2), transfer);
    p1.upon(Event::Link(link::Deliver { from, message }), &mut ctx);
    p1.upon(decide(2, &[1, 2, 3], &[1], vec![data]), &mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    let delivers = |effect: &Effect| matches!(effect, Effect::Indicate(Indication::Deliver(_)));
    assert!(!effects.iter().any(delivers), "{effects:?}");
    assert_eq!((p1.agreed.view.id, p1.is_member()), (2, true));
}

/// The effects of these events at p1, one after the other.
fn upon(p1: &mut Primary, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    let mut ctx = quorate_core::Context::new("views".into(), 1, quorate_core::Counters::default());
    let mut effects = Vec::new();
    for event in events {
        p1.upon(event, &mut ctx);
        ctx.take_effects(&mut effects);
    }
    effects
}

fn from(rank: usize, message: Message) -> Event {
    let from = p(rank);
    Event::Link(link::Deliver { from, message })
}

fn flush(rank: usize, copy: Option<u64>, counts: &[(usize, u64)]) -> Event {
    let flush = Flush {
        copy: copy.map(Incarnation),
        leaves: false,
        counts: counts.iter().map(|(of, count)| (p(*of), *count)).collect(),
        messages: Vec::new(),
    };
    from(rank, Message::Flush { view: 0, flush })
}

fn replaced(rank: usize, start: u64) -> Event {
    Event::Status(link::Status::Replaced {
        peer: p(rank),
        known: Incarnation(1),
        newcomer: Incarnation(start),
    })
}

fn proposals(effects: &[Effect]) -> Vec<Decision> {
    let proposed = effects.iter().filter_map(|effect| match effect {
        Effect::Propose(propose) => Some(Decision::decode(propose.value.clone()).unwrap()),
        _ => None,
    });
    proposed.collect()
}

#[test]
fn who_was_started_again_is_no_member_whatever_its_earlier_start_has_flushed() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::new(&world.host(p(1)));
    let blocked = Event::Request(Request::BlockOk);
    let events = [
        flush(3, None, &[(3, 2)]),
        replaced(3, 9),
        blocked,
        flush(1, None, &[(1, 4), (3, 1)]),
        flush(2, None, &[(1, 3), (3, 2)]),
    ];
    let proposed = proposals(&upon(&mut p1, events));
    let [proposal] = &proposed[..] else {
        panic!("{proposed:?}");
    };
    assert_eq!(proposal.members, [p(1), p(2)].into_iter().collect());
    assert!(proposal.newcomers.is_empty());
    assert_eq!(proposal.counts, [(p(1), 4), (p(3), 2)]);
}

#[test]
fn a_copy_of_the_latest_start_counts_and_is_named() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::new(&world.host(p(1)));
    let events = [
        flush(3, None, &[]),
        replaced(3, 9),
        from(3, Message::Join { view: 0 }),
        Event::Request(Request::BlockOk),
        flush(1, None, &[]),
        flush(2, None, &[]),
    ];
    assert!(
        proposals(&upon(&mut p1, events)).is_empty(),
        "p3 is waited for"
    );
    let proposed = proposals(&upon(&mut p1, [flush(3, Some(9), &[])]));
    assert_eq!(proposed.len(), 1);
    assert_eq!(proposed[0].members.len(), 3);
    assert_eq!(proposed[0].newcomers, [(p(3), Incarnation(9))]);
}

#[test]
fn nobody_waits_for_what_a_start_that_is_gone_has_asked_for() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::new(&world.host(p(1)));
    let without = Decision {
        members: [p(1), p(2)].into_iter().collect(),
        newcomers: Vec::new(),
        counts: Vec::new(),
        messages: Vec::new(),
    };
    let decided = Event::Order(Ordered::Decide(Decide {
        instance: 1,
        value: wire::encode(&without),
    }));
    let flush = |rank, copy: Option<u64>| {
        let flush = Flush {
            copy: copy.map(Incarnation),
            leaves: false,
            counts: Vec::new(),
            messages: Vec::new(),
        };
        from(rank, Message::Flush { view: 1, flush })
    };
    // p1 is a member of view 1, in which p3 asks to join, flushes as a copy, and is started again.
    let blocked = || Event::Request(Request::BlockOk);
    let events = [
        flush_of_view_0(2),
        blocked(),
        decided,
        from(3, Message::Join { view: 1 }),
        blocked(),
        flush(3, Some(8)),
        replaced(3, 9),
        flush(1, None),
        flush(2, None),
    ];
    let proposed = proposals(&upon(&mut p1, events));
    assert_eq!(proposed.len(), 1, "nobody waits for p3");
    assert_eq!(proposed[0].members.len(), 2);
}

/// A member's flush of the first view.
fn flush_of_view_0(rank: usize) -> Event {
    flush(rank, None, &[])
}

#[test]
fn the_first_that_is_not_suspected_proposes_alone() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p2 = Primary::new(&world.host(p(2)));
    let blocked = Event::Request(Request::BlockOk);
    let suspect = |rank| Event::Detector(eventually_perfect::Indication::Suspect(p(rank)));
    let events = [
        suspect(3),
        blocked,
        flush(1, None, &[]),
        flush(2, None, &[]),
    ];
    assert!(proposals(&upon(&mut p2, events)).is_empty(), "p1 proposes");
    let restore = Event::Detector(eventually_perfect::Indication::Restore(p(3)));
    let proposed = proposals(&upon(&mut p2, [restore, flush(3, None, &[]), suspect(1)]));
    assert_eq!(proposed.len(), 1, "p1 is suspected");
    assert_eq!(proposed[0].members, [p(2), p(3)].into_iter().collect());
}

#[test]
fn a_member_of_which_another_start_was_heard_and_that_flushes_is_one() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::new(&world.host(p(1)));
    let told = upon(&mut p1, [replaced(3, 9)]);
    let block = |effect: &Effect| matches!(effect, Effect::Indicate(Indication::Block));
    assert!(
        told.iter().any(block),
        "p3 is taken for one that has lost its memory"
    );
    let events = [
        Event::Request(Request::BlockOk),
        flush(1, None, &[]),
        flush(3, None, &[]),
        flush(2, None, &[]),
    ];
    let proposed = proposals(&upon(&mut p1, events));
    assert_eq!(proposed.len(), 1);
    assert_eq!(proposed[0].members.len(), 3);
}

/// The questions to the user at `rank`, once it has flushed the first view, which p3 has left and wants to
/// join again; then those after these events.
fn asked_at(rank: usize, then: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    let world = World::new(4, 1, Timed::lock_step()).unwrap();
    let mut it = Primary::new(&world.host(p(rank)));
    let events = [
        replaced(3, 9),
        from(3, Message::Join { view: 0 }),
        Event::Request(Request::BlockOk),
    ];
    let mut told = upon(&mut it, events);
    told.extend(upon(&mut it, then));
    told
}

fn wants_state(told: &[Effect]) -> bool {
    let wants = |effect: &Effect| {
        matches!(
            effect,
            Effect::Indicate(Indication::StateWanted { view: 0 })
        )
    };
    told.iter().any(wants)
}

#[test]
fn who_declines_is_followed_by_the_next_member() {
    assert!(wants_state(&asked_at(1, [])) && !wants_state(&asked_at(2, [])));
    let told = asked_at(1, [Event::Request(Request::Decline { view: 0 })]);
    let says_so = |effect: &Effect| {
        matches!(effect, Effect::Link(link::SendRequest { message: Message::Declines { view: 0 }, to: To::Some(to) })
            if *to == [p(2), p(3), p(4)].into_iter().collect())
    };
    assert!(told.iter().any(says_so), "{told:?}");
    let declines = |rank, view| from(rank, Message::Declines { view });
    assert!(wants_state(&asked_at(2, [declines(1, 0)])));
    assert!(
        !wants_state(&asked_at(2, [declines(1, 7)])),
        "in another view"
    );
    assert!(!wants_state(&asked_at(4, [declines(1, 0)])), "p2 is asked");
    assert!(wants_state(&asked_at(4, [declines(1, 0), declines(2, 0)])));
    // A request that nobody made is not declined.
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::new(&world.host(p(1)));
    assert!(upon(&mut p1, [Event::Request(Request::Decline { view: 0 })]).is_empty());
}

#[test]
fn a_copy_is_in_no_view_that_lets_another_start_in() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let own = world.host(p(1)).incarnation();
    for (start, is_in) in [(own, true), (Incarnation(own.0 + 1), false)] {
        let mut p1 = Primary::rejoining(&world.host(p(1)));
        let newcomer = Event::Status(link::Status::Newcomer {
            by: p(2),
            known: Incarnation(5),
        });
        let restored = Event::Order(Ordered::Restored(Agreed::first(
            &Membership::of_size(3).unwrap(),
        )));
        let told = upon(&mut p1, [newcomer, Event::Status(link::Status::Admitted)]);
        assert!(told.is_empty(), "{told:?}");
        let told = upon(&mut p1, [restored]);
        assert!(matches!(
            told[..],
            [
                Effect::Indicate(Indication::Excluded { view: 0 }),
                Effect::Link(_)
            ]
        ));
        let transfer = Message::Transfer {
            view: 0,
            counts: Vec::new(),
            all: Transferred {
                messages: Vec::new(),
                state: Bytes::from_static(b"all"),
            },
        };
        let decided = Decision {
            members: [p(1), p(2), p(3)].into_iter().collect(),
            newcomers: vec![(p(1), start)],
            counts: Vec::new(),
            messages: Vec::new(),
        };
        let decided = Event::Order(Ordered::Decide(Decide {
            instance: 1,
            value: wire::encode(&decided),
        }));
        let events = [Event::Request(Request::Join), from(2, transfer), decided];
        let told = upon(&mut p1, events);
        assert_eq!(p1.is_member(), is_in, "{told:?}");
        let has_state = told
            .iter()
            .any(|effect| matches!(effect, Effect::Indicate(Indication::State(_))));
        assert_eq!(has_state, is_in);
        // A process that is listed but not in the view asks to be let into the view after that one.
        assert!(
            is_in
                || matches!(
                    &told[told.len() - 1],
                    Effect::Link(link::SendRequest {
                        message: Message::Join { view: 1 },
                        ..
                    })
                )
        );
    }
}

#[test]
fn a_first_start_begins_with_what_came_before_it_was_admitted() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::rejoining(&world.host(p(1)));
    let origin = quorate_core::message::Origin {
        process: p(2),
        incarnation: Incarnation(3),
    };
    let data = Data {
        number: 1,
        id: MessageId {
            origin,
            sequence: 1,
        },
        payload: Bytes::new(),
    };
    let data = from(
        2,
        Message::Within(messages::Message::Data { view: 0, data }),
    );
    let told = upon(&mut p1, [data, flush(3, None, &[])]);
    assert!(told.is_empty(), "{told:?}");
    let told = upon(&mut p1, [Event::Status(link::Status::Admitted)]);
    let told: Vec<_> = told
        .iter()
        .filter_map(|effect| match effect {
            Effect::Indicate(indication) => Some(indication),
            _ => None,
        })
        .collect();
    assert!(matches!(
        told[..],
        [
            Indication::View { .. },
            Indication::Deliver(_),
            Indication::Block
        ]
    ));
}

#[test]
fn who_missed_decisions_is_outside_and_gets_back_what_it_is_not_sure_of() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut p1 = Primary::rejoining(&world.host(p(1)));
    let events = [
        Event::Status(link::Status::Admitted),
        Event::Request(broadcast(b"mine")),
    ];
    upon(&mut p1, events);
    let mut agreed = Agreed::first(&Membership::of_size(3).unwrap());
    assert!(
        upon(&mut p1, [Event::Order(Ordered::Restored(agreed.clone()))]).is_empty(),
        "it is no news"
    );
    agreed.view.id = 4;
    let told = upon(&mut p1, [Event::Order(Ordered::Restored(agreed))]);
    let told: Vec<_> = told
        .iter()
        .filter_map(|effect| match effect {
            Effect::Indicate(indication) => Some(indication),
            _ => None,
        })
        .collect();
    assert!(matches!(
        told[..],
        [
            Indication::Excluded { view: 4 },
            Indication::Lost(Lost {
                is_certain: false,
                ..
            })
        ]
    ));
}
