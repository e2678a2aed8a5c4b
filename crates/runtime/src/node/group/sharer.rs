//! Those that share the order.
use bytes::Bytes;
use quorate_abstractions::reconfigurable::View;
use quorate_core::{Addr, MessageId, message::Origin, wire::Undecodable};
use quorate_stacks::broadcasts::Delivery;

/// A state that came cannot be read: the others run another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the state that came cannot be read")]
pub struct Unreadable;

impl From<Undecodable> for Unreadable {
    fn from(_: Undecodable) -> Self {
        Unreadable
    }
}

/// A message of the order, for one that shares it.
pub(crate) struct Entry {
    /// Its place in the order, from 1.
    pub(crate) position: u64,
    /// Whose message it is, and its sequence number among those to this sharer.
    pub(crate) id: MessageId,
    /// Whether this start of this process sent it.
    pub(crate) is_own: bool,
    pub(crate) body: Bytes,
}

/// One that shares the order.
pub(crate) trait Sharer: Send {
    /// The next message for it.
    fn deliver(&mut self, entry: Entry);

    /// Its state as it is now; `None`: it keeps none.
    fn view(&self) -> Option<View>;

    /// A state comes. What there is of another one is void.
    fn begin(&mut self);

    /// The next chunk of it.
    ///
    /// # Errors
    /// When it is none.
    fn chunk(&mut self, chunk: Bytes) -> Result<(), Unreadable>;

    /// The rest of it will not come: what there is of it is void.
    fn abandoned(&mut self);

    /// All of it is here: from now on its state is that one. These are the last messages of each process
    /// that it stands for, of those that are news here.
    ///
    /// # Errors
    /// When something of it is missing.
    fn whole(&mut self, news: &[MessageId], me: Origin) -> Result<(), Unreadable>;
}

/// A plain total order: it keeps nothing, and tells what a state stands for as skipped.
pub(super) struct Plain {
    pub(super) up: Addr<Delivery>,
}

impl Sharer for Plain {
    fn deliver(&mut self, entry: Entry) {
        self.up.send(Delivery {
            origin: entry.id.origin,
            first: entry.id.sequence,
            payloads: vec![entry.body],
        });
    }

    fn view(&self) -> Option<View> {
        None
    }

    fn begin(&mut self) {}

    fn chunk(&mut self, _: Bytes) -> Result<(), Unreadable> {
        Err(Unreadable)
    }

    fn abandoned(&mut self) {}

    fn whole(&mut self, news: &[MessageId], _: Origin) -> Result<(), Unreadable> {
        for last in news {
            self.up.send(Delivery {
                origin: last.origin,
                first: last.sequence + 1,
                payloads: Vec::new(),
            });
        }
        Ok(())
    }
}
