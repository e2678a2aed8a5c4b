//! Keys, as the tree stores them.
use std::{fmt, ops::Deref, sync::Arc};

/// The longest key, in bytes, that is stored in the node itself: then a key takes 24 bytes, like a vector
/// without its contents.
const SHORT: usize = 22;

/// A key. A short one is stored in the node, where it is compared; a clone of a long one shares its bytes.
#[derive(Clone)]
pub(crate) enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key);
                let length = key.len() as u8;
                Key::Short { length, bytes }
            }
            None => Key::Long(key.into()),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Key::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Key::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
