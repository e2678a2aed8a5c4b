//! Incarnations that come after others, where the link lets them wait: they are adopted, and may learn of it
//! late.
use super::harness::{World, ms, p};
use quorate_abstractions::link::{Adopt, Status};
use quorate_core::Incarnation;
use std::time::Duration;

/// Three processes that have met; lanes below `small` are open to newcomers.
fn world() -> World {
    let mut world = World::new(3, 9);
    world.settings.rejoin = Some("small".to_owned());
    for rank in 1..=3 {
        world.start(rank, 10 * rank as u64);
    }
    world.connect();
    world
}

/// p3 comes back without its memory.
fn with_newcomer() -> World {
    let mut world = world();
    world.crash(3);
    world.start(3, 31);
    world.send(3, 1, "small", "said in ignorance");
    world.run(Duration::from_secs(3));
    world
}

fn adopt(world: &World, at: usize, incarnation: u64, number: u64) {
    world.process(at).adopt.send(Adopt {
        seat: p(3),
        incarnation: Incarnation(incarnation),
        number,
    });
}

fn newcomer(status: &Status) -> bool {
    matches!(status, Status::Newcomer { known, .. } if *known == Incarnation(30))
}

#[test]
fn a_newcomer_waits_and_what_it_said_in_ignorance_is_never_sent() {
    let mut world = with_newcomer();
    world.run(Duration::from_mins(1));
    let p3 = world.process(3);
    assert!(p3.has(newcomer) && !p3.is_admitted() && !p3.is_excluded());
    let told = p3.statuses.lock().unwrap();
    assert_eq!(told.iter().filter(|s| newcomer(s)).count(), 1);
    assert_eq!(world.process(1).delivered(), 0);
}

#[test]
fn whoever_adopts_talks_to_the_newcomer_and_the_others_learn_of_it() {
    let mut world = with_newcomer();
    world.send(1, 3, "small", "to the one before");
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    assert!(world.process(3).is_admitted());
    world.send(3, 1, "small", "to who adopted");
    world.send(3, 2, "small", "to who was told");
    world.send(3, 3, "small", "to itself");
    world.send(2, 3, "small", "back");
    world.run(ms(500));
    assert_eq!(world.process(1).from(3, "small"), ["to who adopted"]);
    assert_eq!(world.process(2).from(3, "small"), ["to who was told"]);
    assert_eq!(world.process(3).from(3, "small"), ["to itself"]);
    assert_eq!(world.process(3).from(2, "small"), ["back"]);
    assert_eq!(world.process(3).from(1, "small").len(), 0);
}

#[test]
fn other_lanes_are_closed_to_newcomers_in_both_directions() {
    let mut world = with_newcomer();
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    for (from, to) in [(1, 3), (3, 1), (3, 3), (3, 2), (2, 3)] {
        world.send(from, to, "bulk", "closed");
    }
    world.send(1, 2, "bulk", "open");
    world.run(Duration::from_secs(1));
    assert_eq!(world.process(3).delivered(), 0);
    assert_eq!(world.process(1).delivered(), 0);
    assert_eq!(world.process(2).from(1, "bulk"), ["open"]);
    assert_eq!(world.process(2).delivered(), 1);
}

#[test]
fn of_two_adoptions_the_later_counts_and_late_news_change_nothing() {
    let mut world = with_newcomer();
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    world.crash(3);
    world.start(3, 32);
    world.run(Duration::from_secs(3));
    let replaced = |status: &Status| {
        matches!(status, Status::Replaced { known, newcomer, .. }
            if *known == Incarnation(31) && *newcomer == Incarnation(32))
    };
    assert!(world.process(1).has(replaced) && world.process(2).has(replaced));
    adopt(&world, 2, 32, 2);
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    assert!(world.process(3).is_admitted() && !world.process(3).is_excluded());
    world.send(3, 1, "small", "the third");
    world.run(ms(500));
    assert_eq!(world.process(1).from(3, "small"), ["the third"]);
}

#[test]
fn a_process_that_lives_and_is_replaced_stops_for_good() {
    let mut world = world();
    adopt(&world, 1, 99, 1);
    world.send(3, 1, "small", "too late");
    world.run(Duration::from_secs(5));
    assert!(world.process(3).is_excluded());
    assert_eq!(world.process(1).delivered(), 0);
}

#[test]
fn an_impossible_adoption_is_dropped() {
    let mut world = world();
    adopt(&world, 1, 99, u64::MAX);
    adopt(&world, 1, 99, 1 << 30);
    let seat = p(4);
    let (incarnation, number) = (Incarnation(1), 1);
    world.process(1).adopt.send(Adopt {
        seat,
        incarnation,
        number,
    });
    world.run(ms(500));
    assert_eq!(world.process(1).counters.total("impossible adoption"), 3);
    world.send(3, 1, "small", "still here");
    world.run(ms(500));
    assert_eq!(world.process(1).from(3, "small"), ["still here"]);
}

/// It has no memory, so that it must not be taken for an incarnation that was there from the beginning.
#[test]
fn a_newcomer_that_first_hears_of_its_adoption_is_told_that_it_came_later() {
    let mut world = world();
    world.crash(3);
    adopt(&world, 1, 31, 1);
    world.cuts = vec![(p(2), p(3)), (p(3), p(2))];
    world.start(3, 31);
    world.send(3, 1, "small", "said in ignorance");
    world.run(Duration::from_secs(3));
    let p3 = world.process(3);
    assert!(p3.is_admitted());
    let told = p3.statuses.lock().unwrap().clone();
    let late = |s: &Status| matches!(s, Status::Newcomer { .. });
    let first = told.iter().position(late).unwrap();
    let admitted = |s: &Status| matches!(s, Status::Admitted);
    assert!(first < told.iter().position(admitted).unwrap());
    assert_eq!(world.process(1).delivered(), 0);
}

/// The incarnation before was cut off, and is back: that is no reason to end anything.
#[test]
fn a_predecessor_that_shows_up_again_does_not_replace_its_successor() {
    let mut world = world();
    let old = world.processes.remove(&p(3)).unwrap();
    world.start(3, 31);
    world.run(Duration::from_secs(3));
    adopt(&world, 1, 31, 1);
    world.run(Duration::from_secs(3));
    let told = |world: &World, rank| world.process(rank).statuses.lock().unwrap().len();
    let before = [1, 2].map(|rank| told(&world, rank));
    let new = world.processes.insert(p(3), old).unwrap();
    // It gets various news, and it greets.
    for at in [1, 2] {
        world.process(at).adopt.send(Adopt {
            seat: p(3 - at),
            incarnation: Incarnation(30 - 10 * at as u64),
            number: 1,
        });
    }
    world.run(Duration::from_secs(3));
    assert!(world.process(3).is_excluded());
    world.processes.insert(p(3), new);
    world.send(3, 1, "small", "the successor");
    world.run(Duration::from_secs(3));
    assert_eq!(world.process(1).from(3, "small"), ["the successor"]);
    assert_eq!([1, 2].map(|rank| told(&world, rank)), before);
}
