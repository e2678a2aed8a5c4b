//! The example of the paper on generalized quorum systems: four processes, and four failure patterns,
//! each of which lets one process crash and leaves three channels between the others.
use super::*;
use quorate_core::wire::Wire;
use quorate_quorums::Family;
use quorate_sim::Adversary;

/// Quorums and patterns as in the paper; the processes a … d are p1 … p4.
struct Pattern {
    crashes: ProcessId,
    correct: [(ProcessId, ProcessId); 3],
    returning: ProcessSet,
}

/// The patterns f1 … f4: each is the one before, under a → b → c → d → a.
fn patterns() -> [Pattern; 4] {
    [0, 1, 2, 3].map(|turn| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|letter| p((letter + turn) % 4 + 1));
        Pattern {
            crashes: d,
            correct: [(a, b), (b, a), (c, a)],
            returning: [a, b].into_iter().collect(),
        }
    })
}

fn quorums() -> Quorums {
    let sets = |sets: &[[usize; 2]]| {
        let set = |ranks: &[usize; 2]| ranks.map(p).into_iter().collect();
        Family::Sets(sets.iter().map(set).collect())
    };
    Quorums {
        reads: sets(&[[1, 3], [2, 4]]),
        writes: sets(&[[1, 2], [2, 3], [3, 4], [4, 1]]),
    }
}

fn befall(pattern: &Pattern, world: &World, at: Time) {
    world.crash(pattern.crashes, Crash::at(at));
    for (from, to) in world
        .processes()
        .flat_map(|q| world.processes().map(move |r| (q, r)))
    {
        let is_live = ![from, to].contains(&pattern.crashes) && from != to;
        if is_live && !pattern.correct.contains(&(from, to)) {
            world.disconnect((from, to), at);
        }
    }
}

/// Links that lose every fourth message to another process, at random, and carry datagrams only.
pub(super) fn lossy<M: Wire>(
    host: &SimHost,
    lane: impl Layer<link::Send<M>, link::Deliver<M>>,
) -> impl Layer<link::Send<M>, link::Deliver<M>> {
    let (me, n, sent) = (host.me(), host.processes().n(), Mutex::new(0_u64));
    move |up| {
        let below = lane.attach(up);
        Addr::new(move |link::Send { to, message }: link::Send<M>| {
            let bytes = message.into_bytes();
            assert!(bytes.len() <= 150, "{} bytes", bytes.len());
            let receivers = (1..=n).map(p).filter(|q| match to {
                link::To::All => true,
                link::To::One(one) => one == *q,
                link::To::Some(some) => some.contains(*q),
            });
            for q in receivers {
                let mut sent = sent.lock().unwrap();
                *sent += 1;
                let drawn = quorate_core::message::fold(*sent, me.rank() as u64);
                if q == me || !drawn.is_multiple_of(4) {
                    let (to, message) = (link::To::One(q), M::decode(bytes.clone()).unwrap());
                    below.send(link::Send { to, message });
                }
            }
        })
    }
}

/// Everybody operates, under the pattern from some moment on.
fn run(seed: u64, pattern: Option<&Pattern>, below: Below) -> Report {
    let timed: Box<dyn Adversary> = if below == Below::Lossy {
        Box::new(Timed::uniform(UNIT / 4, UNIT))
    } else {
        Box::new(Timed::uniform(UNIT / 2, UNIT * 5))
    };
    let mut world = World::new(4, seed, Boxed(timed)).unwrap();
    world = world.settle(PERIOD * 60);
    let all = world.membership().set();
    let returning = pattern.map_or(all, |pattern| pattern.returning);
    world.check(shared_register("register", returning));
    let doors = wire(&world, below, &quorums(), ByQuorumAccess::new);
    operate(&world, &doors, seed, 12, 300);
    for (q, door) in world.processes().zip(&doors) {
        let last = request("z", 13, Action::Read);
        world.request(q, Time::ZERO + UNIT * 310, door, last);
    }
    if let Some(pattern) = pattern {
        let at = if seed.is_multiple_of(2) {
            0
        } else {
            seed as u32 * 37 % 300
        };
        befall(pattern, &world, Time::ZERO + UNIT * at);
    }
    world.run()
}

struct Boxed(Box<dyn Adversary>);

impl Adversary for Boxed {
    fn latency(&mut self, copy: quorate_sim::Copy, rng: &mut Generator) -> Duration {
        self.0.latency(copy, rng)
    }
}

fn sweep(seeds: u64) {
    for seed in 0..seeds {
        let report = run(seed, None, Below::Flooding);
        assert!(report.all_hold(), "seed {seed}: {report}");
        for (number, pattern) in (1..).zip(patterns()) {
            let report = run(seed, Some(&pattern), Below::Flooding);
            assert!(report.all_hold(), "f{number}, seed {seed}: {report}");
            let report = run(seed, Some(&pattern), Below::Classical);
            let broken = report.violation().map(|v| &v.tag[..]);
            assert_eq!(
                broken,
                Some("NNAR1"),
                "f{number}, seed {seed}, classical: {report}"
            );
        }
    }
}

#[test]
fn operations_return_where_they_can_and_classical_ones_block() {
    sweep(50);
}

#[test]
#[ignore = "long: scripts/soak runs it"]
fn operations_return_where_they_can_and_classical_ones_block_over_many_seeds() {
    sweep(2000);
}

#[test]
fn operations_return_over_channels_that_lose_what_they_carry() {
    for seed in 0..10_u64 {
        let patterns = patterns();
        let pattern = (seed % 5)
            .checked_sub(1)
            .map(|index| &patterns[index as usize]);
        let report = run(seed, pattern, Below::Lossy);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}
