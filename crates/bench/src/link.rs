//! Measures messages over the perfect link between two nodes on loopback, one way and to and fro.
//!
//! Sender and receiver are algorithms on the protocol threads. One way, the receiver tells the
//! sender how much has come, so that a fixed number of bytes is in flight: links have no window of
//! their own towards the layer above.
use crate::{
    Error,
    cluster::{Cluster, Network},
    locked, machine,
    raw::{histogram, microseconds},
};
use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, ProcessId};
use quorate_runtime::node::Wiring;
use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

/// How much longer than asked for a run may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The bytes of messages in flight, one way.
const IN_FLIGHT: usize = 256 << 10;
/// The number of shares of the window. The receiver reports how much has come after each share.
const SHARES: u64 = 4;

/// Measures messages a second, one way. The first quarter of the time is not counted.
///
/// # Errors
/// When a node fails, or nothing comes.
pub fn one_way(network: Network, time: Duration, size: usize) -> Result<f64, Error> {
    measure(network, time, size, Kind::OneWay)
}

/// Measures the median round-trip time, in microseconds. The first quarter of the time is not counted.
///
/// # Errors
/// When a node fails, or nothing comes back.
pub fn round_trip(network: Network, time: Duration, size: usize) -> Result<f64, Error> {
    measure(network, time, size, Kind::RoundTrip)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    OneWay,
    RoundTrip,
}

fn measure(network: Network, time: Duration, size: usize, kind: Kind) -> Result<f64, Error> {
    if size < 8 {
        return Err(Error::Unusable("a message has at least eight bytes"));
    }
    let (done, result) = mpsc::channel();
    let begin: Arc<Mutex<Option<Addr<Event>>>> = Arc::default();
    let _cluster = Cluster::start(2, network, |index, builder| {
        let end = End::new(index, time, size, kind);
        let (done, begin) = (done.clone(), begin.clone());
        Ok(builder.module("bench", "bench", move |wiring| {
            let events = end.spawn(&wiring, done);
            if index == 0 {
                *locked(&begin) = Some(events);
            }
        })?)
    })?;
    if let Some(events) = locked(&begin).take() {
        events.send(Event::Begin);
    }
    result
        .recv_timeout(time + TIMEOUT)
        .map_err(|_| Error::Stalled(time + TIMEOUT))
}

/// One end of the link: p1 sends and measures to and fro, p2 answers and measures one way.
struct End {
    index: usize,
    time: Duration,
    kind: Kind,
    message: Bytes,
    window: u64,
    begun: Option<Instant>,
    /// The numbers of messages that were sent, and that are known to have arrived.
    sent: u64,
    come: u64,
    /// The numbers of messages that were received, and that were reported to the sender.
    received: u64,
    told: u64,
    from: Option<(Instant, u64)>,
    sent_at: Instant,
    times: Histogram<u64>,
    done: bool,
}

enum Event {
    Begin,
    Deliver(Deliver<Bytes>),
}

enum Effect {
    Send(SendRequest<Bytes>),
    Done(f64),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        Observation::internal("Deliver")
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        Observation::internal("Send")
    }
}

impl Algorithm for End {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, _: &mut Ctx<Self>) {
        // The sender has the second processor, as in the raw runs.
        machine::pin(1 - self.index);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Begin => {
                self.begun = Some(Instant::now());
                if self.kind == Kind::RoundTrip {
                    self.ping(ctx);
                }
            }
            Event::Deliver(Deliver { message, .. }) => match (self.kind, self.index) {
                (Kind::RoundTrip, 0) => self.upon_pong(ctx),
                (Kind::RoundTrip, _) => self.send(message, ctx),
                (Kind::OneWay, 0) => self.upon_told(&message),
                (Kind::OneWay, _) => self.received += 1,
            },
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        if self.kind == Kind::OneWay && self.index == 0 {
            self.fill_window(ctx);
        } else if self.kind == Kind::OneWay {
            self.tell(ctx);
        }
    }
}

impl End {
    fn new(index: usize, time: Duration, size: usize, kind: Kind) -> Self {
        End {
            index,
            time,
            kind,
            message: Bytes::from(vec![7; size]),
            window: (IN_FLIGHT / size).max(1) as u64,
            begun: None,
            sent: 0,
            come: 0,
            received: 0,
            told: 0,
            from: None,
            sent_at: Instant::now(),
            times: histogram(),
            done: false,
        }
    }

    fn spawn(self, wiring: &Wiring, done: mpsc::Sender<f64>) -> Addr<Event> {
        let mailbox = wiring.host.mailbox();
        let events = mailbox.addr();
        let lane = wiring.links.open(mailbox.addr().with(Event::Deliver));
        wiring
            .host
            .start(mailbox, self, move |effect| match effect {
                Effect::Send(send) => lane.send(send),
                Effect::Done(figure) => {
                    // The receiver is gone because the run has failed.
                    let _ = done.send(figure);
                }
            });
        events
    }

    fn send(&self, message: Bytes, ctx: &mut Ctx<Self>) {
        if let Some(other) = ProcessId::from_rank(2 - self.index) {
            let to = To::One(other);
            ctx.trigger(Effect::Send(SendRequest { to, message }));
        }
    }

    fn ping(&mut self, ctx: &mut Ctx<Self>) {
        self.sent_at = Instant::now();
        self.send(self.message.clone(), ctx);
    }

    fn upon_pong(&mut self, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        let elapsed = self.begun.map_or(Duration::ZERO, |begun| now - begun);
        if elapsed > self.time / 4 {
            self.times
                .saturating_record((now - self.sent_at).as_nanos() as u64);
        }
        if elapsed > self.time {
            return ctx.trigger(Effect::Done(microseconds(&self.times, 0.5)));
        }
        self.ping(ctx);
    }

    fn fill_window(&mut self, ctx: &mut Ctx<Self>) {
        let Some(begun) = self.begun else {
            return;
        };
        // The receiver measures by its own clock, from the first message on.
        if begun.elapsed() > self.time * 2 {
            return;
        }
        while self.sent - self.come < self.window {
            self.sent += 1;
            self.send(self.message.clone(), ctx);
        }
    }

    fn upon_told(&mut self, message: &Bytes) {
        if let Some(come) = message.first_chunk() {
            self.come = u64::from_le_bytes(*come);
        }
    }

    fn tell(&mut self, ctx: &mut Ctx<Self>) {
        if self.received == self.told || self.done {
            return;
        }
        let now = Instant::now();
        let begun = *self.begun.get_or_insert(now);
        match self.from {
            None if now - begun > self.time / 4 => self.from = Some((now, self.received)),
            Some((at, before)) if now - begun > self.time => {
                self.done = true;
                let rate = (self.received - before) as f64 / (now - at).as_secs_f64();
                ctx.trigger(Effect::Done(rate));
            }
            _ => {}
        }
        if self.received - self.told >= (self.window / SHARES).max(1) {
            self.told = self.received;
            let message = Bytes::copy_from_slice(&self.received.to_le_bytes());
            self.send(message, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Transport;

    #[test]
    fn messages_go_one_way_and_to_and_fro() {
        for (transport, sealed) in [
            (Transport::Udp, false),
            (Transport::Tcp, false),
            (Transport::Udp, true),
            (Transport::Tcp, true),
        ] {
            let network = Network {
                transport,
                sealed,
                ..Network::default()
            };
            let time = Duration::from_millis(100);
            assert!(one_way(network, time, 64).unwrap() > 0.0);
            assert!(round_trip(network, time, 64).unwrap() > 0.0);
        }
    }
}
