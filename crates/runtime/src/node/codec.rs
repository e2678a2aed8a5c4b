//! How a user's messages are encoded.
use crate::error::Error;
use bytes::Bytes;
use quorate_core::wire::{decode_value, encode_value};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// A value cannot be encoded, or bytes cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, thiserror::Error)]
#[error("this cannot be encoded, or decoded")]
pub struct Uncodable;

/// The encoding of values of type `T`. It is chosen where a module is declared, by [`Coded::by`].
///
/// An encoded value must be decoded as an equal value at every process. The sender decodes each value once:
/// a value that does not come back is refused there, as [`Unencodable`](Error::Unencodable), and harms
/// nobody else. If a message that arrives cannot be decoded, its reader gets an error.
///
/// ```
/// use bytes::Bytes;
/// use quorate_runtime::{Node, node::{Codec, Coded, Uncodable}};
///
/// /// Numbers as text.
/// enum Decimal {}
///
/// impl Codec<u64> for Decimal {
///     const NAME: &'static str = "decimal";
///
///     fn encode(value: &u64) -> Result<Bytes, Uncodable> {
///         Ok(value.to_string().into())
///     }
///
///     fn decode(bytes: Bytes) -> Result<u64, Uncodable> {
///         let text = std::str::from_utf8(&bytes).map_err(|_| Uncodable)?;
///         text.parse().map_err(|_| Uncodable)
///     }
/// }
///
/// # use futures::StreamExt;
/// # use quorate_core::ProcessId;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # let peers = vec![socket.local_addr()?];
/// let mut node = Node::builder(me, peers).socket(socket);
/// let (counts, mut delivered) = node.total_order(Coded::by::<Decimal>("counts"))?;
/// let node = node.start().await?;
/// counts.broadcast(42).await?;
/// assert_eq!(delivered.next().await.ok_or("the node has stopped")??.message, 42);
/// # Ok(())
/// # }
/// ```
pub trait Codec<T> {
    /// The name of the codec, which processes compare when they meet: those whose codecs differ do not talk
    /// to each other. Use a new name when the format of the bytes changes.
    const NAME: &'static str;

    /// Encodes a value.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    fn encode(value: &T) -> Result<Bytes, Uncodable>;

    /// Decodes a value. The bytes may be anything, and share a buffer with other messages: copy the part
    /// that is kept for long. This function is called where the value is read. For commands of a replicated
    /// machine that is the task that applies them, where a panic stops the node like a panic of the
    /// machine.
    ///
    /// # Errors
    /// When the bytes are no encoded value.
    fn decode(bytes: Bytes) -> Result<T, Uncodable>;
}

/// All types that serde can write and read, encoded by [bincode](https://docs.rs/bincode). This is the
/// default codec.
#[derive(Clone, Copy, Debug)]
pub enum Serde {}

impl<T: Serialize + DeserializeOwned> Codec<T> for Serde {
    const NAME: &'static str = "bincode";

    fn encode(value: &T) -> Result<Bytes, Uncodable> {
        encode_value(value).map_err(|_| Uncodable)
    }

    fn decode(bytes: Bytes) -> Result<T, Uncodable> {
        decode_value(&bytes).map_err(|_| Uncodable)
    }
}

/// Bytes, which are not changed.
#[derive(Clone, Copy, Debug)]
pub enum Raw {}

impl Codec<Bytes> for Raw {
    const NAME: &'static str = "raw";

    fn encode(value: &Bytes) -> Result<Bytes, Uncodable> {
        Ok(value.clone())
    }

    fn decode(bytes: Bytes) -> Result<Bytes, Uncodable> {
        Ok(bytes)
    }
}

/// The name of a module, and the codec of its messages. Every function that declares a module for messages
/// or values of a type `T` accepts one. A name alone stands for the name with [`Serde`]. (Lattices, states
/// for quorum access and the messages of a user's own algorithm define their encoding by
/// [`Wire`](quorate_core::wire::Wire).)
pub struct Coded<T> {
    pub(crate) name: String,
    pub(crate) codec: Coding<T>,
}

impl<T> Coded<T> {
    /// A module of this name, whose messages are encoded by this codec.
    pub fn by<C: Codec<T>>(name: impl Into<String>) -> Self {
        Coded {
            name: name.into(),
            codec: Coding::by::<C>(),
        }
    }
}

impl Coded<Bytes> {
    /// A module of this name, whose messages are bytes that are not encoded. Messages that arrive share the
    /// buffers in which they were received: copy the part that is kept for long.
    pub fn raw(name: impl Into<String>) -> Self {
        Coded::by::<Raw>(name)
    }
}

impl<T> Clone for Coded<T> {
    fn clone(&self) -> Self {
        Coded {
            name: self.name.clone(),
            codec: self.codec,
        }
    }
}

impl<T> fmt::Debug for Coded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coded")
            .field("name", &self.name)
            .field("codec", &self.codec.name)
            .finish()
    }
}

impl<T: Serialize + DeserializeOwned> From<&str> for Coded<T> {
    fn from(name: &str) -> Self {
        Coded::by::<Serde>(name)
    }
}

impl<T: Serialize + DeserializeOwned> From<&String> for Coded<T> {
    fn from(name: &String) -> Self {
        Coded::by::<Serde>(name)
    }
}

impl<T: Serialize + DeserializeOwned> From<String> for Coded<T> {
    fn from(name: String) -> Self {
        Coded::by::<Serde>(name)
    }
}

/// How messages of a type become payloads and back.
#[cfg_attr(
    not(feature = "links"),
    expect(dead_code, reason = "no handle reads or writes")
)]
pub(crate) struct Coding<T> {
    name: &'static str,
    pub encode: fn(&T) -> Result<Bytes, Error>,
    pub decode: fn(Bytes) -> Option<T>,
}

impl<T> Clone for Coding<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Coding<T> {}

impl<T> Coding<T> {
    /// Values are encoded and decoded by this codec.
    pub fn by<C: Codec<T>>() -> Self {
        Coding {
            name: C::NAME,
            encode: encode_readable::<T, C>,
            decode: |payload| C::decode(payload).ok(),
        }
    }

    /// What a module is made of, with how its messages travel, if not as usual: for modules that are made of the same,
    /// that may differ.
    #[cfg(feature = "links")]
    pub fn of(&self, module: &str, algorithms: &str) -> String {
        if self.name == <Serde as Codec<()>>::NAME {
            return algorithms.to_owned();
        }
        // Spaces separate the words of a stack's description.
        let coded = format!("coded:{module}:{}", self.name);
        let words: Vec<_> = coded.split_whitespace().collect();
        format!("{algorithms} {}", words.join("/"))
    }
}

/// Encodes a value, and checks that it can be decoded. Serde silently encodes untagged enums, skipped
/// fields and similar types that no receiver could decode.
fn encode_readable<T, C: Codec<T>>(value: &T) -> Result<Bytes, Error> {
    let encoded = C::encode(value).map_err(|_| Error::Unencodable)?;
    C::decode(encoded.clone()).map_err(|_| Error::Unencodable)?;
    Ok(encoded)
}
