use super::*;
use crate::{
    flooding as over,
    marks::{Mark, Marks},
};
use quorate_abstractions::link::Links;
use quorate_sim::{Timed, UNIT, World};
use std::sync::{Arc, Mutex};

#[test]
fn smoke() {
    let mut world = World::new(3, 1, Timed::lock_step())
        .unwrap()
        .settle(Duration::from_secs(1));
    let got: Arc<Mutex<Vec<(u64, Answer<Marks>, Time)>>> = Arc::default();
    let doors: Vec<_> = world
        .processes()
        .map(|p| {
            let host = world.host(p).at("access");
            let lane = world.links(p).at("access").lane();
            let log = got.clone();
            let up = world.application_with(p, move |i: Indication<Marks>, now| {
                log.lock().unwrap().push((i.operation, i.answer, now));
            });
            let flooding = |up| {
                over::spawn(
                    &host.at("flooding"),
                    over::Configuration::default(),
                    lane,
                    up,
                )
            };
            spawn(
                &host,
                Configuration::default(),
                Quorums::majorities(world.membership()),
                Marks::default(),
                flooding,
                up,
            )
        })
        .collect();
    let p1 = world.membership().coordinator(1);
    let call = Call::Set(Mark(3));
    world.request(p1, Time::ZERO, &doors[0], Request { operation: 1, call });
    let call = Call::Get;
    world.request(
        p1,
        Time::ZERO + UNIT * 300,
        &doors[0],
        Request { operation: 2, call },
    );
    world.run();
    println!("{:?}", got.lock().unwrap());
}
