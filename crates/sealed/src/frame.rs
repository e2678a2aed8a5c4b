//! The datagrams of the sealed layer. Integers are little-endian.
//!
//! | datagram | layout | bytes |
//! |---|---|---|
//! | INITIATE | `1`, sender, receiver, `0`, *the rest* | 156 |
//! | RESPOND | `2`, sender, receiver, `0`, the receiver's index u32, Noise message 60, code 8 | 76 |
//! | RETRY | `3`, sender, receiver, `0`, the receiver's index u32, cookie 16, two codes of 16 | 56 |
//! | SEALED | `4`, the receiver's index u32, counter u64, ciphertext with its tag 16 | 29 and the content |
//!
//! *The rest* of INITIATE: context u32, incarnation u64, number u64, the sender's index u32, Noise message 96, first
//! code 16, second code 16.
//!
//! An answer is shorter than its question. All that INITIATE says in the clear is part of the handshake's prologue;
//! the Noise message of RESPOND carries the incarnation and the index of its sender. The index says under which keys
//! a datagram was sealed, and the counter is the nonce, so that whoever alters either of them also breaks the tag.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Incarnation, ProcessId};

/// The first byte of a datagram that begins a handshake.
pub const INITIATE: u8 = 1;
/// The first byte of one that answers it.
pub const RESPOND: u8 = 2;
/// The first byte of one with a cookie.
pub const RETRY: u8 = 3;
/// The first byte of one in a session.
pub const SEALED: u8 = 4;

/// The tag of the cipher.
pub const TAG: usize = 16;
/// The first Noise message: a key, a key with its tag, a tag.
pub const FIRST: usize = 32 + 32 + TAG + TAG;
/// The second one: a key, what it carries, a tag.
pub const SECOND: usize = 32 + CARRIED + TAG;
/// What it carries: an incarnation and an index.
pub const CARRIED: usize = 8 + 4;
/// A code over a datagram, and a cookie.
pub const CODE: usize = 16;

/// The code of RESPOND, which is sent twice: whoever forges one makes its receiver agree on keys in vain, and no more.
pub const SHORT_CODE: usize = 8;

const INITIATE_CLEAR: usize = 4 + 4 + 8 + 8 + 4;
/// What the first code covers.
pub const INITIATE_BODY: usize = INITIATE_CLEAR + FIRST;
/// The length of a whole one, in bytes.
pub const INITIATE_LENGTH: usize = INITIATE_BODY + 2 * CODE;
/// The length of an answer, in bytes.
pub const RESPOND_LENGTH: usize = RESPOND_BODY + SHORT_CODE;
/// What its code covers.
pub const RESPOND_BODY: usize = 4 + 4 + SECOND;
/// The length of one with a cookie, in bytes.
pub const RETRY_LENGTH: usize = 4 + 4 + 3 * CODE;
// All answers together are shorter than the question, also the one that is repeated unasked.
const _: () = assert!(2 * RESPOND_LENGTH < INITIATE_LENGTH && RETRY_LENGTH < INITIATE_LENGTH);
/// What stands before the ciphertext.
pub const SEALED_HEAD: usize = 1 + 4 + 8;
/// How much longer a sealed datagram is than its content.
pub const OVERHEAD: usize = SEALED_HEAD + 1 + TAG;

/// Names a session at the one who receives its datagrams.
pub type Index = u32;

/// Begins a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initiate {
    pub from: ProcessId,
    pub to: ProcessId,
    /// The beginning of the digest of what both must agree on. It only explains a failure.
    pub context: u32,
    /// The start of the sender.
    pub incarnation: Incarnation,
    /// Counts the handshakes that this start has begun with the receiver.
    pub number: u64,
    pub index: Index,
    pub noise: [u8; FIRST],
    /// The whole datagram, for its codes.
    pub bytes: Bytes,
}

/// Answers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Respond {
    pub from: ProcessId,
    pub to: ProcessId,
    /// The index of the one who began.
    pub echo: Index,
    pub noise: [u8; SECOND],
    /// Over all that stands before it.
    pub code: [u8; SHORT_CODE],
}

/// Asks to begin again, with a cookie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    pub from: ProcessId,
    pub to: ProcessId,
    /// The index of the one who began.
    pub echo: Index,
    pub cookie: [u8; CODE],
    /// One for each identity that the sender has listed for the receiver's seat.
    pub codes: [[u8; CODE]; 2],
}

/// A datagram, unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    Initiate(Initiate),
    Respond(Respond),
    Retry(Retry),
    Sealed {
        /// The receiver's.
        index: Index,
        counter: u64,
        ciphertext: Bytes,
    },
}

impl Frame {
    /// Unpacks a datagram. Nothing is verified.
    pub fn decode(datagram: &Bytes) -> Option<Frame> {
        let mut bytes = datagram.clone();
        match *datagram.first()? {
            INITIATE if datagram.len() == INITIATE_LENGTH => {
                let (from, to) = take_ends(&mut bytes)?;
                Some(Frame::Initiate(Initiate {
                    from,
                    to,
                    context: bytes.get_u32_le(),
                    incarnation: Incarnation(bytes.get_u64_le()),
                    number: bytes.get_u64_le(),
                    index: bytes.get_u32_le(),
                    noise: take(&mut bytes),
                    bytes: datagram.clone(),
                }))
            }
            RESPOND if datagram.len() == RESPOND_LENGTH => {
                let (from, to) = take_ends(&mut bytes)?;
                Some(Frame::Respond(Respond {
                    from,
                    to,
                    echo: bytes.get_u32_le(),
                    noise: take(&mut bytes),
                    code: take(&mut bytes),
                }))
            }
            RETRY if datagram.len() == RETRY_LENGTH => {
                let (from, to) = take_ends(&mut bytes)?;
                Some(Frame::Retry(Retry {
                    from,
                    to,
                    echo: bytes.get_u32_le(),
                    cookie: take(&mut bytes),
                    codes: [take(&mut bytes), take(&mut bytes)],
                }))
            }
            SEALED if datagram.len() >= OVERHEAD => {
                bytes.advance(1);
                Some(Frame::Sealed {
                    index: bytes.get_u32_le(),
                    counter: bytes.get_u64_le(),
                    ciphertext: bytes,
                })
            }
            _ => None,
        }
    }
}

/// What stands before the Noise message of INITIATE.
pub fn put_initiate(
    out: &mut BytesMut,
    (from, to): (ProcessId, ProcessId),
    context: u32,
    incarnation: Incarnation,
    number: u64,
    index: Index,
) {
    put_head(out, INITIATE, from, to);
    out.put_u32_le(context);
    out.put_u64_le(incarnation.0);
    out.put_u64_le(number);
    out.put_u32_le(index);
}

/// The head of every datagram of a handshake.
pub fn put_head(out: &mut BytesMut, kind: u8, from: ProcessId, to: ProcessId) {
    out.put_slice(&[kind, from.rank() as u8, to.rank() as u8, 0]);
}

impl Respond {
    /// The datagram.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(RESPOND_LENGTH);
        out.put_slice(&self.body());
        out.put_slice(&self.code);
        out.freeze()
    }

    /// What its code covers.
    pub fn body(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(RESPOND_BODY);
        put_head(&mut out, RESPOND, self.from, self.to);
        out.put_u32_le(self.echo);
        out.put_slice(&self.noise);
        out
    }
}

impl Retry {
    /// The datagram.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(RETRY_LENGTH);
        put_head(&mut out, RETRY, self.from, self.to);
        out.put_u32_le(self.echo);
        out.put_slice(&self.cookie);
        self.codes.iter().for_each(|code| out.put_slice(code));
        out.freeze()
    }
}

/// The head of a sealed datagram.
pub fn put_sealed(out: &mut BytesMut, index: Index, counter: u64) {
    out.put_u8(SEALED);
    out.put_u32_le(index);
    out.put_u64_le(counter);
}

fn take_ends(bytes: &mut Bytes) -> Option<(ProcessId, ProcessId)> {
    bytes.advance(1);
    let from = ProcessId::from_rank(usize::from(bytes.get_u8()))?;
    let to = ProcessId::from_rank(usize::from(bytes.get_u8()))?;
    (bytes.get_u8() == 0).then_some((from, to))
}

fn take<const N: usize>(bytes: &mut Bytes) -> [u8; N] {
    let mut taken = [0; N];
    bytes.copy_to_slice(&mut taken);
    taken
}
