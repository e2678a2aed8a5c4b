//! The common beginning and end of greetings and other frames, and why a datagram may be no frame.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{ProcessId, wire};

/// The first byte of a greeting.
pub const HELLO: u8 = 1;

/// What stands at the end of every frame.
pub const CHECKSUM: usize = 4;

/// Why a datagram is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// It is not a frame of this protocol.
    Frame,
    /// Its checksum does not match.
    Damaged,
    /// A greeting of another version of this protocol.
    Version {
        /// The rank that the sender gives itself.
        from: u8,
        version: u8,
    },
}

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Malformed::Frame
    }
}

impl From<wire::Undecodable> for Malformed {
    fn from(_: wire::Undecodable) -> Self {
        Malformed::Frame
    }
}

/// Takes a process's rank off the front.
pub fn take_process(bytes: &mut impl Buf) -> Result<ProcessId, Malformed> {
    ProcessId::from_rank(usize::from(bytes.try_get_u8()?)).ok_or(Malformed::Frame)
}

/// Ends a frame with the checksum of what stands in it from `start` on.
pub fn seal_from(out: &mut BytesMut, start: usize) {
    let checksum = crc32fast::hash(&out[start..]);
    out.put_u32_le(checksum);
}

/// The frame, with its checksum.
pub fn seal(mut out: BytesMut) -> Bytes {
    seal_from(&mut out, 0);
    out.freeze()
}
