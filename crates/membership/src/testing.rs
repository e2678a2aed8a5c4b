//! What the tests of this crate share.
use bytes::Bytes;
use quorate_abstractions::view_synchrony::{Indication, Request};
use quorate_core::{Addr, ProcessId, Time};
pub(crate) use quorate_sim::testing::{Latencies, p};
use quorate_sim::{UNIT, World};
use std::sync::{Arc, Mutex, OnceLock};

/// The time this many half steps after the start.
pub(crate) fn half(halves: u32) -> Time {
    Time::ZERO + UNIT / 2 * halves
}

pub(crate) fn step(steps: u32) -> Time {
    half(2 * steps)
}

/// The port of a module whose user reacts to it.
pub(crate) type Back = Arc<OnceLock<Addr<Request>>>;

/// All indications to a user, in order.
pub(crate) type Log = Arc<Mutex<Vec<Indication>>>;

/// A user that answers `Block` at once, and records its indications.
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
