//! Restores a state from its chunks.
use super::{
    Machine,
    item::{Item, Lacks},
};
use crate::{kv::Service, log::Log, once::Decisions};
use bytes::{Buf, BytesMut};
use quorate_core::wire::Undecodable;

/// A machine that is restored, chunk by chunk, from what a [`View`](super::View) of another machine gave.
///
/// Beside the machine it holds no more than one incomplete part of the state, and one chunk. The chunks need
/// not be trusted: memory for bytes that they announce is allocated only when these come.
#[derive(Debug, Default)]
pub struct Restoring {
    machine: Machine,
    /// The bytes of a part that is not complete yet.
    begun: BytesMut,
    /// How many parts have been restored.
    taken: u64,
    /// The kind of the last part.
    kind: u64,
    ended: bool,
}

impl Restoring {
    /// Takes the next chunk. Chunks may be cut anywhere.
    ///
    /// # Errors
    /// When the chunks so far are not the beginning of any state. Then no later chunk can complete it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Undecodable> {
        if self.begun.is_empty() {
            let rest = self.take_all(chunk)?;
            self.begun.extend_from_slice(rest);
            return Ok(());
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(chunk);
        let rest = self.take_all(&begun)?.len();
        begun.advance(begun.len() - rest);
        // Only the beginning of one part is kept, in a buffer of its own, so that the bytes before it are
        // freed.
        self.begun = if rest < begun.capacity() / 2 {
            BytesMut::from(&begun[..])
        } else {
            begun
        };
        Ok(())
    }

    /// Returns the machine when all chunks have come.
    ///
    /// # Errors
    /// When chunks are missing.
    pub fn finish(self) -> Result<Machine, Undecodable> {
        if self.ended && self.begun.is_empty() {
            Ok(self.machine)
        } else {
            Err(Undecodable)
        }
    }

    /// How many bytes are held beside the machine.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.begun.capacity()
    }

    /// Restores all complete parts, and returns the bytes that are left.
    fn take_all<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], Undecodable> {
        while !bytes.is_empty() {
            match Item::take(&mut bytes) {
                Ok(item) => self.take(item)?,
                Err(Lacks::More) => break,
                Err(Lacks::Sense) => return Err(Undecodable),
            }
        }
        Ok(bytes)
    }

    fn take(&mut self, item: Item<'_>) -> Result<(), Undecodable> {
        let first = self.taken == 0;
        let head = matches!(item, Item::Head(_));
        if first != head || item.kind() < self.kind || self.ended {
            return Err(Undecodable);
        }
        self.kind = item.kind();
        self.taken += 1;
        let machine = &mut self.machine;
        match item {
            Item::Head(head) => {
                machine.log = Log::restored(head.delivered, head.hash);
                machine.undecodable = head.undecodable;
                machine.kv = Service::restoring(head.applied);
                machine.decisions = Decisions::restoring(head.forgotten);
                Ok(())
            }
            Item::Decision { instance, value } => machine.decisions.restore(instance, value),
            Item::Pair { key, value } => machine.kv.store_mut().restore(key, value),
            Item::End(before) if before == self.taken - 1 => {
                self.ended = true;
                Ok(())
            }
            Item::End(_) => Err(Undecodable),
        }
    }
}
