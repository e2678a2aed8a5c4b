//! Processes that come back without their memory, and are put in their seats again: the leader-driven total
//! order, over real links and detectors.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod starts;

use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    fair_loss::{Indication as Arrival, Transmit},
    link::Links,
    reconfigurable::{Indication, Request, Restore, View},
    total_order::Broadcast,
};
use quorate_broadcast::by_leader;
use quorate_core::{Addr, Host, Membership, ProcessId, Time, wire};
use quorate_detectors::{increasing_timeout, lowest_rank};
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks};
use quorate_sim::{SimHost, Timed, World};
use starts::while_alive;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// The deliveries of one start of a process, or the state that it was given.
#[derive(Default)]
struct Log {
    payloads: Vec<Bytes>,
    epoch: u64,
    states: usize,
    /// The chunks of an incoming state so far.
    restored: BytesMut,
}

/// One start of a process. Its edge is dead while it is not alive: to all others it is not there.
struct Start {
    alive: Arc<AtomicBool>,
    arrivals: Addr<Arrival>,
    requests: Addr<Request>,
    log: Arc<Mutex<Log>>,
}

/// The user: it keeps all payloads, and gives them away as its state.
fn user(log: Arc<Mutex<Log>>, requests: Arc<OnceLock<Addr<Request>>>) -> Addr<Indication> {
    Addr::new(move |indication| {
        let mut log = log.lock().unwrap();
        match indication {
            Indication::Deliver(deliver) => log.payloads.extend(deliver.payloads),
            Indication::Epoch(epoch) => log.epoch = epoch.number,
            Indication::StateWanted { transfer } => {
                let mut state = BytesMut::new();
                wire::put_batch(&log.payloads, &mut state);
                let view = View::of_bytes(state.freeze());
                let request = Request::State { transfer, view };
                requests.get().unwrap().send(request);
            }
            Indication::Restore(Restore::Begin | Restore::Abandoned) => log.restored.clear(),
            Indication::Restore(Restore::Chunk(chunk)) => log.restored.extend_from_slice(&chunk),
            Indication::Restore(Restore::Whole) => {
                let state = std::mem::take(&mut log.restored).freeze();
                log.payloads = wire::take_batch(state).unwrap();
                log.states += 1;
            }
        }
    })
}

fn start(host: &SimHost, edge: Addr<Transmit>) -> Start {
    let settings = LinkSettings {
        rejoin: Some("order".to_owned()),
        ..LinkSettings::default()
    };
    let links = PerfectLinks::new(host, settings);
    let heartbeat = |up| links.heartbeat(up);
    let detection = increasing_timeout::DetectorSettings::default();
    let detector = increasing_timeout::spawn(&host.at("detector"), detection, heartbeat);
    let leader = lowest_rank::spawn_by_reach(&host.at("leader"), &detector.reach);
    let (log, port) = (Arc::<Mutex<Log>>::default(), Arc::new(OnceLock::new()));
    let requests = by_leader::spawn_reconfigurable(
        &host.at("order"),
        by_leader::OrderSettings::default(),
        &links.at("order"),
        &leader,
        links.adopt(),
        user(log.clone(), port.clone()),
    );
    assert!(port.set(requests.clone()).is_ok());
    let (alive, edge) = while_alive(edge);
    links.start(edge).unwrap();
    Start {
        alive,
        arrivals: links.arrivals(),
        requests,
        log,
    }
}

/// The starts of process `me`, so many.
fn starts(world: &mut World, me: ProcessId, number: u64) -> Vec<Start> {
    let incarnations = (1..=number).map(|number| 100 * me.rank() as u64 + number);
    let start = |world: &World, edge| start(&world.host(me), edge);
    let way = |start: &Start| (start.alive.clone(), start.arrivals.clone());
    starts::starts(world, me, incarnations, start, way)
}

/// A process is killed at a time, and comes back at another.
#[derive(Clone, Copy)]
struct Restart {
    rank: usize,
    killed: u64,
    back: u64,
}

/// Every live process broadcasts every 50 milliseconds until the end; these processes restart.
struct Run {
    world: World,
    starts: Vec<Vec<Start>>,
    /// The payloads of the starts that live to the end.
    lasting: BTreeSet<Bytes>,
    end: u64,
}

fn run(n: usize, seed: u64, loss: f64, restarts: &[Restart], end: u64) -> Run {
    let timed = Timed::uniform(Duration::from_millis(1), Duration::from_millis(5)).loss(loss);
    let mut world = World::new(n, seed, timed)
        .unwrap()
        .settle(Duration::from_mins(1));
    let ps: Vec<_> = world.processes().collect();
    let (mut all, mut lasting) = (Vec::new(), BTreeSet::new());
    for me in ps {
        let own = restarts.iter().filter(|r| r.rank == me.rank());
        let own: Vec<Restart> = own.copied().collect();
        let starts = starts(&mut world, me, 1 + own.len() as u64);
        for (index, restart) in own.iter().enumerate() {
            let (old, new) = (starts[index].alive.clone(), starts[index + 1].alive.clone());
            let died = old.clone();
            world.call(me, at(restart.killed), move || died.store(false, Relaxed));
            world.call(me, at(restart.back), move || new.store(true, Relaxed));
        }
        for (index, start) in starts.iter().enumerate() {
            let from = index.checked_sub(1).map_or(0, |before| own[before].back);
            let until = own.get(index).map_or(end, |next| next.killed);
            for number in 0..until.saturating_sub(from + 1) / 50 {
                let text = format!("{me} {index} {number}");
                let payload = Bytes::from(text);
                if index == own.len() {
                    lasting.insert(payload.clone());
                }
                let request = Request::Broadcast(Broadcast { payload });
                let when = at(from + 1 + 50 * number);
                world.request(me, when, &start.requests, request);
            }
        }
        all.push(starts);
    }
    Run {
        world,
        starts: all,
        lasting,
        end,
    }
}

impl Run {
    /// Runs for a while after the last request. A start that is cut off never rests, so that nothing else
    /// would end the run.
    fn logs(&mut self) -> Vec<Vec<Vec<Bytes>>> {
        self.world.run_until(at(self.end + 30_000));
        let log = |start: &Start| start.log.lock().unwrap().payloads.clone();
        let starts = self.starts.iter();
        starts
            .map(|starts| starts.iter().map(log).collect())
            .collect()
    }

    /// Of any two logs one is a prefix of the other, and no payload is in a log twice.
    fn check_safety(mut self, what: &str) -> (Run, Vec<Bytes>) {
        let logs = self.logs();
        let all = || logs.iter().flatten();
        let longest = all().max_by_key(|log| log.len()).unwrap();
        for log in all() {
            assert!(longest.starts_with(log), "{what}: two orders");
        }
        let delivered: BTreeSet<_> = longest.iter().collect();
        assert_eq!(
            delivered.len(),
            longest.len(),
            "{what}: something came twice"
        );
        (self, longest.clone())
    }

    /// In addition, all live starts have the same log, and it has every payload of theirs.
    fn check(self, what: &str) -> Run {
        let (run, longest) = self.check_safety(what);
        for (starts, rank) in run.starts.iter().zip(1..) {
            let live = starts.last().unwrap().log.lock().unwrap();
            let progress = (live.epoch, live.states);
            assert_eq!(
                live.payloads.len(),
                longest.len(),
                "{what}: p{rank}, {progress:?}"
            );
        }
        let delivered: BTreeSet<_> = longest.into_iter().collect();
        let missing = run.lasting.difference(&delivered).count();
        assert_eq!(missing, 0, "{what}: so many are missing");
        run
    }
}

#[test]
fn whoever_comes_back_gets_the_state_and_counts_towards_the_quorum() {
    for rank in 1..=3 {
        // The other follower dies for good once the first is back: the newcomer is needed.
        let other = if rank == 3 { 2 } else { 3 };
        let restarts = [
            Restart {
                rank,
                killed: 1000,
                back: 2000,
            },
            Restart {
                rank: other,
                killed: 6000,
                back: 9000,
            },
        ];
        let run = run(3, 1, 0.0, &restarts, 12_000).check(&format!("p{rank}"));
        let second = run.starts[rank - 1][1].log.lock().unwrap();
        assert_eq!((second.states, second.epoch), (1, 2));
    }
}

#[test]
fn every_process_restarts_in_turn_again_and_again() {
    for seed in 0..12 {
        let n = 3 + 2 * (seed as usize % 2);
        let restarts: Vec<Restart> = (0..2 * n as u64)
            .map(|turn| Restart {
                rank: 1 + (turn + seed) as usize % n,
                killed: 1000 + 5000 * turn + 37 * seed,
                back: 1000 + 5000 * turn + 37 * seed + [20, 300, 1500][seed as usize % 3],
            })
            .collect();
        let loss = [0.0, 0.1, 0.2][seed as usize % 3];
        let end = 3000 + 5000 * restarts.len() as u64;
        let run = run(n, seed, loss, &restarts, end).check(&format!("seed {seed}"));
        let last = run.starts[0].last().unwrap().log.lock().unwrap();
        assert_eq!(last.epoch, 2 * n as u64, "seed {seed}");
    }
}

#[test]
fn a_newcomer_that_dies_before_it_has_its_state_is_replaced_like_any_other() {
    for seed in 0..12 {
        let back = 2000;
        let again = back + 10 + 30 * seed;
        let rank = 1 + seed as usize % 3;
        let restarts = [
            Restart {
                rank,
                killed: 1000,
                back,
            },
            Restart {
                rank,
                killed: again,
                back: again + 400,
            },
        ];
        let run = run(3, seed, 0.05, &restarts, 8000).check(&format!("seed {seed}"));
        let last = run.starts[rank - 1].last().unwrap().log.lock().unwrap();
        assert_eq!(last.states, 1, "seed {seed}");
    }
}

#[test]
fn two_of_five_come_back_at_once() {
    for seed in 0..8 {
        let pair = [(1, 2), (1, 5), (3, 4), (2, 4)][seed as usize % 4];
        let restart = |rank, late| Restart {
            rank,
            killed: 1000 + late,
            back: 2500 + late,
        };
        let restarts = [restart(pair.0, 0), restart(pair.1, 40 * seed)];
        run(5, seed, 0.1, &restarts, 8000).check(&format!("seed {seed}"));
    }
}

/// Any number may restart at a time, as long as those that never do are enough to say so: too many restarts
/// stop the group, but do not divide it. (If as many processes as can form a cluster forget it, they form
/// another.)
#[test]
fn of_any_two_logs_one_is_a_prefix_of_the_other_whoever_restarts_when() {
    for seed in 0..60_u64 {
        let n = [3, 3, 4, 5][seed as usize % 4];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let processes = Membership::of_size(n).unwrap();
        let forgetful = AdmissionRule::RestartSafe.others(&processes);
        let mut last = vec![1000; forgetful];
        let restarts: Vec<Restart> = (0..8)
            .map(|_| {
                let index = draw(forgetful as u64) as usize;
                let killed = last[index] + draw(2500);
                let back = killed + 1 + draw(600);
                last[index] = back + 1;
                let rank = index + 1;
                Restart { rank, killed, back }
            })
            .collect();
        let end = 2000 + last.iter().max().unwrap();
        let run = run(n, seed, 0.1, &restarts, end);
        run.check_safety(&format!("seed {seed}"));
    }
}
