//! PL1–3, and the order of a lane, under an adverse network.
use super::harness::{Faults, World, ms, p};
use bytes::Bytes;
use std::time::Duration;

fn numbered(count: u32) -> Vec<Bytes> {
    (0..count)
        .map(|i| Bytes::copy_from_slice(&i.to_le_bytes()))
        .collect()
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn processes_connect_and_talk() {
    let mut world = World::started(3, 1);
    world.connect();
    world.send(1, 2, "small", "hello");
    world.send(2, 2, "small", "myself");
    world.run(ms(20));
    assert_eq!(world.process(2).from(1, "small"), ["hello"]);
    assert_eq!(world.process(2).from(2, "small"), ["myself"]);
    assert_eq!(world.process(3).delivered(), 0);
}

#[test]
fn pl1_pl2_pl3_and_the_order_of_a_lane_hold_under_loss_duplication_and_reordering() {
    for seed in 0..30 {
        let mut world = World::new(3, seed);
        world.faults = Faults {
            loss: 0.3,
            duplication: 0.2,
            spread: ms(5),
            ..Faults::default()
        };
        world.start_all();
        let messages = numbered(500);
        for (at, message) in messages.iter().enumerate() {
            for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 3)] {
                world.send(from, to, "small", message.clone());
            }
            if at % 10 == 0 {
                world.run(ms(1));
            }
        }
        world.run_until(LONG, |world| {
            world.processes.values().all(|q| q.delivered() >= 500)
        });
        world.run(LONG);
        for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 3)] {
            assert_eq!(
                world.process(to).from(from, "small"),
                messages,
                "seed {seed}"
            );
        }
        assert_eq!(world.process(2).delivered(), 500);
        let _ = p(1);
    }
}
