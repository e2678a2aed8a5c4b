//! What the algorithms of this crate share: the numbering of broadcasts, and the plainest message.
use bytes::{Bytes, BytesMut};
use quorate_core::{
    Host, Membership, MessageId, Observation, Observe, ProcessId, ProcessSet,
    message::{Origin, digest},
    watermark::WatermarkSet,
    wire::{self, Undecodable, Wire},
};
use std::collections::BTreeMap;

/// Identifiers this far above the delivered ones of their origin are refused: no correct process has that
/// much in flight, and nobody may make others store without bound.
pub(crate) const WINDOW: u64 = 1 << 20;

/// At most this many bytes of one origin wait for messages that precede them. This is more than can be in
/// flight; what waits for a message that never comes grows no further.
pub(crate) const AHEAD_BYTES: usize = 256 << 20;

/// Copies a payload out of its buffer, if it is to be kept for long: a slice would keep all that arrived with
/// it.
pub(crate) fn detached(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(payload)
}

/// A payload, its origin, and its sequence number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// The origin, and the sequence number of the broadcast there.
    pub id: MessageId,
    pub payload: Bytes,
}

impl Wire for Data {
    fn encode(&self, out: &mut BytesMut) {
        wire::put_head(&self.id, out);
        out.extend_from_slice(&self.payload);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let id = wire::take_head(&mut bytes)?;
        Ok(Data { id, payload: bytes })
    }
}

impl Observe for Data {
    fn observe(&self) -> Observation {
        Observation::internal("Data")
            .message(self.id)
            .digest(digest(&self.payload))
    }
}

/// Drops the pending messages of an origin that were given up: nobody will send them again.
pub(crate) fn forget_given_up<T>(
    pending: &mut BTreeMap<MessageId, T>,
    origin: Origin,
    delivered: &WatermarkSet,
) {
    let id = |sequence| MessageId { origin, sequence };
    let given_up = id(0)..=id(delivered.low(origin));
    while let Some((&first, _)) = pending.range(given_up.clone()).next() {
        pending.remove(&first);
    }
}

/// Numbers the broadcasts of one process, and knows which identifiers can exist.
#[derive(Clone)]
pub(crate) struct Numbering {
    processes: Membership,
    me: Origin,
    /// The number of broadcasts requested here.
    broadcasts: u64,
}

impl Numbering {
    /// The numbering of the process at `host`.
    pub(crate) fn new(host: &impl Host) -> Self {
        Numbering {
            processes: *host.processes(),
            me: Origin {
                process: host.me(),
                incarnation: host.incarnation(),
            },
            broadcasts: 0,
        }
    }

    pub(crate) fn me(&self) -> ProcessId {
        self.me.process
    }

    /// The number of broadcasts so far.
    pub(crate) fn broadcasts(&self) -> u64 {
        self.broadcasts
    }

    pub(crate) fn processes(&self) -> &Membership {
        &self.processes
    }

    pub(crate) fn others(&self) -> ProcessSet {
        self.processes.others(self.me.process)
    }

    /// Makes the payload this process's next broadcast.
    pub(crate) fn number(&mut self, payload: Bytes) -> Data {
        self.broadcasts += 1;
        let id = self.id(self.broadcasts);
        Data { id, payload }
    }

    /// The identifier of this process's broadcast with this number.
    pub(crate) fn id(&self, sequence: u64) -> MessageId {
        let origin = self.me;
        MessageId { origin, sequence }
    }

    /// Whether this process broadcast the message.
    pub(crate) fn is_mine(&self, id: MessageId) -> bool {
        id.origin == self.me
    }

    /// Whether the identifier is possible: nobody else broadcasts in this process's name, and nobody
    /// broadcasts from outside Π.
    pub(crate) fn is_possible(&self, id: MessageId) -> bool {
        let is_forged = self.is_mine(id) && id.sequence > self.broadcasts;
        !is_forged && id.sequence > 0 && self.processes.contains(id.origin.process)
    }

    /// Checks that the message is possible and not too far ahead of what is `delivered`; otherwise returns
    /// the counter to raise. Messages that are missing so far below this one are given up, if others beyond
    /// them were delivered: a gap has taken them.
    pub(crate) fn check(
        &self,
        id: MessageId,
        delivered: &mut WatermarkSet,
    ) -> Result<(), &'static str> {
        if !self.is_possible(id) {
            return Err("impossible identifier");
        }
        delivered.give_up(id, WINDOW);
        if id.sequence > delivered.low(id.origin).saturating_add(WINDOW) {
            return Err("identifier too far ahead");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
