//! The frames of the perfect link, except HELLO (see [`hello`](super::hello)).
//!
//! Integers are little-endian; *varint* is seven bits a byte, low first. Every frame, HELLO included, ends
//! with the CRC-32 of all that stands before it, u32.
//!
//! | frame | layout |
//! |---|---|
//! | PACKET | `2`, sender, token u64, stream u32, number u64, acknowledged u64, length u32, chunks |
//! | ACKNOWLEDGE | `3`, sender, token u64, stamp u64, stream u32, duplicates u32, acknowledged u64, ranges: (gap, length) varints |
//! | BEAT | `4`, sender, token u64, stamp u64, the set of those that it does not hear u128, `1` if it is cut off, else `0`, the set of those that leave u128 |
//! | EXCLUDED | `5`, sender, its incarnation u64, echo u64, known incarnation u64 and number u32, verdict |
//! | DATAGRAM | `6`, sender, token u64, stamp u64, lane u16, length u16, that many bytes: one message |
//! | OPEN | `7`, sender, token u64, stamp u64, stream u32, number of its first packet u64 |
//! | OPENED | `8`, sender, token u64, stamp u64, stream u32, last packet in order of the stream before it u64 |
//! | ROOM | `9`, sender, token u64, stamp u64, the set of modules without room u64 |
//!
//! A chunk is `(lane + 1) << 2 | last << 1 | first` as a varint, its length as a varint, and that
//! many bytes of a message. A zero where a chunk could begin: the rest of the packet is padding.
pub use super::{
    framing::{CHECKSUM, HELLO, Malformed, seal},
    voter::{MOST_ADOPTIONS, Voter},
};
use super::{
    framing::{seal_from, take_process},
    hello::{self, Hello},
    pressure::Modules,
    voter::{put_voter, take_voter},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{heartbeat::Beat, lanes::LaneId};
use quorate_core::{Incarnation, ProcessId, ProcessSet, wire};

const PACKET: u8 = 2;
const ACKNOWLEDGE: u8 = 3;
const BEAT: u8 = 4;
const EXCLUDED: u8 = 5;
const DATAGRAM: u8 = 6;
const OPEN: u8 = 7;
const OPENED: u8 = 8;
const ROOM: u8 = 9;

/// The length of a packet's head, in bytes.
pub const PACKET_HEADER: usize = 1 + 1 + 8 + 4 + 8 + 8 + 4;
/// The length of a DATAGRAM's head, in bytes.
const DATAGRAM_HEADER: usize = 1 + 1 + 8 + 8 + 2 + 2;
/// How much longer a DATAGRAM is than its message.
pub const DATAGRAM_OVERHEAD: usize = DATAGRAM_HEADER + CHECKSUM;
/// An acknowledgement names at most this many ranges above the contiguous prefix.
pub const MAXIMUM_RANGES: usize = 32;

/// Proves that a frame belongs to a session: derived from both incarnations and both nonces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(pub u64);

/// Which packets have arrived: all up to a number, and ranges above it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acknowledged {
    /// Every packet up to and including this one.
    pub all: u64,
    /// Ranges above, ascending: first and last.
    pub ranges: Vec<(u64, u64)>,
    /// How many packets have arrived twice in the session; zero if the frame does not say so.
    pub duplicates: u32,
}

/// Why a process may not take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Another incarnation is known in its seat.
    KnownOtherwise,
    /// A newer incarnation showed up in its seat.
    Superseded,
    /// Another incarnation in its seat is known to have been admitted.
    Taken,
}

/// What stands at the head of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHead {
    /// The sender.
    pub from: ProcessId,
    /// The session.
    pub token: Token,
    /// The number of the sender's stream in the session.
    pub stream: u32,
    /// The number of the packet, counted over all streams of the session.
    pub number: u64,
    /// Every packet of the receiver up to this one has arrived.
    pub acknowledged: u64,
}

/// An unnumbered frame of a session.
#[derive(Debug)]
pub struct Stamped {
    /// The sender.
    pub from: ProcessId,
    /// The session.
    pub token: Token,
    /// Increases from frame to frame.
    pub stamp: u64,
    /// What it says.
    pub content: Content,
}

/// The content of an unnumbered frame of a session.
#[derive(Debug)]
pub enum Content {
    /// What has arrived.
    Acknowledge {
        stream: u32,
        acknowledged: Acknowledged,
    },
    /// The sender's next stream begins with this packet, once the receiver has answered.
    Open { stream: u32, first: u64 },
    /// The answer to `Open`: of the previous stream, all packets up to this one had arrived.
    Opened { stream: u32, upto: u64 },
    /// A sign of life.
    Beat(Beat),
    /// What the sender has no room for.
    Room(Modules),
    /// One message of a fair-loss lane, whose stamps are those of the lanes.
    Datagram { lane: LaneId, message: Bytes },
}

/// The sender that a datagram of this link claims, if it has the kind of a frame. It proves nothing: a layer below
/// that knows who has sent the datagram compares the two.
pub fn claimed_sender(datagram: &[u8]) -> Option<ProcessId> {
    match datagram {
        [HELLO, ..] => hello::greets_as(datagram),
        [PACKET..=ROOM, from, ..] => ProcessId::from_rank(usize::from(*from)),
        _ => None,
    }
}

/// A datagram, unpacked.
#[derive(Debug)]
pub enum Frame {
    /// A greeting.
    Hello(Hello),
    /// Chunks of messages.
    Packet { head: PacketHead, chunks: Bytes },
    /// Anything else of a session.
    Stamped(Stamped),
    /// The receiver may not take part.
    Excluded {
        from: ProcessId,
        incarnation: Incarnation,
        echo: u64,
        known: Voter,
        verdict: Verdict,
    },
}

impl Frame {
    /// Unpacks a datagram. A damaged one is an error, whatever it says.
    pub fn decode(datagram: Bytes) -> Result<Frame, Malformed> {
        let mut datagram = unseal(datagram)?;
        let bytes = &mut datagram;
        let frame = match bytes.try_get_u8()? {
            HELLO => Frame::Hello(Hello::decode(bytes)?),
            PACKET => {
                let head = PacketHead {
                    from: take_process(bytes)?,
                    token: Token(bytes.try_get_u64_le()?),
                    stream: bytes.try_get_u32_le()?,
                    number: bytes.try_get_u64_le()?,
                    acknowledged: bytes.try_get_u64_le()?,
                };
                if bytes.try_get_u32_le()? as usize != bytes.len() {
                    return Err(Malformed::Frame);
                }
                let chunks = std::mem::take(bytes);
                Frame::Packet { head, chunks }
            }
            kind @ (ACKNOWLEDGE | OPEN | OPENED | BEAT | ROOM | DATAGRAM) => {
                Frame::Stamped(Stamped {
                    from: take_process(bytes)?,
                    token: Token(bytes.try_get_u64_le()?),
                    stamp: bytes.try_get_u64_le()?,
                    content: Content::decode(kind, bytes)?,
                })
            }
            EXCLUDED => Frame::Excluded {
                from: take_process(bytes)?,
                incarnation: Incarnation(bytes.try_get_u64_le()?),
                echo: bytes.try_get_u64_le()?,
                known: take_voter(bytes)?,
                verdict: match bytes.try_get_u8()? {
                    0 => Verdict::KnownOtherwise,
                    1 => Verdict::Superseded,
                    2 => Verdict::Taken,
                    _ => return Err(Malformed::Frame),
                },
            },
            _ => return Err(Malformed::Frame),
        };
        if datagram.is_empty() {
            Ok(frame)
        } else {
            Err(Malformed::Frame)
        }
    }
}

impl Content {
    /// Takes the rest of a frame of this kind off the front.
    fn decode(kind: u8, bytes: &mut Bytes) -> Result<Content, Malformed> {
        Ok(match kind {
            ACKNOWLEDGE => Content::Acknowledge {
                stream: bytes.try_get_u32_le()?,
                acknowledged: take_acknowledged(bytes)?,
            },
            OPEN => Content::Open {
                stream: bytes.try_get_u32_le()?,
                first: bytes.try_get_u64_le()?,
            },
            OPENED => Content::Opened {
                stream: bytes.try_get_u32_le()?,
                upto: bytes.try_get_u64_le()?,
            },
            BEAT => Content::Beat(Beat {
                unheard: ProcessSet::of_bits(bytes.try_get_u128_le()?),
                cut_off: match bytes.try_get_u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed::Frame),
                },
                leaving: ProcessSet::of_bits(bytes.try_get_u128_le()?),
            }),
            ROOM => Content::Room(Modules(bytes.try_get_u64_le()?)),
            DATAGRAM => Content::Datagram {
                lane: LaneId(bytes.try_get_u16_le()?),
                message: take_message(bytes)?,
            },
            _ => return Err(Malformed::Frame),
        })
    }
}

/// The frame without its checksum, which must be right. A greeting of a version without checksums is not
/// reported as damaged, so that the error can name its version.
fn unseal(mut datagram: Bytes) -> Result<Bytes, Malformed> {
    let Some(length) = datagram.len().checked_sub(CHECKSUM) else {
        return Err(Malformed::Damaged);
    };
    let checksum = crc32fast::hash(&datagram[..length]);
    if datagram[length..] != checksum.to_le_bytes() {
        let version = hello::version_without_checksum(&datagram);
        return Err(version.unwrap_or(Malformed::Damaged));
    }
    datagram.truncate(length);
    Ok(datagram)
}

/// The rest of the frame, which begins with its length.
fn take_message(bytes: &mut Bytes) -> Result<Bytes, Malformed> {
    if usize::from(bytes.try_get_u16_le()?) != bytes.len() {
        return Err(Malformed::Frame);
    }
    Ok(std::mem::take(bytes))
}

fn take_acknowledged(bytes: &mut Bytes) -> Result<Acknowledged, Malformed> {
    let duplicates = bytes.try_get_u32_le()?;
    let all = bytes.try_get_u64_le()?;
    let mut ranges = Vec::new();
    let mut before = all;
    while !bytes.is_empty() {
        let gap = wire::take_number(bytes)?;
        let length = wire::take_number(bytes)?;
        // A gap of at least one keeps the ranges apart; a length of at least one keeps each from being empty.
        let first = before.checked_add(gap).and_then(|b| b.checked_add(1));
        let last = first.and_then(|f| f.checked_add(length.checked_sub(1)?));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Malformed::Frame);
        };
        if gap == 0 || ranges.len() == MAXIMUM_RANGES {
            return Err(Malformed::Frame);
        }
        ranges.push((first, last));
        before = last;
    }
    Ok(Acknowledged {
        all,
        ranges,
        duplicates,
    })
}

/// Appends the head of a packet. [`end_packet`] fills in its length.
pub fn begin_packet(out: &mut BytesMut, head: PacketHead) {
    out.put_u8(PACKET);
    out.put_u8(head.from.rank() as u8);
    out.put_u64_le(head.token.0);
    out.put_u32_le(head.stream);
    out.put_u64_le(head.number);
    out.put_u64_le(head.acknowledged);
    out.put_u32_le(0);
}

/// Ends the packet that began at `start`, with its checksum.
pub fn end_packet(out: &mut BytesMut, start: usize) {
    let length = (out.len() - start - PACKET_HEADER) as u32;
    out[start + PACKET_HEADER - 4..start + PACKET_HEADER].copy_from_slice(&length.to_le_bytes());
    seal_from(out, start);
}

/// An ACKNOWLEDGE frame.
pub fn acknowledge(
    me: ProcessId,
    token: Token,
    stamp: u64,
    stream: u32,
    acknowledged: &Acknowledged,
) -> Bytes {
    let mut out = begin_stamped(ACKNOWLEDGE, me, token, stamp);
    out.put_u32_le(stream);
    out.put_u32_le(acknowledged.duplicates);
    out.put_u64_le(acknowledged.all);
    let mut before = acknowledged.all;
    for (first, last) in &acknowledged.ranges {
        wire::put_number(first - before - 1, &mut out);
        wire::put_number(last - first + 1, &mut out);
        before = *last;
    }
    seal(out)
}

/// The head of a frame that has a stamp but no packet number.
fn begin_stamped(kind: u8, me: ProcessId, token: Token, stamp: u64) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(kind);
    out.put_u8(me.rank() as u8);
    out.put_u64_le(token.0);
    out.put_u64_le(stamp);
    out
}

/// An OPEN frame: the stream begins with the packet `first`.
pub fn open(me: ProcessId, token: Token, stamp: u64, stream: u32, first: u64) -> Bytes {
    let mut out = begin_stamped(OPEN, me, token, stamp);
    out.put_u32_le(stream);
    out.put_u64_le(first);
    seal(out)
}

/// An OPENED frame: all packets up to `upto` of the stream before had arrived.
pub fn opened(me: ProcessId, token: Token, stamp: u64, stream: u32, upto: u64) -> Bytes {
    let mut out = begin_stamped(OPENED, me, token, stamp);
    out.put_u32_le(stream);
    out.put_u64_le(upto);
    seal(out)
}

/// A BEAT frame.
pub fn beat(me: ProcessId, token: Token, stamp: u64, beat: Beat) -> Bytes {
    let mut out = begin_stamped(BEAT, me, token, stamp);
    out.put_u128_le(beat.unheard.bits());
    out.put_u8(beat.cut_off.into());
    out.put_u128_le(beat.leaving.bits());
    seal(out)
}

/// A ROOM frame.
pub fn room(me: ProcessId, token: Token, stamp: u64, without: Modules) -> Bytes {
    let mut out = begin_stamped(ROOM, me, token, stamp);
    out.put_u64_le(without.0);
    seal(out)
}

/// A DATAGRAM frame; `None` if the message is too long for a frame.
pub fn datagram(
    me: ProcessId,
    token: Token,
    stamp: u64,
    lane: LaneId,
    message: &[u8],
) -> Option<Bytes> {
    let length = u16::try_from(message.len()).ok()?;
    let mut out = BytesMut::with_capacity(DATAGRAM_OVERHEAD + message.len());
    out.put_u8(DATAGRAM);
    out.put_u8(me.rank() as u8);
    out.put_u64_le(token.0);
    out.put_u64_le(stamp);
    out.put_u16_le(lane.0);
    out.put_u16_le(length);
    out.put_slice(message);
    Some(seal(out))
}

/// An EXCLUDED frame.
pub fn excluded(
    me: ProcessId,
    incarnation: Incarnation,
    echo: u64,
    known: Voter,
    verdict: Verdict,
) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    out.put_u8(EXCLUDED);
    out.put_u8(me.rank() as u8);
    out.put_u64_le(incarnation.0);
    out.put_u64_le(echo);
    put_voter(known, &mut out);
    out.put_u8(match verdict {
        Verdict::KnownOtherwise => 0,
        Verdict::Superseded => 1,
        Verdict::Taken => 2,
    });
    seal(out)
}

/// A part of a message, or all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    pub lane: LaneId,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
    /// The offset of its bytes in the chunks of the packet.
    pub start: usize,
    pub end: usize,
}

/// How many bytes the varint `number` takes.
pub const fn number_length(number: usize) -> usize {
    let bits = usize::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The head of a chunk: a number that encodes the lane, and whether a message begins or ends.
pub const fn chunk_key(lane: LaneId, first: bool, last: bool) -> u64 {
    ((lane.0 as u64 + 1) << 2) | ((last as u64) << 1) | first as u64
}

/// The short varint at `at`, and the offset of its end.
fn number_at(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((usize::from(first), at + 1));
    }
    let mut number = usize::from(first & 0x7f);
    for shift in [7, 14, 21] {
        at += 1;
        let byte = *bytes.get(at)?;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((number, at + 1));
        }
    }
    None
}

/// The chunk that begins at offset `at` of a packet; `Ok(None)` at the end.
pub fn chunk_at(chunks: &[u8], at: usize) -> Result<Option<Chunk>, Malformed> {
    if chunks.get(at).is_none_or(|byte| *byte == 0) {
        return Ok(None);
    }
    let (key, at) = number_at(chunks, at).ok_or(Malformed::Frame)?;
    let (length, start) = number_at(chunks, at).ok_or(Malformed::Frame)?;
    let lane = (key >> 2)
        .checked_sub(1)
        .and_then(|l| u16::try_from(l).ok());
    let (Some(lane), Some(end)) = (lane, start.checked_add(length)) else {
        return Err(Malformed::Frame);
    };
    if end > chunks.len() {
        return Err(Malformed::Frame);
    }
    Ok(Some(Chunk {
        lane: LaneId(lane),
        first: key & 1 == 1,
        last: key & 2 == 2,
        start,
        end,
    }))
}

/// Whether `chunks` are complete, and all their lanes are below `lanes`.
pub fn are_well_formed(chunks: &[u8], lanes: usize) -> bool {
    let mut at = 0;
    loop {
        match chunk_at(chunks, at) {
            Ok(None) => return true,
            Ok(Some(chunk)) if usize::from(chunk.lane.0) < lanes => at = chunk.end,
            _ => return false,
        }
    }
}
