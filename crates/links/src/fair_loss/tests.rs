use super::*;
use quorate_core::{Addr, Context, Counters, Time};
use quorate_sim::{
    Timed, UNIT, World,
    properties::{self, Channel},
    testing::p,
};

/// Of this many copies of a message one arrives.
const COPIES: u64 = 40;

/// Links at every process of a world, of which FLL1–3 are checked.
fn wire(world: &World) -> Vec<Addr<SendRequest>> {
    let channel = Channel::Module("links".to_owned());
    world.check(properties::fair_loss_links(&channel, COPIES, 3));
    let wire = |q| {
        let (host, up) = (world.host(q).at("links"), world.application(q));
        spawn(&host, |arrivals| world.fair_loss(q, arrivals), up)
    };
    world.processes().map(wire).collect()
}

#[test]
fn fll1_to_3_hold_whatever_the_edge_loses_and_repeats() {
    for seed in 0..200 {
        let adversary = Timed::uniform(UNIT / 2, UNIT * 5);
        let adversary = adversary.loss(0.4).duplication(0.3);
        let world = World::new(3, seed, adversary).unwrap();
        let mut world = world.fair_loss_bounds(8, 3).settle(UNIT * 20);
        let ports = wire(&world);
        for copy in 0..COPIES as u32 {
            for (from, to, bytes) in [(1, 2, "a"), (1, 3, "b"), (2, 3, "a")] {
                let bytes = Bytes::from_static(bytes.as_bytes());
                let time = Time::ZERO + UNIT * copy;
                world.request(
                    p(from),
                    time,
                    &ports[from - 1],
                    SendRequest { to: p(to), bytes },
                );
            }
        }
        world.run().assert_all_hold();
    }
}

#[test]
fn a_message_costs_one_datagram_and_one_step() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let mut world = world.settle(UNIT * 5);
    let ports = wire(&world);
    let bytes = Bytes::from_static(b"once");
    world.request(p(1), Time::ZERO, &ports[0], SendRequest { to: p(2), bytes });
    world.run().assert_all_hold();
    let delivered = world.tally(p(2), "links", "Deliver").unwrap();
    assert_eq!((delivered.count, delivered.last), (1, Time::ZERO + UNIT));
}

#[test]
fn a_datagram_without_a_sender_in_the_system_is_counted_and_dropped() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let counters = Counters::default();
    let mut ctx = Context::new("links".into(), 1, counters.clone());
    let mut links = FairLoss::new(&world.host(p(1)));
    let mut arrive = |bytes: &'static [u8], segment| {
        let bytes = Bytes::from_static(bytes);
        let arrival = fair_loss::Indication::Arrive { bytes, segment };
        links.upon(Event::Edge(arrival), &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects.len()
    };
    assert_eq!(arrive(&[0, 7], 2), 0, "there is no process of rank 0");
    assert_eq!(arrive(&[200, 7], 2), 0, "nor one of rank 200");
    assert_eq!(counters.total("malformed"), 2);
    assert_eq!(
        arrive(&[7, 7, 3, 8], 2),
        0,
        "of two processes none is p7 or p3"
    );
    assert_eq!(counters.total("unknown process"), 2);
    assert_eq!(arrive(&[2, 7, 2, 8, 2], 2), 3, "the last one is empty");
}
