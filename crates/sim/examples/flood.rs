//! A million messages through uniform broadcast over ideal links: `time` it to see what one costs.
#[path = "../tests/support/mod.rs"]
mod support;
use quorate_core::Time;
use quorate_sim::{Timed, UNIT, World, properties};
use support::{everywhere, p, payload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let watched = std::env::args().any(|argument| argument == "--watched");
    let mut world = World::new(5, 1, Timed::uniform(UNIT, 5 * UNIT))?;
    let urb = everywhere(&world, 3);
    if watched {
        world.check(properties::uniform(world.membership(), "urb"));
    }
    for k in 0..10_000 {
        for (index, requests) in urb.iter().enumerate() {
            world.request(p(index + 1), Time::ZERO + UNIT * k, requests, payload("m"));
        }
    }
    println!("{}", world.run());
    Ok(())
}
