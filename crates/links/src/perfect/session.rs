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

/// The most datagrams in a transmission.
const MAXIMUM_SEGMENTS: usize = 64;
/// The longest transmission of more than one datagram, in bytes: the limit of segmentation offload.
const MAXIMUM_TRANSMISSION: usize = 60 * 1024;
/// After a silence of this length the first sign of life restarts retransmission.
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
    /// The token in every frame of the session.
    token: Token,
    /// The packets to the peer.
    pub sending: Sending,
    /// The packets from the peer.
    pub receiving: Receiving,
    /// The state of the fair-loss lanes.
    pub passage: Passage,
    /// The stream to the peer that is in use, or is to be opened.
    stream: u32,
    /// The state of the opening, while the stream is to be opened.
    unopened: Option<Unopened>,
    /// The last stamp of a frame of ours that has no packet number.
    stamp: u64,
    /// When the last frame of the peer arrived that was not a copy of an earlier one.
    heard_at: Time,
    /// The latest of the peer's heartbeats.
    said: Beat,
    /// The modules for which the peer has announced last that it has no room.
    without: Modules,
    /// When an acknowledgement leaves at the latest.
    acknowledge_at: Option<Time>,
}

/// A stream to the peer that is not in use yet.
struct Unopened {
    /// The last packet of the stream before it that was acknowledged.
    acknowledged: u64,
    /// How often OPEN was sent and not answered in time.
    tries: u32,
    /// When OPEN is sent again; `None`: at the end of this batch.
    at: Option<Time>,
}

/// After this many tries the peer counts as gone, and the stream is opened in the background.
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
    /// A session between `here` and `there`, over this many lanes, in which nothing has been sent.
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

    /// The number of the stream to the peer that is in use, or is to be opened.
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

    /// The token in every frame of the session.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The peer's latest heartbeat.
    pub fn said(&self) -> Beat {
        self.said
    }

    /// Whether the peer has said that it is about to stop. Then nobody waits for it.
    pub fn leaves(&self) -> bool {
        self.said.leaving.contains(self.peer)
    }

    /// Stores the peer's heartbeat, which is valid until the next one. Returns whether the peer takes packets
    /// again after it took none.
    pub fn says(&mut self, beat: Beat, now: Time) -> bool {
        let takes = |beat: Beat| !beat.cut_off && !beat.unheard.contains(self.me);
        let again = takes(beat) && !takes(self.said);
        self.said = beat;
        again && self.taken_again(now)
    }

    /// Stores the peer's announcement of its room in the same way. Returns whether the peer takes packets
    /// again.
    pub fn has_room_but_for(&mut self, without: Modules, now: Time) -> bool {
        let before = std::mem::replace(&mut self.without, without);
        before.any_beyond(without) && self.taken_again(now)
    }

    /// Sends again, at once, the packets that the peer ignored. Returns whether there are any: those sent
    /// very recently may be in flight.
    fn taken_again(&mut self, now: Time) -> bool {
        let waits = self.unopened.is_some() || self.sending.has_timed_out();
        if waits {
            self.sending.encourage();
            self.interrupted(now);
        }
        waits
    }

    /// A frame arrived that is no copy. Returns whether it ended a long silence.
    pub fn heard(&mut self, now: Time) -> bool {
        let silence = now - self.heard_at > SILENCE;
        if silence {
            self.sending.encourage();
            self.open_at_once();
        }
        self.heard_at = now;
        silence
    }

    /// Drops everything that waits or is in flight. The next stream has to be opened first.
    pub fn end_stream(&mut self) {
        // Each stream needs a round trip at least, so that the number does not overflow.
        self.stream = self.stream.saturating_add(1);
        self.unopened = Some(Unopened {
            acknowledged: self.sending.end(),
            tries: 0,
            at: None,
        });
    }

    /// Opens a stream that is to be opened at the end of this batch, and soon again if necessary.
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

    /// The OPEN frame of the next stream, if it is time to send it.
    pub fn open(&mut self, now: Time) -> Option<Bytes> {
        let unopened = self.unopened.as_mut().filter(|u| u.at.is_none())?;
        unopened.at = Some(now + self.sending.timeout(unopened.tries));
        let (stamp, stream) = (self.next_stamp(), self.stream);
        let first = self.sending.next_number();
        Some(frame::open(self.me, self.token, stamp, stream, first))
    }

    /// The OPENED frame, sent as often as OPEN arrives: the stream, and the last packet in order of the one
    /// before.
    pub fn opened(&mut self) -> Bytes {
        let (stamp, (stream, upto)) = (self.next_stamp(), self.receiving.stream());
        frame::opened(self.me, self.token, stamp, stream, upto)
    }

    /// The peer has answered that the stream is open, and that the one before it had got up to the packet
    /// `upto`. Returns how many packets of the one before are missing; `None` if the answer is not new, or
    /// impossible.
    pub fn begin(&mut self, stream: u32, upto: u64) -> Option<u64> {
        let unopened = self.unopened.as_ref().filter(|_| stream == self.stream)?;
        let last = self.sending.next_number() - 1;
        if !(unopened.acknowledged..=last).contains(&upto) {
            return None;
        }
        self.unopened = None;
        Some(last - upto)
    }

    /// When something is sent again because no answer came, and whether only in the background.
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

    /// The frame that announces the modules for which this process has no room.
    pub fn room(&mut self, without: Modules) -> Bytes {
        let stamp = self.next_stamp();
        frame::room(self.me, self.token, stamp, without)
    }

    /// One transmission of waiting messages, as far as the window allows; `None` if there is nothing to send.
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

    /// The acknowledgement, at once if it is urgent, otherwise after a short wait for further packets.
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

    /// The timer fires. `held_up` says that this process was held up. Returns whether packets have timed out.
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
