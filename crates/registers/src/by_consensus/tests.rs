use super::*;
use quorate_abstractions::{Subscribe, eventually_perfect, link::Links};
use quorate_broadcast::{best_effort, eager};
use quorate_consensus::rotating;
use quorate_core::{Addr, Context, Counters, Incarnation, MessageId, Time, message::Origin};
use quorate_sim::{
    Crash, Exhaustive, Oracle, Report, SimHost, Timed, UNIT, Verdict, World,
    properties::shared_register,
    testing::{any_pace, crash_minority, p},
};

/// The consensus below the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Below {
    Rotating,
    /// Each process decides its own proposal.
    OwnProposal,
}

/// The rule in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Corrected,
    /// A read returns what this process has applied.
    ReadsLocally,
    /// An operation returns when its announcement arrives, before it is applied.
    ReturnsAtOnce,
    /// A process proposes its own operations alone.
    HelpsNobody,
}

struct Ruled(Rule, ByConsensus);

impl Ruled {
    fn by(rule: Rule) -> impl Fn(&SimHost) -> Self {
        move |host| Ruled(rule, ByConsensus::new(host))
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Ruled(rule, inner) = self;
        match (*rule, event) {
            (
                Rule::ReadsLocally,
                Event::Request(Request {
                    register,
                    operation,
                    action: Action::Read,
                }),
            ) => {
                let me = inner.me;
                let outcome = inner.outcome(me, &register, Action::Read);
                ctx.trigger(Effect::Return(Indication {
                    register,
                    operation,
                    outcome,
                }));
            }
            (Rule::ReturnsAtOnce, Event::Reliable(delivery))
                if delivery.id.origin.process == inner.me =>
            {
                let operation = Operation::decode(inner.me, delivery.payload.clone()).unwrap();
                inner.upon(Event::Reliable(delivery), ctx);
                if let Some(number) = inner.mine.remove(&operation.number) {
                    let timestamp = operation.number;
                    let writer = Some(inner.me);
                    let outcome = match operation.action {
                        Action::Read => {
                            inner.outcome(operation.origin, &operation.register, Action::Read)
                        }
                        Action::Write(_) => RegisterResponse::Written {
                            tag: Tag { timestamp, writer },
                        },
                    };
                    inner.end(operation.register, number, outcome, ctx);
                }
            }
            (Rule::HelpsNobody, Event::Reliable(delivery))
                if delivery.id.origin.process != inner.me => {}
            (_, event) => inner.upon(event, ctx),
        }
    }
}

fn wire<A: Algorithm<Event = Event, Effect = Effect>>(
    world: &World,
    oracle: &Oracle,
    below: Below,
    make: impl Fn(&SimHost) -> A,
) -> Vec<Addr<Request>> {
    let all = world.membership().set();
    world.check(shared_register("register", all));
    let wire = |q| {
        let (host, links) = (world.host(q).at("register"), world.links(q).at("register"));
        let detector: Subscribe<eventually_perfect::Indication> =
            world.eventually_perfect(q, oracle);
        let reliable = |path: &'static str| {
            let (host, links) = (host.at(path), links.at(path));
            move |up: Addr<reliable::Deliver>| -> Addr<reliable::Broadcast> {
                eager::spawn(&host, best_effort::over(links.lane()), up)
            }
        };
        let consensus = |up: Addr<Decide>| -> Addr<Propose> {
            if below == Below::OwnProposal {
                return up.with(|Propose { instance, value }| Decide { instance, value });
            }
            let (host, links) = (host.at("consensus"), links.at("consensus"));
            let decisions = reliable("decisions");
            rotating::spawn(
                &host,
                links.lane(),
                &links.status(),
                decisions,
                &detector,
                up,
            )
        };
        spawn_as(
            &host,
            make(&host),
            reliable("reliable"),
            consensus,
            world.application(q),
        )
    };
    world.processes().map(wire).collect()
}

fn request(register: &'static str, operation: u64, action: Action) -> Request {
    let register = Bytes::from_static(register.as_bytes());
    Request {
        register,
        operation,
        action,
    }
}

fn write(value: &str) -> Action {
    Action::Write(Bytes::copy_from_slice(value.as_bytes()))
}

fn accurate() -> Oracle {
    Oracle::accurate(UNIT * 5)
}

#[test]
fn costs_are_what_the_header_says() {
    for (n, dead) in (1..=8_u64)
        .map(|n| (n, false))
        .chain((3..=8).map(|n| (n, true)))
    {
        for action in [Action::Read, write("1")] {
            let label = match action {
                Action::Read => "ReadReturn",
                Action::Write(_) => "WriteReturn",
            };
            let mut world = World::new(n as usize, 1, Timed::lock_step()).unwrap();
            let ports = wire(&world, &accurate(), Below::Rotating, ByConsensus::new);
            world.request(p(1), Time::ZERO, &ports[0], request("x", 1, action));
            if dead {
                world.crash(p(n as usize), Crash::at(Time::ZERO));
            }
            let report = world.run();
            report.assert_all_hold();
            let messages = if dead {
                2 * (n - 1).pow(2) + 3 * n - 5
            } else {
                (2 * n + 3) * (n - 1)
            };
            assert_eq!(report.counts.messages, messages, "n = {n}, dead: {dead}");
            let first = world.tally(p(1), "register", label).unwrap().first;
            let steps = first.as_nanos() / UNIT.as_nanos() as u64;
            assert_eq!(steps, if n > 1 { 4 } else { 0 }, "n = {n}, dead: {dead}");
        }
    }
}

/// Every process operates on two registers, now and then while it is busy; a minority crashes, and ◇P errs.
fn turbulent(seed: u64, below: Below, rule: Rule) -> Report {
    let n = 1 + seed as usize % 5;
    let mut world = World::new(n, seed, any_pace(seed)).unwrap();
    crash_minority(&world, seed, 90);
    let oracle = accurate().erratic(world.membership(), seed, 6, Time::ZERO + UNIT * 40);
    let ports = wire(&world, &oracle, below, Ruled::by(rule));
    for (q, port) in world.processes().zip(&ports) {
        for operation in 1..=8 {
            let draw = seed + 7 * q.rank() as u64 + 5 * operation;
            let register = if draw.is_multiple_of(3) { "x" } else { "y" };
            let action = if draw.is_multiple_of(2) {
                Action::Read
            } else {
                write(&format!("{q} {operation}"))
            };
            let at = Time::ZERO + UNIT * (draw * 13 % 97) as u32;
            world.request(q, at, port, request(register, operation, action));
        }
    }
    world.run()
}

#[test]
fn every_property_holds_wherever_a_minority_crashes() {
    for seed in 0..300 {
        let report = turbulent(seed, Below::Rotating, Rule::Corrected);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}

/// The same runs do tell.
#[test]
fn nnar2_is_broken_by_other_rules_and_without_agreement() {
    for (below, rule) in [
        (Below::Rotating, Rule::ReadsLocally),
        (Below::Rotating, Rule::ReturnsAtOnce),
        (Below::OwnProposal, Rule::Corrected),
    ] {
        let is_caught = |seed| {
            let report = turbulent(seed, below, rule);
            matches!(report.verdict("NNAR2"), Some(Verdict::Violated(_)))
        };
        assert!((0..2000).any(is_caught), "{below:?}, {rule:?}");
    }
}

/// p3 alone has an operation. If others do not propose it, too, nobody decides.
#[test]
fn nnar1_is_broken_where_nobody_helps() {
    let run = |rule| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, &accurate(), Below::Rotating, Ruled::by(rule));
        world.request(p(3), Time::ZERO, &ports[2], request("x", 1, write("1")));
        world.run()
    };
    assert_eq!(run(Rule::HelpsNobody).violation().unwrap().tag, "NNAR1");
    run(Rule::Corrected).assert_all_hold();
}

/// p1 and p2 keep writing; p3's one read returns all the same, while they go on.
#[test]
fn nnar1_no_process_waits_until_others_have_finished() {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, &accurate(), Below::Rotating, ByConsensus::new);
    for operation in 1..=40 {
        let at = Time::ZERO + UNIT * (10 * operation as u32);
        for rank in [1, 2] {
            let value = write(&format!("{rank} {operation}"));
            world.request(
                p(rank),
                at,
                &ports[rank - 1],
                request("x", operation, value),
            );
        }
    }
    world.request(
        p(3),
        Time::ZERO + UNIT * 15,
        &ports[2],
        request("x", 1, Action::Read),
    );
    world.run().assert_all_hold();
    let read = world.tally(p(3), "register", "ReadReturn").unwrap().last;
    let write = world.tally(p(1), "register", "WriteReturn").unwrap().last;
    assert!(read < Time::ZERO + UNIT * 45 && write > Time::ZERO + UNIT * 390);
}

/// p1 writes, and p2 reads. In every schedule of two processes, as far as is looked.
#[test]
fn every_short_schedule_is_right_and_finds_a_read_that_is_local() {
    let explore = |rule, depth| {
        Exhaustive::new().real_time().depth(depth).explore(|| {
            let world = World::new(2, 1, Timed::lock_step()).unwrap();
            let oracle = Oracle::accurate(std::time::Duration::ZERO);
            let ports = wire(&world, &oracle, Below::Rotating, Ruled::by(rule));
            world.request(p(1), Time::ZERO, &ports[0], request("x", 1, write("1")));
            world.request(p(2), Time::ZERO, &ports[1], request("x", 1, Action::Read));
            world
        })
    };
    let found = explore(Rule::Corrected, 11);
    assert!(found.found.is_none(), "{found}");
    let found = explore(Rule::ReadsLocally, 11);
    assert_eq!(found.found.unwrap().violation.tag, "NNAR2");
}

/// The algorithm at p1 of this many processes, without a world around it.
struct Alone {
    p1: ByConsensus,
    ctx: Context<Event, Effect>,
}

impl Alone {
    fn of(n: usize) -> Self {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        Alone {
            p1: ByConsensus::new(&world.host(p(1))),
            ctx: Context::new("register".into(), 1, Counters::default()),
        }
    }

    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.p1.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }
}

fn from(rank: usize, payload: Bytes) -> Event {
    let origin = Origin {
        process: p(rank),
        incarnation: Incarnation(1),
    };
    let id = MessageId {
        origin,
        sequence: 1,
    };
    Event::Reliable(reliable::Deliver { id, payload })
}

fn operation(rank: usize, number: u64, action: Action) -> Operation {
    Operation {
        origin: p(rank),
        number,
        register: Bytes::from_static(b"x"),
        action,
    }
}

fn announced(it: &Operation) -> Event {
    from(it.origin.rank(), it.encode())
}

fn decided(instance: u64, batch: &[Operation]) -> Event {
    let value = encode_batch(batch);
    Event::Decide(Decide { instance, value })
}

fn proposed(effects: &[Effect]) -> Option<(u64, Vec<Operation>)> {
    let [Effect::Propose(Propose { instance, value })] = effects else {
        return None;
    };
    let three = Membership::of_size(3).unwrap();
    Some((*instance, decode_batch(value.clone(), &three).unwrap()))
}

#[test]
fn a_batch_has_the_next_operation_of_each_process() {
    let mut alone = Alone::of(3);
    let [first, second] = [1, 2].map(|number| operation(2, number, write("v")));
    let other = operation(3, 1, Action::Read);
    // The second announcement comes first: it is not next.
    assert!(alone.upon(announced(&second)).is_empty());
    let effects = alone.upon(announced(&first));
    assert_eq!(proposed(&effects), Some((1, vec![first.clone()])));
    // Once an instance.
    assert!(alone.upon(announced(&other)).is_empty());
    let effects = alone.upon(decided(1, &[first]));
    assert_eq!(proposed(&effects), Some((2, vec![second, other])));
}

#[test]
fn decisions_are_applied_in_order_once_and_unasked_for() {
    let mut alone = Alone::of(3);
    let [first, second] = [1, 2].map(|number| operation(2, number, write("v")));
    assert!(
        alone
            .upon(decided(2, std::slice::from_ref(&second)))
            .is_empty()
    );
    assert!(alone.p1.values.is_empty());
    assert!(
        alone
            .upon(decided(1, std::slice::from_ref(&first)))
            .is_empty()
    );
    let (tag, _) = &alone.p1.values[&Bytes::from_static(b"x")];
    assert_eq!((tag.timestamp, tag.writer), (2, Some(p(2))));
    // Announcements of what is applied, repeated decisions, and operations out of turn change nothing.
    assert!(alone.upon(announced(&first)).is_empty());
    assert!(
        alone
            .upon(decided(2, std::slice::from_ref(&second)))
            .is_empty()
    );
    assert!(alone.upon(decided(3, &[second])).is_empty());
    let (tag, _) = &alone.p1.values[&Bytes::from_static(b"x")];
    assert_eq!(tag.timestamp, 2);
}

#[test]
fn what_makes_no_sense_is_dropped() {
    let mut alone = Alone::of(3);
    let operation = operation(2, 1, write("v"));
    let mut stretched = operation.encode().to_vec();
    stretched[1] = 200;
    let mut strange = operation.encode().to_vec();
    strange[3] = 9;
    let numbered = |number| Operation {
        number,
        ..operation.clone()
    };
    for payload in [
        Bytes::new(),
        Bytes::from(stretched),
        Bytes::from(strange),
        numbered(0).encode(),
        numbered(LAST_NUMBER + 1).encode(),
        numbered(AHEAD + 1).encode(),
    ] {
        assert!(alone.upon(from(2, payload)).is_empty());
    }
    let stranger = Operation {
        origin: p(4),
        ..operation.clone()
    };
    assert!(alone.upon(from(4, operation.encode())).is_empty());
    assert!(alone.upon(decided(1, &[stranger])).is_empty());
    let instance = 1;
    let value = Bytes::from_static(&[7]);
    assert!(
        alone
            .upon(Event::Decide(Decide { instance, value }))
            .is_empty()
    );
    assert!(alone.upon(decided(AHEAD + 2, &[operation])).is_empty());
    assert!(alone.p1.values.is_empty() && alone.p1.decisions.is_empty());
    assert!(alone.p1.announced.values().all(|it| it.open.is_empty()));
}

/// p1 of one makes many operations, one after the other.
#[test]
fn nothing_grows_with_the_number_of_operations() {
    let mut alone = Alone::of(1);
    for number in 1..=10_000 {
        let action = if u64::is_multiple_of(number, 3) {
            Action::Read
        } else {
            write("v")
        };
        let effects = alone.upon(Event::Request(request("x", number, action)));
        let [Effect::Reliable(reliable::Broadcast { payload })] = &effects[..] else {
            panic!("{effects:?}");
        };
        let effects = alone.upon(from(1, payload.clone()));
        let [Effect::Propose(Propose { instance, value })] = &effects[..] else {
            panic!("{effects:?}");
        };
        let (instance, value) = (*instance, value.clone());
        let effects = alone.upon(Event::Decide(Decide { instance, value }));
        assert!(matches!(&effects[..], [Effect::Return(it)] if it.operation == number));
    }
    let ByConsensus {
        values,
        announced,
        decisions,
        mine,
        busy,
        waiting,
        ..
    } = &alone.p1;
    assert_eq!(values.len(), 1);
    assert!(announced.values().all(|it| it.open.is_empty()));
    assert!(decisions.is_empty() && mine.is_empty() && busy.is_empty() && waiting.is_empty());
}

#[test]
fn a_register_is_sequential_and_not_too_much_is_in_flight() {
    let mut alone = Alone::of(1);
    let ask = |register: u64| {
        Event::Request(Request {
            register: Bytes::from(format!("{register}")),
            operation: register,
            action: Action::Read,
        })
    };
    let mut first = None;
    for register in 1..=IN_FLIGHT {
        let effects = alone.upon(ask(register));
        let [Effect::Reliable(reliable::Broadcast { payload })] = &effects[..] else {
            panic!("{effects:?}");
        };
        first.get_or_insert_with(|| payload.clone());
    }
    let effects = alone.upon(ask(1));
    let refused = RegisterResponse::Refused(Refusal::Busy);
    assert!(matches!(&effects[..], [Effect::Return(it)] if it.outcome == refused));
    // One more waits until the first has returned.
    assert!(alone.upon(ask(IN_FLIGHT + 1)).is_empty());
    let effects = alone.upon(from(1, first.unwrap()));
    let [Effect::Propose(Propose { instance, value })] = &effects[..] else {
        panic!("{effects:?}");
    };
    let (instance, value) = (*instance, value.clone());
    let effects = alone.upon(Event::Decide(Decide { instance, value }));
    assert!(
        matches!(&effects[..], [Effect::Return(_), Effect::Reliable(_)]),
        "{effects:?}"
    );
}

#[test]
fn timestamps_and_numbers_that_are_used_up_are_said_so() {
    let mut alone = Alone::of(1);
    let exhausted = RegisterResponse::Refused(Refusal::Exhausted);
    let timestamp = LAST_NUMBER;
    let writer = Some(p(1));
    let last = (Tag { timestamp, writer }, Bytes::new());
    alone.p1.values.insert(Bytes::from_static(b"x"), last);
    let x = Bytes::from_static(b"x");
    assert_eq!(alone.p1.outcome(p(1), &x, write("v")), exhausted);
    alone.p1.begun = LAST_NUMBER;
    let effects = alone.upon(Event::Request(request("y", 1, Action::Read)));
    assert!(matches!(&effects[..], [Effect::Return(it)] if it.outcome == exhausted));
    assert!(alone.p1.busy.is_empty());
}
