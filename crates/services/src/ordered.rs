//! An ordered map from keys to values, which is cloned in constant time.
//!
//! It is a B+ tree: pairs stand in leaves, all of them equally deep; an inner node has its children, and the
//! least key below each but the first. Nodes are reference-counted. A [clone](Clone) is one more reference to
//! the root. A later change of either map copies the nodes on its way down, if another map still shares them.
//! So a clone stays as it was, and costs the nodes and values that were changed since.
//!
//! Cost: a change or a look-up visits O(log n) nodes of at most [`WIDTH`] entries, and changes them in place
//! while nobody shares them. No recursion is deeper than the tree, which grows by a level only when its root
//! is full.
mod key;

use bytes::Bytes;
pub(crate) use key::Key;
use std::{cmp::Ordering, fmt, mem, sync::Arc};

/// The most pairs of a leaf, and the most children of an inner node. Wide enough that a tree of millions
/// has five levels, narrow enough that a copy of a node takes less than a microsecond.
const WIDTH: usize = 32;

/// Neighbours that together have no more entries than this become one node.
const JOINED: usize = WIDTH / 2;

#[derive(Clone)]
enum Node {
    Leaf {
        keys: Vec<Key>,
        /// The values, one for each key.
        values: Vec<Bytes>,
    },
    Inner {
        /// The least key that may stand below each child but the first.
        bounds: Vec<Key>,
        children: Vec<Arc<Node>>,
    },
}

/// The new node to the right of one that was full and was split, and the least key below it.
type Split = Option<(Key, Arc<Node>)>;

impl Node {
    fn len(&self) -> usize {
        match self {
            Node::Leaf { keys, .. } => keys.len(),
            Node::Inner { children, .. } => children.len(),
        }
    }

    fn find(&self, key: &[u8]) -> Option<&Bytes> {
        let mut node = self;
        loop {
            match node {
                Node::Leaf { keys, values } => {
                    let place = search(keys, key).ok();
                    return place.and_then(|place| values.get(place));
                }
                Node::Inner { bounds, children } => node = children.get(child(bounds, key))?,
            }
        }
    }

    /// A mutable reference to the value of a key that is in the map.
    fn find_mut(mut self: &mut Arc<Self>, key: &[u8]) -> Option<&mut Bytes> {
        loop {
            match Arc::make_mut(self) {
                Node::Leaf { keys, values } => {
                    let place = search(keys, key).ok();
                    return place.and_then(|place| values.get_mut(place));
                }
                Node::Inner { bounds, children } => self = children.get_mut(child(bounds, key))?,
            }
        }
    }

    /// Sets a value. Returns the value before, and the new node if this one was split.
    fn insert(self: &mut Arc<Self>, key: &[u8], value: Bytes) -> (Option<Bytes>, Split) {
        match Arc::make_mut(self) {
            Node::Leaf { keys, values } => match search(keys, key) {
                Ok(place) => (Some(mem::replace(&mut values[place], value)), None),
                Err(place) => {
                    keys.insert(place, key.into());
                    values.insert(place, value);
                    (None, split_leaf(keys, values, place))
                }
            },
            Node::Inner { bounds, children } => {
                let place = child(bounds, key);
                let (before, split) = children[place].insert(key, value);
                let Some((bound, right)) = split else {
                    return (before, None);
                };
                bounds.insert(place, bound);
                children.insert(place + 1, right);
                (before, split_inner(bounds, children, place + 1))
            }
        }
    }

    /// Removes a key that is in the map.
    fn remove(self: &mut Arc<Self>, key: &[u8]) -> Option<Bytes> {
        match Arc::make_mut(self) {
            Node::Leaf { keys, values } => {
                let place = search(keys, key).ok()?;
                keys.remove(place);
                Some(values.remove(place))
            }
            Node::Inner { bounds, children } => {
                let place = child(bounds, key);
                let removed = children[place].remove(key);
                if children[place].len() == 0 {
                    children.remove(place);
                    if !bounds.is_empty() {
                        bounds.remove(place.saturating_sub(1));
                    }
                } else if !join(bounds, children, place) && place > 0 {
                    join(bounds, children, place - 1);
                }
                removed
            }
        }
    }
}

/// The index of the child below which a key stands, if it is in the map.
fn child(bounds: &[Key], key: &[u8]) -> usize {
    match search(bounds, key) {
        Ok(bound) => bound + 1,
        Err(before) => before,
    }
}

/// The position of a key, or the one where it would be inserted. The search of the standard library has no
/// branches, so that each of its steps waits for a key from memory. In this one the processor predicts the
/// branch and goes on meanwhile; it takes half as long.
fn search(keys: &[Key], key: &[u8]) -> Result<usize, usize> {
    let (mut from, mut to) = (0, keys.len());
    while from < to {
        let middle = usize::midpoint(from, to);
        match keys[middle].cmp(key) {
            Ordering::Less => from = middle + 1,
            Ordering::Equal => return Ok(middle),
            Ordering::Greater => to = middle,
        }
    }
    Err(from)
}

/// Where a full node is split into two. If the new entry is at its end, the node is left full, so that keys
/// that come in ascending order fill the leaves.
fn cut(len: usize, grown_at: usize) -> usize {
    if grown_at + 1 == len {
        len - 1
    } else {
        len / 2
    }
}

fn split_leaf(keys: &mut Vec<Key>, values: &mut Vec<Bytes>, grown_at: usize) -> Split {
    if keys.len() <= WIDTH {
        return None;
    }
    let cut = cut(keys.len(), grown_at);
    let keys = keys.split_off(cut);
    let values = values.split_off(cut);
    let bound = keys.first()?.clone();
    Some((bound, Arc::new(Node::Leaf { keys, values })))
}

fn split_inner(bounds: &mut Vec<Key>, children: &mut Vec<Arc<Node>>, grown_at: usize) -> Split {
    if children.len() <= WIDTH {
        return None;
    }
    let cut = cut(children.len(), grown_at);
    let children = children.split_off(cut);
    // The bound before the first child that moves becomes the bound of the new node in the parent.
    let above = bounds.split_off(cut);
    let bound = bounds.pop()?;
    let bounds = above;
    Some((bound, Arc::new(Node::Inner { bounds, children })))
}

/// Merges a child with the one to the right of it, if they are small enough together. Returns whether it did.
fn join(bounds: &mut Vec<Key>, children: &mut Vec<Arc<Node>>, left: usize) -> bool {
    let together = children.get(left..left + 2);
    if together.is_none_or(|two| two.iter().map(|node| node.len()).sum::<usize>() > JOINED) {
        return false;
    }
    let bound = bounds.remove(left);
    let right = Arc::unwrap_or_clone(children.remove(left + 1));
    match (Arc::make_mut(&mut children[left]), right) {
        (Node::Leaf { keys, values }, Node::Leaf { keys: k, values: v }) => {
            keys.extend(k);
            values.extend(v);
        }
        (
            Node::Inner { bounds, children },
            Node::Inner {
                bounds: b,
                children: c,
            },
        ) => {
            bounds.push(bound);
            bounds.extend(b);
            children.extend(c);
        }
        // All leaves are equally deep.
        (Node::Leaf { .. }, Node::Inner { .. }) | (Node::Inner { .. }, Node::Leaf { .. }) => {
            unreachable!("neighbours are of one kind")
        }
    }
    true
}

/// An ordered map. A clone stays as the map was when it was cloned.
#[derive(Clone)]
pub(crate) struct Ordered {
    root: Arc<Node>,
    len: usize,
}

impl Ordered {
    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.root.find(key)
    }

    /// A mutable reference to the value of a key.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Bytes> {
        // For a key that is not in the map, no node is copied.
        self.get(key)?;
        self.root.find_mut(key)
    }

    /// Sets a value; returns the one before.
    pub fn insert(&mut self, key: &[u8], value: Bytes) -> Option<Bytes> {
        let (before, split) = self.root.insert(key, value);
        if let Some((bound, right)) = split {
            let left = mem::replace(&mut self.root, right);
            let right = Arc::clone(&self.root);
            self.root = Arc::new(Node::Inner {
                bounds: vec![bound],
                children: vec![left, right],
            });
        }
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a key; returns its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<Bytes> {
        self.get(key)?;
        let removed = self.root.remove(key);
        self.len -= usize::from(removed.is_some());
        if self.len == 0 {
            *self = Ordered::default();
        }
        while let Node::Inner { children, .. } = &*self.root
            && let [only] = &children[..]
        {
            self.root = Arc::clone(only);
        }
        removed
    }

    /// The greatest key.
    pub fn last_key(&self) -> Option<&[u8]> {
        let mut node = &self.root;
        loop {
            match &**node {
                Node::Leaf { keys, .. } => return keys.last().map(|key| &**key),
                Node::Inner { children, .. } => node = children.last()?,
            }
        }
    }

    /// The pairs as they are now, in the order of their keys. Later changes of the map do not change them.
    pub fn pairs(&self) -> Pairs {
        Pairs {
            path: vec![(Arc::clone(&self.root), 0)],
        }
    }
}

impl Default for Ordered {
    fn default() -> Self {
        Ordered {
            root: Arc::new(Node::Leaf {
                keys: Vec::new(),
                values: Vec::new(),
            }),
            len: 0,
        }
    }
}

impl PartialEq for Ordered {
    /// Whether both maps hold the same pairs, whatever the shapes of their trees.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.pairs().eq(other.pairs())
    }
}

impl Eq for Ordered {}

impl fmt::Debug for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

/// An iterator over the pairs of a map as it was, in ascending order of their keys.
#[derive(Debug)]
pub(crate) struct Pairs {
    /// The path from the root down: each node, and the index of its next entry.
    path: Vec<(Arc<Node>, usize)>,
}

impl Iterator for Pairs {
    type Item = (Key, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, next) = self.path.last_mut()?;
            let place = *next;
            *next += 1;
            let down = match &**node {
                Node::Leaf { keys, values } => match keys.get(place).zip(values.get(place)) {
                    Some((key, value)) => return Some((key.clone(), value.clone())),
                    None => None,
                },
                Node::Inner { children, .. } => children.get(place).map(Arc::clone),
            };
            match down {
                Some(child) => self.path.push((child, 0)),
                None => {
                    self.path.pop();
                }
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.len())
    }
}

#[cfg(test)]
mod tests;
