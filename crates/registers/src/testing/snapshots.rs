//! Users of snapshots: each makes one operation after the other.
use super::at;
use bytes::Bytes;
use quorate_abstractions::snapshot::{Action, Indication, Request};
use quorate_core::{Addr, ProcessId};
use quorate_sim::World;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
};

/// What each process is still to do, and its port.
#[derive(Clone, Default)]
pub(crate) struct Users {
    plans: Arc<Mutex<Vec<VecDeque<Request>>>>,
    ports: Arc<OnceLock<Vec<Addr<Request>>>>,
}

impl Users {
    /// With these plans: `u` updates, `s` scans.
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

    /// Plans of so many operations, drawn from the seed.
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

    /// Each begins at this step.
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
