//! An ordered map from keys to values that is shared as it stands in constant time.
//!
//! A B+ tree: pairs stand in leaves, all of them equally deep; an inner node knows its children and the
//! least key below each but the first. Nodes are counted references. A [clone](Clone) is one more reference
//! to the root; whoever then changes the map copies the nodes on his way down, once, if somebody else still
//! sees them. So a clone stays as it was, and costs the nodes and values that were changed since.
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

/// Neighbours that together have so many entries become one node.
const JOINED: usize = WIDTH / 2;

#[derive(Clone)]
enum Node {
    Leaf {
        keys: Vec<Key>,
        /// One a key.
        values: Vec<Bytes>,
    },
    Inner {
        /// The least key that may stand below each child but the first.
        bounds: Vec<Key>,
        children: Vec<Arc<Node>>,
    },
}

/// A node that came to stand right of the one that was full, and the least key below it.
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

    /// Where the value of a key stands that is there, for a change of it.
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

    /// Sets a value: gives the one before, and what no longer fits here.
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

    /// Removes a key that is there.
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

/// Below which child a key stands, if it is there.
fn child(bounds: &[Key], key: &[u8]) -> usize {
    match search(bounds, key) {
        Ok(bound) => bound + 1,
        Err(before) => before,
    }
}

/// Where a key stands, or would stand. The search of the standard library has no branches, so that each of
/// its steps waits for a key from memory; this one goes on with a guess meanwhile, and takes half as long.
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

/// Where a full node is cut into two. What grows at its end only is left full: so keys that come in their
/// order fill the leaves.
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
    // The bound before the first child that goes is the bound of the new node, above.
    let above = bounds.split_off(cut);
    let bound = bounds.pop()?;
    let bounds = above;
    Some((bound, Arc::new(Node::Inner { bounds, children })))
}

/// Makes one node of a child and the one right of it, if they are small enough together. Says whether.
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

/// The map. Its clones are what it was when they were made.
#[derive(Clone)]
pub(crate) struct Ordered {
    root: Arc<Node>,
    len: usize,
}

impl Ordered {
    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.root.find(key)
    }

    /// The value of a key, for a change.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Bytes> {
        // Nothing is copied for a key that is not there.
        self.get(key)?;
        self.root.find_mut(key)
    }

    /// Sets a value; gives the one before.
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

    /// Removes a key; gives its value.
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

    /// Its pairs as they are now, in the order of their keys, whatever becomes of the map.
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
    /// Whether they hold the same pairs: how they came to hold them does not count.
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

/// The pairs of a map as it was, from the least key on.
#[derive(Debug)]
pub(crate) struct Pairs {
    /// From the root down: each node, and which entry of it comes next.
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
