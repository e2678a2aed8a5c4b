//! Weight: channels with a bandwidth and a queue, in which a message costs its size.
//!
//! A channel is one direction between two processes. A message waits behind those sent before it, so that the
//! delay grows with the queue. A datagram for which the queue has no room is dropped, as a network drops it;
//! a message over ideal perfect links waits, however long the queue is. Over a byte stream datagrams arrive
//! in order, and a lost one arrives late, as with TCP.
//!
//! Weight needs time: where an adversary chooses the steps, channels have no weight.
use crate::{
    adversary::{Latency, Transmission},
    gap::Way,
    network::Cargo,
    state::{Action, Core, What},
    trace::Loss,
};
use quorate_core::{ProcessId, Time};
use std::time::Duration;

/// The overhead of a copy in bytes: the headers of a datagram.
const HEADER: u64 = 28;

/// The shortest time after which a byte stream sends again: TCP's smallest retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// The properties of one direction between two processes. By default it carries everything at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channel {
    bandwidth: Option<u64>,
    queue: Option<u64>,
    latency: Option<Latency>,
    is_stream: bool,
}

impl Channel {
    /// A channel that carries everything at once.
    pub fn new() -> Self {
        Channel::default()
    }

    /// Sets the bandwidth, in bytes per second; at least one.
    #[must_use]
    pub fn bandwidth(mut self, bytes_a_second: u64) -> Self {
        self.bandwidth = Some(bytes_a_second.max(1));
        self
    }

    /// Sets the longest queue, in bytes. A datagram that finds no room is dropped.
    #[must_use]
    pub fn queue(mut self, bytes: u64) -> Self {
        self.queue = Some(bytes);
        self
    }

    /// Copies are in flight for this time once they have left the queue, whatever the adversary says.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Datagrams travel over a byte stream, in order. A datagram that the adversary loses is delayed by at
    /// least 200 milliseconds, and so are all behind it. Datagrams that a cut holds back arrive after the
    /// cut.
    #[must_use]
    pub fn stream(mut self) -> Self {
        self.is_stream = true;
        self
    }
}

/// A channel in use.
pub(crate) struct Load {
    channel: Channel,
    /// When everything that waits now will have left.
    free: Time,
    /// For a byte stream: nothing arrives before this time.
    ready: Time,
    /// For a byte stream: how many bytes a cut holds back.
    held: u64,
}

impl Load {
    fn time(&self, bytes: u64) -> Duration {
        let bandwidth = self.channel.bandwidth.unwrap_or(u64::MAX);
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(bandwidth);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How many bytes wait.
    fn waiting(&self, now: Time) -> u64 {
        let wait = self.free.since(now.min(self.free));
        let bandwidth = self.channel.bandwidth.unwrap_or(0);
        let bytes = wait.as_nanos() * u128::from(bandwidth) / 1_000_000_000;
        self.held + u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn has_room(&self, now: Time, bytes: u64) -> bool {
        let queue = self.channel.queue.unwrap_or(u64::MAX);
        self.waiting(now).saturating_add(bytes) <= queue
    }
}

/// A datagram that will arrive once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) way: Way,
    pub(crate) from: Time,
    pub(crate) to: Time,
    pub(crate) after: Duration,
}

fn size(cargo: &Cargo) -> u64 {
    HEADER + cargo.length() as u64
}

impl Core {
    pub(crate) fn set_channel(&mut self, way: Way, channel: Channel) {
        let (free, ready) = (self.now, Time::ZERO);
        let load = Load {
            channel,
            free,
            ready,
            held: 0,
        };
        self.network.loads.insert(way, load);
    }

    /// Whether a datagram finds room in the queue.
    pub(crate) fn has_room(&self, copy: Transmission, cargo: &Cargo) -> bool {
        let load = self.network.loads.get(&(copy.from, copy.to));
        load.is_none_or(|load| load.has_room(self.now, size(cargo)))
    }

    pub(crate) fn is_stream(&self, way: Way) -> bool {
        let load = self.network.loads.get(&way);
        load.is_some_and(|load| load.channel.is_stream)
    }

    /// For a byte stream a loss is a delay, of the lost datagram and of all behind it.
    pub(crate) fn stall(&mut self, way: Way) {
        let now = self.now;
        if let Some(load) = self.network.loads.get_mut(&way) {
            load.ready = load.ready.max(now + RETRANSMISSION);
        }
    }

    /// How long a copy that leaves now is in flight, as the timing policy or the adversary decides.
    pub(crate) fn latency(&mut self, copy: Transmission) -> Duration {
        match self.drawn_delay() {
            Some(delay) => delay,
            None => self.adversary.latency(copy, &mut self.rng),
        }
    }

    /// When a copy that leaves now will arrive.
    pub(crate) fn arrival(&mut self, slot: usize, copy: Transmission) -> Time {
        let way = (copy.from, copy.to);
        let drawn = self.network.loads.get(&way).and_then(|l| l.channel.latency);
        let latency = match drawn {
            Some(latency) => latency.draw(&mut self.rng),
            None => self.latency(copy),
        };
        let (now, network) = (self.now, &mut self.network);
        let packet = network.packets.get(slot).and_then(Option::as_ref);
        let (Some(load), Some(packet)) = (network.loads.get_mut(&way), packet) else {
            return now + latency;
        };
        load.free = load.free.max(now) + load.time(size(packet.cargo()));
        let arrival = load.free + latency;
        if !load.channel.is_stream || packet.foreground() {
            return arrival;
        }
        load.ready = load.ready.max(arrival);
        load.ready
    }

    /// Whether a datagram that arrives over a byte stream has to wait behind those that a cut held back.
    pub(crate) fn is_early(&mut self, slot: usize, birth: u64) -> bool {
        let Some(packet) = self.network.packet(slot).filter(|p| !p.foreground()) else {
            return false;
        };
        let way = (packet.copy.from, packet.copy.to);
        let resumes = self.network.resumes.get(&way).copied();
        let Some(resumes) = resumes.filter(|resumes| *resumes > self.now) else {
            return false;
        };
        self.enter(resumes, What::Packet(slot, birth));
        true
    }

    /// A byte stream keeps the datagrams that a cut holds back.
    pub(crate) fn hold_stream(&mut self, way: Way, bytes: usize) {
        let bytes = HEADER + bytes as u64;
        if let Some(load) = self.network.loads.get_mut(&way) {
            load.held += bytes;
        }
    }

    /// A cut is over: after its timeout a byte stream continues, first with the datagrams that it has kept.
    pub(crate) fn resume_stream(&mut self, way: Way) {
        if !self.is_stream(way) {
            return;
        }
        self.stall(way);
        if let Some(load) = self.network.loads.get_mut(&way) {
            load.held = 0;
        }
    }

    /// Datagrams still in flight on a byte stream arrive after those that the cut held back.
    pub(crate) fn line_up(&mut self, way: Way) {
        let load = self.network.loads.get(&way);
        if let Some(load) = load.filter(|load| load.channel.is_stream) {
            self.network.resumes.insert(way, load.ready);
        }
    }

    /// Plans whether this datagram arrives once more.
    pub(crate) fn echo(&mut self, copy: Transmission, label: &'static str, cargo: &Cargo) {
        let now = self.now;
        let echoes = self.network.echoes.iter();
        let due: Vec<_> = echoes
            .filter(|echo| echo.way == (copy.from, copy.to))
            .filter(|echo| (echo.from..echo.to).contains(&now))
            .map(|echo| now + echo.after)
            .collect();
        for at in due {
            let again = Action::Echo(copy, label, cargo.clone());
            self.enter(at, What::Action(again));
        }
    }

    /// A datagram that was sent long ago arrives once more, whatever incarnations are at either end now.
    pub(crate) fn arrive_again(&mut self, copy: Transmission, label: &'static str, cargo: Cargo) {
        if self.network.is_cut(copy.from, copy.to) {
            return self.lose(copy, Loss::Cut);
        }
        self.launch(copy, label, cargo);
    }

    /// When the slow application of `p` takes in the next indication.
    pub(crate) fn takes_in(&mut self, p: ProcessId) -> Option<Time> {
        let now = self.now;
        let process = &mut self.processes[p.index()];
        let pace = process.user_pace?;
        process.user_free = process.user_free.max(now) + pace;
        Some(process.user_free)
    }
}
