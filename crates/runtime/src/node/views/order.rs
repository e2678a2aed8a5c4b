//! Views over the order of the group: their proposals are ordered, and the state of the order has what has come of
//! them.
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

/// A state has a few bytes for each process.
const LONGEST: usize = 64 << 10;

/// The views of one module, as far as they are ordered.
pub(crate) struct Order {
    agreed: Agreed,
    /// What there is of a state that comes.
    coming: BytesMut,
    up: Addr<Ordered>,
    undecodable: Counter,
}

impl Order {
    /// Nothing is ordered yet.
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
            // Another was there before.
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
