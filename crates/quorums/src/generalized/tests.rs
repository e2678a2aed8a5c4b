mod errata;
mod figure_1;

use super::*;
use crate::{
    marks::{Mark, Marks},
    testing::{call, figure_1, generalized, p, quorum_access},
};
use quorate_core::wire::Wire;
use quorate_sim::{Report, Timed, UNIT, World, testing::crash_minority};
use std::time::Duration;

/// Longer than messages take in these tests on the longest path.
const PERIOD: Duration = Duration::from_millis(20);

fn counted() -> AccessSettings {
    AccessSettings {
        period: PERIOD,
        clocks: Clocks::Counted,
        ..AccessSettings::default()
    }
}

fn timed() -> AccessSettings {
    AccessSettings {
        clocks: Clocks::Timed { epoch: 0 },
        ..counted()
    }
}

fn majorities(n: usize) -> Quorums {
    Quorums::majorities(&Membership::of_size(n).unwrap())
}

/// One call of p1 in lock step, just after states were pushed. Returns the number of messages between the
/// start of the call and its end, and the steps that it took.
fn lock_step(n: usize, call: Call<Mark>, floods: bool) -> (u64, u64) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    world = world.settle(PERIOD * 10);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let label = match call {
        Call::Get => "GetReturn",
        Call::Set(_) => "SetReturn",
    };
    let ports = generalized(&world, timed(), &majorities(n), floods);
    let begin = Time::ZERO + PERIOD + UNIT * 8;
    let before = world.run_until(begin).counts.messages;
    let operation = 1;
    world.request(p(1), begin + UNIT, &ports[0], Request { operation, call });
    let quiet = world.run_until(Time::ZERO + UNIT * 39).counts.messages;
    world.run_until(Time::ZERO + PERIOD * 2 + UNIT * 8);
    let returned = world.tally(p(1), "access", label).unwrap().first;
    let steps = returned.since(begin + UNIT).as_nanos() / UNIT.as_nanos();
    (quiet - before, steps as u64)
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 1..=8_u64 {
        for call in [Call::Get, Call::Set(Mark(1))] {
            let (messages, steps) = lock_step(n as usize, call.clone(), false);
            assert_eq!(messages, 2 * (n - 1), "n = {n}");
            // A get accepts states that were pushed before it began, as long as no clock has risen since
            // (G2-E6). A set does not: it begins nine steps into a period of twenty, and pushes take a step.
            let expected = match call {
                Call::Get => {
                    if n > 1 {
                        2
                    } else {
                        0
                    }
                }
                Call::Set(_) => {
                    if n > 1 {
                        12
                    } else {
                        11
                    }
                }
            };
            assert_eq!(steps, expected, "n = {n}");
            let (messages, _) = lock_step(n as usize, call, true);
            // The request, the responses to it, and those of them that all pass on, each time in one message.
            let expected = if n == 2 { 5 } else { 3 * n * (n - 1) };
            assert_eq!(messages, expected, "n = {n}");
        }
    }
}

#[test]
fn pushes_cost_what_the_header_says() {
    for (n, floods) in (1..=6_u64).flat_map(|n| [false, true].map(|floods| (n, floods))) {
        let mut world = World::new(n as usize, 1, Timed::lock_step()).unwrap();
        world = world.settle(PERIOD * 10);
        generalized(&world, timed(), &majorities(n as usize), floods);
        let report = world.run_until(Time::ZERO + PERIOD * 5 + UNIT * 9);
        // Flooded states that arrive together are passed on together.
        let each = if floods { 2 * (n - 1) } else { n - 1 };
        assert_eq!(report.counts.messages, 5 * n * each);
    }
}

/// Everybody calls, at most a minority crashes.
fn turbulent(seed: u64, settings: AccessSettings, floods: bool) -> Report {
    let n = 1 + seed as usize % 5;
    let mut world = World::new(n, seed, Timed::uniform(UNIT / 2, UNIT * 6)).unwrap();
    world = world.settle(PERIOD * 100);
    crash_minority(&world, seed, 90);
    let all = world.membership().set();
    world.check(quorum_access("access", all));
    let ports = generalized(&world, settings, &majorities(n), floods);
    call(&world, &ports, seed, 6, 100);
    world.run()
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    for seed in 0..200 {
        let settings = if seed % 2 == 0 { timed() } else { counted() };
        let report = turbulent(seed, settings, seed % 4 < 2);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

/// One process, whose effects are kept.
struct Alone {
    access: Generalized<Marks>,
    ctx: Ctx<Generalized<Marks>>,
    counters: quorate_core::Counters,
}

impl Alone {
    fn new(n: usize, settings: AccessSettings) -> Self {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let counters = quorate_core::Counters::default();
        let (quorums, state) = (majorities(n), Marks::default());
        Alone {
            access: Generalized::new(&world.host(p(1)), settings, quorums, state),
            ctx: quorate_core::Context::new("access".into(), 1, counters.clone()),
            counters,
        }
    }

    fn upon(&mut self, event: Event<Marks>) -> Vec<Effect<Marks>> {
        self.access.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn hear(&mut self, from: usize, message: Message<Marks>) -> Vec<Effect<Marks>> {
        let from = p(from);
        self.upon(Event::Flooding(Deliver { from, message }))
    }
}

fn withdrawn(effects: &[Effect<Marks>]) -> usize {
    let is_withdrawal = |effect: &&Effect<Marks>| {
        matches!(effect, Effect::Flooding(flooding::Request::Withdraw { .. }))
    };
    effects.iter().filter(is_withdrawal).count()
}

#[test]
fn responses_are_withdrawn_when_their_caller_waits_for_newer_ones_only() {
    let mut p1 = Alone::new(3, timed());
    let update = Mark(1);
    for call in 1..=5 {
        let oldest = 1;
        assert_eq!(
            p1.hear(
                2,
                Message::SetRequest {
                    call,
                    oldest,
                    update
                }
            )
            .len(),
            1
        );
    }
    let (call, oldest) = (9, 4);
    let effects = p1.hear(2, Message::ClockRequest { call, oldest });
    assert_eq!((effects.len(), withdrawn(&effects)), (4, 3));
    // Calls that are over are not applied any more, and calls that were applied are not applied again.
    for call in [3, 4, 9] {
        let update = Mark(2);
        assert!(
            p1.hear(
                2,
                Message::SetRequest {
                    call,
                    oldest,
                    update
                }
            )
            .is_empty()
        );
    }
    assert_eq!(p1.access.state, Marks(2));
    assert_eq!(p1.access.callers[&p(2)].answered.len(), 3);
}

#[test]
fn ten_thousand_calls_leave_what_one_leaves() {
    let mut p1 = Alone::new(3, timed());
    for call in 1..=10_000 {
        let (oldest, update, clock) = (call, Mark(1), call);
        p1.hear(
            2,
            Message::SetRequest {
                call,
                oldest,
                update,
            },
        );
        let request = Request {
            operation: call,
            call: Call::Get,
        };
        p1.upon(Event::Request(request));
        for q in 2..=3 {
            p1.hear(
                q,
                Message::State {
                    clock,
                    state: Marks(0),
                },
            );
            p1.hear(q, Message::ClockResponse { call, clock });
        }
    }
    let access = &p1.access;
    assert!(access.pending.is_empty() && access.waiting.is_empty());
    assert_eq!(access.callers[&p(2)].answered.len(), 1);
    assert_eq!(p1.counters.total("calls"), 10_000);
    assert_eq!(p1.counters.total("calls that returned"), 10_000);
}

/// The number of calls that one of three processes may have in flight.
const WINDOW: u64 = 1023;

#[test]
fn the_windows_of_all_and_the_pushed_state_fit_into_the_slots_of_flooding() {
    for n in 1..=128 {
        let p1 = Alone::new(n, counted());
        let most = p1.access.most();
        let (requests, responses, pushed) = (most, n * most, 2);
        assert!(
            most > 0 && requests + responses + pushed <= SLOTS,
            "n = {n}"
        );
        let wider = most + 1;
        assert!(
            wider + n * wider + pushed > SLOTS,
            "n = {n}: none is wasted"
        );
    }
}

/// Everybody makes more calls at once than fit together with their answers, and every call returns.
#[test]
fn more_calls_at_once_than_flooding_has_slots_all_return() {
    for (n, calls) in [(1, 2300), (2, 1600)] {
        let mut world = World::new(n, 1, Timed::uniform(UNIT, UNIT * 3)).unwrap();
        world = world.settle(PERIOD * 200);
        let ports = generalized(&world, timed(), &majorities(n), true);
        for (rank, port) in (1..).zip(&ports) {
            for operation in 1..=calls {
                let call = Call::Set(Mark(1));
                world.request(
                    p(rank),
                    Time::ZERO + UNIT,
                    port,
                    Request { operation, call },
                );
            }
        }
        world.run_until(Time::ZERO + PERIOD * 200);
        for rank in 1..=n {
            let returned = world.tally(p(rank), "access", "SetReturn").unwrap();
            assert_eq!(returned.count, calls, "p{rank} of {n}");
            assert_eq!(world.counters(p(rank)).total("too many slots"), 0);
        }
    }
}

#[test]
fn more_calls_than_have_slots_wait_for_others_to_end() {
    let mut p1 = Alone::new(3, counted());
    for operation in 1..=WINDOW + 100 {
        let call = Call::Set(Mark(1));
        p1.upon(Event::Request(Request { operation, call }));
    }
    let (pending, waiting) = (p1.access.pending.len(), p1.access.waiting.len());
    assert_eq!((pending as u64, waiting), (WINDOW, 100));
    let (clock, state) = (1, Marks(0));
    for q in 2..=3 {
        p1.hear(q, Message::State { clock, state });
    }
    for call in 1..=WINDOW + 100 {
        p1.hear(2, Message::SetResponse { call, clock });
        p1.hear(3, Message::SetResponse { call, clock });
    }
    assert!(p1.access.pending.is_empty() && p1.access.waiting.is_empty());
}

/// One slow call holds the window: those after it have returned, and still no call begins that replicas would
/// not answer.
#[test]
fn calls_beyond_the_window_of_a_slow_one_wait_for_it() {
    let mut p1 = Alone::new(3, counted());
    let mut p2 = Alone::new(3, counted());
    let ask = |p1: &mut Alone, p2: &mut Alone, operation| {
        let call = Call::Get;
        for effect in p1.upon(Event::Request(Request { operation, call })) {
            if let Effect::Flooding(flooding::Request::Post { message, .. }) = effect {
                p2.hear(1, message);
            }
        }
    };
    ask(&mut p1, &mut p2, 1);
    let (clock, state) = (1, Marks(0));
    for q in 2..=3 {
        p1.hear(q, Message::State { clock, state });
    }
    for call in 2..=WINDOW + 200 {
        ask(&mut p1, &mut p2, call);
        for q in 2..=3 {
            p1.hear(q, Message::ClockResponse { call, clock });
        }
    }
    assert_eq!(p1.access.begun, WINDOW);
    assert_eq!((p1.access.pending.len(), p1.access.waiting.len()), (1, 200));
    let mut begun = Vec::new();
    for q in 2..=3 {
        begun.extend(p1.hear(q, Message::ClockResponse { call: 1, clock }));
    }
    for effect in begun {
        if let Effect::Flooding(flooding::Request::Post { message, .. }) = effect {
            p2.hear(1, message);
        }
    }
    assert_eq!((p1.access.pending.len(), p1.access.waiting.len()), (200, 0));
    assert_eq!(p2.counters.total("too many calls"), 0);
}

/// What p1 pushes at the end of a period.
fn pushed(p1: &mut Alone) -> Vec<Message<Marks>> {
    let effects = p1.upon(Event::Timer).into_iter();
    let posted = effects.filter_map(|effect| match effect {
        Effect::Flooding(flooding::Request::Post { message, .. }) => Some(message),
        _ => None,
    });
    posted.collect()
}

#[test]
fn a_state_is_pushed_when_it_has_changed_and_the_clock_alone_otherwise() {
    let settings = AccessSettings {
        rate: 1,
        ..counted()
    };
    let mut p1 = Alone::new(3, settings);
    let (clock, state) = (1, Marks(0));
    assert_eq!(pushed(&mut p1), [Message::State { clock, state }]);
    assert_eq!(pushed(&mut p1), [Message::Clock { clock: 2, since: 1 }]);
    let set = |call| Message::SetRequest {
        call,
        oldest: 1,
        update: Mark(4),
    };
    p1.hear(2, set(1));
    // At one byte a second, the first state is still in flight.
    assert_eq!(pushed(&mut p1), []);
    p1.ctx.set_now(Time::ZERO + Duration::from_mins(1));
    let (clock, state) = (5, Marks(1 << 4));
    assert_eq!(pushed(&mut p1), [Message::State { clock, state }]);
    // An update that changes nothing is no change.
    p1.hear(2, set(2));
    assert_eq!(pushed(&mut p1), [Message::Clock { clock: 7, since: 5 }]);
}

#[test]
fn a_clock_counts_for_the_state_that_it_speaks_of_and_for_no_older_one() {
    let mut p1 = Alone::new(3, counted());
    let clock_of_p2 = |p1: &Alone| p1.access.latest.get(&p(2)).map(|(clock, _)| *clock);
    p1.hear(2, Message::Clock { clock: 9, since: 5 });
    assert_eq!(clock_of_p2(&p1), None);
    let state = Marks(1);
    p1.hear(2, Message::State { clock: 5, state });
    for (clock, since, known) in [(9, 5, 9), (8, 5, 9), (20, 10, 9), (12, 9, 12)] {
        p1.hear(2, Message::Clock { clock, since });
        assert_eq!(clock_of_p2(&p1), Some(known), "{clock} since {since}");
    }
}

#[test]
fn a_clock_that_nobody_has_is_counted_and_too_many_calls_are_not_answered() {
    let mut p1 = Alone::new(3, timed());
    let (clock, state) = (u64::MAX, Marks(1));
    assert!(p1.hear(2, Message::State { clock, state }).is_empty());
    assert!(
        p1.hear(2, Message::SetResponse { call: 1, clock })
            .is_empty()
    );
    assert_eq!(p1.counters.total("clock out of range"), 2);
    for (call, oldest) in [(u64::MAX, 1), (1, u64::MAX), (LAST_NUMBER + 1, 1)] {
        assert!(
            p1.hear(2, Message::ClockRequest { call, oldest })
                .is_empty()
        );
    }
    assert_eq!(p1.counters.total("call out of range"), 3);
    for call in 1..5000 {
        p1.hear(2, Message::ClockRequest { call, oldest: 1 });
    }
    assert_eq!(p1.access.callers[&p(2)].answered.len() as u64, WINDOW);
    assert_eq!(p1.counters.total("too many calls"), 4999 - WINDOW);
}

#[test]
fn messages_survive_and_garbage_is_refused() {
    let (call, oldest, clock) = (700, 3, 1 << 40);
    let (state, update) = (Marks(9), Mark(3));
    for message in [
        Message::SetRequest {
            call,
            oldest,
            update,
        },
        Message::SetResponse { call, clock },
        Message::ClockRequest { call, oldest },
        Message::ClockResponse { call, clock },
        Message::State { clock, state },
        Message::Clock { clock, since: 9 },
    ] {
        let bytes = message.clone().into_bytes();
        assert_eq!(Message::<Marks>::decode(bytes.clone()), Ok(message));
        let longer = [&bytes[..], b"?"].concat();
        assert!(Message::<Marks>::decode(longer.into()).is_err());
    }
}
