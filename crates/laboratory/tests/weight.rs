//! Load, long cuts, late and repeated starts: no healthy process is lost. Small limits represent large ones,
//! and seconds represent minutes.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod cluster;
use bytes::Bytes;
use cluster::{Cluster, Settings, Stack, at, p};
use quorate_core::Time;
use quorate_sim::{Channel, Crash, Latency, Timed};
use quorate_stacks::broadcasts::Broadcast;
use std::time::Duration;

const LIMIT: usize = 64 << 10;

fn local() -> Timed {
    Timed::uniform(Duration::from_micros(200), Duration::from_millis(2))
}

/// A payload of this many bytes that no other broadcast has.
fn payload(rank: usize, number: u64, length: usize) -> Bytes {
    let mut text = format!("{rank} {number} ").into_bytes();
    text.resize(length.max(text.len()), b'.');
    Bytes::from(text)
}

/// Each of these seeds runs without trouble.
#[track_caller]
fn assert_none_is_lost(seeds: u64, run: impl Fn(u64) -> Option<String>) {
    for seed in 0..seeds {
        if let Some(trouble) = run(seed) {
            panic!("seed {seed}, the first of {seeds}: {trouble}");
        }
    }
}

/// Each process broadcasts a value every `every` milliseconds from one time to another.
fn load(cluster: &Cluster, ranks: &[usize], (from, to): (u64, u64), every: u64, length: usize) {
    for &rank in ranks {
        for number in 0..(to - from) / every {
            let time = at(from + every * number + rank as u64);
            cluster.ask(rank, time, payload(rank, from + number, length));
        }
    }
}

fn obedient(broadcast: Broadcast, stream: bool, seed: u64) -> Option<String> {
    let settings = Settings {
        stream,
        ..Settings::new(Stack::Broadcast(broadcast), LIMIT)
    };
    let mut cluster = Cluster::new(3, seed, settings, local());
    let channel = Channel::new().bandwidth(2_000_000).queue(256 << 10);
    cluster
        .world
        .channels(if stream { channel.stream() } else { channel });
    let payloads = (0..1000).map(|number| payload(1, number, 4096)).collect();
    cluster.ask_in_turn(1, at(1000), payloads);
    cluster.run_until(at(30_000));
    let trouble = cluster.trouble(1..=3);
    let has = cluster.of(1).log().delivered.len();
    trouble.or_else(|| (has < 1000).then(|| format!("p1 has delivered {has} of 1000")))
}

#[test]
fn an_obedient_sender_loses_nobody() {
    for broadcast in [
        Broadcast::Eager,
        Broadcast::CausalWaiting,
        Broadcast::ByLeader,
    ] {
        for stream in [false, true] {
            assert_none_is_lost(2, |seed| {
                let trouble = obedient(broadcast, stream, seed);
                trouble.map(|trouble| format!("{broadcast:?}, stream {stream}: {trouble}"))
            });
        }
    }
}

#[test]
fn a_pair_that_was_cut_finds_together_again() {
    assert_none_is_lost(2, |seed| {
        let settings = Settings::new(Stack::Order, 64 * LIMIT);
        let mut cluster = Cluster::new(5, seed, settings, local());
        cluster
            .world
            .channels(Channel::new().bandwidth(10_000_000).queue(256 << 10));
        load(&cluster, &[1, 2, 3, 4, 5], (1000, 40_000), 200, 20_000);
        for way in [(p(2), p(3)), (p(3), p(2))] {
            cluster.world.cut(way, at(3000), Some(at(33_000)));
        }
        cluster.run_until(at(60_000));
        cluster.assert_one_order();
        cluster.trouble(1..=5)
    });
}

/// Limits the channels to and from p2 to this many bytes a second.
fn narrow(cluster: &Cluster, n: usize, bandwidth: u64) {
    for rank in (1..=n).filter(|rank| *rank != 2) {
        for way in [(p(2), p(rank)), (p(rank), p(2))] {
            let channel = Channel::new().bandwidth(bandwidth).queue(256 << 10);
            cluster.world.channel(way, channel);
        }
    }
}

#[test]
fn who_was_slow_is_soon_where_the_others_are() {
    assert_none_is_lost(1, |seed| {
        let n = 3;
        let mut cluster = Cluster::new(n, seed, Settings::new(Stack::Order, 256 << 20), local());
        cluster
            .world
            .channels(Channel::new().bandwidth(100_000_000).queue(256 << 10));
        load(&cluster, &[1, 3], (1000, 26_000), 8, 20_000);
        cluster.run_until(at(2000));
        narrow(&cluster, n, 1_000_000);
        cluster.run_until(at(22_000));
        narrow(&cluster, n, 100_000_000);
        cluster.run_until(at(25_000));
        let delivered = [2, 3].map(|rank| cluster.of(rank).log().delivered.len());
        if delivered[0] + 100 < delivered[1] {
            return Some(format!("p2 and p3 have delivered {delivered:?}"));
        }
        cluster.run_until(at(40_000));
        cluster.assert_one_order();
        cluster.trouble(1..=n)
    });
}

#[test]
fn a_majority_does_not_yield_to_one() {
    assert_none_is_lost(2, |seed| {
        let settings = Settings::new(Stack::Broadcast(Broadcast::Eager), LIMIT);
        let mut cluster = Cluster::new(5, seed, settings, local());
        load(&cluster, &[1, 2, 3, 4, 5], (1000, 20_000), 20, 1000);
        cluster
            .world
            .partition([p(1)].into_iter().collect(), at(3000), Some(at(15_000)));
        cluster.run_until(at(40_000));
        let excluded = (1..=5).find(|rank| cluster.of(*rank).log().is_excluded());
        let excluded = excluded.map(|rank| format!("p{rank} is excluded"));
        excluded.or_else(|| {
            (2..=5).find_map(|rank| {
                let log = cluster.of(rank).log();
                let of_the_majority = log.delivered.iter().filter(|(_, b)| b[0] != b'1').count();
                let all = 4 * 950;
                (of_the_majority < all).then(|| format!("p{rank} has {of_the_majority} of {all}"))
            })
        })
    });
}

#[test]
fn a_state_larger_than_every_queue_reaches_a_restarted_replica() {
    assert_none_is_lost(2, |seed| {
        let mut cluster = Cluster::new(3, seed, Settings::new(Stack::Order, 16 * LIMIT), local());
        cluster
            .world
            .channels(Channel::new().bandwidth(4_000_000).queue(256 << 10));
        load(&cluster, &[1, 2, 3], (1000, 6000), 50, 25_000);
        cluster.restart(3, at(7000), at(8000));
        load(&cluster, &[1, 2], (9000, 20_000), 100, 1000);
        cluster.run_until(at(40_000));
        cluster.assert_one_order();
        cluster.trouble(1..=3)
    });
}

#[test]
fn who_starts_for_the_first_time_when_others_have_written_gets_in() {
    assert_none_is_lost(2, |seed| {
        let mut cluster = Cluster::new(5, seed, Settings::new(Stack::Order, 16 * LIMIT), local());
        cluster
            .world
            .channels(Channel::new().bandwidth(4_000_000).queue(256 << 10));
        cluster.world.start_at(p(5), at(15_000));
        load(&cluster, &[1, 2, 3, 4], (1000, 6000), 50, 25_000);
        load(&cluster, &[1, 2, 3, 4], (16_000, 20_000), 100, 1000);
        cluster.run_until(at(45_000));
        cluster.assert_one_order();
        cluster.trouble(1..=5)
    });
}

#[test]
fn an_old_datagram_displaces_nobody() {
    assert_none_is_lost(10, |seed| {
        let mut cluster = Cluster::new(3, seed, Settings::new(Stack::Order, 64 * LIMIT), local());
        load(&cluster, &[2, 3], (1000, 20_000), 200, 100);
        for to in [2, 3] {
            let way = (p(1), p(to));
            cluster
                .world
                .echo(way, at(3000), at(3300), Duration::from_secs(4));
        }
        cluster.restart(1, at(2500), at(3000));
        cluster.restart(1, at(3600), at(4000));
        load(&cluster, &[1], (5000, 20_000), 200, 100);
        cluster.run_until(at(40_000));
        cluster.assert_one_order();
        cluster.trouble(1..=3)
    });
}

#[test]
fn restarts_under_jitter_leave_the_last_start_in_its_seat() {
    assert_none_is_lost(10, |seed| {
        let mut cluster = Cluster::new(3, seed, Settings::new(Stack::Order, 64 * LIMIT), local());
        let jitter = Latency::Uniform(Duration::from_millis(1), Duration::from_secs(1));
        for to in [2, 3] {
            cluster
                .world
                .channel((p(1), p(to)), Channel::new().latency(jitter));
        }
        load(&cluster, &[2, 3], (1000, 20_000), 200, 100);
        for turn in 0..3 {
            cluster.restart(1, at(4000 + 400 * turn), at(4010 + 400 * turn));
        }
        load(&cluster, &[1], (9000, 20_000), 200, 100);
        cluster.run_until(at(60_000));
        cluster.assert_one_order();
        cluster.trouble(1..=3)
    });
}

#[test]
fn a_cut_or_a_pause_of_seconds_under_load_removes_nobody() {
    assert_none_is_lost(4, |seed| {
        let mut cluster = Cluster::new(3, seed, Settings::new(Stack::Order, 16 * LIMIT), local());
        cluster
            .world
            .channels(Channel::new().bandwidth(4_000_000).queue(256 << 10));
        load(&cluster, &[1, 2, 3], (1000, 15_000), 20, 8000);
        let length = 2500 + 800 * seed;
        let rank = 1 + seed as usize % 3;
        if seed % 2 == 0 {
            cluster.world.partition(
                [p(rank)].into_iter().collect(),
                at(5000),
                Some(at(5000 + length)),
            );
        } else {
            cluster
                .world
                .pause(p(rank), at(5000), Some(at(5000 + length)));
        }
        cluster.run_until(at(60_000));
        cluster.assert_one_order();
        cluster.trouble(1..=3)
    });
}

/// p1 leads, is stopped the given number of times and then healthy for a minute; then it dies. Returns how
/// long it takes until p2's next command is delivered.
fn failover(pauses: u64, seed: u64) -> Option<Duration> {
    let mut cluster = Cluster::new(3, seed, Settings::new(Stack::Order, 64 * LIMIT), local());
    load(&cluster, &[2], (1000, 2000), 100, 100);
    let mut now = 3000;
    for turn in 0..pauses {
        let length = 1000 * (1 + turn);
        cluster.world.pause(p(1), at(now), Some(at(now + length)));
        now += length + 5000;
    }
    let death = now + 60_000;
    cluster.world.crash(p(1), Crash::at(at(death)));
    let command = payload(2, 9999, 100);
    cluster.ask(2, at(death + 1), command.clone());
    cluster.run_until(at(death + 200_000));
    let delivered: Option<Time> = cluster.of(2).log().time_of(&command);
    delivered.map(|time| time.since(at(death)))
}

#[test]
fn the_time_of_a_failover_shrinks_again() {
    assert_none_is_lost(2, |seed| {
        let fresh = failover(0, seed).unwrap();
        let later = failover(10, seed);
        let is_long = later.is_none_or(|later| later > 3 * fresh);
        is_long.then(|| format!("{later:?} after ten pauses, {fresh:?} afresh"))
    });
}
