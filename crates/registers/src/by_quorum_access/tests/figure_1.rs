//! The example of the paper on generalized quorum systems: four processes, and four failure patterns,
//! each of which lets one process crash and leaves three channels between the others.
use super::*;
use quorate_core::wire::Wire;
use quorate_core::{Addr, Layer};
use quorate_quorums::example;

fn quorums() -> Quorums {
    example::figure_1().unwrap().quorums
}

/// Makes everything fail that may fail under the pattern of this index. Returns the processes at which
/// operations return.
fn befall(index: usize, world: &World, at: Time) -> ProcessSet {
    let example = example::figure_1().unwrap();
    let (pattern, returning) = example.pattern(index).unwrap();
    world.fail(pattern.crash, pattern.channels(), at);
    returning
}

/// Links that lose every fourth message to another process, at random, and carry datagrams only.
pub(super) fn lossy<M: Wire>(
    host: &SimHost,
    lane: impl Layer<link::Port<M>>,
) -> impl Layer<link::Port<M>> {
    let (me, n, sent) = (host.me(), host.processes().n(), Mutex::new(0_u64));
    move |up| {
        let below = lane.attach(up);
        Addr::new(
            move |link::SendRequest { to, message }: link::SendRequest<M>| {
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
                        below.send(link::SendRequest { to, message });
                    }
                }
            },
        )
    }
}

/// Everybody operates, under the pattern from some moment on.
fn run(seed: u64, pattern: Option<usize>, below: LowerLayer) -> Report {
    let timed = if below == LowerLayer::Lossy {
        Timed::uniform(UNIT / 4, UNIT)
    } else {
        Timed::uniform(UNIT / 2, UNIT * 5)
    };
    let mut world = World::new(4, seed, timed).unwrap();
    world = world.settle(PERIOD * 60);
    let at = if seed.is_multiple_of(2) {
        0
    } else {
        seed as u32 * 37 % 300
    };
    let at = Time::ZERO + UNIT * at;
    let all = world.membership().set();
    let returning = pattern.map_or(all, |index| befall(index, &world, at));
    world.check(shared_register("register", returning));
    let ports = wire(&world, below, &quorums(), ByQuorumAccess::new);
    operate(&world, &ports, seed, 12, 300);
    for (q, port) in world.processes().zip(&ports) {
        let last = request("z", 13, Action::Read);
        world.request(q, Time::ZERO + UNIT * 310, port, last);
    }
    world.run()
}

fn sweep(seeds: u64) {
    for seed in 0..seeds {
        let report = run(seed, None, LowerLayer::Flooding);
        assert!(report.all_hold(), "seed {seed}: {report}");
        for index in 0..4 {
            let number = index + 1;
            let report = run(seed, Some(index), LowerLayer::Flooding);
            assert!(report.all_hold(), "f{number}, seed {seed}: {report}");
            let report = run(seed, Some(index), LowerLayer::Classical);
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
        let pattern = (seed as usize % 5).checked_sub(1);
        let report = run(seed, pattern, LowerLayer::Lossy);
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}
