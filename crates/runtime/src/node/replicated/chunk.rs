//! The chunks in which a machine's state is transferred.
use super::super::group::Unreadable;
use bytes::{Bytes, BytesMut};
use quorate_abstractions::reconfigurable::{CHUNK, Chunks, View};
use quorate_core::wire::{decode_value, encode_value, put_batch, take_batch};
use serde::{Serialize, de::DeserializeOwned};

/// A chunk of a machine's state, as its [`snapshot`](super::Machine::snapshot) gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk(Bytes);

impl Chunk {
    /// The chunk that consists of these bytes.
    pub fn of(bytes: Bytes) -> Self {
        Chunk(bytes)
    }

    /// Its bytes. They share the buffer in which they were received: copy the part that is kept.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The items of the chunk, if it comes from a view of [`Items`].
    ///
    /// # Errors
    /// When the chunk has no items of this type.
    pub fn items<T: DeserializeOwned>(self) -> Result<Vec<T>, Unreadable> {
        let items = take_batch(self.0).map_err(|_| Unreadable)?;
        let decode = |item: &Bytes| decode_value(item).map_err(|_| Unreadable);
        items.iter().map(decode).collect()
    }
}

/// A state as a list of items; each chunk has several of them. An item has at most a little less than 1
/// MiB.
///
/// ```
/// use quorate_runtime::node::Items;
/// use std::collections::BTreeMap;
///
/// let accounts: BTreeMap<String, u64> = BTreeMap::from([("ann".into(), 3)]);
/// // A clone is what does not change any more.
/// let view = Items::view(accounts.clone());
/// ```
pub struct Items<I>(I);

crate::debug::opaque!(Items<I>);

impl<I> Items<I>
where
    I: Iterator + Send + 'static,
    I::Item: Serialize,
{
    /// The state that consists of these items.
    pub fn view(items: impl IntoIterator<Item = I::Item, IntoIter = I>) -> View {
        View::new(Items(items.into_iter()))
    }
}

impl<I> Chunks for Items<I>
where
    I: Iterator + Send + 'static,
    I::Item: Serialize,
{
    fn next_chunk(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK {
            let Some(item) = self.0.next() else {
                break;
            };
            match encode_value(&item) {
                Ok(item) => put_batch([&item], &mut chunk),
                // Longer than any chunk: the state is not transferred at all, instead of being transferred
                // without this item.
                Err(_) => return Some(Bytes::from(vec![0; TOO_LONG])),
            }
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }
}

/// Longer than any chunk may be.
const TOO_LONG: usize = quorate_abstractions::reconfigurable::LONGEST_CHUNK + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_in_chunks_of_a_few() {
        let items: Vec<(u64, String)> = (0..50_000).map(|n| (n, format!("item {n}"))).collect();
        let mut view = Items::view(items.clone());
        let (mut chunks, mut back) = (0, Vec::new());
        while let Some(chunk) = view.next_chunk() {
            assert!(chunk.len() < 2 * CHUNK);
            chunks += 1;
            back.extend(Chunk::of(chunk).items::<(u64, String)>().unwrap());
        }
        assert!(chunks > 1);
        assert_eq!(back, items);
        assert!(Items::view(Vec::<u64>::new()).next_chunk().is_none());
        let chunk = Chunk::of(Bytes::from_static(&[9, 1]));
        assert_eq!(chunk.items::<u64>(), Err(Unreadable));
    }
}
