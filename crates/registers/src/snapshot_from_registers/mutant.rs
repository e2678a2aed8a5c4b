//! Snapshots that collect once: a mutant that SN2 catches.
use super::{Effect, Event, SnapshotFromRegisters, spawn_as};
use crate::segments::{Held, Vector};
use bytes::Bytes;
use quorate_abstractions::{
    register,
    snapshot::{Indication, Request},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Layer, wire::Wire};

/// Returns the result of one collect as the view, whatever changed meanwhile.
pub(super) struct CollectsOnce(pub(super) SnapshotFromRegisters);

impl Algorithm for CollectsOnce {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        if let Event::Register(register::Indication {
            operation,
            outcome: register::RegisterResponse::Read { value, .. },
            ..
        }) = &event
        {
            self.upon_read(*operation, value.as_ref());
        }
        self.0.upon(event, ctx);
    }
}

impl CollectsOnce {
    /// Takes the collect that this read is about to complete for the second that sees the same.
    fn upon_read(&mut self, read: u64, value: Option<&Bytes>) {
        let inner = &mut self.0;
        let is_last = inner.reads.len() == 1;
        let (Some(p), Some(pending)) = (inner.reads.get(&read), &mut inner.pending) else {
            return;
        };
        if is_last {
            let mut collected = pending.collected.clone();
            let held = value.and_then(|value| Held::decode(value.clone()).ok());
            if let (Some(held), Some(slot)) = (held, collected.get_mut(p.index())) {
                *slot = held;
            }
            pending.last = Some(Vector::new(collected));
        }
    }
}

/// Starts atomic snapshot that collects once. Only for tests and demonstrations.
pub fn spawn_mutant<H: Host>(
    host: &H,
    registers: impl Layer<register::Port>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = CollectsOnce(SnapshotFromRegisters::new(host));
    spawn_as(host, algorithm, registers, up)
}
