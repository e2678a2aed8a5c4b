use super::*;
use quorate_sim::{Crash, Timed, UNIT, World};
use std::sync::{Arc, Mutex};

type Log = Arc<Mutex<Vec<(Time, Indication)>>>;

/// Milliseconds of the run, as a time.
fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

/// A world of `n` detectors, and what each tells.
fn world(n: usize) -> (World, Vec<Log>, Vec<Subscribe<Indication>>) {
    let world = World::new(n, 7, Timed::uniform(UNIT, UNIT * 20)).unwrap();
    // Heartbeats keep no run open: a detector is given time after the last thing that happened.
    let world = world.settle(Duration::from_secs(5));
    let mut logs = Vec::new();
    let mut detectors = Vec::new();
    for q in world.processes() {
        let heartbeat = |up| world.heartbeat(q, up);
        let host = world.host(q).at("detector");
        let detector = spawn(&host, Configuration::default(), heartbeat);
        logs.push(listen(&world, q, &detector));
        detectors.push(detector);
    }
    (world, logs, detectors)
}

fn listen(world: &World, q: ProcessId, detector: &Subscribe<Indication>) -> Log {
    let log = Log::default();
    let mine = log.clone();
    detector.send(
        world.application_with(q, move |indication: Indication, now| {
            mine.lock().unwrap().push((now, indication));
        }),
    );
    log
}

fn heard(log: &Log) -> Vec<Indication> {
    log.lock()
        .unwrap()
        .iter()
        .map(|(_, indication)| *indication)
        .collect()
}

#[test]
fn epfd1_strong_completeness_a_crashed_process_is_suspected_for_ever() {
    let (mut world, logs, _) = world(3);
    world.crash(p(3), Crash::at(at(1000)));
    world.run_until(at(10_000));
    for log in &logs[..2] {
        assert_eq!(heard(log), [Indication::Suspect(p(3))]);
        let (time, _) = log.lock().unwrap()[0];
        assert!(
            time <= at(1000 + 500 + 100 + 20),
            "timeout, interval and a message: {time}"
        );
    }
}

#[test]
fn epfd2_eventual_strong_accuracy_each_mistake_doubles_the_timeout() {
    let (mut world, logs, _) = world(2);
    // Silences of 0.7, 0.9 and 2.5 seconds: the second is within the doubled timeout.
    for (from, to) in [
        (1000, 1700),
        (5000, 5900),
        (10_000, 12_500),
        (20_000, 21_900),
    ] {
        world.cut((p(2), p(1)), at(from), Some(at(to)));
    }
    world.run_until(at(30_000));
    let mistake = [Indication::Suspect(p(2)), Indication::Restore(p(2))];
    assert_eq!(heard(&logs[0]), [mistake, mistake].concat());
    assert!(
        heard(&logs[1]).is_empty(),
        "the other direction was never cut"
    );
}

#[test]
fn a_process_that_was_stopped_blames_itself() {
    let (mut world, logs, _) = world(3);
    world.pause(p(1), at(1000), Some(at(8000)));
    world.run_until(at(12_000));
    assert!(heard(&logs[0]).is_empty());
    assert_eq!(
        heard(&logs[1]),
        [Indication::Suspect(p(1)), Indication::Restore(p(1))]
    );
}

#[test]
fn a_new_subscriber_learns_who_is_suspected() {
    let (mut world, _, detectors) = world(3);
    world.crash(p(2), Crash::at(at(1000)));
    world.run_until(at(5000));
    let late = listen(&world, p(1), &detectors[0]);
    world.run_until(at(6000));
    assert_eq!(heard(&late), [Indication::Suspect(p(2))]);
}

#[test]
fn a_process_alone_suspects_nobody() {
    let (mut world, logs, _) = world(1);
    world.run_until(at(5000));
    assert!(heard(&logs[0]).is_empty());
}
