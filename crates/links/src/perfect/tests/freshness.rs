//! One seat is started again and again, while the messages of its starts arrive late, twice and repeatedly.
//! In the end the live start holds the seat.
use super::harness::{World, ms, p};
use crate::perfect::{
    draws::{ANSWERS, Drawn, Draws},
    frame::Frame,
};
use quorate_abstractions::{
    fair_loss::datagrams,
    link::{Adopt, Status},
};
use quorate_core::{Incarnation, Random};
use rand::{Rng, SeedableRng};
use std::{collections::BTreeMap, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn below(rng: &mut Random, limit: u64) -> u64 {
    rng.next_u64() % limit
}

/// A cluster whose p1 is started again, and the agreed order of the holders of its seat.
struct Cluster {
    world: World,
    holder: Incarnation,
    number: u64,
    /// How many indications of each process have been read.
    read: BTreeMap<usize, usize>,
}

impl Cluster {
    fn new(n: usize, seed: u64) -> Self {
        let mut world = World::new(n, seed);
        world.settings.rejoin = Some("small".to_owned());
        world.start_all();
        world.connect();
        Cluster {
            world,
            holder: Incarnation(10),
            number: 0,
            read: BTreeMap::new(),
        }
    }

    /// A process that sees another start than the holder of the seat has it adopted by all.
    fn order(&mut self) {
        for rank in 2..=self.world.n {
            let told = self.world.process(rank).statuses.lock().unwrap().clone();
            let read = self.read.insert(rank, told.len()).unwrap_or(0);
            for status in &told[read..] {
                if let Status::Replaced {
                    known, newcomer, ..
                } = status
                    && *known == self.holder
                    && *newcomer != self.holder
                {
                    self.holder = *newcomer;
                    self.number += 1;
                    for process in self.world.processes.values() {
                        process.adopt.send(Adopt {
                            seat: p(1),
                            incarnation: self.holder,
                            number: self.number,
                        });
                    }
                }
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        while self.world.now < end {
            self.world.run(ms(10));
            self.order();
        }
    }

    /// Says what keeps the live start from exchanging data with all others.
    fn complaint(&mut self, incarnation: u64) -> Option<String> {
        if self.holder != Incarnation(incarnation) {
            return Some(format!("{} holds the seat", self.holder));
        }
        if self.world.process(1).is_excluded() || !self.world.process(1).is_admitted() {
            return Some("it is outside".to_owned());
        }
        for rank in 2..=self.world.n {
            self.world.send(1, rank, "small", "of the last");
            self.world.send(rank, 1, "small", "to the last");
        }
        self.run(5 * SECOND);
        let n = self.world.n;
        for rank in 2..=n {
            let there = self.world.process(rank).from(1, "small");
            let here = self.world.process(1).from(rank, "small");
            if there.last().is_none_or(|m| m != "of the last") || here != ["to the last"] {
                return Some(format!("p{rank} does not hear it, or is not heard"));
            }
        }
        None
    }
}

/// Three restarts of p1 about 400 ms apart, with a second of jitter on what it sends.
fn restarts(seed: u64) -> Option<String> {
    let n = if seed.is_multiple_of(3) { 5 } else { 3 };
    let mut cluster = Cluster::new(n, seed);
    let mut rng = Random::seed_from_u64(seed);
    cluster.world.late = Some((p(1), SECOND));
    cluster.world.faults.duplication = 0.2;
    cluster.world.record = Some(Vec::new());
    // In half of the runs clocks are set back, too.
    let starts = if seed.is_multiple_of(2) {
        [11, 12, 13]
    } else {
        [13, 12, 11]
    };
    for incarnation in starts {
        cluster.world.crash(1);
        cluster.world.start(1, incarnation);
        let end = cluster.world.now + ms(200 + below(&mut rng, 300));
        while cluster.world.now < end {
            cluster.run(ms(20));
            cluster.replay(&mut rng);
        }
    }
    for _ in 0..200 {
        cluster.run(ms(20));
        cluster.replay(&mut rng);
    }
    cluster.run(10 * SECOND);
    cluster.complaint(starts[2])
}

impl Cluster {
    /// Now and then repeats a datagram of some start of p1.
    fn replay(&mut self, rng: &mut Random) {
        let record = self.world.record.as_ref().unwrap();
        let of_p1: Vec<_> = record.iter().filter(|(from, _)| *from == p(1)).collect();
        if of_p1.is_empty() || below(rng, 3) > 0 {
            return;
        }
        let (_, transmit) = of_p1[below(rng, of_p1.len() as u64) as usize];
        let copies: Vec<_> = datagrams(transmit.bytes.clone(), transmit.segment).collect();
        let to = transmit.to.rank();
        for copy in copies {
            self.world.inject(to, copy);
        }
    }
}

#[test]
fn the_live_start_holds_the_seat_whatever_of_the_others_is_late_or_repeated() {
    for seed in 0..600 {
        assert_eq!(restarts(seed), None, "seed {seed}");
    }
}

#[test]
fn a_greeting_of_a_start_in_between_changes_nothing() {
    for n in [3, 5] {
        let mut cluster = Cluster::new(n, 1);
        cluster.world.record = Some(Vec::new());
        for incarnation in [11, 12] {
            cluster.world.crash(1);
            cluster.world.start(1, incarnation);
            cluster.run(2 * SECOND);
        }
        assert_eq!(cluster.complaint(12), None);
        let record = cluster.world.record.take().unwrap();
        let logs = |cluster: &Cluster| {
            let logs = cluster.world.processes.values();
            logs.map(|process| process.log.lock().unwrap().len())
                .collect::<Vec<_>>()
        };
        let before = logs(&cluster);
        for (from, transmit) in record {
            for datagram in datagrams(transmit.bytes.clone(), transmit.segment) {
                if let Ok(Frame::Hello(hello)) = Frame::decode(datagram.clone())
                    && (from, hello.incarnation) == (p(1), Incarnation(11))
                {
                    cluster.world.inject(transmit.to.rank(), datagram);
                }
            }
        }
        cluster.run(2 * SECOND);
        assert_eq!(logs(&cluster), before);
    }
}

#[test]
fn an_old_greeting_that_is_repeated_for_ever_does_not_keep_the_live_start_out() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        cluster.world.record = Some(Vec::new());
        cluster.world.late = Some((p(1), ms(300)));
        cluster.world.crash(1);
        cluster.world.start(1, 11);
        cluster.run(ms(100));
        let record = cluster.world.record.take().unwrap();
        cluster.world.crash(1);
        cluster.world.start(1, 12);
        for _ in 0..200 {
            for (from, transmit) in &record {
                if *from == p(1) {
                    let mut copies = datagrams(transmit.bytes.clone(), transmit.segment);
                    cluster
                        .world
                        .inject(transmit.to.rank(), copies.next().unwrap());
                }
            }
            cluster.run(ms(50));
        }
        assert_eq!(cluster.complaint(12), None, "seed {seed}");
    }
}

/// p3 has verified the last start of p1 and had it adopted; p2 has only heard of it. An echo that the start
/// before it sent while it was alive reaches p2 after that news.
#[test]
fn an_echo_that_is_older_than_the_news_of_a_holder_counts_for_nothing() {
    let mut world = World::new(3, 1);
    world.settings.rejoin = Some("small".to_owned());
    world.start_all();
    world.connect();
    world.crash(1);
    world.record = Some(Vec::new());
    world.start(1, 11);
    // Its first greeting arrives at p2; the second, with the echo, is held up.
    world.run(ms(1));
    world.cuts = vec![(p(1), p(2))];
    world.run(ms(60));
    let record = world.record.take().unwrap();
    let held_up: Vec<_> = record
        .into_iter()
        .filter(|(from, transmit)| (*from, transmit.to) == (p(1), p(2)))
        .flat_map(|(_, transmit)| datagrams(transmit.bytes, transmit.segment))
        .filter(|datagram| match Frame::decode(datagram.clone()) {
            Ok(Frame::Hello(hello)) => hello.echo != 0,
            _ => false,
        })
        .collect();
    assert!(!held_up.is_empty());
    world.crash(1);
    world.cuts.push((p(2), p(1)));
    world.start(1, 12);
    world.run(SECOND);
    world.process(3).adopt.send(Adopt {
        seat: p(1),
        incarnation: Incarnation(12),
        number: 1,
    });
    world.run(SECOND);
    let newcomer = |incarnation| {
        move |status: &Status| {
            matches!(status, Status::Replaced { newcomer, .. }
                if *newcomer == Incarnation(incarnation))
        }
    };
    assert!(world.process(2).has(newcomer(12)), "it has heard of it");
    let before = world.process(2).counters.total("unverified");
    for datagram in held_up {
        world.inject(2, datagram);
    }
    world.run(ms(5));
    assert!(world.process(2).counters.total("unverified") > before);
    assert!(!world.process(2).has(newcomer(11)));
    world.cuts.clear();
    world.run(3 * SECOND);
    world.send(1, 2, "small", "of the last");
    world.run(SECOND);
    assert_eq!(world.process(2).from(1, "small"), ["of the last"]);
}

/// p5 starts for the first time long after the others. Its first start meets p2 alone and ends; the second
/// meets p2 after the time `apart`.
fn late_first_start(apart: Duration) -> World {
    let mut world = World::new(5, 1);
    world.settings.rejoin = Some("small".to_owned());
    for rank in 1..=4 {
        world.start(rank, 10 * rank as u64);
    }
    world.run(2 * SECOND);
    let cut = |world: &mut World, pairs: &[(usize, usize)]| {
        let both = |(a, b): &(usize, usize)| [(p(*a), p(*b)), (p(*b), p(*a))];
        world.cuts = pairs.iter().flat_map(both).collect();
    };
    cut(
        &mut world,
        &[(5, 1), (5, 3), (5, 4), (2, 1), (2, 3), (2, 4)],
    );
    world.start(5, 50);
    world.run(2 * SECOND);
    assert!(!world.process(5).is_admitted());
    world.crash(5);
    cut(&mut world, &[(5, 2), (5, 4), (2, 1), (2, 3), (2, 4)]);
    world.start(5, 51);
    world.run(ms(100));
    cut(&mut world, &[(5, 2), (2, 1), (2, 3), (2, 4)]);
    world.run(apart);
    world.cuts.clear();
    world.run(5 * SECOND);
    world
}

fn all_talk_with_p5(world: &mut World) {
    assert!(world.process(5).is_admitted() && !world.process(5).is_excluded());
    for rank in 1..=4 {
        world.send(rank, 5, "small", "to the late one");
        world.send(5, rank, "small", "of the late one");
    }
    world.run(2 * SECOND);
    assert_eq!(world.process(5).delivered(), 4);
    assert!((1..=4).all(|rank| world.process(rank).from(5, "small").len() == 1));
}

/// p2 knows a start that was never admitted, and never will be.
#[test]
fn who_knows_a_late_first_start_that_ended_early_takes_the_admitted_one_for_it() {
    let mut world = late_first_start(5 * SECOND);
    all_talk_with_p5(&mut world);
}

/// p1 takes the second start for the first. The second must learn that it has to wait.
#[test]
fn who_met_the_second_start_first_is_told_that_it_comes_after_another() {
    let mut world = late_first_start(Duration::ZERO);
    assert!(!world.process(5).is_admitted());
    let replaced = |status: &Status| {
        matches!(status, Status::Replaced { peer, known, newcomer } if *peer == p(5)
            && (*known, *newcomer) == (Incarnation(50), Incarnation(51)))
    };
    assert!((1..=4).all(|rank| world.process(rank).has(replaced)));
    for rank in 1..=4 {
        world.process(rank).adopt.send(Adopt {
            seat: p(5),
            incarnation: Incarnation(51),
            number: 1,
        });
    }
    world.run(3 * SECOND);
    all_talk_with_p5(&mut world);
}

/// A rule by which a process tells which start of a peer is the latest.
trait Rule: Default {
    /// A start greets, maybe with an echo. Returns whether it is verified.
    fn greeted(&mut self, start: u64, echo: u64, rng: &mut Random) -> bool;
    /// The nonce that the start has to echo.
    fn nonce(&mut self, start: u64) -> u64;
}

#[derive(Default)]
struct Sound(Draws, bool);

impl Rule for Sound {
    fn greeted(&mut self, start: u64, echo: u64, rng: &mut Random) -> bool {
        if !std::mem::replace(&mut self.1, true) {
            self.0.introduce(rng);
        }
        let incarnation = Incarnation(start);
        self.0.hear(incarnation, start + 1);
        self.0.answer(rng);
        self.0.verify(incarnation, echo)
    }

    fn nonce(&mut self, start: u64) -> u64 {
        let due = self.0.take_due(false, None);
        let of_start = |drawn: &&Drawn| drawn.echo == start + 1;
        due.iter().find(of_start).map_or(0, |drawn| drawn.nonce)
    }
}

/// Mutant: one nonce for the life of the process.
#[derive(Default)]
struct ForLife;

impl Rule for ForLife {
    fn greeted(&mut self, _: u64, echo: u64, _: &mut Random) -> bool {
        echo == 7
    }
    fn nonce(&mut self, _: u64) -> u64 {
        7
    }
}

/// Mutant: one nonce per start, and no nonce ever expires.
#[derive(Default)]
struct Undying(BTreeMap<u64, u64>);

impl Rule for Undying {
    fn greeted(&mut self, start: u64, echo: u64, rng: &mut Random) -> bool {
        *self.0.entry(start).or_insert_with(|| rng.next_u64() | 1) == echo
    }
    fn nonce(&mut self, start: u64) -> u64 {
        self.0[&start]
    }
}

/// Four starts greet one process; their greetings arrive late, twice and repeatedly. Returns whether a dead
/// start took the seat of a live one, or holds it in the end.
fn seat<R: Rule>(seed: u64) -> bool {
    let mut rng = Random::seed_from_u64(seed);
    let mut rule = R::default();
    let mut begins = vec![0];
    for _ in 0..3 {
        begins.push(begins.last().unwrap() + 200 + below(&mut rng, 300));
    }
    let alive = |start: u64, at: u64| {
        let start = start as usize;
        begins[start] <= at && begins.get(start + 1).is_none_or(|end| at < *end)
    };
    // The events in order of time: greetings of a start with an echo, and answers to a start with a nonce.
    let mut events: BTreeMap<(u64, u64), (bool, u64, u64)> = BTreeMap::new();
    let mut copies: Vec<(u64, u64)> = Vec::new();
    let mut echo = [0; 4];
    let (mut seated, mut displaced) = (None, false);
    for now in 0..8000 {
        for start in 0..4 {
            if alive(start, now) && now % 100 == begins[start as usize] % 100 {
                let greeting = (start, echo[start as usize]);
                copies.push(greeting);
                for _ in 0..=u64::from(below(&mut rng, 10) < 3) {
                    let at = now + below(&mut rng, 1000);
                    events.insert((at, rng.next_u64()), (true, start, greeting.1));
                }
                if below(&mut rng, 10) < 3 {
                    let (start, echo) = copies[below(&mut rng, copies.len() as u64) as usize];
                    let at = now + below(&mut rng, 3000);
                    events.insert((at, rng.next_u64()), (true, start, echo));
                }
            }
        }
        while let Some(entry) = events.first_entry()
            && entry.key().0 <= now
        {
            let (is_greeting, start, number) = entry.remove();
            if !is_greeting {
                if alive(start, now) && number != 0 {
                    echo[start as usize] = number;
                }
            } else if rule.greeted(start, number, &mut rng) {
                displaced |= seated.is_some_and(|before| start < before);
                seated = Some(start);
            } else {
                let nonce = rule.nonce(start);
                let at = now + 1 + below(&mut rng, 60);
                events.insert((at, rng.next_u64()), (false, start, nonce));
            }
        }
    }
    displaced || seated != Some(3)
}

#[test]
fn of_two_verified_starts_the_later_drawn_is_the_later_one() {
    let wrong = (0..600).filter(|seed| seat::<Sound>(*seed)).count();
    assert_eq!(wrong, 0);
}

#[test]
fn mutants_of_the_rule_of_draws_are_found() {
    let for_life = (0..600).filter(|seed| seat::<ForLife>(*seed)).count();
    let undying = (0..600).filter(|seed| seat::<Undying>(*seed)).count();
    assert!(for_life > 100 && undying > 100, "{for_life} {undying}");
}

/// The nonce that the start has to echo, as told in answer to its greeting.
fn told(draws: &mut Draws, start: u64, rng: &mut Random) -> (u64, u64) {
    draws.hear(Incarnation(start), 5);
    draws.answer(rng);
    let due = draws.take_due(false, None);
    let of_start = |drawn: &&Drawn| drawn.incarnation == Some(Incarnation(start));
    let drawn = due.iter().find(of_start).unwrap();
    (drawn.nonce, drawn.number)
}

#[test]
fn of_greetings_that_are_not_verified_nothing_is_kept_and_nothing_is_lost() {
    let rng = &mut Random::seed_from_u64(1);
    let mut draws = Draws::default();
    draws.introduce(rng);
    let (of_7, draw) = told(&mut draws, 7, rng);
    for start in 1000..11_000 {
        told(&mut draws, start, rng);
        assert!(!draws.verify(Incarnation(start + 1), of_7), "of another");
    }
    assert_eq!(told(&mut draws, 7, rng), (of_7, draw));
    assert!(draws.verify(Incarnation(7), of_7));
    // Of many greetings in one batch some are answered, whatever their order.
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..100 {
        for start in 0..4 * ANSWERS as u64 {
            draws.hear(Incarnation(start), 5);
            draws.answer(rng);
            draws.answer(rng);
        }
        let due = draws.take_due(false, None);
        assert_eq!(due.len(), ANSWERS);
        answered.extend(due.iter().map(|drawn| drawn.incarnation));
    }
    assert_eq!(answered.len(), 4 * ANSWERS);
}

#[test]
fn a_draw_is_over_once_a_start_is_verified() {
    let rng = &mut Random::seed_from_u64(1);
    let mut draws = Draws::default();
    draws.introduce(rng);
    let start = Incarnation;
    let [one, two, three] = [1, 2, 3].map(|start| told(&mut draws, start, rng).0);
    assert!(draws.verify(start(2), two) && draws.verify(start(2), two));
    assert!(!draws.verify(start(1), one) && !draws.verify(start(3), three));
    let (again, number) = told(&mut draws, 3, rng);
    assert!(again != three && number == 2);
    assert!(draws.verify(start(3), again));
    assert!(!draws.is_echo(start(2), two), "dead for ever");
    // The known holder of the seat outlives the draws of the others, verified or not.
    let [four, five] = [4, 5].map(|start| told(&mut draws, start, rng).0);
    draws.outdate(start(5));
    assert!(!draws.is_echo(start(4), four) && !draws.is_echo(start(3), again));
    let (four, number) = told(&mut draws, 4, rng);
    assert_eq!(told(&mut draws, 5, rng), (five, number - 1));
    assert!(draws.verify(start(5), five) && draws.verify(start(4), four));
    assert!(!draws.verify(start(5), five), "it was drawn before");
}

/// The nonce of the first greeting is told to any start, which may be dead when others tell of a holder.
#[test]
fn the_nonce_of_the_first_greeting_is_over_with_its_draw() {
    let rng = &mut Random::seed_from_u64(1);
    for holder in [1, 2].map(Incarnation) {
        let mut draws = Draws::default();
        draws.introduce(rng);
        let spare = draws.take_due(true, None)[0].nonce;
        draws.outdate(holder);
        draws.hear(Incarnation(1), 5);
        assert_eq!(
            draws.verify(Incarnation(1), spare),
            holder == Incarnation(1)
        );
    }
}

/// A stranger greets p2 and p3 in the name of p1, ten times a millisecond, each time as another start.
#[test]
fn strangers_do_not_keep_a_start_out() {
    let mut cluster = Cluster::new(3, 1);
    cluster.world.record = Some(Vec::new());
    cluster.world.crash(1);
    cluster.world.start(1, 11);
    cluster.world.run(Duration::ZERO);
    let record = cluster.world.record.take().unwrap();
    let greetings = record.into_iter().filter_map(|(_, transmit)| {
        let Ok(Frame::Hello(hello)) = Frame::decode(transmit.bytes) else {
            return None;
        };
        (hello.from == p(1)).then_some(hello)
    });
    let greetings: Vec<_> = greetings.collect();
    assert_eq!(greetings.len(), 2);
    for time in 0..1500 {
        for number in 0..10 {
            for greeting in &greetings {
                let mut forged = greeting.clone();
                forged.incarnation = Incarnation(1000 + 10 * time + number);
                forged.nonce = 1 + time;
                cluster.world.inject(forged.to.rank(), forged.encode(1200));
            }
        }
        cluster.world.run(ms(1));
        cluster.order();
    }
    assert_eq!(cluster.complaint(11), None);
}
