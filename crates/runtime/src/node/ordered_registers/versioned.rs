//! Values with the places of their writes.
use bytes::Bytes;

/// What a register holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// The value; `None`: it was never written, or it was cleared last.
    pub value: Option<T>,
    /// The place in the order of the write: of two writes of a register the later one has a higher one, also when it was
    /// cleared in between. Zero without a value.
    pub version: u64,
}

/// A value as it is kept.
pub(super) type Held = Versioned<Bytes>;

impl Held {
    pub(super) fn nothing() -> Self {
        Held {
            value: None,
            version: 0,
        }
    }
}
