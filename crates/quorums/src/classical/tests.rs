use super::*;
use crate::{
    Family,
    marks::{Mark, Marks},
    testing::{call, classical, figure_1, p, patterns, quorum_access},
};
use quorate_abstractions::link::Status;
use quorate_core::{Context, Counters, Membership, Time};
use quorate_sim::{
    Crash, Exhaustive, Report, Timed, UNIT, World,
    testing::{any_pace, crash_minority},
};

fn majorities(n: usize) -> Quorums {
    Quorums::majorities(&Membership::of_size(n).unwrap())
}

/// One call of p1, in lock step. Returns its report and when it returned.
fn lock_step(n: usize, call: Call<Mark>, dead: bool) -> (Report, u64) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    world.check(quorum_access("access", world.membership().set()));
    let label = match call {
        Call::Get => "GetReturn",
        Call::Set(_) => "SetReturn",
    };
    let ports = classical(&world, &majorities(n));
    let operation = 1;
    world.request(p(1), Time::ZERO, &ports[0], Request { operation, call });
    if dead {
        world.crash(p(n), Crash::at(Time::ZERO));
    }
    let report = world.run();
    report.assert_all_hold();
    let returned = world.tally(p(1), "access", label).unwrap().first;
    (report, returned.as_nanos() / UNIT.as_nanos() as u64)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8 {
        for call in [Call::Get, Call::Set(Mark(1))] {
            let (report, steps) = lock_step(n, call.clone(), false);
            assert_eq!(report.counts.messages, 2 * (n as u64 - 1), "n = {n}");
            assert_eq!(steps, if n > 1 { 2 } else { 0 }, "n = {n}");
            if n > 2 {
                let (report, steps) = lock_step(n, call, true);
                assert_eq!(
                    (report.counts.messages, steps),
                    (2 * n as u64 - 3, 2),
                    "n = {n}"
                );
            }
        }
    }
}

/// Up to a minority of 1 to 5 processes crash while everybody calls.
fn turbulent(seed: u64, quorums: &Quorums, n: usize) -> Report {
    let mut world = World::new(n, seed, any_pace(seed)).unwrap();
    crash_minority(&world, seed, 60);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let ports = classical(&world, quorums);
    call(&world, &ports, seed, 6, 40);
    world.run()
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    for seed in 0..400 {
        let n = 1 + seed as usize % 5;
        let report = turbulent(seed, &majorities(n), n);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

#[test]
fn every_schedule_of_two_calls_is_right() {
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        let all = world.membership().set();
        world.check(quorum_access("access", all));
        let ports = classical(&world, &majorities(2));
        let operation = 1;
        let call = Call::Set(Mark(1));
        world.request(p(1), Time::ZERO, &ports[0], Request { operation, call });
        let call = Call::Get;
        world.request(p(2), Time::ZERO, &ports[1], Request { operation, call });
        world
    };
    let found = Exhaustive::new().real_time().explore(build);
    assert!(found.found.is_none() && found.complete, "{found}");
}

#[test]
fn quorums_that_do_not_meet_lose_updates() {
    let quorums = Quorums {
        reads: Family::AtLeast(1),
        writes: Family::AtLeast(2),
    };
    let tags = (0..50).filter_map(|seed| {
        let report = turbulent(seed, &quorums, 3);
        report.violation().map(|v| v.tag.clone())
    });
    let tags: Vec<String> = tags.collect();
    assert!(
        !tags.is_empty() && tags.iter().all(|tag| tag == "QAF2"),
        "{tags:?}"
    );
}

/// G2a: classical access needs correct channels in both directions.
#[test]
fn g2a_calls_block_though_they_could_return_where_channels_fail_in_one_direction() {
    for pattern in patterns() {
        let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
        world.check(quorum_access("access", pattern.returning));
        let ports = classical(&world, &figure_1());
        pattern.befall(&world, Time::ZERO);
        let (operation, call) = (1, Call::Get);
        for q in pattern.returning.iter() {
            let request = Request {
                operation,
                call: call.clone(),
            };
            world.request(q, Time::ZERO + UNIT, &ports[q.index()], request);
        }
        let report = world.run();
        assert_eq!(report.violation().map(|v| &v.tag[..]), Some("QAF3"));
    }
}

#[test]
fn messages_survive_and_garbage_is_refused() {
    let (call, state, update) = (700, Marks(9), Mark(3));
    for message in [
        Message::GetRequest { call },
        Message::GetResponse { call, state },
        Message::SetRequest { call, update },
        Message::SetResponse { call },
        Message::Resumed {
            made: call,
            open: vec![1, call],
        },
    ] {
        let bytes = message.clone().into_bytes();
        assert_eq!(Message::<Marks>::decode(bytes.clone()), Ok(message));
        let longer = [&bytes[..], b"?"].concat();
        assert!(Message::<Marks>::decode(longer.into()).is_err());
    }
}

/// Counts how often each update was applied, so that applying one twice is visible.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Tally(Vec<u8>);

impl Wire for Tally {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(Tally(bytes.to_vec()))
    }
}

impl State for Tally {
    type Update = Mark;

    fn apply(&mut self, update: &Mark) -> bool {
        self.0.push(update.0);
        true
    }

    fn digest(&self) -> u64 {
        self.0.len() as u64
    }

    fn digest_of(update: &Mark) -> u64 {
        u64::from(update.0)
    }
}

/// What the algorithm sends upon an event.
fn sent(at: &mut Classical<Tally>, event: Event<Tally>) -> Vec<link::SendRequest<Message<Tally>>> {
    let mut ctx = Context::new("access".into(), 1, Counters::default());
    at.upon(event, &mut ctx);
    let mut effects = Vec::new();
    ctx.take_effects(&mut effects);
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Link(send) => Some(send),
        Effect::Return(_) => None,
    });
    sent.collect()
}

fn arrive(
    at: &mut Classical<Tally>,
    from: usize,
    message: Message<Tally>,
) -> Vec<link::SendRequest<Message<Tally>>> {
    let from = p(from);
    sent(at, Event::Link(Deliver { from, message }))
}

fn resumed(made: u64, open: &[u64]) -> Message<Tally> {
    let open = open.to_vec();
    Message::Resumed { made, open }
}

fn set(operation: u64, mark: u8) -> Event<Tally> {
    let call = Call::Set(Mark(mark));
    Event::Request(Request { operation, call })
}

#[test]
fn what_is_open_is_asked_again_and_applied_once() {
    let new = || Classical::new(majorities(3), Tally(Vec::new()));
    let (mut p1, mut p2) = (new(), new());
    let mut asked = sent(&mut p1, set(1, 7));
    let asked = asked.pop().unwrap().message;
    let again = sent(&mut p1, Event::Status(Status::Begun { peer: p(2) }));
    let messages: Vec<_> = again.iter().map(|send| send.message.clone()).collect();
    assert_eq!(messages, [resumed(1, &[1]), asked.clone()]);
    assert!(again.iter().all(|send| send.to == To::One(p(2))));
    let again = arrive(&mut p1, 2, resumed(0, &[]));
    assert_eq!(again.len(), 1, "p2's answer may be lost");
    assert_eq!(again[0].message, asked);
    let answer = arrive(&mut p2, 1, asked.clone());
    assert_eq!(arrive(&mut p2, 1, asked.clone()), answer);
    assert_eq!(p2.state, Tally(vec![7]), "applied once");
    arrive(&mut p1, 2, answer[0].message.clone());
    let again = arrive(&mut p1, 2, resumed(0, &[]));
    assert!(again.is_empty(), "it has answered: {again:?}");
}

/// A call that a process never heard of, because others made the quorum, leaves no hole that blocks later
/// numbers.
#[test]
fn what_was_over_before_the_stream_began_anew_is_waited_for_no_longer() {
    let new = || Classical::new(majorities(3), Tally(Vec::new()));
    let (mut p1, mut p2) = (new(), new());
    for operation in 1..=AHEAD + 1 {
        sent(&mut p1, set(operation, 1));
        for from in [1, 3] {
            arrive(&mut p1, from, Message::SetResponse { call: operation });
        }
    }
    let asked = sent(&mut p1, set(AHEAD + 2, 2)).pop().unwrap().message;
    assert!(
        arrive(&mut p2, 1, asked.clone()).is_empty(),
        "too far ahead"
    );
    for send in sent(&mut p1, Event::Status(Status::Begun { peer: p(2) })) {
        arrive(&mut p2, 1, send.message);
    }
    assert_eq!(p2.state, Tally(vec![2]));
    assert_eq!(p2.answered.get(&p(1)), Some(&Watermark::up_to(AHEAD + 2)));
}

/// One call that stays open does not keep the calls after it, which are over, from being forgotten.
#[test]
fn what_is_over_behind_an_open_call_is_waited_for_no_longer() {
    let new = || Classical::new(majorities(3), Tally(Vec::new()));
    let (mut p1, mut p2) = (new(), new());
    sent(&mut p1, set(1, 1));
    for operation in 2..=AHEAD + 1 {
        sent(&mut p1, set(operation, 1));
        for from in [1, 3] {
            arrive(&mut p1, from, Message::SetResponse { call: operation });
        }
    }
    for send in sent(&mut p1, Event::Status(Status::Begun { peer: p(2) })) {
        let answers = arrive(&mut p2, 1, send.message);
        for answer in answers {
            arrive(&mut p1, 2, answer.message);
        }
    }
    assert_eq!(p2.state, Tally(vec![1]), "what was open");
    assert_eq!(p2.answered.get(&p(1)), Some(&Watermark::up_to(AHEAD + 1)));
    let asked = sent(&mut p1, set(AHEAD + 2, 2)).pop().unwrap().message;
    assert_eq!(arrive(&mut p2, 1, asked).len(), 1, "it is heard");
}
