//! A stubborn link: retransmits each message, ever more slowly, until it is cancelled.
//!
//! # Promises
//! - **SL1 stubborn delivery** (liveness): what a correct process sends to a correct one is delivered
//!   there infinitely often, unless the sender cancels it.
//! - **SL2 no creation** (safety): what is delivered was sent.
//!
//! # Assumes
//! Any model; fair-loss links ([`fair_loss`]). A message fits into one datagram.
//!
//! # Messages
//! SEND, p → q: the sender's rank, the message's identifier, the message.
//!
//! # Cost
//! One step. One datagram per message at once, then one after each pause; the k-th pause is `shortest` · 2^k,
//! at most `longest`, and up to a quarter longer at random. Memory: the messages sent and not cancelled. One
//! timer, for whatever is due first.
//!
//! # Why it holds
//! A message that is not cancelled stays in `sent`, and the pause between two transmissions is
//! bounded: it is transmitted infinitely often, so that fair loss lets it through infinitely often.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues, *Introduction to Reliable and Secure Distributed Programming*, 2.4.3
//! "Retransmit Forever". Deviations: a timer instead of a loop inside the handler, which would never
//! handle another event; `Cancel`, so that the layer above can bound the memory; pauses grow, and
//! shrink again for all messages to a process when one to it is cancelled, which shows progress.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::fair_loss::{self, Transmit, datagrams};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Observation, Observe, ProcessId, Time, message::digest,
    ports,
};
use rand::Rng;
use std::{collections::BTreeMap, time::Duration};

/// What is requested, and what is indicated.
pub type Port = (Request, Deliver);

/// Requests of the layer above.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Send this message until it is cancelled.
    Send {
        /// The receiver.
        to: ProcessId,
        /// The sender's identifier of the message. A message with the same identifier replaces the earlier
        /// one.
        id: u64,
        /// The message.
        bytes: Bytes,
    },
    /// Stop sending this message.
    Cancel {
        /// The receiver.
        to: ProcessId,
        /// The sender's identifier of the message.
        id: u64,
    },
}

/// Indicates that a message arrived, maybe not for the first time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// The sender that the datagram names.
    pub from: ProcessId,
    /// The sender's identifier of the message.
    pub id: u64,
    /// The message.
    pub bytes: Bytes,
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        match self {
            Request::Send { to, bytes, .. } => {
                Observation::request("Send").peer(*to).digest(digest(bytes))
            }
            Request::Cancel { to, .. } => Observation::request("Cancel").peer(*to),
        }
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
            .peer(self.from)
            .digest(digest(&self.bytes))
    }
}

/// The pauses between two transmissions of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pauses {
    /// The first pause.
    pub shortest: Duration,
    /// The longest pause, before jitter.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses {
            shortest: Duration::from_millis(50),
            longest: Duration::from_secs(2),
        }
    }
}

ports! {
    offers Port => Request -> Deliver;
    uses edge: fair_loss::Port => Edge / Transmit;
    timer Timer;
}

/// A message that is not cancelled.
struct Sent {
    datagram: Bytes,
    due: Time,
    repeated: u32,
}

/// The stubborn link of one process.
pub struct Stubborn {
    me: ProcessId,
    pauses: Pauses,
    sent: BTreeMap<(ProcessId, u64), Sent>,
    /// When the running timer fires.
    armed: Option<Time>,
}

impl Algorithm for Stubborn {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request::Send { to, id, bytes }) => self.upon_send(to, id, &bytes, ctx),
            Event::Request(Request::Cancel { to, id }) => self.upon_cancel(to, id, ctx),
            Event::Edge(indication) => Self::upon_edge(indication, ctx),
            Event::Timer => self.upon_timer(ctx),
        }
    }
}

impl Stubborn {
    /// The link of process `me`.
    pub fn new(me: ProcessId, pauses: Pauses) -> Self {
        Stubborn {
            me,
            pauses,
            sent: BTreeMap::new(),
            armed: None,
        }
    }

    /// Transmits the message at once, and remembers it.
    fn upon_send(&mut self, to: ProcessId, id: u64, bytes: &Bytes, ctx: &mut Ctx<Self>) {
        let mut datagram = BytesMut::with_capacity(9 + bytes.len());
        datagram.put_u8(self.me.rank() as u8);
        datagram.put_u64_le(id);
        datagram.put_slice(bytes);
        let sent = Sent {
            datagram: datagram.freeze(),
            due: ctx.now(),
            repeated: 0,
        };
        self.sent.insert((to, id), sent);
        self.upon_timer(ctx);
    }

    /// Forgets the message. Its arrival shows progress, so that the other messages to the process are sent
    /// more often again.
    fn upon_cancel(&mut self, to: ProcessId, id: u64, ctx: &mut Ctx<Self>) {
        if self.sent.remove(&(to, id)).is_none() {
            return;
        }
        let soon = ctx.now() + self.pauses.shortest;
        for (_, sent) in self.sent.range_mut((to, 0)..=(to, u64::MAX)) {
            sent.repeated = 0;
            sent.due = sent.due.min(soon);
        }
        self.arm(ctx);
    }

    /// SL2: hands up whatever the edge delivers.
    fn upon_edge(indication: fair_loss::Indication, ctx: &mut Ctx<Self>) {
        let fair_loss::Indication::Arrive { bytes, segment } = indication else {
            return;
        };
        for mut datagram in datagrams(bytes, segment) {
            let from = datagram.try_get_u8().ok();
            let from = from.and_then(|rank| ProcessId::from_rank(usize::from(rank)));
            match (from, datagram.try_get_u64_le()) {
                (Some(from), Ok(id)) => ctx.trigger(Effect::Deliver(Deliver {
                    from,
                    id,
                    bytes: datagram,
                })),
                _ => ctx.count("malformed"),
            }
        }
    }

    /// SL1: transmits everything that is due.
    fn upon_timer(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        for ((to, _), sent) in &mut self.sent {
            if sent.due > now {
                continue;
            }
            ctx.trigger(Effect::Transmit(Transmit {
                to: *to,
                bytes: sent.datagram.clone(),
                segment: sent.datagram.len(),
            }));
            let pause = self
                .pauses
                .shortest
                .saturating_mul(1 << sent.repeated.min(30));
            let jitter = 1.0 + f64::from(ctx.rng().next_u32()) / f64::from(u32::MAX) / 4.0;
            sent.due = now + pause.min(self.pauses.longest).mul_f64(jitter);
            sent.repeated += 1;
        }
        self.arm(ctx);
    }

    /// Arms the timer for the first message that is due. Retransmission may never end, so it is background
    /// activity.
    fn arm(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        let Some(due) = self.sent.values().map(|sent| sent.due).min() else {
            return;
        };
        if self.armed.is_none_or(|armed| armed <= now || due < armed) {
            self.armed = Some(due);
            ctx.after_in_background(due - now, Event::Timer);
        }
    }
}

/// A stubborn link over any fair-loss link.
pub fn spawn(
    host: &impl Host,
    pauses: Pauses,
    edge: impl Layer<fair_loss::Port>,
    up: Addr<Deliver>,
) -> Addr<Request> {
    let host = host.at("stubborn");
    spawn_as(&host, Stubborn::new(host.me(), pauses), edge, up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Context, Counters, Name};
    use quorate_sim::testing::p;

    /// A link whose context is driven by hand.
    struct Driven {
        link: Stubborn,
        ctx: Context<Event, Effect>,
        alarms: Vec<quorate_core::algorithm::Alarm>,
        now: Time,
    }

    impl Driven {
        fn new(rank: usize) -> Self {
            Driven {
                link: Stubborn::new(p(rank), Pauses::default()),
                ctx: Context::new(Name::root(), rank as u64, Counters::default()),
                alarms: Vec::new(),
                now: Time::ZERO,
            }
        }

        fn upon(&mut self, event: Event) -> Vec<Effect> {
            self.ctx.set_now(self.now);
            self.link.upon(event, &mut self.ctx);
            self.alarms.extend(self.ctx.take_alarms());
            let mut effects = Vec::new();
            self.ctx.take_effects(&mut effects);
            effects
        }

        /// Fires the timers of the next `duration`, and returns the transmissions with their times.
        fn run(&mut self, duration: Duration) -> Vec<(Time, Transmit)> {
            let end = self.now + duration;
            let mut transmitted = Vec::new();
            while let Some(index) = (0..self.alarms.len())
                .filter(|i| self.alarms[*i].at <= end)
                .min_by_key(|i| self.alarms[*i].at)
            {
                let alarm = self.alarms.remove(index);
                self.now = alarm.at;
                if let Some(event) = self.ctx.take_due(alarm.id) {
                    for effect in self.upon(event) {
                        if let Effect::Transmit(transmit) = effect {
                            transmitted.push((self.now, transmit));
                        }
                    }
                }
            }
            self.now = end;
            transmitted
        }

        fn send(&mut self, to: usize, id: u64) -> usize {
            let bytes = Bytes::from_static(b"message");
            let request = Request::Send {
                to: p(to),
                id,
                bytes,
            };
            self.upon(Event::Request(request)).len()
        }
    }

    #[test]
    fn sl1_a_message_is_transmitted_at_once_and_ever_more_slowly() {
        let mut sender = Driven::new(1);
        assert_eq!(sender.send(2, 1), 1);
        let transmitted = sender.run(Duration::from_mins(1));
        let times: Vec<Time> = transmitted.iter().map(|(at, _)| *at).collect();
        let pauses: Vec<Duration> = times.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(times.len() > 25, "{times:?}");
        assert!(pauses[0] >= Duration::from_millis(100) && pauses[0] < Duration::from_millis(126));
        assert!(
            pauses
                .iter()
                .all(|pause| *pause <= Duration::from_millis(2500))
        );
    }

    #[test]
    fn sl1_ends_with_a_cancel_and_only_for_that_message() {
        let mut sender = Driven::new(1);
        sender.send(2, 1);
        sender.send(3, 1);
        sender.upon(Event::Request(Request::Cancel { to: p(2), id: 1 }));
        let transmitted = sender.run(Duration::from_secs(10));
        assert!(transmitted.len() > 4);
        assert!(transmitted.iter().all(|(_, transmit)| transmit.to == p(3)));
        sender.upon(Event::Request(Request::Cancel { to: p(3), id: 1 }));
        sender.upon(Event::Request(Request::Cancel { to: p(3), id: 7 }));
        assert!(sender.run(Duration::from_secs(10)).is_empty());
        assert!(sender.link.sent.is_empty());
    }

    #[test]
    fn progress_shortens_the_pauses_again() {
        let mut sender = Driven::new(1);
        sender.send(2, 1);
        sender.send(2, 2);
        sender.run(Duration::from_secs(30));
        sender.upon(Event::Request(Request::Cancel { to: p(2), id: 1 }));
        let transmitted = sender.run(Duration::from_millis(400));
        assert!(transmitted.len() >= 3, "{}", transmitted.len());
    }

    #[test]
    fn sl2_what_arrives_is_delivered_as_often_as_it_arrives_and_garbage_is_counted() {
        let mut sender = Driven::new(1);
        let mut receiver = Driven::new(2);
        sender.send(2, 7);
        let transmitted = sender.run(Duration::from_secs(1));
        let mut delivered = Vec::new();
        for (_, Transmit { bytes, segment, .. }) in transmitted.clone() {
            let arrive = fair_loss::Indication::Arrive { bytes, segment };
            for effect in receiver.upon(Event::Edge(arrive)) {
                if let Effect::Deliver(deliver) = effect {
                    delivered.push(deliver);
                }
            }
        }
        assert_eq!(delivered.len(), transmitted.len());
        assert!(
            delivered
                .iter()
                .all(|d| d.from == p(1) && d.id == 7 && d.bytes == "message")
        );
        for garbage in [&b"\x00"[..], b"\x01short", b"\xff12345678"] {
            let bytes = Bytes::from_static(garbage);
            let arrive = fair_loss::Indication::Arrive { bytes, segment: 99 };
            assert!(receiver.upon(Event::Edge(arrive)).is_empty());
        }
    }
}
