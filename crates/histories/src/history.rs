//! Operations on registers, with the moments at which they begin and end.
use std::{collections::BTreeMap, fmt};

/// Which write a value comes from, as an implementation tells it: writes are ordered by timestamp, then
/// by writer. The default is that of what a register holds before any write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tag {
    /// Counted from 1; 0 before any write.
    pub timestamp: u64,
    /// The rank of the writer; 0 before any write.
    pub writer: u64,
}

/// What an operation did.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action<V> {
    /// It read this; `None`: nothing was written before. Of a read that has not returned, no matter what.
    Read(Option<V>),
    /// It wrote this.
    Write(V),
}

/// An operation on a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<V> {
    /// Who operates, in whatever way users of the history number them.
    pub process: u64,
    /// What it did.
    pub action: Action<V>,
    /// When it began.
    pub invoked: u64,
    /// When it ended; `None`: it never did, or nobody knows. It takes effect once or never.
    pub returned: Option<u64>,
    /// Which write it was or read, if the implementation tells.
    pub tag: Option<Tag>,
}

impl<V> Operation<V> {
    /// Whether this operation ended before the other began. Moments that are equal are concurrent.
    pub fn is_before(&self, other: &Self) -> bool {
        self.returned.is_some_and(|end| end < other.invoked)
    }

    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        matches!(self.action, Action::Write(_))
    }
}

impl<V: fmt::Debug> fmt::Display for Operation<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} ", self.process)?;
        match &self.action {
            Action::Read(Some(value)) => write!(f, "read {value:?}")?,
            Action::Read(None) => f.write_str("read nothing")?,
            Action::Write(value) => write!(f, "write {value:?}")?,
        }
        match self.returned {
            Some(end) => write!(f, " [{}, {end}]", self.invoked),
            None => write!(f, " [{}, …", self.invoked),
        }
    }
}

/// Histories of registers by their names: in each, the operations in whatever order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History<K, V> {
    registers: BTreeMap<K, Vec<Operation<V>>>,
}

impl<K, V> Default for History<K, V> {
    fn default() -> Self {
        History {
            registers: BTreeMap::new(),
        }
    }
}

impl<K: Ord, V> History<K, V> {
    /// Adds an operation on this register.
    pub fn push(&mut self, register: K, operation: Operation<V>) {
        self.registers.entry(register).or_default().push(operation);
    }

    /// The registers, each with its operations.
    pub fn registers(&self) -> impl Iterator<Item = (&K, &[Operation<V>])> {
        self.registers
            .iter()
            .map(|(register, operations)| (register, &operations[..]))
    }

    /// The operations on this register, to change them.
    pub fn operations_mut(&mut self, register: &K) -> Option<&mut Vec<Operation<V>>> {
        self.registers.get_mut(register)
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.registers.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
