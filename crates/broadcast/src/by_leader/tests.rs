use super::*;
use quorate_abstractions::link::Links;
use quorate_abstractions::reconfigurable::Indication;
use quorate_consensus::ballots::Acceptance;
use quorate_core::{Time, wire};
use quorate_sim::{
    Adversary, Crash, Oracle, Random, Report, Timed, UNIT, World, properties,
    testing::{LOSSES, losing, p},
};

/// The steps after which the oracle reports a crash.
const DETECTION: u32 = 3;

fn step(steps: u32) -> Time {
    Time::ZERO + UNIT * steps
}

fn payload(number: u64) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

fn wire_all(world: &World, oracle: &Oracle, settings: OrderSettings) -> Vec<Addr<Broadcast>> {
    world.check(properties::total_order(world.membership(), "order"));
    let spawn_at = |q| {
        let (host, links) = (world.host(q).at("order"), world.links(q).at("order"));
        let leader = world.leader(q, oracle);
        spawn(&host, settings, &links, &leader, world.application(q))
    };
    world.processes().map(spawn_at).collect()
}

/// One message of p`origin`, in lock step.
fn isolated(n: usize, origin: usize, crash: Option<(usize, Crash)>) -> (World, Report) {
    isolated_with(n, origin, crash, Acceptances::Everybody)
}

fn isolated_with(
    n: usize,
    origin: usize,
    crash: Option<(usize, Crash)>,
    acceptances: Acceptances,
) -> (World, Report) {
    let settings = OrderSettings {
        acceptances,
        ..OrderSettings::default()
    };
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap().keep_trace();
    let oracle = Oracle::accurate(UNIT * DETECTION);
    let ports = wire_all(&world, &oracle, settings);
    let payload = payload(1);
    world.request(
        p(origin),
        Time::ZERO,
        &ports[origin - 1],
        Broadcast { payload },
    );
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    assert!(
        report.all_hold(),
        "n = {n}, {crash:?}: {report}\n{}",
        world.diagram()
    );
    (world, report)
}

fn steps(world: &World) -> Vec<u64> {
    let delivered = |q| world.tally(q, "order", "Deliver");
    let delivered = world.processes().filter_map(delivered);
    delivered
        .map(|tally| tally.first.as_nanos() / UNIT.as_nanos() as u64)
        .collect()
}

#[test]
fn one_message_costs_what_the_header_says() {
    for n in 1..=8_u64 {
        let (world, report) = isolated(n as usize, 1, None);
        assert_eq!(report.counts.messages, n * n - 1, "n = {n}");
        let (leader, follower) = match n {
            1 => (0, 0),
            2 | 3 => (2, 1),
            _ => (2, 2),
        };
        let steps = steps(&world);
        assert_eq!(steps[0], leader, "n = {n}");
        assert!(
            steps[1..].iter().all(|s| *s == follower),
            "n = {n}: {steps:?}"
        );
    }
    for n in 2..=8_u64 {
        let (world, report) = isolated(n as usize, 2, None);
        assert_eq!(report.counts.messages, n * n - 1, "n = {n}");
        let follower = if n <= 3 { 2 } else { 3 };
        let steps = steps(&world);
        assert_eq!(steps[0], 3, "n = {n}");
        assert!(
            steps[1..].iter().all(|s| *s == follower),
            "n = {n}: {steps:?}"
        );
    }
}

#[test]
fn with_few_processes_acceptances_to_the_leader_alone_take_as_many_steps() {
    for n in 1..=8_u64 {
        for origin in 1..=n.min(2) as usize {
            let (all, _) = isolated(n as usize, origin, None);
            let sparing = Acceptances::Fewest;
            let (some, report) = isolated_with(n as usize, origin, None, sparing);
            assert_eq!(steps(&some), steps(&all), "n = {n}");
            let expected = if n <= 3 { 3 * (n - 1) } else { n * n - 1 };
            assert_eq!(report.counts.messages, expected, "n = {n}");
        }
    }
}

#[test]
fn one_message_with_a_dead_process_costs_what_the_header_says() {
    for n in 3..=8_u64 {
        let dead = (n as usize, Crash::at(Time::ZERO));
        let (_, report) = isolated(n as usize, 1, Some(dead));
        let expected = (n - 1) + (n - 1) + (n - 2) * (n - 1);
        assert_eq!(report.counts.messages, expected, "n = {n}");
    }
}

#[test]
fn tob4_uniform_agreement_wherever_origin_and_leader_crash() {
    for (n, origin) in [(3, 1), (3, 2), (4, 2), (5, 1), (5, 3)] {
        for (crashing, k) in [1, origin]
            .iter()
            .flat_map(|c| (1..4 * n as u64).map(move |k| (*c, k)))
        {
            for lose in LOSSES {
                let crash = Some((crashing, Crash::before_output(k).losing(lose)));
                isolated(n, origin, crash);
                isolated_with(n, origin, crash, Acceptances::Fewest);
            }
        }
    }
}

/// Many messages, crashes of a minority, false suspicions for a long time.
fn storm(n: usize, seed: u64, adversary: impl Adversary + 'static, messages: u64) -> Report {
    let world = World::new(n, seed, adversary).unwrap();
    storm_in(world, n, seed, messages)
}

fn storm_in(mut world: World, n: usize, seed: u64, messages: u64) -> Report {
    let membership = *world.membership();
    let oracle = Oracle::accurate(UNIT * 2).erratic(&membership, seed, 8 * n, step(200));
    let settings = OrderSettings {
        instances: 1 + seed % 4,
        batches: 1 + seed % 3,
        batch_bytes: 20,
        acceptances: [Acceptances::Everybody, Acceptances::Fewest][seed as usize / 6 % 2],
        ..OrderSettings::default()
    };
    let ports = wire_all(&world, &oracle, settings);
    for (q, port) in world.processes().zip(&ports) {
        for number in 0..messages {
            let at = step((seed as u32 * 13 + 7 * q.rank() as u32 + 29 * number as u32) % 180);
            let payload = payload(number);
            world.request(q, at, port, Broadcast { payload });
        }
    }
    for rank in 1..=(n - 1) / 2 {
        let lose = losing(seed + rank as u64);
        let crash = match seed % 4 {
            0 => Crash::at(step((seed as u32 * 5 + rank as u32 * 50) % 200)),
            1 => Crash::before_effect(1 + seed % 97 * rank as u64),
            _ => Crash::before_output(1 + (seed / 3 * rank as u64) % 120),
        };
        world.crash(p(rank), crash.losing(lose));
    }
    world.run()
}

#[test]
fn every_property_holds_through_storms_of_false_suspicions() {
    for seed in 0..400 {
        let n = 2 + seed as usize % 6;
        let report = if seed % 2 == 0 {
            storm(n, seed, Random::new(), 6)
        } else {
            storm(n, seed, Timed::uniform(UNIT / 4, UNIT * 8), 6)
        };
        assert!(report.all_hold(), "n = {n}, {report}");
    }
}

/// p3, driven by hand.
struct Alone {
    algorithm: ByLeader,
    ctx: quorate_core::Context<Event, Effect>,
}

impl Alone {
    fn new() -> Self {
        Self::of(3)
    }

    fn of(n: usize) -> Self {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let counters = quorate_core::Counters::default();
        Alone {
            algorithm: ByLeader::new(&world.host(p(3)), OrderSettings::default()),
            ctx: quorate_core::Context::new("order".into(), 1, counters),
        }
    }

    fn upon(&mut self, event: Event) -> Vec<Effect> {
        self.algorithm.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        effects
    }

    fn hears(&mut self, from: usize, message: Message) -> Vec<Effect> {
        let from = p(from);
        self.upon(Event::Link(link::Deliver { from, message }))
    }
}

fn origin(rank: usize) -> Origin {
    Origin {
        process: p(rank),
        incarnation: quorate_core::Incarnation(rank as u64),
    }
}

fn data(rank: usize, sequence: u64) -> Message {
    let id = MessageId {
        origin: origin(rank),
        sequence,
    };
    let mut batch = bytes::BytesMut::new();
    wire::put_batch([&payload(sequence)], &mut batch);
    let batch = batch.freeze();
    Message::Data { id, batch }
}

/// The message, sent in the first epoch.
fn of_first(message: ballots::Message<Cut>) -> Message {
    Message::Ballots { epoch: 0, message }
}

fn accept(instance: u64, up_to: u64) -> Message {
    let acceptance = Acceptance {
        instance,
        ballot: ballots::Ballot {
            round: 1,
            leader: p(1),
        },
        value: Cut([(origin(2), up_to)].into()),
    };
    of_first(ballots::Message::Accept {
        acceptance,
        decided: 0,
    })
}

#[test]
fn nothing_is_accepted_before_it_is_held() {
    let mut p3 = Alone::new();
    assert!(p3.hears(1, accept(1, 2)).is_empty());
    assert!(p3.hears(2, data(2, 2)).is_empty(), "batch 1 is missing");
    let effects = p3.hears(2, data(2, 1));
    let delivered = effects
        .iter()
        .filter(|e| matches!(e, Effect::Indicate(Indication::Deliver(_))));
    assert_eq!(
        delivered.count(),
        2,
        "the leader and p3 are a majority of three"
    );
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Link(link::SendRequest {
            message: Message::Ballots {
                message: ballots::Message::Accepted { .. },
                ..
            },
            ..
        })
    )));
}

#[test]
fn what_the_leader_says_that_everybody_holds_is_forgotten() {
    let mut p3 = Alone::new();
    for number in 1..=100 {
        p3.hears(1, data(1, number));
        let acceptance = Acceptance {
            instance: number,
            ballot: ballot(1, 1),
            value: Cut([(origin(1), number)].into()),
        };
        let accept = ballots::Message::Accept {
            acceptance,
            decided: 0,
        };
        p3.hears(1, of_first(accept));
    }
    let stream = |p3: &Alone| p3.algorithm.batches.len(origin(1));
    assert_eq!(stream(&p3), 100, "p2 is not known to hold it");
    let stable = |epoch, decided| Message::Stable {
        epoch,
        held: Cut([(origin(1), decided)].into()),
        decided,
    };
    p3.hears(1, stable(1, 100));
    assert_eq!(stream(&p3), 100, "that is no epoch of p3");
    p3.hears(1, stable(0, 90));
    assert_eq!(stream(&p3), 10);
    assert_eq!(p3.algorithm.ballots.remembered(), 10);
}

#[test]
fn of_two_proposals_of_a_ballot_the_first_waits() {
    let mut p3 = Alone::new();
    p3.hears(1, accept(1, 2));
    p3.hears(1, accept(1, 3));
    let (_, waiting, _) = &p3.algorithm.sequence.deferred().all()[&1];
    assert_eq!(waiting.value.up_to(origin(2)), 2);
}

#[test]
fn proposals_wait_only_so_far_ahead() {
    let mut p3 = Alone::new();
    for instance in [
        sequence::INSTANCES_AHEAD,
        sequence::INSTANCES_AHEAD + 1,
        u64::MAX,
    ] {
        p3.hears(1, accept(instance, 1));
    }
    let waiting: Vec<u64> = p3
        .algorithm
        .sequence
        .deferred()
        .all()
        .keys()
        .copied()
        .collect();
    assert_eq!(waiting, [sequence::INSTANCES_AHEAD]);
}

/// A request for the batches of p2 after this one.
fn lacks(request: u64, up_to: u64) -> Message {
    let held = Cut([(origin(2), up_to)].into());
    Message::Lacks {
        request,
        held,
        decided: None,
        again: false,
    }
}

/// An answer of one part.
fn found(request: u64, found: Option<(MessageId, Bytes)>) -> Message {
    Message::Found {
        request,
        part: (0, 1),
        more: false,
        short: false,
        found,
    }
}

fn of_data(message: Message) -> (MessageId, Bytes) {
    let Message::Data { id, batch } = message else {
        panic!("{message:?}");
    };
    (id, batch)
}

/// The messages sent, and their receivers.
fn sent(effects: Vec<Effect>) -> Vec<(To, Message)> {
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Link(link::SendRequest { to, message }) => Some((to, message)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn what_is_missing_is_asked_for_and_answered() {
    let mut p3 = Alone::new();
    p3.hears(1, accept(1, 1));
    let request = Message::Lacks {
        request: 1,
        held: Cut::default(),
        decided: None,
        again: false,
    };
    assert_eq!(sent(p3.upon(Event::AskAgain)), [(To::One(p(1)), request)]);
    p3.hears(1, found(1, None));
    p3.hears(2, data(2, 1));
    assert!(
        p3.upon(Event::AskAgain).is_empty(),
        "nothing is missing any more"
    );
    let answer = |found_: Option<Message>, request, short| {
        let Message::Found {
            part, more, found, ..
        } = found(request, found_.map(of_data))
        else {
            panic!();
        };
        let answer = Message::Found {
            request,
            part,
            more,
            short,
            found,
        };
        [(To::One(p(1)), answer)]
    };
    let none = sent(p3.hears(1, lacks(7, 0)));
    assert_eq!(
        none,
        answer(None, 7, true),
        "everybody holds what is ordered, and it is forgotten"
    );
    p3.hears(2, data(2, 2));
    let answered = sent(p3.hears(1, lacks(8, 1)));
    assert_eq!(answered, answer(Some(data(2, 2)), 8, false));
    let again = sent(p3.hears(1, lacks(9, 1)));
    assert_eq!(again, answer(None, 9, false), "it is on its way");
    let begun = sent(p3.upon(Event::Status(link::Status::Begun { peer: p(1) })));
    let ask_again = Message::Found {
        request: 9,
        part: (0, 1),
        more: true,
        short: false,
        found: None,
    };
    assert!(begun.contains(&(To::One(p(1)), ask_again)));
    let again = sent(p3.hears(1, lacks(10, 1)));
    assert_eq!(again, answer(Some(data(2, 2)), 10, false));
    let beyond = sent(p3.hears(1, lacks(11, u64::MAX)));
    assert_eq!(beyond, answer(None, 11, false));
}

/// p1 and p2 do not answer what they were asked until a stream to or from them begins anew.
#[test]
fn one_request_is_open_to_a_process() {
    let mut p3 = Alone::new();
    p3.hears(1, accept(1, 1));
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.extend(sent(p3.upon(Event::AskAgain)));
    }
    let whom = |asked: &[(To, Message)]| asked.iter().map(|(to, _)| *to).collect::<Vec<_>>();
    assert_eq!(whom(&asked), [To::One(p(1)), To::One(p(2))]);
    p3.hears(1, found(2, None));
    assert!(
        sent(p3.upon(Event::AskAgain)).is_empty(),
        "that was no answer to it"
    );
    p3.hears(2, found(2, None));
    assert_eq!(whom(&sent(p3.upon(Event::AskAgain))), [To::One(p(2))]);
    for status in [
        link::Status::Begun { peer: p(1) },
        link::Status::Gap { peer: p(1) },
    ] {
        p3.upon(Event::Status(status));
        assert_eq!(whom(&sent(p3.upon(Event::AskAgain))), [To::One(p(1))]);
    }
}

#[test]
fn an_answer_is_short_and_what_is_left_is_asked_for_at_once() {
    let mut p3 = Alone::new();
    let large = |sequence| {
        let mut batch = bytes::BytesMut::new();
        wire::put_batch([&Bytes::from(vec![7; 300 << 10])], &mut batch);
        let id = MessageId {
            origin: origin(2),
            sequence,
        };
        let batch = batch.freeze();
        Message::Data { id, batch }
    };
    for number in 1..=200 {
        let message = if number <= 20 {
            large(number)
        } else {
            data(2, number)
        };
        p3.hears(2, message);
    }
    let mut held = 0;
    let mut answers = Vec::new();
    for request in 1..=9 {
        let answer = sent(p3.hears(1, lacks(request, held)));
        let bytes = |(_, m): &(To, Message)| match m {
            Message::Found { found, .. } => found.as_ref().map_or(0, |(_, batch)| batch.len()),
            _ => panic!("{m:?}"),
        };
        assert!(answer.iter().map(bytes).sum::<usize>() < (1 << 20) + (300 << 10) + 9);
        let Message::Found { part, more, .. } = answer[0].1 else {
            panic!();
        };
        assert_eq!(part, (0, answer.len() as u64));
        held += answer.len() as u64;
        answers.push((answer.len(), more));
    }
    let large = [(4, true); 5];
    assert_eq!(answers[..5], large);
    assert_eq!(answers[5..8], [(64, true), (64, true), (52, false)]);
    assert_eq!(answers[8], (1, false), "and nothing more");

    let mut p1 = Alone::new();
    p1.hears(1, accept(1, 9));
    p1.upon(Event::AskAgain);
    let more = Message::Found {
        request: 1,
        part: (0, 1),
        more: true,
        short: false,
        found: Some(of_data(data(2, 1))),
    };
    let asked = sent(p1.hears(1, more));
    assert!(
        matches!(&asked[..], [(To::One(to), Message::Lacks { request: 2, .. })] if *to == p(1)),
        "{asked:?}"
    );
}

/// Batches that lie too far ahead are dropped, and asked for later, also from processes that have sent them
/// already.
#[test]
fn what_was_dropped_is_sent_again() {
    let mut p3 = Alone::new();
    p3.hears(2, data(2, 1 << 17));
    p3.hears(1, accept(1, 1));
    let asked = sent(p3.upon(Event::AskAgain));
    assert!(matches!(
        asked[..],
        [(_, Message::Lacks { again: true, .. })]
    ));
    let asked = sent(p3.upon(Event::AskAgain));
    assert!(matches!(
        asked[..],
        [(_, Message::Lacks { again: true, .. })]
    ));
    p3.hears(1, found(1, None));
    let asked = sent(p3.upon(Event::AskAgain));
    assert!(matches!(
        asked[..],
        [(_, Message::Lacks { again: false, .. })]
    ));
    let again = Message::Lacks {
        request: 1,
        held: Cut::default(),
        decided: None,
        again: true,
    };
    p3.hears(2, data(2, 1));
    p3.hears(2, data(2, 2));
    p3.upon(Event::Request(Request::Broadcast(Broadcast {
        payload: payload(1),
    })));
    p3.algorithm.upon_idle(&mut p3.ctx);
    let own = p3.upon(Event::TransferTimeout);
    let own = own.into_iter().find_map(|effect| match effect {
        Effect::Link(link::SendRequest {
            to: To::All,
            message,
        }) => Some(message),
        _ => None,
    });
    p3.hears(3, own.clone().unwrap());
    let answer = sent(p3.hears(1, lacks(1, 1)));
    let given = |answer: Vec<(To, Message)>| {
        let found = answer.into_iter().filter_map(|(_, m)| match m {
            Message::Found { found, .. } => found,
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(
        given(answer),
        [of_data(data(2, 2))],
        "what is one's own is on its way"
    );
    let answer = sent(p3.hears(1, again));
    let expected = [of_data(data(2, 2)), of_data(own.unwrap())];
    assert_eq!(given(answer), expected);
}

#[test]
fn impossible_identifiers_are_dropped() {
    let mut p3 = Alone::new();
    for message in [data(3, 1), data(4, 1), data(2, u64::MAX)] {
        assert!(p3.hears(2, message).is_empty());
    }
    let held = (2..=4).map(|rank| p3.algorithm.batches.len(origin(rank)));
    assert_eq!(held.sum::<usize>(), 0);
}

/// Epochs and batches that nobody ever reaches: a process that waited for them would ask for them for ever.
#[test]
fn numbers_that_are_too_high_are_neither_kept_nor_waited_for() {
    for high in [MOST + 1, u64::MAX] {
        let mut p3 = Alone::new();
        let accept_in = |epoch, up_to| match accept(1, up_to) {
            Message::Ballots { message, .. } => Message::Ballots { epoch, message },
            other => other,
        };
        let decided = of_first(ballots::Message::Decided {
            instance: 1,
            value: Cut([(origin(2), high)].into()),
        });
        let promise = of_first(ballots::Message::Promise {
            ballot: ballot(2, 3),
            saying: 1,
            decided: 0,
            part: 0,
            parts: 1,
            accepted: Some(Acceptance {
                instance: 1,
                ballot: ballot(1, 1),
                value: Cut([(origin(2), high)].into()),
            }),
        });
        let stable = Message::Stable {
            epoch: 0,
            held: Cut([(origin(2), high)].into()),
            decided: 0,
        };
        p3.upon(Event::Leader(Trust(p(3))));
        for message in [
            accept_in(high, 1),
            accept_in(0, high),
            decided,
            promise,
            stable,
        ] {
            assert!(p3.hears(1, message).is_empty());
        }
        for _ in 0..10 {
            assert!(
                p3.upon(Event::StillBehind).is_empty(),
                "nothing is asked for"
            );
            assert!(p3.upon(Event::AskAgain).is_empty());
        }
        assert!(!p3.algorithm.ahead.is_beyond(0) && !p3.algorithm.is_waiting_for_batches());
        assert_eq!(p3.algorithm.batches.held_by_all().up_to(origin(2)), 0);
        let _ = p3.hears(1, accept_in(MOST, 1));
        assert!(p3.algorithm.ahead.is_beyond(0));
    }
}

#[test]
fn messages_survive_the_wire() {
    use quorate_core::wire::Wire as _;
    let held = Cut([(origin(2), 7)].into());
    let join = Message::Join {
        incarnation: quorate_core::Incarnation(7),
        is_newcomer: true,
    };
    for message in [
        data(2, 3),
        Message::Lacks {
            request: 3,
            held,
            decided: Some(4),
            again: true,
        },
        accept(4, 5),
        join,
        found(3, None),
        found(3, Some(of_data(data(2, 3)))),
        Message::Slower,
    ] {
        assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
    }
    for message in [accept(4, 5), found(3, None)] {
        let mut long = bytes::BytesMut::from(&wire::encode(&message)[..]);
        long.extend_from_slice(b"tail");
        assert!(Message::decode(long.freeze()).is_err());
    }
}

fn ballot(round: u64, leader: usize) -> ballots::Ballot {
    let leader = p(leader);
    ballots::Ballot { round, leader }
}

/// What was accepted in the first ballot: batch 1 of p2.
fn first() -> Acceptance<Cut> {
    Acceptance {
        instance: 1,
        ballot: ballot(1, 1),
        value: Cut([(origin(2), 1)].into()),
    }
}

fn accepted() -> Message {
    of_first(ballots::Message::Accepted {
        acceptance: first(),
        decided: 0,
    })
}

fn accepts(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| {
        matches!(effect, Effect::Link(link::SendRequest {
            message: Message::Ballots { message: ballots::Message::Accepted { acceptance, .. }, .. },
            ..
        }) if *acceptance == first())
    })
}

/// p1 and p2 crash, and nobody else has the batch that p2 accepted: p3 to p5 are a majority that can go on
/// without it.
#[test]
fn tob1_validity_though_a_batch_was_lost_with_who_promised_to_have_accepted_it() {
    let mut p3 = Alone::of(5);
    p3.upon(Event::Leader(Trust(p(3))));
    let promise = |accepted| {
        of_first(ballots::Message::Promise {
            ballot: ballot(2, 3),
            saying: 1,
            decided: 0,
            part: 0,
            parts: 1,
            accepted,
        })
    };
    p3.hears(2, promise(Some(first())));
    p3.hears(3, promise(None));
    p3.hears(4, promise(None));
    assert!(!p3.algorithm.ballots.leads() && p3.algorithm.is_waiting_for_batches());
    p3.hears(5, promise(None));
    assert!(p3.algorithm.ballots.leads());
    assert!(
        p3.upon(Event::AskAgain).is_empty(),
        "nobody waits for the batch"
    );
}

/// A process that says that it accepted is taken to hold the batches, which the others then forget.
#[test]
fn tob4_uniform_agreement_nothing_decided_is_accepted_before_it_is_held() {
    let mut p3 = Alone::of(5);
    for rank in [2, 4, 5] {
        assert!(p3.hears(rank, accepted()).is_empty());
    }
    assert!(p3.algorithm.ballots.is_decided(1));
    assert!(!accepts(&p3.hears(1, accept(1, 1))));
    assert!(accepts(&p3.hears(2, data(2, 1))));
}

/// The processes whose acceptances led to the decision here may have crashed, and the others need this
/// acceptance.
#[test]
fn tob4_uniform_agreement_a_proposal_that_waited_is_accepted_though_it_is_decided() {
    let mut p3 = Alone::of(5);
    p3.hears(1, accept(1, 1));
    for rank in [2, 4, 5] {
        p3.hears(rank, accepted());
    }
    assert!(p3.algorithm.ballots.is_decided(1));
    assert!(accepts(&p3.hears(2, data(2, 1))));
    assert!(p3.algorithm.sequence.deferred().is_empty());
}

#[test]
fn nobody_asks_for_the_batches_of_a_proposal_that_would_be_refused() {
    let mut p3 = Alone::new();
    p3.hears(1, accept(1, 1));
    let ballot = ballot(2, 2);
    let prepare = ballots::Message::Prepare { ballot, from: 1 };
    let effects = p3.hears(2, of_first(prepare));
    let refused = of_first(ballots::Message::Nack { promised: ballot });
    assert!(effects.iter().any(
        |effect| matches!(effect, Effect::Link(link::SendRequest { message, .. }) if *message == refused)
    ));
    assert!(p3.upon(Event::AskAgain).is_empty());
}

mod newcomers;
mod streams;
