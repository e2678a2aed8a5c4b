//! Who was lost learns so, and of two that have lost each other one does.
use super::harness::{World, ms, p};
use crate::perfect::{Admission, Configuration};
use quorate_abstractions::link::Status;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn limited() -> World {
    let mut world = World::new(3, 1);
    world.configuration = Configuration {
        queue_limit: 1 << 20,
        ..Configuration::default()
    };
    world
}

fn has_lost(world: &World, rank: usize, peer: usize) -> bool {
    let lost = Status::Lost { peer: p(peer) };
    world.process(rank).has(|status| *status == lost)
}

fn cut(world: &mut World, a: usize, b: usize) {
    world.cuts = vec![(p(a), p(b)), (p(b), p(a))];
}

fn excluded(world: &World) -> Vec<usize> {
    let ranks = (1..=world.n).filter(|rank| world.process(*rank).is_excluded());
    ranks.collect()
}

/// Why a process may not take part, each time that it says so.
fn reasons(world: &World, rank: usize) -> Vec<String> {
    let statuses = world.process(rank).statuses.lock().unwrap();
    let reason = |status: &Status| match status {
        Status::Excluded { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    statuses.iter().filter_map(reason).collect()
}

#[test]
fn who_was_lost_behind_a_cut_learns_so_when_it_heals_though_it_has_nothing_to_say() {
    for (from, to) in [(1, 3), (3, 1)] {
        let mut world = limited();
        world.start_all();
        world.connect();
        cut(&mut world, from, to);
        world.send(from, to, "bulk", vec![7; 2 << 20]);
        world.run(10 * SECOND);
        assert!(has_lost(&world, from, to));
        assert_eq!(excluded(&world), []);
        world.cuts.clear();
        world.run(3 * SECOND);
        assert_eq!(excluded(&world), [to]);
    }
}

#[test]
fn of_two_that_have_lost_each_other_the_higher_rank_is_excluded_when_the_cut_heals() {
    for have_met in [false, true] {
        for (a, b) in [(1, 3), (1, 2), (2, 3)] {
            let mut world = limited();
            if !have_met {
                // Of three, two that have not met are admitted by a majority alone.
                world.configuration.admission = Admission::CrashStop;
                cut(&mut world, a, b);
            }
            world.start_all();
            world.run(5 * SECOND);
            cut(&mut world, a, b);
            world.send(a, b, "bulk", vec![7; 2 << 20]);
            world.send(b, a, "bulk", vec![7; 2 << 20]);
            world.run(30 * SECOND);
            assert!(has_lost(&world, a, b) && has_lost(&world, b, a));
            assert_eq!(excluded(&world), []);
            world.cuts.clear();
            world.run(5 * SECOND);
            assert_eq!(excluded(&world), [b], "{have_met} {a} {b}");
            let lost = format!("{} has lost {}", p(a), p(b));
            let reasons = reasons(&world, b);
            assert!(reasons.len() == 1 && reasons[0].contains(&lost));
            // From now on it is silent, and what it is asked for goes nowhere.
            world.record = Some(Vec::new());
            world.send(b, a, "small", "after");
            world.run(60 * SECOND);
            let record = world.record.take().unwrap();
            assert!(record.iter().all(|(from, _)| *from != p(b)));
            assert_eq!(world.process(a).from(b, "small").len(), 0);
            let other = 6 - a - b;
            world.send(a, other, "small", "the others go on");
            world.run(SECOND);
            assert_eq!(world.process(other).from(a, "small").len(), 1);
        }
    }
}

#[test]
fn of_two_that_lose_each_other_at_about_the_same_time_one_is_excluded() {
    for apart in 0..6 {
        for (first, second) in [(1, 3), (3, 1)] {
            let mut world = limited();
            world.start_all();
            world.connect();
            world.faults.latency = ms(3);
            // Five times the limit: lost at once.
            world.send(first, second, "bulk", vec![7; 5 << 20]);
            world.run(ms(apart));
            world.send(second, first, "bulk", vec![7; 5 << 20]);
            world.run(10 * SECOND);
            assert!(has_lost(&world, first, second));
            let victim = if apart < 3 { 3 } else { second };
            assert_eq!(excluded(&world), [victim], "{first} {second} {apart}");
        }
    }
}

#[test]
fn a_lost_peer_that_is_gone_keeps_no_run_open() {
    let mut world = limited();
    world.start_all();
    world.connect();
    world.crash(3);
    world.send(1, 3, "bulk", vec![7; 2 << 20]);
    world.run_until_quiet(60 * SECOND);
    assert!(has_lost(&world, 1, 3));
    world.record = Some(Vec::new());
    world.run(60 * SECOND);
    let greetings = world.record.take().unwrap().len();
    assert!((40..=62).contains(&greetings), "{greetings} greetings");
}
