//! Operations on registers, with the moments at which they begin and end.
use std::{collections::BTreeMap, fmt};

/// The write from which a value comes, as reported by an implementation: writes are ordered by timestamp,
/// then by writer. The default is the tag of the value before any write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tag {
    /// Counted from 1; 0 before any write.
    pub timestamp: u64,
    /// The rank of the writer; 0 before any write.
    pub writer: u64,
}

/// The action of an operation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action<V> {
    /// A read of this value; `None` if nothing was written before. For a read that has not returned, the
    /// value is ignored.
    Read(Option<V>),
    /// A write of this value.
    Write(V),
}

/// An operation on a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<V> {
    /// The process that operates, in any numbering.
    pub process: u64,
    pub action: Action<V>,
    /// When it began.
    pub invoked: u64,
    /// When it ended; `None` if it never did, or that is unknown. Then it takes effect once or never.
    pub returned: Option<u64>,
    /// The tag of the write, or of the value that was read, if the implementation reports it.
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

/// Histories of registers by their names. The operations of each are in any order.
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

    /// The operations on this register, for changes.
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
