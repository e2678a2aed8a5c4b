//! An exchange between two incarnations that have verified each other.
use super::{
    LinkSettings,
    congestion::{Congestion, RoundTrip},
    draws::Nonce,
    frame::{self, CHECKSUM, PACKET_HEADER, PacketHead, Token},
    outbox::Outbox,
    passage::Passage,
    pressure::Modules,
    receiving::Receiving,
    sending::Sending,
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::heartbeat::Beat;
use quorate_core::{
    Incarnation, ProcessId, Time,
    message::{digest, fold},
};
use std::time::Duration;

/// A transmission holds at most so many datagrams,
const MAXIMUM_SEGMENTS: usize = 64;
/// and is at most so long (if it holds more than one): what segmentation offload takes.
const MAXIMUM_TRANSMISSION: usize = 60 * 1024;
/// After such a silence the first sign of life makes retransmission start afresh.
const SILENCE: Duration = Duration::from_secs(1);

/// One end of a session.
#[derive(Clone, Copy)]
pub struct End {
    pub process: ProcessId,
    pub incarnation: Incarnation,
    pub nonce: Nonce,
    /// The number of its draw, at its end.
    pub draw: u64,
}

/// An exchange between two incarnations.
pub struct Session {
    me: ProcessId,
    peer: ProcessId,
    /// The peer's incarnation.
    incarnation: Incarnation,
    /// The peer's nonce, and the number of its draw.
    nonce: Nonce,
    draw: u64,
    /// What every frame of the session carries.
    token: Token,
    /// Our packets to the peer.
    pub sending: Sending,
    /// The peer's packets to us.
    pub receiving: Receiving,
    /// What fair-loss lanes need.
    pub passage: Passage,
    /// The stream to the peer that is in use, or is to be opened.
    stream: u32,
    /// Set while it is to be opened.
    unopened: Option<Unopened>,
    /// The last stamp of an unnumbered frame of ours.
    stamp: u64,
    /// When a frame of the peer arrived that was not a copy of an earlier one.
    heard_at: Time,
    /// The latest of the peer's heartbeats.
    said: Beat,
    /// What the peer said last that it has no room for.
    without: Modules,
    /// An acknowledgement leaves then at the latest.
    acknowledge_at: Option<Time>,
}

/// A stream to the peer that is not in use yet.
struct Unopened {
    /// The last packet of the stream before it that was acknowledged.
    acknowledged: u64,
    /// How often OPEN was said and not answered in time.
    tries: u32,
    /// When it is said again; `None`: at the end of this batch.
    at: Option<Time>,
}

/// After so many tries a stream is opened in the background: the peer counts as gone.
const FOREGROUND_TRIES: u32 = 6;

impl Token {
    /// The token of the session between two ends: the same at both.
    pub fn of(a: End, b: End) -> Token {
        let (low, high) = if a.process < b.process {
            (a, b)
        } else {
            (b, a)
        };
        let mut token = digest(b"quorate session");
        for end in [low, high] {
            token = fold(token, end.process.rank() as u64);
            token = fold(token, end.incarnation.0);
            token = fold(token, end.nonce);
        }
        Token(token)
    }
}

impl Session {
    /// A session between `here` and `there`, over so many lanes, in which nothing has been said.
    pub fn new(here: End, there: End, settings: &LinkSettings, lanes: usize, now: Time) -> Self {
        let round_trip = RoundTrip::new(settings.lowest_timeout(), settings.highest_timeout());
        let congestion = Congestion::new(settings.window(), settings.datagram, settings.stream);
        Session {
            me: here.process,
            peer: there.process,
            incarnation: there.incarnation,
            nonce: there.nonce,
            draw: there.draw,
            token: Token::of(here, there),
            sending: Sending::new(round_trip, congestion, settings.stream),
            receiving: Receiving::new(settings.maximum_message, settings.window(), lanes),
            passage: Passage::default(),
            stream: 1,
            unopened: None,
            stamp: 0,
            heard_at: now,
            said: Beat::default(),
            without: Modules::default(),
            acknowledge_at: None,
        }
    }

    /// The peer's incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The peer's nonce.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Which stream to the peer is in use, or is to be opened.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Whether the peer has forgotten the nonce of the session, and drawn another one.
    pub fn is_older_than(&self, draw: u64) -> bool {
        self.draw < draw
    }

    /// Whether a packet was sent or received, or a stream has ended.
    pub fn is_in_use(&self) -> bool {
        let (stream, _) = self.receiving.stream();
        let begun = self.sending.next_number() > 1 || self.receiving.contiguous() > 0;
        begun || self.receiving.has_gaps() || self.stream.max(stream) > 1
    }

    /// What every frame of the session carries.
    pub fn token(&self) -> Token {
        self.token
    }

    /// What the peer says of whom it hears.
    pub fn said(&self) -> Beat {
        self.said
    }

    /// Whether the peer is about to stop, as it says: nobody waits for it.
    pub fn leaves(&self) -> bool {
        self.said.leaving.contains(self.peer)
    }

    /// What a peer says of whom it hears stands until it says otherwise. Says whether it takes something
    /// again, having taken nothing.
    pub fn says(&mut self, beat: Beat, now: Time) -> bool {
        let takes = |beat: Beat| !beat.cut_off && !beat.unheard.contains(self.me);
        let again = takes(beat) && !takes(self.said);
        self.said = beat;
        again && self.taken_again(now)
    }

    /// What a peer says of its room stands as well. Says whether it takes something again.
    pub fn has_room_but_for(&mut self, without: Modules, now: Time) -> bool {
        let before = std::mem::replace(&mut self.without, without);
        before.any_beyond(without) && self.taken_again(now)
    }

    /// What the peer took no notice of leaves again, at once. Says whether there is such a thing: what was
    /// sent just now may be on its way.
    fn taken_again(&mut self, now: Time) -> bool {
        let waits = self.unopened.is_some() || self.sending.has_timed_out();
        if waits {
            self.sending.encourage();
            self.interrupted(now);
        }
        waits
    }

    /// Something that is no copy arrived. Says whether it broke a long silence.
    pub fn heard(&mut self, now: Time) -> bool {
        let silence = now - self.heard_at > SILENCE;
        if silence {
            self.sending.encourage();
            self.open_at_once();
        }
        self.heard_at = now;
        silence
    }

    /// Nothing of what waits or is in flight is kept. The next stream has to be opened first.
    pub fn end_stream(&mut self) {
        // Each needs a round trip at least, so that they are never so many.
        self.stream = self.stream.saturating_add(1);
        self.unopened = Some(Unopened {
            acknowledged: self.sending.end(),
            tries: 0,
            at: None,
        });
    }

    /// A stream that is to be opened is opened at the end of this batch, and soon again if need be.
    fn open_at_once(&mut self) {
        if let Some(unopened) = &mut self.unopened {
            (unopened.at, unopened.tries) = (None, 0);
        }
    }

    /// The edge under the session was interrupted, and works again.
    pub fn interrupted(&mut self, now: Time) {
        self.sending.interrupted(now);
        self.open_at_once();
    }

    /// What opens the next stream, if it is time to say so.
    pub fn open(&mut self, now: Time) -> Option<Bytes> {
        let unopened = self.unopened.as_mut().filter(|u| u.at.is_none())?;
        unopened.at = Some(now + self.sending.timeout(unopened.tries));
        let (stamp, stream) = (self.next_stamp(), self.stream);
        let first = self.sending.next_number();
        Some(frame::open(self.me, self.token, stamp, stream, first))
    }

    /// What answers that, as often as it is said: the stream, and how far the one before it had got.
    pub fn opened(&mut self) -> Bytes {
        let (stamp, (stream, upto)) = (self.next_stamp(), self.receiving.stream());
        frame::opened(self.me, self.token, stamp, stream, upto)
    }

    /// The peer has answered that the stream is open, and that the one before it had got up to the packet
    /// `upto`. Says how many of its packets are missing; `None`: that is no news, or cannot be.
    pub fn begin(&mut self, stream: u32, upto: u64) -> Option<u64> {
        let unopened = self.unopened.as_ref().filter(|_| stream == self.stream)?;
        let last = self.sending.next_number() - 1;
        if !(unopened.acknowledged..=last).contains(&upto) {
            return None;
        }
        self.unopened = None;
        Some(last - upto)
    }

    /// When something is sent again for want of an answer, and whether only in the background.
    pub fn deadline(&self) -> Option<(Time, bool)> {
        let Some(unopened) = &self.unopened else {
            return self.sending.deadline();
        };
        let background = unopened.tries >= FOREGROUND_TRIES;
        unopened.at.map(|at| (at, background))
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// A heartbeat.
    pub fn beat(&mut self, beat: Beat) -> Bytes {
        let stamp = self.next_stamp();
        frame::beat(self.me, self.token, stamp, beat)
    }

    /// What this process has no room for.
    pub fn room(&mut self, without: Modules) -> Bytes {
        let stamp = self.next_stamp();
        frame::room(self.me, self.token, stamp, without)
    }

    /// One transmission of what waits, as far as the window goes; `None`: nothing left.
    pub fn packets(&mut self, outbox: &mut Outbox, datagram: usize, now: Time) -> Option<Bytes> {
        let count = (self.sending.room() / datagram)
            .min(self.sending.places())
            .min(MAXIMUM_SEGMENTS)
            .min((MAXIMUM_TRANSMISSION / datagram).max(1));
        if count == 0 || outbox.is_empty() {
            return None;
        }
        let estimate = outbox.bytes() + (PACKET_HEADER + CHECKSUM) * count;
        let mut buffer = BytesMut::with_capacity(estimate.min(count * datagram));
        let acknowledged = self.receiving.contiguous();
        for number in (self.sending.next_number()..).take(count) {
            if outbox.is_empty() {
                break;
            }
            let start = buffer.len();
            let head = PacketHead {
                from: self.me,
                token: self.token,
                stream: self.stream,
                number,
                acknowledged,
            };
            frame::begin_packet(&mut buffer, head);
            outbox.fill(&mut buffer, start, start + datagram - CHECKSUM);
            frame::end_packet(&mut buffer, start);
        }
        let bytes = buffer.freeze();
        for start in (0..bytes.len()).step_by(datagram) {
            let end = bytes.len().min(start + datagram);
            self.sending.sent(bytes.slice(start..end), now);
        }
        if !self.receiving.has_gaps() {
            self.receiving.settle();
        }
        Some(bytes)
    }

    /// Acknowledges at once what is urgent, and soon what may find company.
    pub fn acknowledgement(&mut self, now: Time) -> Option<Bytes> {
        match self.receiving.owes() {
            None => self.acknowledge_at = None,
            Some(true) => {
                self.acknowledge_at = None;
                let stamp = self.next_stamp();
                let acknowledged = self.receiving.acknowledgement();
                return Some(frame::acknowledge(
                    self.me,
                    self.token,
                    stamp,
                    self.receiving.stream().0,
                    &acknowledged,
                ));
            }
            Some(false) if self.acknowledge_at.is_none() => {
                self.acknowledge_at = Some(now + self.sending.acknowledgement_delay());
            }
            Some(false) => {}
        }
        None
    }

    /// When an acknowledgement leaves at the latest.
    pub fn acknowledge_at(&self) -> Option<Time> {
        self.acknowledge_at
    }

    /// The timer fires; this process was held up, or not. Says whether the packets have timed out.
    pub fn fire(&mut self, held_up: bool, now: Time) -> bool {
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            self.receiving.hurry();
        }
        if let Some(unopened) = &mut self.unopened {
            if unopened.at.is_some_and(|at| at <= now) {
                unopened.at = None;
                unopened.tries = unopened.tries.saturating_add(1);
            }
            return false;
        }
        if self.sending.is_overtaken(now) {
            self.sending.detect_losses(now);
        }
        let overdue = self.sending.times_out_at().is_some_and(|at| at <= now);
        let timed_out = overdue && !(held_up && self.sending.excuse(now));
        if timed_out {
            self.sending.timed_out(now);
        }
        timed_out
    }
}
