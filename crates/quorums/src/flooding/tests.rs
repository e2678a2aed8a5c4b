use super::*;
use quorate_abstractions::link::Links;
use quorate_core::Observation;
use quorate_sim::testing::{Latencies, p};
use quorate_sim::{Crash, Exhaustive, Report, SimHost, Timed, UNIT, World};
use std::sync::{Arc, Mutex};

/// A message that says which it is: the slot, its number in it, and a filling.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said(Bytes);

impl Said {
    fn new(slot: u8, number: u8, length: usize) -> Self {
        let mut bytes = vec![slot, number];
        bytes.resize(length.max(2), slot ^ number);
        Said(bytes.into())
    }
}

impl Wire for Said {
    fn encode(&self, out: &mut bytes::BytesMut) {
        out.extend_from_slice(&self.0);
    }

    fn decode(bytes: Bytes) -> Result<Self, quorate_core::wire::Undecodable> {
        Ok(Said(bytes))
    }
}

impl Observe for Said {
    fn observe(&self) -> Observation {
        Observation::internal("Said")
    }
}

struct Delivered(Deliver<Said>);

impl Observe for Delivered {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver").peer(self.0.from)
    }
}

/// The deliveries of each process: sender, slot, number and length.
type Log = Arc<Mutex<BTreeMap<ProcessId, Vec<(ProcessId, u8, u8, usize)>>>>;

/// Perfect links that lose single copies between two processes, and refuse long messages, like a lane over
/// fair-loss channels.
fn lossy<M: Wire>(
    links: impl Layer<link::Port<M>>,
    host: &SimHost,
    every: u64,
    longest: usize,
) -> impl Layer<link::Port<M>> {
    let (me, n, sent) = (host.me(), host.processes().n(), Mutex::new(0_u64));
    move |up| {
        let below = links.attach(up);
        Addr::new(
            move |link::SendRequest { to, message }: link::SendRequest<M>| {
                let bytes = message.into_bytes();
                assert!(bytes.len() <= longest, "{} bytes", bytes.len());
                let all: Vec<ProcessId> = (1..=n).map(p).collect();
                let receivers = all.into_iter().filter(|q| match to {
                    To::All => true,
                    To::One(one) => one == *q,
                    To::Some(some) => some.contains(*q),
                });
                for q in receivers {
                    let mut sent = sent.lock().unwrap();
                    *sent += 1;
                    let mixed = quorate_core::message::fold(*sent, me.rank() as u64);
                    if q == me || !mixed.is_multiple_of(every) {
                        let message = M::decode(bytes.clone()).unwrap();
                        below.send(link::SendRequest {
                            to: To::One(q),
                            message,
                        });
                    }
                }
            },
        )
    }
}

fn wire(world: &World, settings: FloodingSettings, every: u64) -> (Vec<Addr<Request<Said>>>, Log) {
    let log = Log::default();
    let ports = world.processes().map(|q| {
        let (host, lane) = (
            world.host(q).at("flooding"),
            world.links(q).at("flooding").lane(),
        );
        let seen = log.clone();
        let up = world.application_with(q, move |Delivered(deliver), _| {
            let bytes = deliver.message.0;
            let said = (deliver.from, bytes[0], bytes[1], bytes.len());
            seen.lock().unwrap().entry(q).or_default().push(said);
        });
        let up = up.with(Delivered);
        if settings.repeat.is_some() {
            let lane = lossy(lane, &host, every, settings.datagram);
            spawn(&host, settings, lane, up)
        } else {
            spawn(&host, settings, lane, up)
        }
    });
    (ports.collect(), log)
}

fn post(slot: u8, number: u8, to: To, length: usize) -> Request<Said> {
    let message = Said::new(slot, number, length);
    let slot = Slot(u64::from(slot));
    Request::Post { slot, to, message }
}

fn lock_step(n: usize) -> World {
    World::new(n, 1, Timed::lock_step()).unwrap()
}

fn run(mut world: World) -> Report {
    let report = world.run();
    assert!(report.completion.complete);
    report
}

/// Checks FLD2 of everything that was delivered, and FLD3 by the lengths.
fn assert_order(log: &Log, length: impl Fn(u8, u8) -> usize) {
    for (q, said) in &*log.lock().unwrap() {
        let mut last: BTreeMap<(ProcessId, u8), u8> = BTreeMap::new();
        for (from, slot, number, of) in said {
            assert_eq!(*of, length(*slot, *number));
            let before = last.insert((*from, *slot), *number);
            assert!(
                before.is_none_or(|b| b < *number),
                "{q}: {from} {slot} {number}"
            );
        }
    }
}

#[test]
fn a_post_costs_what_the_header_says() {
    for n in 1..=8 {
        let world = lock_step(n);
        let (ports, log) = wire(&world, FloodingSettings::default(), 0);
        world.request(p(1), Time::ZERO, &ports[0], post(0, 1, To::All, 2));
        world.request(
            p(1),
            Time::ZERO + UNIT * 9,
            &ports[0],
            Request::Withdraw { slot: Slot(0) },
        );
        let report = run(world);
        assert_eq!(report.counts.messages as usize, n * (n - 1), "n = {n}");
        assert_eq!(log.lock().unwrap().len(), n);
    }
}

#[test]
fn fld1_messages_go_round_failed_channels_to_whom_they_are_addressed() {
    let world = lock_step(4);
    let (ports, log) = wire(&world, FloodingSettings::default(), 0);
    // The channels that are left form the circle p1 → p2 → p3 → p4 → p1.
    for (from, to) in [
        (1, 3),
        (1, 4),
        (2, 1),
        (2, 4),
        (3, 1),
        (3, 2),
        (4, 2),
        (4, 3),
    ] {
        world.disconnect((p(from), p(to)), Time::ZERO);
    }
    world.request(p(1), Time::ZERO + UNIT, &ports[0], post(1, 1, To::All, 2));
    world.request(
        p(2),
        Time::ZERO + UNIT,
        &ports[1],
        post(1, 1, To::One(p(1)), 2),
    );
    run(world);
    let log = log.lock().unwrap();
    for q in 1..=4 {
        let mut expected = vec![(p(1), 1, 1, 2)];
        expected.extend((q == 1).then_some((p(2), 1, 1, 2)));
        assert_eq!(log[&p(q)], expected);
    }
}

#[test]
fn fld2_what_was_replaced_is_not_delivered_late() {
    let overtaking = Latencies::default().way(1, 2, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let world = World::new(2, 1, overtaking).unwrap();
    let (ports, log) = wire(&world, FloodingSettings::default(), 0);
    for (step, request) in [
        post(1, 1, To::All, 2),
        post(2, 1, To::All, 2),
        post(1, 2, To::All, 2),
        Request::Withdraw { slot: Slot(2) },
        post(1, 3, To::All, 2),
    ]
    .into_iter()
    .enumerate()
    {
        world.request(p(1), Time::ZERO + UNIT * step as u32, &ports[0], request);
    }
    run(world);
    assert_order(&log, |_, _| 2);
    assert_eq!(log.lock().unwrap()[&p(2)].last(), Some(&(p(1), 1, 3, 2)));
}

#[test]
fn every_schedule_of_three_processes_is_right_as_deep_as_is_looked() {
    let build = || {
        let world = lock_step(3);
        let (ports, log) = wire(&world, FloodingSettings::default(), 0);
        for request in [
            post(1, 1, To::All, 2),
            post(2, 1, To::All, 2),
            post(1, 2, To::All, 2),
        ] {
            world.request(p(1), Time::ZERO, &ports[0], request);
        }
        world.check([Box::new(Ordered(log)) as Box<dyn quorate_sim::Property>]);
        world
    };
    let found = Exhaustive::new().crashes(1).executions(3000).explore(build);
    assert!(found.found.is_none(), "{found}");
}

/// FLD2, after every step.
struct Ordered(Log);

impl quorate_sim::Property for Ordered {
    fn tag(&self) -> &'static str {
        "FLD2"
    }

    fn observe(&mut self, _: &quorate_sim::Record) -> Result<(), quorate_sim::Violation> {
        assert_order(&self.0, |_, _| 2);
        Ok(())
    }

    fn finish(&mut self, completion: &quorate_sim::Completion) -> quorate_sim::Verdict {
        completion.judge("FLD2", None)
    }
}

fn repeating() -> FloodingSettings {
    FloodingSettings {
        datagram: 200,
        entry: 4000,
        ..FloodingSettings::repeating()
    }
}

#[test]
fn fld1_on_lossy_channels_what_stands_arrives_in_chunks_or_whole() {
    for seed in 0..20 {
        let adversary = Timed::uniform(UNIT / 2, UNIT * 6);
        let world = World::new(4, seed, adversary)
            .unwrap()
            .settle(Duration::from_mins(1));
        let (ports, log) = wire(&world, repeating(), 3);
        for (from, to) in [(1, 3), (1, 4), (2, 1), (3, 1), (3, 2), (4, 2), (4, 3)] {
            world.disconnect((p(from), p(to)), Time::ZERO);
        }
        let length = |slot: u8, number: u8| 2 + 37 * usize::from(slot) * usize::from(number);
        for number in 1..=5 {
            for slot in 0..=8 {
                let at = Time::ZERO + UNIT * u32::from(7 * number + slot);
                let request = post(slot, number, To::All, length(slot, number));
                world.request(
                    p(1 + seed as usize % 4),
                    at,
                    &ports[seed as usize % 4],
                    request,
                );
            }
        }
        run(world);
        assert_order(&log, length);
        let log = log.lock().unwrap();
        for q in 1..=4 {
            for slot in 0..=8 {
                let last = log[&p(q)]
                    .iter()
                    .rfind(|said| said.1 == slot)
                    .map(|said| said.2);
                assert_eq!(last, Some(5), "seed {seed}: {q} {slot}");
            }
        }
    }
}

/// One process, whose sent messages are kept.
struct Alone {
    flooding: Flooding<Said>,
    ctx: quorate_core::Context<Event<Said>, Effect<Said>>,
    counters: quorate_core::Counters,
}

impl Alone {
    fn new(rank: usize, settings: FloodingSettings) -> Self {
        let world = lock_step(3);
        let counters = quorate_core::Counters::default();
        Alone {
            flooding: Flooding::new(&world.host(p(rank)), settings),
            ctx: quorate_core::Context::new("flooding".into(), 1, counters.clone()),
            counters,
        }
    }

    fn upon(&mut self, event: Event<Said>) -> (Vec<Message>, usize) {
        self.flooding.upon(event, &mut self.ctx);
        self.flooding.upon_idle(&mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        let (mut messages, mut delivered) = (Vec::new(), 0);
        for effect in effects {
            match effect {
                Effect::Link(send) => messages.push(send.message),
                Effect::Deliver(_) => delivered += 1,
            }
        }
        (messages, delivered)
    }

    /// Hands it messages that another process sent.
    fn hear(&mut self, from: usize, messages: Vec<Message>) -> usize {
        let from = p(from);
        let deliver = |message| Event::Link(Deliver { from, message });
        messages.into_iter().map(|m| self.upon(deliver(m)).1).sum()
    }
}

#[test]
fn nothing_grows_with_the_slots_that_were_withdrawn() {
    for settings in [FloodingSettings::default(), repeating()] {
        let mut p1 = Alone::new(1, settings);
        let mut p2 = Alone::new(2, settings);
        let mut delivered = 0;
        let (kept, _) = p1.upon(Event::Request(post(0, 1, To::All, 2)));
        delivered += p2.hear(1, kept.clone());
        for slot in 1..2000 {
            let message = Said::new(1, 1, 2 + slot as usize % 900);
            let (slot, to) = (Slot(slot), To::All);
            let posted = Event::Request(Request::Post { slot, to, message });
            let (messages, _) = p1.upon(posted);
            delivered += p2.hear(1, messages.clone());
            delivered += p1.hear(1, messages);
            let (messages, _) = p1.upon(Event::Request(Request::Withdraw { slot }));
            p1.hear(1, messages.clone());
            p2.hear(1, messages);
        }
        assert_eq!(delivered, 1 + 2 * 1999);
        assert_eq!(p2.hear(3, kept), 0, "a retained item is delivered once");
        for alone in [&p1, &p2] {
            assert!(alone.flooding.known[&p(1)].size() <= 3);
            assert!(alone.flooding.retained.len() <= 2);
            assert!(alone.flooding.posted.is_empty() && alone.flooding.passed.is_empty());
        }
    }
}

#[test]
fn hostile_input_is_counted_and_holds_no_more_than_the_limit() {
    let mut p2 = Alone::new(2, repeating());
    let (origin, size) = (p(1), repeating().chunk());
    let mut hear = |part| p2.hear(1, vec![Message(vec![part])]);
    let id = |version| Id { origin, version };
    hear(Part::Whole(id(1), Bytes::from_static(&[200, 1])));
    hear(Part::Whole(
        Id {
            origin: p(9),
            version: 1,
        },
        Bytes::new(),
    ));
    hear(Part::Whole(
        Id {
            origin: p(2),
            version: 1,
        },
        Bytes::new(),
    ));
    // A version that does not exist would hide all later ones.
    hear(Part::Whole(id(LAST_NUMBER + 1), Bytes::new()));
    hear(Part::Chunk(id(u64::MAX), 0, 2, Bytes::from(vec![0; size])));
    hear(Part::Chunk(id(1), 0, u64::MAX, Bytes::from(vec![0; size])));
    hear(Part::Chunk(id(1), 7, 3, Bytes::from(vec![0; size])));
    hear(Part::Chunk(id(1), 0, 3, Bytes::from(vec![0; 3])));
    for version in (1..5000).rev() {
        hear(Part::Chunk(id(version), 0, 2, Bytes::from(vec![0; size])));
    }
    for version in 5000..9000 {
        hear(Part::Chunk(id(version), 0, 2, Bytes::from(vec![0; size])));
    }
    let most = repeating().chunks();
    assert!(p2.flooding.known[&origin].size() <= most);
    for (reason, times) in [
        ("undecodable item", 1),
        ("not a member", 1),
        ("forged version", 3),
        ("bad chunk", 3),
        ("no room for a chunk", 4999 - most as u64),
    ] {
        assert_eq!(p2.counters.total(reason), times, "{reason}");
    }
}

#[test]
fn pauses_double_up_to_the_cap_and_a_newer_version_begins_anew() {
    let mut p1 = Alone::new(1, repeating());
    p1.upon(Event::Request(post(0, 1, To::All, 2)));
    let mut at = Time::ZERO;
    let mut repeats = |p1: &mut Alone, span: Duration| {
        let (end, mut times) = (at + span, 0);
        while at < end {
            at = at + UNIT;
            p1.ctx.set_now(at);
            times += p1.upon(Event::Timer).0.len();
        }
        times
    };
    assert_eq!(repeats(&mut p1, Duration::from_millis(450)), 3);
    let slow = repeats(&mut p1, Duration::from_mins(1));
    assert!((24..40).contains(&slow), "{slow}");
    p1.upon(Event::Request(post(0, 2, To::All, 2)));
    assert_eq!(repeats(&mut p1, Duration::from_millis(450)), 3);
}

#[test]
fn messages_of_one_batch_go_on_in_one() {
    let mut p2 = Alone::new(2, FloodingSettings::default());
    let mut p1 = Alone::new(1, FloodingSettings::default());
    let mut messages = Vec::new();
    for slot in 0..5 {
        messages.extend(p1.upon(Event::Request(post(slot, 1, To::All, 2))).0);
    }
    for message in messages {
        let deliver = Deliver {
            from: p(1),
            message,
        };
        p2.flooding.upon(Event::Link(deliver), &mut p2.ctx);
    }
    p2.flooding.upon_idle(&mut p2.ctx);
    let mut effects = Vec::new();
    p2.ctx.take_effects(&mut effects);
    let sent = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Link(_)));
    assert_eq!((sent.count(), effects.len()), (1, 6));
}

#[test]
fn a_crash_while_it_posts_leaves_what_has_got_out_to_go_round() {
    let world = lock_step(4);
    let (ports, log) = wire(&world, FloodingSettings::default(), 0);
    world.request(p(1), Time::ZERO, &ports[0], post(0, 1, To::All, 2));
    // Its outputs: to itself, and then to p2.
    world.crash(p(1), Crash::before_output(2));
    run(world);
    let log = log.lock().unwrap();
    let others: Vec<_> = (2..=4)
        .filter_map(|q| log.get(&p(q)))
        .map(Vec::len)
        .collect();
    assert!(others.is_empty() || others == [1, 1, 1], "{others:?}");
}
