//! What the tests of this crate share.
use bytes::Bytes;
use quorate_abstractions::view_synchrony::{Indication, Request};
use quorate_core::{Addr, ProcessId, Random, Time};
pub(crate) use quorate_sim::testing::p;
use quorate_sim::{Adversary, Transmission, UNIT, World};
use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

/// So many half steps after the start.
pub(crate) fn half(halves: u32) -> Time {
    Time::ZERO + UNIT / 2 * halves
}

pub(crate) fn step(steps: u32) -> Time {
    half(2 * steps)
}

/// Lock step, but for the ways named here: from, to, steps.
pub(crate) struct Latencies(pub(crate) &'static [(usize, usize, u32)]);

impl Adversary for Latencies {
    fn latency(&mut self, copy: Transmission, _: &mut Random) -> Duration {
        let mut slow = self.0.iter();
        let named = slow.find(|(from, to, _)| p(*from) == copy.from && p(*to) == copy.to);
        UNIT * named.map_or(1, |(_, _, steps)| *steps)
    }
}

/// Lock step, but for one copy on one way: from, to, its sequence number, steps.
pub(crate) struct SlowCopy(
    pub(crate) usize,
    pub(crate) usize,
    pub(crate) usize,
    pub(crate) u32,
);

impl Adversary for SlowCopy {
    fn latency(&mut self, copy: Transmission, _: &mut Random) -> Duration {
        let SlowCopy(from, to, left, steps) = self;
        if p(*from) != copy.from || p(*to) != copy.to || *left == 0 {
            return UNIT;
        }
        *left -= 1;
        UNIT * if *left == 0 { *steps } else { 1 }
    }
}

/// The port of a module whose user reacts to it.
pub(crate) type Back = Arc<OnceLock<Addr<Request>>>;

/// All that a user was told, in order.
pub(crate) type Log = Arc<Mutex<Vec<Indication>>>;

/// A user that answers `Block` at once, and keeps what it is told.
pub(crate) fn user(world: &World, q: ProcessId) -> (Addr<Indication>, Back, Log) {
    let (back, log) = (Back::default(), Log::default());
    let (port, told) = (back.clone(), log.clone());
    let up = world.application_with(q, move |indication: Indication, _| {
        if indication == Indication::Block {
            port.get().unwrap().send(Request::BlockOk);
        }
        told.lock().unwrap().push(indication);
    });
    (up, back, log)
}

pub(crate) fn broadcast(content: &[u8]) -> Request {
    Request::Broadcast(Bytes::copy_from_slice(content))
}

/// The payloads that were delivered, in order.
pub(crate) fn delivered(log: &Log) -> Vec<Bytes> {
    let log = log.lock().unwrap();
    let payload = |indication: &Indication| match indication {
        Indication::Deliver(deliver) => Some(deliver.payload.clone()),
        _ => None,
    };
    log.iter().filter_map(payload).collect()
}

/// The members of the last view that was installed, and its identifier.
pub(crate) fn last_view(log: &Log) -> (u64, quorate_core::ProcessSet) {
    let log = log.lock().unwrap();
    let view = |indication: &Indication| match indication {
        Indication::View { view, .. } => Some((view.id, view.members)),
        _ => None,
    };
    log.iter().rev().find_map(view).unwrap()
}
