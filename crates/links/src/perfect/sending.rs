//! The sending half of a session: packets in flight, acknowledged, lost, sent again.
use super::{
    congestion::{Congestion, RoundTrip},
    frame::Acknowledged,
    reordering::Reordering,
};
use bytes::Bytes;
use quorate_core::Time;
use std::{collections::VecDeque, time::Duration};

/// How many packets may be in flight at most, so that the receiver's memory is bounded.
pub const MAXIMUM_PACKETS: usize = 4096;
/// After this many timeouts in a row the peer counts as gone: retransmission goes on in the background.
const FRUITLESS: u32 = 6;

/// A packet that is not part of the acknowledged contiguous prefix.
struct Packet {
    /// The packet's bytes, a part of the buffer in which it was sent first; empty once acknowledged.
    bytes: Bytes,
    sent: Time,
    /// The number of its transmission, counted over all packets.
    order: u64,
    state: State,
    sent_again: bool,
    /// Whether it was taken for lost because others had overtaken it.
    overtaken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    InFlight,
    Lost,
    Acknowledged,
}

/// The acknowledgement of a packet that was never sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeverSent;

/// The packets of a session in flight to the peer.
pub struct Sending {
    /// The number of the first packet in `packets`.
    first: u64,
    packets: VecDeque<Packet>,
    next_order: u64,
    /// The latest transmission known to have arrived.
    highest_arrived: u64,
    in_flight: usize,
    unacknowledged: usize,
    lost: usize,
    round_trip: RoundTrip,
    congestion: Congestion,
    reordering: Reordering,
    /// The last transmission that was taken for lost because it was overtaken, until it turns out to have
    /// been late.
    doubted: Option<u64>,
    /// The peer's count of packets that have arrived twice.
    duplicates: u32,
    /// When the first of the overtaken packets counts as lost.
    overtaken_until: Option<Time>,
    backoff: u32,
    fruitless: u32,
    /// Whether the last timeout was ignored, because this process itself had been held up.
    excused: bool,
    /// The start of the timeout: the last progress, or the last transmission of the oldest packet.
    since: Time,
    stream: bool,
}

impl Sending {
    /// No packet yet; the first will have the number 1.
    pub fn new(round_trip: RoundTrip, congestion: Congestion, stream: bool) -> Self {
        Sending {
            first: 1,
            packets: VecDeque::new(),
            next_order: 1,
            highest_arrived: 0,
            in_flight: 0,
            unacknowledged: 0,
            lost: 0,
            round_trip,
            congestion,
            reordering: Reordering::new(),
            doubted: None,
            duplicates: 0,
            overtaken_until: None,
            backoff: 0,
            fruitless: 0,
            excused: false,
            since: Time::ZERO,
            stream,
        }
    }

    /// The number of the next packet.
    pub fn next_number(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The bytes of packets not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// The bytes of packets that may still arrive, or be acknowledged.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many bytes may be in flight at once.
    pub fn window(&self) -> usize {
        self.congestion.window()
    }

    /// The round trip, smoothed; `None` before anything was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smoothed()
    }

    /// Ends the stream: nothing in flight is sent again. Returns up to which packet everything was
    /// acknowledged.
    pub fn end(&mut self) -> u64 {
        let acknowledged = self.first - 1;
        self.first = self.next_number();
        self.packets = VecDeque::new();
        self.in_flight = 0;
        self.unacknowledged = 0;
        self.lost = 0;
        self.overtaken_until = None;
        self.congestion.timed_out(self.next_order);
        self.encourage();
        acknowledged
    }

    /// The timeout for an answer, after this many tries.
    pub fn timeout(&self, tries: u32) -> Duration {
        self.round_trip.timeout(tries)
    }

    /// Whether every packet is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        if self.packets.len() >= MAXIMUM_PACKETS {
            return 0;
        }
        self.congestion.window().saturating_sub(self.in_flight)
    }

    /// How many more packets may be in flight.
    pub fn places(&self) -> usize {
        MAXIMUM_PACKETS.saturating_sub(self.packets.len())
    }

    /// A new packet leaves.
    pub fn sent(&mut self, bytes: Bytes, now: Time) {
        if self.packets.is_empty() {
            self.since = now;
        }
        self.in_flight += bytes.len();
        self.unacknowledged += bytes.len();
        let order = self.take_order();
        self.packets.push_back(Packet {
            bytes,
            sent: now,
            order,
            state: State::InFlight,
            sent_again: false,
            overtaken: false,
        });
    }

    fn take_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    /// The peer acknowledges packets. Returns `Ok(true)` if some of it is new.
    pub fn acknowledge(
        &mut self,
        acknowledged: &Acknowledged,
        now: Time,
    ) -> Result<bool, NeverSent> {
        let last = acknowledged.ranges.last().map_or(acknowledged.all, |r| r.1);
        if last >= self.next_number() {
            return Err(NeverSent);
        }
        // Of a packet that was sent again, the original has arrived as well.
        if acknowledged.duplicates > self.duplicates {
            self.duplicates = acknowledged.duplicates;
            self.was_late();
        }
        let limited = self.in_flight * 2 > self.congestion.window();
        let before = self.unacknowledged;
        let mut samples = Samples::default();
        while self.first <= acknowledged.all
            && let Some(packet) = self.packets.pop_front()
        {
            self.first += 1;
            samples.note(&packet);
            self.arrived(packet.state, packet.bytes.len(), packet.order);
            self.judge(&packet, now);
        }
        for (first, last) in &acknowledged.ranges {
            for number in *first.max(&self.first)..=*last {
                let index = (number - self.first) as usize;
                if let Some(packet) = self.packets.get_mut(index)
                    && packet.state != State::Acknowledged
                {
                    samples.note(packet);
                    let bytes = std::mem::take(&mut packet.bytes);
                    let arrived = Packet { bytes, ..*packet };
                    packet.state = State::Acknowledged;
                    self.arrived(arrived.state, arrived.bytes.len(), arrived.order);
                    self.judge(&arrived, now);
                }
            }
        }
        let news = before - self.unacknowledged;
        if news == 0 {
            return Ok(false);
        }
        // Karn's rule: if a packet was sent again, it is unknown which transmission is acknowledged. Then the
        // timeout is not shortened either; otherwise a round trip longer than it would never be measured.
        if let Some((_, Some(sent))) = samples.newest {
            self.measure(now - sent);
            self.backoff = 0;
            // Packets that overtake others are fast; the round trip of a slow one must be measured, too.
            if let Some(oldest) = samples.oldest.filter(|oldest| *oldest < sent) {
                self.measure(now - oldest);
            }
        }
        self.congestion.acknowledged(news, limited);
        self.fruitless = 0;
        self.excused = false;
        self.since = now;
        let again = matches!(samples.newest, Some((_, None)));
        if !acknowledged.ranges.is_empty() || again {
            self.detect_losses(now);
        } else if self.packets.is_empty() {
            self.overtaken_until = None;
        }
        Ok(true)
    }

    fn measure(&mut self, sample: Duration) {
        self.round_trip.measure(sample);
        self.reordering.measure(sample);
    }

    /// Removes one arrived packet from the counts in flight.
    fn arrived(&mut self, state: State, length: usize, order: u64) {
        match state {
            State::InFlight => self.in_flight -= length,
            State::Lost => self.lost -= 1,
            State::Acknowledged => return,
        }
        self.unacknowledged -= length;
        self.highest_arrived = self.highest_arrived.max(order);
    }

    /// A packet that was taken for lost because others had overtaken it has arrived. If the original arrived,
    /// it was late, and the network reorders more than was assumed.
    fn judge(&mut self, packet: &Packet, now: Time) {
        let is_original =
            packet.state == State::Lost || self.reordering.is_of_original(now - packet.sent);
        if packet.overtaken && packet.state != State::Acknowledged && is_original {
            self.was_late();
        }
    }

    /// The packet last taken for lost was late.
    fn was_late(&mut self) {
        if let Some(order) = self.doubted.take() {
            self.reordering.was_late(order, self.next_order);
            self.congestion.was_late();
        }
    }

    /// A packet that is older than a round trip plus the reordering window is lost once a later transmission
    /// has arrived. Over a stream nothing is overtaken.
    pub fn detect_losses(&mut self, now: Time) {
        self.overtaken_until = None;
        let Some(threshold) = self.reordering.threshold(self.round_trip.smoothed()) else {
            return;
        };
        for packet in &mut self.packets {
            if packet.state != State::InFlight || packet.order >= self.highest_arrived {
                continue;
            }
            let until = packet.sent + threshold;
            if until > now {
                let first = self.overtaken_until.is_none_or(|at| until < at);
                self.overtaken_until = if first {
                    Some(until)
                } else {
                    self.overtaken_until
                };
                continue;
            }
            packet.state = State::Lost;
            packet.overtaken = true;
            self.doubted = Some(packet.order);
            self.lost += 1;
            self.in_flight -= packet.bytes.len();
            if self.congestion.lost(packet.order, self.next_order) {
                self.reordering.was_lost();
            }
        }
    }

    /// Whether an overtaken packet counts as lost now.
    pub fn is_overtaken(&self, now: Time) -> bool {
        self.overtaken_until.is_some_and(|at| at <= now)
    }

    /// When everything in flight is taken for lost.
    pub fn times_out_at(&self) -> Option<Time> {
        let timeout = self.round_trip.timeout(self.backoff);
        (!self.packets.is_empty()).then(|| self.since + timeout)
    }

    /// When something is taken for lost because no acknowledgement came, and whether only in the background.
    pub fn deadline(&self) -> Option<(Time, bool)> {
        let timeout = self.times_out_at()?;
        let at = self.overtaken_until.map_or(timeout, |at| at.min(timeout));
        Some((at, self.fruitless >= FRUITLESS))
    }

    /// How long an acknowledgement waits for further packets: a fraction of the timeout.
    pub fn acknowledgement_delay(&self) -> Duration {
        let delay = self.round_trip.timeout(0) / 8;
        delay.clamp(Duration::from_millis(1), Duration::from_millis(10))
    }

    /// This process was held up itself, and has not handled yet what arrived meanwhile. Waits once more, but
    /// not twice in a row. Returns whether it waits.
    pub fn excuse(&mut self, now: Time) -> bool {
        let excused = !std::mem::replace(&mut self.excused, true);
        if excused {
            self.since = now;
        }
        excused
    }

    /// Nothing was acknowledged for the timeout: everything is taken for lost (over a stream, the oldest
    /// packet).
    pub fn timed_out(&mut self, now: Time) {
        self.since = now;
        self.excused = false;
        self.backoff += 1;
        self.fruitless = self.fruitless.saturating_add(1);
        let doubted = if self.stream { 1 } else { self.packets.len() };
        self.take_for_lost(doubted);
        self.congestion.timed_out(self.next_order);
    }

    /// The connection under the session is a new one: everything in flight in the old one is lost.
    pub fn interrupted(&mut self, now: Time) {
        self.since = now;
        self.backoff = 0;
        self.take_for_lost(self.packets.len());
    }

    fn take_for_lost(&mut self, doubted: usize) {
        for packet in self.packets.iter_mut().take(doubted) {
            if packet.state == State::InFlight {
                packet.state = State::Lost;
                self.lost += 1;
                self.in_flight -= packet.bytes.len();
            }
        }
    }

    /// The peer shows a sign of life after a long silence: there is no need to wait longer.
    pub fn encourage(&mut self) {
        self.backoff = 0;
        self.fruitless = 0;
    }

    /// Whether everything in flight was taken for lost because no acknowledgement came, and nothing came
    /// since.
    pub fn has_timed_out(&self) -> bool {
        self.fruitless > 0
    }

    /// Whether the peer acknowledges nothing any more.
    pub fn is_fruitless(&self) -> bool {
        self.fruitless >= FRUITLESS
    }

    /// The lost packets that may be sent again now, oldest first, marked as sent.
    pub fn take_lost(&mut self, now: Time, again: &mut Vec<Bytes>) {
        if self.lost == 0 {
            return;
        }
        let window = self.congestion.window();
        for packet in &mut self.packets {
            if self.lost == 0 || self.in_flight > 0 && self.in_flight + packet.bytes.len() > window
            {
                break;
            }
            if packet.state == State::Lost {
                packet.state = State::InFlight;
                packet.sent = now;
                packet.sent_again = true;
                packet.order = self.next_order;
                self.next_order += 1;
                self.lost -= 1;
                self.in_flight += packet.bytes.len();
                again.push(packet.bytes.clone());
            }
        }
    }

    /// Whether lost packets wait for room.
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }
}

/// The times at which the newly acknowledged packets were sent.
#[derive(Default)]
struct Samples {
    /// The latest of the acknowledged transmissions, and its time if the packet was sent only once.
    newest: Option<(u64, Option<Time>)>,
    /// The earliest time of the packets that were sent only once.
    oldest: Option<Time>,
}

impl Samples {
    fn note(&mut self, packet: &Packet) {
        if packet.state == State::Acknowledged {
            return;
        }
        let sent = (!packet.sent_again).then_some(packet.sent);
        if self.newest.is_none_or(|(order, _)| order < packet.order) {
            self.newest = Some((packet.order, sent));
        }
        self.oldest = match (self.oldest, sent) {
            (Some(oldest), Some(sent)) => Some(oldest.min(sent)),
            (oldest, sent) => oldest.or(sent),
        };
    }
}
