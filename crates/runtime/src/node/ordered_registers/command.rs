//! What is ordered, and how it travels.
use crate::node::codec::{Codec, Uncodable};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::wire::{put_number, take_number};

/// What becomes of a register.
pub(super) struct Command {
    pub(super) register: Bytes,
    /// The version that it must have; `None`: any.
    pub(super) expected: Option<u64>,
    /// What it holds then; `None`: nothing.
    pub(super) value: Option<Bytes>,
}

/// How commands travel.
pub(super) enum Wire {}

const WRITES: u8 = 1;
const COMPARES: u8 = 2;

impl Codec<Command> for Wire {
    const NAME: &'static str = "ordered-registers";

    fn encode(command: &Command) -> Result<Bytes, Uncodable> {
        let value = command.value.as_deref();
        let length = command.register.len() + value.map_or(0, <[u8]>::len);
        let mut out = BytesMut::with_capacity(length + 32);
        let writes = if value.is_some() { WRITES } else { 0 };
        let compares = if command.expected.is_some() {
            COMPARES
        } else {
            0
        };
        out.put_u8(writes | compares);
        put_number(command.register.len() as u64, &mut out);
        out.put_slice(&command.register);
        if let Some(expected) = command.expected {
            put_number(expected, &mut out);
        }
        out.put_slice(value.unwrap_or_default());
        Ok(out.freeze())
    }

    fn decode(mut bytes: Bytes) -> Result<Command, Uncodable> {
        let kind = bytes.try_get_u8().map_err(|_| Uncodable)?;
        let number = |bytes: &mut Bytes| take_number(bytes).map_err(|_| Uncodable);
        let length = usize::try_from(number(&mut bytes)?).map_err(|_| Uncodable)?;
        if kind > WRITES | COMPARES || length > bytes.len() {
            return Err(Uncodable);
        }
        let register = bytes.split_to(length);
        let expected = if kind & COMPARES == 0 {
            None
        } else {
            Some(number(&mut bytes)?)
        };
        let value = (kind & WRITES != 0).then(|| bytes.clone());
        if value.is_none() && !bytes.is_empty() {
            return Err(Uncodable);
        }
        Ok(Command {
            register,
            expected,
            value,
        })
    }
}
