//! The messages that wait to be sent to one peer: one queue per lane, packed into packets in turns.
use super::frame::{PACKET_HEADER, chunk_key, number_length};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::lanes::LaneId;
use quorate_core::wire;
use std::collections::VecDeque;

/// How many bytes a lane may send before it is another lane's turn.
pub const TURN: usize = 16 * 1024;
/// How many messages longer than a turn may be in flight at once. This bounds the receiver's memory for
/// incomplete messages.
pub const MAXIMUM_BULK: usize = 4;
/// The memory that a waiting message takes beyond its bytes, in bytes.
const OVERHEAD: usize = 64;
/// A queue that held more messages than this frees its memory once it is empty.
const LONG: usize = 4096;
/// Messages up to this length in bytes are not split. The rest of a packet that is too small for one is
/// padding.
const SHORT: usize = 128;
/// The longest head of a chunk, in bytes.
const LONGEST_HEAD: usize = 8;

/// The messages of one lane.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    /// The length of the waiting messages, in bytes.
    bytes: usize,
    /// How many bytes of the first message have been packed.
    packed: usize,
}

/// The messages that wait to be sent to one peer.
#[derive(Default)]
pub struct Outbox {
    queues: Vec<Queue>,
    /// The lanes that have something to send. It is the first lane's turn.
    rotation: VecDeque<LaneId>,
    /// How many bytes the first lane may still send in its turn.
    turn: usize,
    /// How many messages longer than a turn have been begun and not ended.
    bulk: usize,
    bytes: usize,
}

impl Outbox {
    /// The length of all waiting messages, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length of one lane's waiting messages in bytes, and their number.
    pub fn of_lane(&self, lane: LaneId) -> (usize, usize) {
        let queue = self.queues.get(usize::from(lane.0));
        queue.map_or((0, 0), |queue| (queue.bytes, queue.messages.len()))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rotation.is_empty()
    }

    /// Appends a message to its lane's queue.
    pub fn push(&mut self, lane: LaneId, message: Bytes) {
        let index = usize::from(lane.0);
        if index >= self.queues.len() {
            self.queues.resize_with(index + 1, Queue::default);
        }
        self.bytes += message.len() + OVERHEAD;
        let queue = &mut self.queues[index];
        queue.bytes += message.len() + OVERHEAD;
        if queue.messages.is_empty() {
            self.rotation.push_back(lane);
            if self.rotation.len() == 1 {
                self.turn = TURN;
            }
        }
        queue.messages.push_back(message);
    }

    /// Appends chunks to the packet that begins at `start`, until it ends at `end` or nothing waits.
    pub fn fill(&mut self, packet: &mut BytesMut, start: usize, end: usize) {
        while let Some(&lane) = self.rotation.front() {
            let queue = &mut self.queues[usize::from(lane.0)];
            let Some(message) = queue.messages.front() else {
                self.next_turn(false);
                continue;
            };
            let begins = queue.packed == 0;
            let is_bulk = message.len() > TURN;
            if begins && is_bulk && self.bulk == MAXIMUM_BULK {
                self.next_turn(true);
                continue;
            }
            let rest = message.len() - queue.packed;
            let empty = packet.len() == start + PACKET_HEADER;
            let space = end - packet.len();
            let Some(length) = chunk_length(lane, rest, space, self.turn, empty) else {
                packet.put_bytes(0, space);
                return;
            };
            let ends = length == rest;
            wire::put_number(chunk_key(lane, begins, ends), packet);
            wire::put_number(length as u64, packet);
            packet.put_slice(&message[queue.packed..queue.packed + length]);
            self.bytes -= length;
            queue.bytes -= length;
            self.bulk += usize::from(is_bulk && begins);
            if ends {
                self.bulk -= usize::from(is_bulk);
                self.bytes -= OVERHEAD;
                queue.bytes -= OVERHEAD;
                queue.packed = 0;
                queue.messages.pop_front();
            } else {
                queue.packed += length;
            }
            self.turn = self.turn.saturating_sub(length + 1);
            if queue.messages.is_empty() {
                if queue.messages.capacity() > LONG {
                    queue.messages = VecDeque::new();
                }
                self.next_turn(false);
            } else if self.turn == 0 {
                self.next_turn(true);
            }
        }
    }

    /// Ends the first lane's turn. The lane goes to the end of the rotation if it has more.
    fn next_turn(&mut self, has_more: bool) {
        if let Some(lane) = self.rotation.pop_front()
            && has_more
        {
            self.rotation.push_back(lane);
        }
        self.turn = TURN;
    }
}

/// How many of the remaining `rest` bytes of a message go into `space`. `None` if nothing fits: the packet is
/// full.
fn chunk_length(
    lane: LaneId,
    rest: usize,
    space: usize,
    turn: usize,
    empty: bool,
) -> Option<usize> {
    if rest <= SHORT && space >= SHORT + LONGEST_HEAD {
        // The usual case: a short message that fits.
        return Some(rest);
    }
    let room = space.checked_sub(number_length(chunk_key(lane, true, true) as usize))?;
    // The encoded length takes space, too: the longer the chunk, the more.
    let longest = (1..=4)
        .rev()
        .filter_map(|digits| Some(room.checked_sub(digits)?.min((1 << (7 * digits)) - 1)))
        .max()?;
    if rest == 0 {
        return Some(0);
    }
    let must_fit = rest <= SHORT && !empty;
    let length = rest.min(longest);
    if longest == 0 || must_fit && length < rest {
        return None;
    }
    // Splitting a short message at the end of a turn is not worth it either.
    Some(if rest <= SHORT {
        length
    } else {
        length.min(turn.max(1))
    })
}
