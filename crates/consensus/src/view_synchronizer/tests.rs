use super::*;
use crate::testing::{p, step};
use quorate_core::Time;
use quorate_sim::{Report, Timed, UNIT, World, properties};

const GROWING: ViewSettings = ViewSettings { unit: UNIT };

/// Three processes that start this many steps apart run for 400 steps, and until there is no new view for
/// `rest` steps. Returns the report on the required overlap.
fn run(
    settings: ViewSettings,
    apart: u32,
    overlap: u32,
    rest: u32,
    start: fn(&quorate_sim::SimHost, ViewSettings) -> Views,
) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step())
        .unwrap()
        .settle(UNIT * rest);
    world.check(properties::view_synchronizer(
        world.membership(),
        "views",
        UNIT * overlap,
    ));
    for q in world.processes() {
        let (host, up) = (world.host(q).at("views"), world.application::<Enter>(q));
        let at = step(apart * (q.rank() as u32 - 1));
        world.call(q, at, move || start(&host, settings).entered.send(up));
    }
    world.call(p(1), step(400), || {});
    world.run()
}

#[test]
fn views_overlap_longer_than_asked_for_however_far_apart_processes_started() {
    for apart in [0, 1, 7, 13] {
        run(GROWING, apart, 10, 40, spawn).assert_all_hold();
    }
}

#[test]
fn vs_ovl_is_broken_where_clocks_drift_apart() {
    let report = run(GROWING, 0, 10, 40, spawn_mutant);
    assert_eq!(report.violation().map(|v| &v.tag[..]), Some("VS-OVL"));
}

#[test]
fn vs_ovl_is_broken_where_views_do_not_grow_beyond_what_processes_started_apart() {
    let bounded = ViewSettings { unit: UNIT * 25 };
    let spawn = |host: &quorate_sim::SimHost, settings| {
        let algorithm = ViewSynchronizer {
            longest: UNIT * 50,
            ..ViewSynchronizer::new(settings)
        };
        let (entered, catch_up) = spawn_as(host, algorithm);
        Views { entered, catch_up }
    };
    // Two of them start 44 steps apart: 6 steps are left of each view.
    run(bounded, 22, 6, 5, spawn).assert_all_hold();
    let report = run(bounded, 22, 7, 5, spawn);
    assert_eq!(report.violation().map(|v| &v.tag[..]), Some("VS-OVL"));
}

#[test]
fn a_late_subscriber_is_told_the_present_view_and_views_last_ever_longer() {
    let mut world = World::new(1, 1, Timed::lock_step())
        .unwrap()
        .settle(UNIT * 8);
    let subscribe = spawn(&world.host(p(1)).at("views"), GROWING).entered;
    let (log, entered) = (
        std::sync::Arc::new(std::sync::Mutex::new(Vec::new())),
        step(7),
    );
    let told = log.clone();
    let up = world.application_with(p(1), move |Enter { view }, time: Time| {
        told.lock().unwrap().push((view, time));
    });
    world.call(p(1), entered, move || subscribe.send(up));
    world.run();
    let log = log.lock().unwrap().clone();
    // View v begins after 0 + 1 + … + (v − 1) units.
    assert_eq!(log[..3], [(4, step(7)), (5, step(10)), (6, step(15))]);
}

#[test]
fn who_hears_of_a_later_view_enters_it_and_stays_for_as_long_as_that_one_lasts() {
    let mut world = World::new(1, 1, Timed::lock_step())
        .unwrap()
        .settle(UNIT * 8);
    let views = spawn(&world.host(p(1)).at("views"), GROWING);
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = log.clone();
    let up = world.application_with(p(1), move |Enter { view }, time: Time| {
        told.lock().unwrap().push((view, time));
    });
    views.entered.send(up);
    // In view 3, which would otherwise last until step 6.
    for (at, view) in [(4, 7), (5, 2)] {
        let catch_up = views.catch_up.clone();
        world.call(p(1), step(at), move || catch_up.send(CatchUp { view }));
    }
    world.call(p(1), step(12), || {});
    world.run();
    let log = log.lock().unwrap().clone();
    assert_eq!(log[2..5], [(3, step(3)), (7, step(4)), (8, step(11))]);
}
