//! Processes whose clocks start at different times, in views with the default settings (G6-E1).
use super::*;
use quorate_abstractions::view_synchronizer::CatchUp;
use std::sync::{Arc, Mutex, OnceLock};

/// Views that begin with a call: until then nothing is entered, and nobody catches up.
fn late_views(world: &World, q: ProcessId) -> (Views, impl FnOnce() + Send + use<>) {
    let host = world.host(q).at("views");
    let subscriber: Arc<Mutex<Option<Addr<Enter>>>> = Arc::default();
    let views: Arc<OnceLock<Views>> = Arc::default();
    let (told, started) = (subscriber.clone(), views.clone());
    let late = Views {
        entered: Addr::new(move |up| *told.lock().unwrap() = Some(up)),
        catch_up: Addr::new(move |request: CatchUp| {
            if let Some(views) = started.get() {
                views.catch_up.send(request);
            }
        }),
    };
    let begin = move || {
        let begun = view_synchronizer::spawn(&host, view_synchronizer::ViewSettings::default());
        if let Some(up) = subscriber.lock().unwrap().take() {
            begun.entered.send(up);
        }
        let _ = views.set(begun);
    };
    (late, begin)
}

/// Each of `n` processes starts this many seconds after the one before it, and proposes at its start. Returns
/// when each decides, in seconds.
fn decided_at(n: usize, apart: u64, seed: u64) -> Vec<f64> {
    let adversary = Timed::uniform(UNIT, UNIT * 40);
    let mut world = World::new(n, seed, adversary)
        .unwrap()
        .settle(Duration::from_mins(5));
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let (views, begin) = late_views(&world, q);
        let port = started(&world, q, &majorities(&world), &views, true);
        let at = Time::ZERO + Duration::from_secs(apart * (q.rank() as u64 - 1));
        world.call(q, at, begin);
        let value = payload(q);
        world.request(q, at, &port, Propose { instance: 1, value });
    }
    world.run().assert_all_hold();
    let tally = |q| world.tally(q, "consensus", "Decide").unwrap();
    let seconds = |q| tally(q).first.as_nanos() as f64 / 1e9;
    world.processes().map(seconds).collect()
}

#[test]
fn uc4_processes_that_start_twelve_seconds_apart_decide_before_long() {
    for seed in 0..10 {
        // They decide as soon as a majority has started and each has led once: views last about a second
        // then.
        for at in decided_at(3, 12, seed) {
            assert!((12.0..18.0).contains(&at), "seed {seed}: after {at} s");
        }
        for at in decided_at(5, 20, seed) {
            assert!((40.0..60.0).contains(&at), "seed {seed}: after {at} s");
        }
    }
}
