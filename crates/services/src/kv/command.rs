//! Commands, and their encoding as the payload of one message.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::wire::{Undecodable, put_number, take_number};

/// The most bytes of one command, its keys, values and overhead together; and so of a value.
pub const MAXIMUM_BYTES: usize = 8 * 1024 * 1024;

/// The most keys and values that one command names.
pub const MAXIMUM_ARGUMENTS: usize = 64 * 1024;

/// The version of the encoding and meaning of commands. All replicas must have the same version: one that
/// does not know a command skips its whole batch, and so would differ from one that does.
pub const VERSION: u64 = 2;

/// The condition under which a key's value is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetCondition {
    /// In any case.
    Always,
    /// Only if the key is not there.
    Absent,
    /// Only if the key is there.
    Present,
}

/// The reply to a command that sets a key's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetReply {
    /// Done if the value was set; nil if it was not.
    Done,
    /// The value before, whether it was set or not.
    Before,
    /// How many values were set: 1 or 0.
    Count,
}

impl SetCondition {
    fn code(self) -> u8 {
        match self {
            SetCondition::Always => 0,
            SetCondition::Absent => 1,
            SetCondition::Present => 2,
        }
    }

    fn from_code(code: u8) -> Result<Self, Undecodable> {
        match code {
            0 => Ok(SetCondition::Always),
            1 => Ok(SetCondition::Absent),
            2 => Ok(SetCondition::Present),
            _ => Err(Undecodable),
        }
    }
}

impl SetReply {
    fn code(self) -> u8 {
        match self {
            SetReply::Done => 0,
            SetReply::Before => 1,
            SetReply::Count => 2,
        }
    }

    fn from_code(code: u8) -> Result<Self, Undecodable> {
        match code {
            0 => Ok(SetReply::Done),
            1 => Ok(SetReply::Before),
            2 => Ok(SetReply::Count),
            _ => Err(Undecodable),
        }
    }
}

/// A command of a client. Keys and values are any bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The value of a key.
    Get(Bytes),
    /// Sets a key's value.
    Set(Bytes, Bytes),
    /// Removes keys; counts those that were there.
    Del(Vec<Bytes>),
    /// Counts those keys that are there; a key that is named twice counts twice.
    Exists(Vec<Bytes>),
    /// Adds to the integer that a value spells; an absent key counts as 0.
    IncrBy(Bytes, i64),
    /// Appends to a value; an absent key counts as empty. Replies the new length.
    Append(Bytes, Bytes),
    /// The length of a value.
    StrLen(Bytes),
    /// Sets several keys at once.
    MSet(Vec<(Bytes, Bytes)>),
    /// The values of several keys at one point of the order.
    MGet(Vec<Bytes>),
    /// How many keys there are.
    DbSize,
    /// Removes every key.
    FlushAll,
    /// Sets a key's value under a condition, or with another reply than [`Set`](Self::Set).
    SetIf {
        key: Bytes,
        /// The key's new value.
        value: Bytes,
        condition: SetCondition,
        wanted: SetReply,
    },
    /// Removes a key; replies its value.
    GetDel(Bytes),
    /// Sets several keys at once, if none of them is there; replies 1 or 0.
    MSetNx(Vec<(Bytes, Bytes)>),
}

impl Command {
    /// Whether the command leaves the store as it is.
    pub fn is_read_only(&self) -> bool {
        match self {
            Command::Get(_)
            | Command::Exists(_)
            | Command::StrLen(_)
            | Command::MGet(_)
            | Command::DbSize => true,
            Command::Set(..)
            | Command::Del(_)
            | Command::IncrBy(..)
            | Command::Append(..)
            | Command::MSet(_)
            | Command::FlushAll
            | Command::SetIf { .. }
            | Command::GetDel(_)
            | Command::MSetNx(_) => false,
        }
    }

    /// Appends the encoding: a code, the number of arguments, and each argument after its length.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Command::Get(key) => put(out, 0, 1, [key]),
            Command::Set(key, value) => put(out, 1, 2, [key, value]),
            Command::Del(keys) => put(out, 2, keys.len(), keys),
            Command::Exists(keys) => put(out, 3, keys.len(), keys),
            Command::IncrBy(key, amount) => {
                let amount = Bytes::copy_from_slice(&amount.to_le_bytes());
                put(out, 4, 2, [key, &amount]);
            }
            Command::Append(key, value) => put(out, 5, 2, [key, value]),
            Command::StrLen(key) => put(out, 6, 1, [key]),
            Command::MSet(pairs) => put_pairs(out, 7, pairs),
            Command::MGet(keys) => put(out, 8, keys.len(), keys),
            Command::DbSize => put(out, 9, 0, []),
            Command::FlushAll => put(out, 10, 0, []),
            Command::SetIf {
                key,
                value,
                condition,
                wanted,
            } => {
                let how = Bytes::copy_from_slice(&[condition.code(), wanted.code()]);
                put(out, 11, 3, [key, value, &how]);
            }
            Command::GetDel(key) => put(out, 12, 1, [key]),
            Command::MSetNx(pairs) => put_pairs(out, 13, pairs),
        }
    }

    /// Unpacks a message's payload. Keys and values share its buffer.
    ///
    /// # Errors
    /// When the payload is anything but a sequence of commands.
    pub fn decode_batch(mut payload: Bytes) -> Result<Vec<Command>, Undecodable> {
        let mut commands = Vec::new();
        while !payload.is_empty() {
            commands.push(Self::take(&mut payload)?);
        }
        Ok(commands)
    }

    fn take(payload: &mut Bytes) -> Result<Command, Undecodable> {
        let code = take_number(payload)?;
        let count = take_number(payload)?;
        if count > MAXIMUM_ARGUMENTS as u64 {
            return Err(Undecodable);
        }
        let mut arguments = Vec::new();
        for _ in 0..count {
            let length = usize::try_from(take_number(payload)?).map_err(|_| Undecodable)?;
            if length > payload.len() {
                return Err(Undecodable);
            }
            arguments.push(payload.split_to(length));
        }
        Self::assemble(code, arguments)
    }

    fn assemble(code: u64, arguments: Vec<Bytes>) -> Result<Command, Undecodable> {
        match code {
            0 => exactly(arguments).map(|[key]| Command::Get(key)),
            1 => exactly(arguments).map(|[key, value]| Command::Set(key, value)),
            2 => Ok(Command::Del(arguments)),
            3 => Ok(Command::Exists(arguments)),
            4 => {
                let [key, amount] = exactly(arguments)?;
                let amount = <[u8; 8]>::try_from(&amount[..]).map_err(|_| Undecodable)?;
                Ok(Command::IncrBy(key, i64::from_le_bytes(amount)))
            }
            5 => exactly(arguments).map(|[key, value]| Command::Append(key, value)),
            6 => exactly(arguments).map(|[key]| Command::StrLen(key)),
            7 => pairs(arguments).map(Command::MSet),
            8 => Ok(Command::MGet(arguments)),
            9 => exactly(arguments).map(|[]| Command::DbSize),
            10 => exactly(arguments).map(|[]| Command::FlushAll),
            11 => {
                let [key, value, how] = exactly(arguments)?;
                let [condition, wanted] = <[u8; 2]>::try_from(&how[..]).map_err(|_| Undecodable)?;
                Ok(Command::SetIf {
                    key,
                    value,
                    condition: SetCondition::from_code(condition)?,
                    wanted: SetReply::from_code(wanted)?,
                })
            }
            12 => exactly(arguments).map(|[key]| Command::GetDel(key)),
            13 => pairs(arguments).map(Command::MSetNx),
            _ => Err(Undecodable),
        }
    }
}

fn put<'a>(
    out: &mut BytesMut,
    code: u8,
    count: usize,
    arguments: impl IntoIterator<Item = &'a Bytes>,
) {
    out.put_u8(code);
    put_number(count as u64, out);
    for argument in arguments {
        put_number(argument.len() as u64, out);
        out.extend_from_slice(argument);
    }
}

fn put_pairs(out: &mut BytesMut, code: u8, pairs: &[(Bytes, Bytes)]) {
    let arguments = pairs.iter().flat_map(|(key, value)| [key, value]);
    put(out, code, pairs.len() * 2, arguments);
}

fn pairs(arguments: Vec<Bytes>) -> Result<Vec<(Bytes, Bytes)>, Undecodable> {
    if !arguments.len().is_multiple_of(2) {
        return Err(Undecodable);
    }
    let mut arguments = arguments.into_iter();
    Ok(std::iter::from_fn(|| arguments.next().zip(arguments.next())).collect())
}

fn exactly<const N: usize>(arguments: Vec<Bytes>) -> Result<[Bytes; N], Undecodable> {
    arguments.try_into().map_err(|_| Undecodable)
}
