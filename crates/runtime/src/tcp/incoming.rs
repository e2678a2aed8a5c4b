//! A connection that a peer, or a stranger, dialled to this process, and on which it sends.
use super::{Broken, HEAD, MAGIC, PREAMBLE, Sender};
use crate::faults::{Direction, Injected};
use bytes::{Buf, BytesMut};
use quorate_abstractions::addressed::Source;
use quorate_core::{ProcessId, Time};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// The size of a receive buffer, in bytes. Messages that are kept share such a buffer.
const READ: usize = 64 * 1024;
/// A buffer with less room than this, in bytes, is replaced.
const LEAST_READ: usize = 8 * 1024;

/// One accepted connection.
pub(super) struct Incoming {
    stream: TcpStream,
    /// The process that it claims to come from.
    pub(super) from: Option<ProcessId>,
    /// The number of cuts before it.
    pub(super) holes: u64,
    bytes: BytesMut,
    /// The time of the last received bytes; until the preamble is complete, the time at which the
    /// connection was accepted.
    heard: Time,
}

impl Incoming {
    pub(super) fn new(stream: TcpStream, now: Time) -> Self {
        Incoming {
            stream,
            from: None,
            holes: 0,
            bytes: BytesMut::new(),
            heard: now,
        }
    }

    /// Reads once, and passes on the complete frames. Returns whether anything came.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        sender: &Sender,
        injected: &Injected,
    ) -> Result<bool, Broken> {
        if self.bytes.capacity() - self.bytes.len() < LEAST_READ {
            self.bytes.reserve(READ);
        }
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.bytes) {
            Poll::Ready(Ok(read)) if read > 0 => {
                self.take_frames(sender, injected)?;
                if self.from.is_some() {
                    self.heard = now;
                }
                Ok(true)
            }
            Poll::Ready(_) => Err(Broken),
            Poll::Pending if now.since(self.heard) > sender.settings.silence => {
                sender.counts.stalled.add(1);
                Err(Broken)
            }
            Poll::Pending => Ok(false),
        }
    }

    fn take_frames(&mut self, sender: &Sender, injected: &Injected) -> Result<(), Broken> {
        let Some(from) = self.from else {
            return self.take_preamble(sender, injected);
        };
        while self.bytes.len() >= HEAD {
            let mut head = &self.bytes[..HEAD];
            let (length, segment) = (head.get_u32() as usize, head.get_u32() as usize);
            let possible = 1..=sender.settings.maximum_frame;
            if !possible.contains(&length) || !(1..=length).contains(&segment) {
                sender.counts.bad_frame.add(1);
                return Err(Broken);
            }
            if self.bytes.len() < HEAD + length {
                break;
            }
            self.bytes.advance(HEAD);
            let frame = self.bytes.split_to(length).freeze();
            sender.counts.received.add(1);
            sender.counts.received_bytes.add(length as u64);
            injected.arrive(Source::Unknown, frame, segment, || Some(from));
        }
        Ok(())
    }

    fn take_preamble(&mut self, sender: &Sender, injected: &Injected) -> Result<(), Broken> {
        let known = self.bytes.len().min(MAGIC.len());
        let mut from = None;
        let mut possible = self.bytes[..known] == MAGIC[..known];
        if self.bytes.len() >= PREAMBLE {
            from = ProcessId::from_rank(usize::from(self.bytes[MAGIC.len()]));
            possible &= from.is_some_and(|p| p.index() < sender.outboxes.len());
        }
        if !possible {
            sender.counts.bad_preamble.add(1);
            return Err(Broken);
        }
        if from.is_none() {
            return Ok(());
        }
        self.from = from;
        if let (Some(claimed), Ok(address)) = (from, self.stream.peer_addr()) {
            sender.look_for_strangers(claimed, address);
        }
        // A cut that is being made now also affects this connection.
        let faults = injected.faults();
        let before = |p| {
            let is_cut = faults.get(p, Direction::Incoming).cut;
            faults.holes(p, Direction::Incoming) - u64::from(is_cut)
        };
        self.holes = from.map_or(0, before);
        self.bytes.advance(PREAMBLE);
        self.take_frames(sender, injected)
    }
}
