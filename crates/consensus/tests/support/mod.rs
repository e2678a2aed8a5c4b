//! A fair adversary that holds rotating-coordinator consensus undecided (Fischer, Lynch, Paterson):
//! nobody crashes, and every message arrives within a bound; but whenever a coordinator proposes,
//! everybody else comes to suspect it just before the proposal arrives, refuses, and moves on.
//!
//! Why it works: while a round's coordinator is suspected, nobody acknowledges but itself; it stays suspected
//! until the coordinator of a later round proposes. By then a majority has left the round, by a nack to it or
//! together with its coordinator: those that can still acknowledge are no majority.
use bytes::Bytes;
use quorate_abstractions::{
    consensus::Propose,
    link::{self, Links},
    reliable,
};
use quorate_broadcast::{best_effort, eager};
use quorate_consensus::{
    randomised,
    rotating::{self, Content, Message},
};
use quorate_core::{Addr, Host, Layer, ProcessId, Time};
use quorate_sim::{Director, Report, Timed, UNIT, World, properties};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an adversary knows, and what it plans.
#[derive(Default)]
struct Plan {
    directors: Vec<Director>,
    /// The coordinator that all others suspect.
    suspected: Option<ProcessId>,
    /// How many coordinators it has made suspected, and how many it still plans to.
    foiled: u64,
    left: u64,
    /// The last round in which a coordinator proposed.
    round: u64,
    over: bool,
}

impl Plan {
    /// A coordinator proposes: all others suspect it before the next step, and restore the last one.
    fn upon_propose(&mut self, coordinator: ProcessId, round: u64) {
        self.round = self.round.max(round);
        let soon = UNIT / 2;
        if let Some(last) = self.suspected.take() {
            let directors = self.directors.iter();
            directors.for_each(|director| director.restore(last, soon));
        }
        if self.left == 0 {
            self.over = true;
            return;
        }
        self.left -= 1;
        self.foiled += 1;
        self.suspected = Some(coordinator);
        let directors = self.directors.iter();
        directors.for_each(|director| director.suspect(coordinator, soon));
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a run.
pub struct RunResult {
    /// How many coordinators were suspected just in time.
    pub foiled: u64,
    /// The last round in which a coordinator proposed.
    pub round: u64,
    /// The reports on the properties when the adversary stopped, and at the end.
    pub reports: [Report; 2],
    /// When each process had decided: at the time when the adversary stopped, and in the end.
    pub decided: [Vec<Option<Time>>; 2],
}

/// n processes propose different values to the rotating coordinator; the adversary foils `rounds` rounds,
/// then stops. Every message takes 1 … `bound` steps.
pub fn hold_undecided(n: usize, seed: u64, bound: u32, rounds: u64) -> RunResult {
    let mut world = World::new(n, seed, Timed::uniform(UNIT, UNIT * bound)).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    world.check(properties::eventually_perfect("eventually-perfect"));
    let plan = Arc::new(Mutex::new(Plan {
        left: rounds,
        ..Plan::default()
    }));
    for q in world.processes() {
        let (host, links) = (
            world.host(q).at("consensus"),
            world.links(q).at("consensus"),
        );
        let (lane, seen) = (links.lane(), plan.clone());
        let (detector, director) = world.directed(q, UNIT);
        locked(&plan).directors.push(director);
        let link = move |up: Addr<link::Deliver<Message>>| {
            let down = lane.attach(up);
            Addr::new(move |send: link::SendRequest<Message>| {
                if let Content::Propose { .. } = send.message.content {
                    locked(&seen).upon_propose(q, send.message.round);
                }
                down.send(send);
            })
        };
        let reliable = |up: Addr<reliable::Deliver>| {
            let lane = links.at("reliable").lane();
            eager::spawn(&host.at("reliable"), best_effort::over(lane), up)
        };
        let port = rotating::spawn(
            &host,
            link,
            &links.status(),
            reliable,
            &detector,
            world.application(q),
        );
        let (instance, value) = (1, Bytes::from(vec![q.rank() as u8]));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    }
    let held = world.run_while(|_| !locked(&plan).over);
    let before = decided(&world);
    let end = world.run();
    let plan = locked(&plan);
    RunResult {
        foiled: plan.foiled,
        round: plan.round,
        reports: [held, end],
        decided: [before, decided(&world)],
    }
}

/// n processes propose different bits to the randomised algorithm, under the same seed and bound.
pub fn toss(n: usize, seed: u64, bound: u32) -> (Report, Vec<Option<Time>>) {
    let mut world = World::new(n, seed, Timed::uniform(UNIT, UNIT * bound)).unwrap();
    world.check(properties::consensus(world.membership(), "consensus"));
    for q in world.processes() {
        let host = world.host(q).at("consensus");
        let links = world.links(q).at("consensus");
        let (lane, status) = (links.lane(), links.status());
        let port = randomised::spawn(&host, lane, &status, world.application(q));
        let (instance, value) = (1, Bytes::from(vec![q.rank() as u8 & 1]));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    }
    let report = world.run();
    let decided = decided(&world);
    (report, decided)
}

fn decided(world: &World) -> Vec<Option<Time>> {
    let decided = |q| Some(world.tally(q, "consensus", "Decide")?.first);
    world.processes().map(decided).collect()
}
