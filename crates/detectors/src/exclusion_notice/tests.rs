use super::*;
use quorate_abstractions::{eventually_perfect::Indication, link::Links};
use quorate_core::{Addr, Context, Counters, Host, Incarnation, Time};
use quorate_sim::testing::p;
use quorate_sim::{Crash, Oracle, Timed, UNIT, World};

/// How often each process was told, with a detector that takes these suspicions for crashes.
fn told(oracle: &Oracle, crash: Option<usize>, heal: Time) -> Vec<u64> {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    for q in world.processes() {
        let detector = world.eventually_perfect(q, oracle);
        let detector = detector.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                Indication::Suspect(q) => up.send(perfect::Crash(q)),
                Indication::Restore(_) => {}
            })
        });
        let host = world.host(q).at("notices");
        let lane = world.links(q).at("notices").lane();
        let status = world.links(q).status();
        spawn(&host, lane, &status, &detector, world.application(q));
    }
    if let Some(rank) = crash {
        world.crash(p(rank), Crash::at(Time::ZERO));
    }
    world.cut((p(2), p(1)), Time::ZERO, Some(heal));
    let report = world.run();
    assert!(report.completion.complete);
    let tally = |q| {
        world
            .tally(q, "notices", "Reported")
            .map_or(0, |tally| tally.count)
    };
    world.processes().map(tally).collect()
}

#[test]
fn a_live_process_learns_from_each_that_reports_it_once_it_can_be_reached() {
    let later = Time::ZERO + UNIT * 20;
    let accurate = Oracle::accurate(UNIT);
    assert_eq!(told(&accurate, None, later), [0, 0, 0]);
    assert_eq!(told(&accurate, Some(3), later), [0, 0, 0], "in vain");
    let of_p1 = |oracle: Oracle, by| oracle.suspecting(p(by), p(1), Time::ZERO, later);
    assert_eq!(told(&of_p1(accurate.clone(), 2), None, later), [1, 0, 0]);
    let by_two = of_p1(of_p1(accurate, 2), 3);
    assert_eq!(told(&by_two, None, later), [2, 0, 0]);
}

/// A notice that is lost with a stream, or was sent to nobody, is sent again once a process is there.
#[test]
fn who_was_reported_is_told_again_when_it_is_connected_or_its_stream_begins_anew() {
    let mut ctx = Context::new("notices".into(), 1, Counters::default());
    let mut notices = ExclusionNotice::default();
    let mut told = |event| {
        notices.upon(event, &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        let told = effects.into_iter().map(|effect| match effect {
            Effect::Link(link::SendRequest { to, .. }) => to,
            Effect::Reported(reported) => panic!("{reported:?}"),
        });
        told.collect::<Vec<_>>()
    };
    let connected = |rank| link::Status::Connected {
        peer: p(rank),
        incarnation: Incarnation(7),
    };
    let begun = |rank| link::Status::Begun { peer: p(rank) };
    assert_eq!(told(Event::Status(connected(2))), []);
    assert_eq!(told(Event::Crash(perfect::Crash(p(2)))), [To::One(p(2))]);
    assert_eq!(told(Event::Status(connected(2))), [To::One(p(2))]);
    assert_eq!(told(Event::Status(begun(2))), [To::One(p(2))]);
    assert_eq!(told(Event::Status(begun(3))), []);
    let gap = link::Status::Gap { peer: p(2) };
    assert_eq!(told(Event::Status(gap)), [], "that is the other direction");
}
