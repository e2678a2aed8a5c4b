//! How messages become bytes, and back: the only module that knows the codec.
//!
//! A message is a *head*, encoded with bincode, and possibly a *tail*: a payload that is carried as it is
//! and, on receipt, shared with the received buffer instead of copied. The link limits the length of
//! messages. Decoding allocates at most a fixed multiple of the length of its input, and the whole input must
//! be consumed.
use bytes::{Buf, BufMut};
pub use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The codec's limit counts a number by the width of its type, although its encoding may take a single byte,
/// and a string by the length that it claims. So for each byte of input the count is at most this.
const COUNTED: usize = 16;

/// The codec takes its limit as a constant. There are three: one for messages of at most `SHORT` bytes, one
/// for messages of at most `LONG` bytes (the default limit of a link), and one for longer messages.
const SHORT: usize = 64 << 10;
const LONG: usize = 16 << 20;

/// The bytes are not a message of the expected type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("undecodable message")]
pub struct Undecodable;

/// A message that can be carried by a link.
pub trait Wire: Send + Sync + 'static + Sized {
    /// Appends the message's encoding.
    fn encode(&self, out: &mut BytesMut);

    /// The message's encoding. A message that consists of bytes is not copied.
    fn into_bytes(self) -> Bytes {
        encode(&self)
    }

    /// Decodes a message from all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are not exactly one message of this type.
    fn decode(bytes: Bytes) -> Result<Self, Undecodable>;
}

/// A message without a tail: its head is the whole message.
pub trait Plain: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Plain> Wire for T {
    fn encode(&self, out: &mut BytesMut) {
        put_head(self, out);
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let message = take_head(&mut bytes)?;
        if bytes.is_empty() {
            Ok(message)
        } else {
            Err(Undecodable)
        }
    }
}

/// An opaque payload, which is all tail.
impl Wire for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(self);
    }

    fn into_bytes(self) -> Bytes {
        self
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(bytes)
    }
}

/// The encoding of one message.
pub fn encode(message: &impl Wire) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    message.encode(&mut out);
    out.freeze()
}

/// Appends a head. A type that the codec does not support (its first test would show that) appends nothing,
/// and every receiver refuses the message.
pub fn put_head(head: &impl Serialize, out: &mut BytesMut) {
    let before = out.len();
    let format = bincode::config::standard();
    let written = bincode::serde::encode_into_std_write(head, &mut out.writer(), format);
    debug_assert!(written.is_ok(), "a head that the codec does not support");
    if written.is_err() {
        out.truncate(before);
    }
}

/// Takes a head off the front of `bytes`.
///
/// # Errors
/// When the bytes do not begin with such a head.
pub fn take_head<T: DeserializeOwned>(bytes: &mut Bytes) -> Result<T, Undecodable> {
    let (head, length) = match bytes.len() {
        length if length <= SHORT => decode_within::<T, { COUNTED * SHORT }>(bytes),
        _ => decode_long(bytes),
    }?;
    bytes.advance(length);
    Ok(head)
}

/// As [`decode_within`], for heads that are seldom so long. It is a function of its own so that the usual
/// path stays short.
#[cold]
#[inline(never)]
fn decode_long<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), Undecodable> {
    if bytes.len() <= LONG {
        decode_within::<T, { COUNTED * LONG }>(bytes)
    } else {
        decode_within::<T, { u32::MAX as usize }>(bytes)
    }
}

/// The head at the front of `bytes`, and its length in bytes, if the codec counts no more than `MOST` for it.
fn decode_within<T: DeserializeOwned, const MOST: usize>(
    bytes: &[u8],
) -> Result<(T, usize), Undecodable> {
    let format = bincode::config::standard().with_limit::<MOST>();
    bincode::serde::decode_from_slice(bytes, format).map_err(|_| Undecodable)
}

/// The limit in bytes for decoding values of users, which travel as payloads: the longest message of a link.
pub const MAXIMUM_VALUE: usize = 16 << 20;

/// The value's type is not supported by the codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the codec does not support this type")]
pub struct Unencodable;

/// The encoding of a user's value, as a payload.
///
/// # Errors
/// When the codec does not support the type: untagged or flattened enums, for example.
pub fn encode_value(value: &impl Serialize) -> Result<Bytes, Unencodable> {
    let mut out = BytesMut::with_capacity(64);
    let format = bincode::config::standard();
    bincode::serde::encode_into_std_write(value, &mut (&mut out).writer(), format)
        .map_err(|_| Unencodable)?;
    Ok(out.freeze())
}

/// The value that a payload holds.
///
/// # Errors
/// When the bytes are not exactly one value of this type, or it is longer than [`MAXIMUM_VALUE`].
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecodable> {
    let format = bincode::config::standard().with_limit::<MAXIMUM_VALUE>();
    match bincode::serde::decode_from_slice(bytes, format) {
        Ok((value, length)) if length == bytes.len() => Ok(value),
        Ok(_) | Err(_) => Err(Undecodable),
    }
}

/// Appends a length or another small number: seven bits a byte, low first.
pub fn put_number(mut number: u64, out: &mut impl BufMut) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Takes a number off the front of `bytes`.
///
/// # Errors
/// When the bytes end early or the number does not fit.
pub fn take_number(bytes: &mut impl Buf) -> Result<u64, Undecodable> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        if !bytes.has_remaining() {
            return Err(Undecodable);
        }
        let byte = bytes.get_u8();
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Undecodable);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Undecodable)
}

/// Appends payloads, each behind its length.
pub fn put_batch<'a>(payloads: impl IntoIterator<Item = &'a Bytes>, out: &mut BytesMut) {
    for payload in payloads {
        put_number(payload.len() as u64, out);
        out.extend_from_slice(payload);
    }
}

/// Unpacks what [`put_batch`] packed; the payloads share the buffer.
///
/// # Errors
/// When a length exceeds the remaining bytes.
pub fn take_batch(mut bytes: Bytes) -> Result<Vec<Bytes>, Undecodable> {
    let mut payloads = Vec::new();
    while bytes.has_remaining() {
        let length = usize::try_from(take_number(&mut bytes)?).map_err(|_| Undecodable)?;
        if length > bytes.len() {
            return Err(Undecodable);
        }
        payloads.push(bytes.split_to(length));
    }
    Ok(payloads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum Message {
        List(Vec<u64>),
        Text(String),
    }
    impl Plain for Message {}

    #[test]
    fn a_message_survives_the_wire() {
        let message = Message::List(vec![1, 2, u64::MAX]);
        assert_eq!(Message::decode(encode(&message)), Ok(message));
    }

    #[test]
    fn a_length_that_the_bytes_cannot_hold_is_refused_without_allocating() {
        // Variant 0, then a list that claims 2^40 elements.
        let mut hostile = vec![0, 253];
        hostile.extend_from_slice(&(1_u64 << 40).to_le_bytes());
        assert_eq!(Message::decode(hostile.into()), Err(Undecodable));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = BytesMut::new();
        Message::Text("x".into()).encode(&mut bytes);
        bytes.put_u8(0);
        assert_eq!(Message::decode(bytes.freeze()), Err(Undecodable));
    }

    #[test]
    fn a_message_is_read_however_long_it_is() {
        for length in [SHORT / 2, SHORT + 1, LONG + 1] {
            // Each number takes one byte, and is counted as eight.
            let list = Message::List(vec![7; length]);
            assert_eq!(Message::decode(encode(&list)).as_ref(), Ok(&list));
            let text = Message::Text("x".repeat(length));
            assert_eq!(Message::decode(encode(&text)).as_ref(), Ok(&text));
        }
        let mut with_tail = BytesMut::new();
        put_head(&vec![u128::MAX; 10_000], &mut with_tail);
        with_tail.extend_from_slice(b"tail");
        let mut bytes = with_tail.freeze();
        assert_eq!(take_head(&mut bytes), Ok(vec![u128::MAX; 10_000]));
        assert_eq!(&*bytes, b"tail");
    }

    #[test]
    fn a_string_that_the_bytes_cannot_hold_is_refused() {
        for length in [10, SHORT + 1, LONG + 1] {
            // Variant 1, then a string that claims 2^40 bytes.
            let mut hostile = vec![1, 253];
            hostile.extend_from_slice(&(1_u64 << 40).to_le_bytes());
            hostile.resize(length, b'x');
            assert_eq!(Message::decode(hostile.into()), Err(Undecodable));
        }
    }

    #[test]
    fn a_value_may_be_long() {
        let value = Message::Text("x".repeat(128 * 1024));
        let bytes = encode_value(&value).unwrap();
        assert_eq!(decode_value(&bytes), Ok(value));
        assert_eq!(decode_value::<Message>(&bytes[1..]), Err(Undecodable));
    }

    proptest! {
        #[test]
        fn numbers_survive(number: u64) {
            let mut out = BytesMut::new();
            put_number(number, &mut out);
            prop_assert_eq!(take_number(&mut out), Ok(number));
            prop_assert!(out.is_empty());
        }

        #[test]
        fn batches_survive(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let mut out = BytesMut::new();
            put_batch(&payloads, &mut out);
            prop_assert_eq!(take_batch(out.freeze()), Ok(payloads));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = Message::decode(bytes.clone());
            let _ = take_batch(bytes.clone());
            let _ = take_number(&mut bytes.clone());
        }
    }
}
