//! States as bytes: what a replica gives to a newcomer, and how the newcomer takes it.
use bytes::{Bytes, BytesMut};
use quorate_core::wire::{Undecodable, put_number, take_number};

/// A state that can be given to another replica.
///
/// What [`restore`](Snapshot::restore) makes of a [`snapshot`](Snapshot::snapshot) is equal to what the
/// snapshot was taken of, and answers everything that comes later alike.
pub trait Snapshot: Sized {
    /// The whole state.
    fn snapshot(&self) -> Bytes;

    /// The state that a snapshot holds. It shares nothing with the snapshot's buffer.
    ///
    /// # Errors
    /// When the bytes are no snapshot of this version. They may come from anybody: nothing is allocated
    /// that they are not long enough for.
    fn restore(bytes: Bytes) -> Result<Self, Undecodable>;
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes off the front what [`put_bytes`] appended.
pub(crate) fn take_bytes(bytes: &mut Bytes) -> Result<Bytes, Undecodable> {
    let length = usize::try_from(take_number(bytes)?).map_err(|_| Undecodable)?;
    if length > bytes.len() {
        return Err(Undecodable);
    }
    Ok(bytes.split_to(length))
}
