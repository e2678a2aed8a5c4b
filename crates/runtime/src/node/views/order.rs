//! Views over the order of the group: their proposals are ordered, and the state of the order includes the
//! decisions.
use super::super::group::{Entry, Sharer, Unreadable};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::reconfigurable::View;
use quorate_core::{
    Addr, Membership, MessageId,
    counters::Counter,
    message::Origin,
    wire::{self, Wire},
};
use quorate_membership::primary::{Agreed, Ordered};

/// The most bytes of a state, which has a few bytes for each process.
const LONGEST: usize = 64 << 10;

/// The ordered proposals of one module's views.
pub(crate) struct Order {
    agreed: Agreed,
    /// The incoming state so far.
    coming: BytesMut,
    up: Addr<Ordered>,
    undecodable: Counter,
}

impl Order {
    /// Begins with nothing ordered.
    pub fn new(processes: &Membership, up: Addr<Ordered>, undecodable: Counter) -> Self {
        Order {
            agreed: Agreed::first(processes),
            coming: BytesMut::new(),
            up,
            undecodable,
        }
    }
}

impl Sharer for Order {
    fn deliver(&mut self, entry: Entry) {
        match self.agreed.order(entry.body) {
            Ok(Some(decision)) => self.up.send(Ordered::Decide(decision)),
            // Another proposal was ordered before this one.
            Ok(None) => {}
            Err(_) => self.undecodable.add(1),
        }
    }

    fn view(&self) -> Option<View> {
        Some(View::of_bytes(wire::encode(&self.agreed)))
    }

    fn begin(&mut self) {
        self.coming.clear();
    }

    fn chunk(&mut self, chunk: Bytes) -> Result<(), Unreadable> {
        self.coming.extend_from_slice(&chunk);
        if self.coming.len() > LONGEST {
            return Err(Unreadable);
        }
        Ok(())
    }

    fn abandoned(&mut self) {
        self.coming.clear();
    }

    fn whole(&mut self, _: &[MessageId], _: Origin) -> Result<(), Unreadable> {
        let state = std::mem::take(&mut self.coming).freeze();
        self.agreed = Agreed::decode(state)?;
        self.up.send(Ordered::Restored(self.agreed.clone()));
        Ok(())
    }
}
