//! The values that a replica holds, for all registers.
use crate::message::Held;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The registers that were written, by name.
#[derive(Default, Debug)]
pub(crate) struct Replica(BTreeMap<Bytes, Held>);

impl Replica {
    /// The value that the replica holds of the register.
    pub(crate) fn held(&self, register: &Bytes) -> Held {
        self.0.get(register).cloned().unwrap_or_default()
    }

    /// Holds this value from now on, if it is newer, in a buffer of its own: the buffer that it arrived in
    /// may be large.
    pub(crate) fn adopt(&mut self, register: &Bytes, held: &Held) {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let newer = || Held {
            tag: held.tag,
            value: held.value.as_ref().map(own),
        };
        match self.0.get_mut(register) {
            Some(known) if known.tag < held.tag => *known = newer(),
            None if held.value.is_some() => drop(self.0.insert(own(register), newer())),
            Some(_) | None => {}
        }
    }
}
