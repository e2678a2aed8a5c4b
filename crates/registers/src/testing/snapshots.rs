//! Users of snapshots: each makes one operation after the other.
use super::{at, returned, turbulent};
use bytes::Bytes;
use quorate_abstractions::snapshot::{Action, Indication, Request};
use quorate_core::{Addr, ProcessId};
use quorate_sim::{Timed, World};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
};

/// What each process still has to do, and its port.
#[derive(Clone, Default)]
pub(crate) struct Users {
    plans: Arc<Mutex<Vec<VecDeque<Request>>>>,
    ports: Arc<OnceLock<Vec<Addr<Request>>>>,
}

impl Users {
    /// Users with these plans: `u` updates, `s` scans.
    pub(crate) fn new(plans: &[&str]) -> Self {
        let request = |(operation, letter): (u64, char)| {
            let action = match letter {
                'u' => Action::Update(Bytes::from(format!("{operation}"))),
                _ => Action::Scan,
            };
            Request { operation, action }
        };
        let plan = |plan: &&str| (1..).zip(plan.chars()).map(request).collect();
        let plans = plans.iter().map(plan).collect();
        Users {
            plans: Arc::new(Mutex::new(plans)),
            ports: Arc::default(),
        }
    }

    /// Plans of this many operations, drawn from the seed.
    pub(crate) fn drawn(n: usize, seed: u64, operations: u64) -> Self {
        let letter = |rank: u64, k: u64| {
            let draw = quorate_core::message::fold(seed, 100 * rank + k);
            if draw.is_multiple_of(2) { 'u' } else { 's' }
        };
        let plan = |rank| (0..operations).map(|k| letter(rank, k)).collect::<String>();
        let plans: Vec<String> = (1..=n as u64).map(plan).collect();
        let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
        Users::new(&plans)
    }

    fn next(&self, q: ProcessId) {
        let next = self.plans.lock().unwrap()[q.index()].pop_front();
        if let Some(next) = next {
            self.ports.get().unwrap()[q.index()].send(next);
        }
    }

    /// The user at `q`.
    pub(crate) fn application(&self, world: &World, q: ProcessId) -> Addr<Indication> {
        let users = self.clone();
        world.application_with(q, move |_, _| users.next(q))
    }

    /// Every user begins at this step.
    pub(crate) fn begin(
        &self,
        world: &World,
        ports: Vec<Addr<Request>>,
        step: impl Fn(ProcessId) -> u32,
    ) {
        assert!(self.ports.set(ports).is_ok());
        for q in world.processes() {
            let users = self.clone();
            world.call(q, at(step(q)), move || users.next(q));
        }
    }
}

/// What the first operation of p1 costs, of `n` processes: messages, and the step at which it returns.
pub(crate) fn cost(
    wire: impl Fn(&World, &Users) -> Vec<Addr<Request>>,
    n: usize,
    plan: &str,
    label: &str,
) -> (u64, u64) {
    let mut world = World::new(n, 1, Timed::lock_step()).unwrap();
    let mut plans = vec![""; n];
    plans[0] = plan;
    let users = Users::new(&plans);
    users.begin(&world, wire(&world, &users), |_| 0);
    let report = world.run();
    report.assert_all_hold();
    let steps = returned(&world, 1, label).unwrap();
    (report.counts.messages, steps)
}

/// The properties hold whoever of a minority crashes, and this is counted in some runs.
pub(crate) fn assert_holds_in_turbulence(
    wire: impl Fn(&World, &Users) -> Vec<Addr<Request>>,
    counted: &str,
) {
    let mut count = 0;
    for seed in 0..300 {
        let mut world = turbulent(seed, |world| world.membership().minority());
        let users = Users::drawn(world.membership().n(), seed, 8);
        let ports = wire(&world, &users);
        users.begin(&world, ports, |q| (seed as u32 + 3 * q.rank() as u32) % 9);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
        let counters = world.processes().map(|q| world.counters(q));
        count += counters.map(|all| all.total(counted)).sum::<u64>();
    }
    assert!(count > 0, "{counted}: never");
}
