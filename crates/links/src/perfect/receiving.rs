//! The receiving half of a session: it puts packets in order and assembles messages.
use super::{
    frame::{Acknowledged, Chunk, MAXIMUM_RANGES},
    outbox::{MAXIMUM_BULK, TURN},
    sending::MAXIMUM_PACKETS,
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::lanes::LaneId;
use std::collections::BTreeMap;

/// The result of a packet's arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Next,
    /// It waits for the packets before it.
    Early,
    /// It has arrived before.
    Duplicate,
    /// It is further ahead than a sender may be. It is dropped, not acknowledged.
    Beyond,
}

/// The result of assembling a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Assembled {
    /// A message is complete.
    Whole(Bytes),
    /// There is more to come.
    Part,
    /// The peer breaks the rules: the message is too long, or has no beginning.
    Refused,
}

/// The result of an OPEN frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It opens the next stream. Incomplete messages of the last stream are lost.
    Next,
    /// It repeats the opening of the present stream.
    Again,
    /// It is about a stream that has ended.
    Ended,
    /// No correct sender sends this.
    Impossible,
}

/// The packets and messages of a session in flight from the peer.
pub struct Receiving {
    /// The stream in use.
    stream: u32,
    /// The first packet of the stream.
    first: u64,
    /// The last packet in order of the stream before it.
    upto: u64,
    /// The number of the next packet in order.
    expected: u64,
    /// Packets that came early.
    early: BTreeMap<u64, Bytes>,
    early_bytes: usize,
    /// Incomplete messages, indexed by lane.
    parts: Vec<Option<BytesMut>>,
    part_bytes: usize,
    maximum_message: usize,
    maximum_early: usize,
    maximum_parts: usize,
    /// How many packets have arrived twice.
    duplicates: u32,
    /// How many packets have arrived since the last acknowledgement.
    owed: u32,
    /// Whether the peer should get an acknowledgement at once, because of a gap or a duplicate.
    urgent: bool,
    /// The highest stamp of an unnumbered frame.
    stamp: u64,
}

impl Receiving {
    /// Nothing received yet; `window` is how many bytes a sender may have in flight.
    pub fn new(maximum_message: usize, window: usize, lanes: usize) -> Self {
        Receiving {
            stream: 1,
            first: 1,
            upto: 0,
            expected: 1,
            early: BTreeMap::new(),
            early_bytes: 0,
            parts: vec![None; lanes],
            part_bytes: 0,
            maximum_message,
            maximum_early: 2 * window,
            maximum_parts: MAXIMUM_BULK * maximum_message + lanes * TURN,
            duplicates: 0,
            owed: 0,
            urgent: false,
            stamp: 0,
        }
    }

    /// The peer opens the stream of this number, which begins with the packet `first`. Stream numbers are
    /// consecutive, and so are packet numbers from stream to stream.
    pub fn open(&mut self, stream: u32, first: u64) -> Opening {
        if stream < self.stream {
            return Opening::Ended;
        }
        if stream == self.stream {
            let again = stream > 1 && first == self.first;
            return if again {
                Opening::Again
            } else {
                Opening::Impossible
            };
        }
        let follows = stream - self.stream == 1 && first >= self.expected;
        if !follows || first - self.expected > MAXIMUM_PACKETS as u64 {
            return Opening::Impossible;
        }
        self.upto = self.contiguous();
        self.stream = stream;
        self.first = first;
        self.expected = first;
        self.early.clear();
        self.early_bytes = 0;
        self.parts.fill(None);
        self.part_bytes = 0;
        self.settle();
        Opening::Next
    }

    /// The stream in use, and the last packet in order of the stream before it.
    pub fn stream(&self) -> (u32, u64) {
        (self.stream, self.upto)
    }

    /// Handles packet `number`, which holds `chunks`. An early packet is kept.
    pub fn arrive(&mut self, number: u64, chunks: &Bytes) -> Fate {
        if number < self.expected || self.early.contains_key(&number) {
            self.owed += 1;
            self.urgent = true;
            self.duplicates = self.duplicates.saturating_add(1);
            return Fate::Duplicate;
        }
        if number == self.expected {
            self.owed += 1;
            self.urgent |= !self.early.is_empty();
            self.expected += 1;
            return Fate::Next;
        }
        let ahead = number - self.expected;
        let room = self.maximum_early.saturating_sub(self.early_bytes);
        if ahead > MAXIMUM_PACKETS as u64 || chunks.len() > room {
            return Fate::Beyond;
        }
        self.owed += 1;
        self.urgent = true;
        self.early_bytes += chunks.len();
        // A slice would keep the whole received buffer, up to 64 KiB, in memory.
        self.early.insert(number, Bytes::copy_from_slice(chunks));
        Fate::Early
    }

    /// The chunks of the next packet, if it arrived early.
    pub fn take_next(&mut self) -> Option<Bytes> {
        let chunks = self.early.remove(&self.expected)?;
        self.early_bytes -= chunks.len();
        self.expected += 1;
        Some(chunks)
    }

    /// Adds a chunk of `packet` to its message. A message that is complete within the packet shares its
    /// memory.
    pub fn assemble(&mut self, packet: &Bytes, chunk: Chunk) -> Assembled {
        let Some(slot) = self.parts.get_mut(usize::from(chunk.lane.0)) else {
            return Assembled::Refused;
        };
        if chunk.first && chunk.last && slot.is_none() {
            return Assembled::Whole(packet.slice(chunk.start..chunk.end));
        }
        let bytes = &packet[chunk.start..chunk.end];
        let part = match slot {
            // The buffer grows as bytes arrive, so that no peer's claim about a length allocates memory.
            None if chunk.first => slot.insert(BytesMut::with_capacity(2 * bytes.len())),
            Some(part) if !chunk.first => part,
            _ => return self.forget(chunk.lane),
        };
        if part.len() + bytes.len() > self.maximum_message
            || self.part_bytes + bytes.len() > self.maximum_parts
        {
            return self.forget(chunk.lane);
        }
        part.extend_from_slice(bytes);
        self.part_bytes += bytes.len();
        if !chunk.last {
            return Assembled::Part;
        }
        let whole = slot.take().unwrap_or_default();
        self.part_bytes -= whole.len();
        Assembled::Whole(whole.freeze())
    }

    fn forget(&mut self, lane: LaneId) -> Assembled {
        let part = self.parts[usize::from(lane.0)].take();
        self.part_bytes -= part.map_or(0, |part| part.len());
        Assembled::Refused
    }

    /// Every packet up to this one has arrived.
    pub fn contiguous(&self) -> u64 {
        self.expected - 1
    }

    /// Whether some packets have arrived early.
    pub fn has_gaps(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether an acknowledgement is owed: `Some(true)` if it is due at once.
    pub fn owes(&self) -> Option<bool> {
        (self.owed > 0).then_some(self.urgent || self.owed >= 2)
    }

    /// The acknowledgement of all arrived packets. From now on nothing is owed.
    pub fn acknowledgement(&mut self) -> Acknowledged {
        self.settle();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in self.early.keys() {
            if let Some((_, last)) = ranges.last_mut()
                && *last + 1 == *number
            {
                *last = *number;
            } else if ranges.len() == MAXIMUM_RANGES {
                break;
            } else {
                ranges.push((*number, *number));
            }
        }
        Acknowledged {
            all: self.contiguous(),
            ranges,
            duplicates: self.duplicates,
        }
    }

    /// Makes an owed acknowledgement due at once.
    pub fn hurry(&mut self) {
        self.urgent = true;
    }

    /// The acknowledgement travels with a packet, and is not owed any more.
    pub fn settle(&mut self) {
        self.owed = 0;
        self.urgent = false;
    }

    /// Whether the frame with this stamp, which has no packet number, is newer than all before.
    pub fn is_fresh(&mut self, stamp: u64) -> bool {
        let fresh = stamp > self.stamp;
        self.stamp = self.stamp.max(stamp);
        fresh
    }

    /// The memory held: early packets and incomplete messages.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.early_bytes + self.part_bytes
    }
}
