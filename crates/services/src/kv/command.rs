//! Commands, and how a batch of them becomes the payload of one message.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::wire::{Undecodable, put_number, take_number};

/// The longest command, and the longest value: keys, values and overhead of one command together.
pub const MAXIMUM_BYTES: usize = 8 * 1024 * 1024;

/// The most keys and values that one command names.
pub const MAXIMUM_ARGUMENTS: usize = 64 * 1024;

/// A command of a client. Keys and values are any bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The value of a key.
    Get(Bytes),
    /// Sets a key's value.
    Set(Bytes, Bytes),
    /// Removes keys; counts those that were there.
    Del(Vec<Bytes>),
    /// Counts those keys that are there, one named twice twice.
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
            | Command::FlushAll => false,
        }
    }

    /// Appends the encoding: a code, how many arguments, and each behind its length.
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
            Command::MSet(pairs) => {
                let arguments = pairs.iter().flat_map(|(key, value)| [key, value]);
                put(out, 7, pairs.len() * 2, arguments);
            }
            Command::MGet(keys) => put(out, 8, keys.len(), keys),
            Command::DbSize => put(out, 9, 0, []),
            Command::FlushAll => put(out, 10, 0, []),
        }
    }

    /// Takes a message's payload apart. Keys and values share its buffer.
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
            7 if arguments.len().is_multiple_of(2) => {
                let mut arguments = arguments.into_iter();
                let pairs = std::iter::from_fn(|| arguments.next().zip(arguments.next()));
                Ok(Command::MSet(pairs.collect()))
            }
            8 => Ok(Command::MGet(arguments)),
            9 => exactly(arguments).map(|[]| Command::DbSize),
            10 => exactly(arguments).map(|[]| Command::FlushAll),
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

fn exactly<const N: usize>(arguments: Vec<Bytes>) -> Result<[Bytes; N], Undecodable> {
    arguments.try_into().map_err(|_| Undecodable)
}
