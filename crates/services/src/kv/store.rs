//! The state: keys, values, and what each command does to them.
use super::command::{Command, MAXIMUM_BYTES, SetCondition, SetReply};
use crate::ordered::{Ordered, Pairs};
use bytes::{Bytes, BytesMut};
use quorate_core::wire::Undecodable;

/// The most bytes of the reply to one command: a client that names a large value many times gets an error.
const MAXIMUM_REPLY: usize = 8 * MAXIMUM_BYTES;

/// The reply to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Done.
    Ok,
    /// No such key.
    Nil,
    /// A count, a length or a value.
    Integer(i64),
    Value(Bytes),
    /// Values of several keys, `None` for a key that is not there.
    Values(Vec<Option<Bytes>>),
    /// The command was refused and changed nothing. The words are those of Redis.
    Error(&'static str),
}

const NOT_AN_INTEGER: Reply = Reply::Error("ERR value is not an integer or out of range");
const OVERFLOW: Reply = Reply::Error("ERR increment or decrement would overflow");
const TOO_LONG: Reply = Reply::Error("ERR string exceeds maximum allowed size");
const REPLY_TOO_LONG: Reply = Reply::Error("ERR reply exceeds maximum allowed size");

/// The key-value pairs. Keys and values are copied, so that they do not keep alive the buffers in which they
/// arrived; replies share the values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Store {
    pairs: Ordered,
}

impl Store {
    /// Applies one command. Deterministic.
    pub fn apply(&mut self, command: &Command) -> Reply {
        match command {
            Command::Get(key) => self.value(key).map_or(Reply::Nil, Reply::Value),
            Command::Set(key, value) => {
                self.set(key, value);
                Reply::Ok
            }
            Command::Del(keys) => {
                let removed = keys.iter().filter(|key| self.remove(key));
                integer(removed.count())
            }
            Command::Exists(keys) => {
                let there = keys.iter().filter(|key| self.pairs.get(key).is_some());
                integer(there.count())
            }
            Command::IncrBy(key, amount) => self.increment(key, *amount),
            Command::Append(key, value) => self.append(key, value),
            Command::StrLen(key) => integer(self.pairs.get(key).map_or(0, Bytes::len)),
            Command::MSet(pairs) => {
                for (key, value) in pairs {
                    self.set(key, value);
                }
                Reply::Ok
            }
            Command::MGet(keys) => self.values(keys),
            Command::DbSize => integer(self.pairs.len()),
            Command::FlushAll => {
                self.pairs = Ordered::default();
                Reply::Ok
            }
            Command::SetIf {
                key,
                value,
                condition,
                wanted,
            } => self.set_if(key, value, *condition, *wanted),
            Command::GetDel(key) => self.pairs.remove(key).map_or(Reply::Nil, Reply::Value),
            Command::MSetNx(pairs) => self.set_if_all_absent(pairs),
        }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.pairs.len() == 0
    }

    /// All pairs as they are now, in the order of their keys, whatever is applied meanwhile.
    pub(crate) fn pairs(&self) -> Pairs {
        self.pairs.pairs()
    }

    /// Adds the next pair to a store that is restored from its [pairs](Self::pairs).
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), Undecodable> {
        if self.pairs.last_key().is_some_and(|last| last >= key) {
            return Err(Undecodable);
        }
        self.pairs.insert(key, Bytes::copy_from_slice(value));
        Ok(())
    }

    fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.pairs.get(key).cloned()
    }

    fn values(&self, keys: &[Bytes]) -> Reply {
        let lengths = keys
            .iter()
            .filter_map(|key| self.pairs.get(key))
            .map(Bytes::len);
        if lengths.sum::<usize>() > MAXIMUM_REPLY {
            return REPLY_TOO_LONG;
        }
        Reply::Values(keys.iter().map(|key| self.value(key)).collect())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.pairs.insert(key, Bytes::copy_from_slice(value));
    }

    fn set_if(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        wanted: SetReply,
    ) -> Reply {
        let before = self.value(key);
        let done = match condition {
            SetCondition::Always => true,
            SetCondition::Absent => before.is_none(),
            SetCondition::Present => before.is_some(),
        };
        if done {
            self.set(key, value);
        }
        match (wanted, done) {
            (SetReply::Before, _) => before.map_or(Reply::Nil, Reply::Value),
            (SetReply::Count, done) => integer(usize::from(done)),
            (SetReply::Done, true) => Reply::Ok,
            (SetReply::Done, false) => Reply::Nil,
        }
    }

    fn set_if_all_absent(&mut self, pairs: &[(Bytes, Bytes)]) -> Reply {
        let done = pairs.iter().all(|(key, _)| self.pairs.get(key).is_none());
        if done {
            for (key, value) in pairs {
                self.set(key, value);
            }
        }
        integer(usize::from(done))
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.pairs.remove(key).is_some()
    }

    fn increment(&mut self, key: &[u8], amount: i64) -> Reply {
        let old = match self.pairs.get(key) {
            None => 0,
            Some(value) => match parse_integer(value) {
                Some(number) => number,
                None => return NOT_AN_INTEGER,
            },
        };
        let Some(new) = old.checked_add(amount) else {
            return OVERFLOW;
        };
        self.set(key, new.to_string().as_bytes());
        Reply::Integer(new)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Reply {
        let length = self.pairs.get(key).map_or(0, Bytes::len) + value.len();
        if length > MAXIMUM_BYTES {
            return TOO_LONG;
        }
        if let Some(old) = self.pairs.get_mut(key) {
            // The value is changed in place unless a reply or a view still shares the old one.
            let mut grown = match std::mem::take(old).try_into_mut() {
                Ok(grown) => grown,
                Err(shared) => BytesMut::from(&shared[..]),
            };
            grown.extend_from_slice(value);
            *old = grown.freeze();
        } else {
            self.set(key, value);
        }
        integer(length)
    }
}

fn integer(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The integer that `text` spells in canonical form: no plus, no spaces, no leading zeros, and no minus
/// before zero. Redis requires this form both in commands and in values.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}
