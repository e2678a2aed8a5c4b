//! What the tests of the detectors share.
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    fair_loss::{self, Transmit, datagrams},
    heartbeat::{Beat, Heard},
};
use quorate_core::{Addr, Algorithm, Ctx, Observe, ProcessId, Time};
pub(crate) use quorate_sim::testing::p;
use quorate_sim::{Report, Verdict, World};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// A rule of a detector, or what a mutant makes of it.
pub(crate) type Rule<D> = fn(&mut D, <D as Algorithm>::Event, &mut Ctx<D>);

/// A detector with one rule changed.
pub(crate) struct Mutant<D: Algorithm> {
    pub(crate) detector: D,
    pub(crate) rule: Rule<D>,
}

impl<D: Algorithm> Algorithm for Mutant<D> {
    type Event = D::Event;
    type Effect = D::Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.detector.upon_start(ctx);
    }

    fn upon(&mut self, event: D::Event, ctx: &mut Ctx<Self>) {
        (self.rule)(&mut self.detector, event, ctx);
    }
}

/// What a detector told, and when.
pub(crate) type Log<I> = Arc<Mutex<Vec<(Time, I)>>>;

pub(crate) const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The time this many milliseconds after the start.
pub(crate) fn at(count: u64) -> Time {
    Time::ZERO + milliseconds(count)
}

/// Subscribes the application of `q`.
pub(crate) fn listen<I: Observe + Clone + Send + 'static>(
    world: &World,
    q: ProcessId,
    detector: &Subscribe<I>,
) -> Log<I> {
    let log = Log::default();
    let mine = log.clone();
    let subscriber = world.application_with(q, move |indication: I, now| {
        mine.lock().unwrap().push((now, indication));
    });
    detector.send(subscriber);
    log
}

/// The indications, without the times.
pub(crate) fn told<I: Clone>(log: &Log<I>) -> Vec<I> {
    let log = log.lock().unwrap();
    log.iter()
        .map(|(_, indication)| indication.clone())
        .collect()
}

/// The times of the indications.
pub(crate) fn times<I>(log: &Log<I>) -> Vec<Time> {
    log.lock().unwrap().iter().map(|(time, _)| *time).collect()
}

/// Heartbeats of `q` in datagrams, which the adversary may lose.
pub(crate) fn lossy_heartbeat(world: &World, q: ProcessId, up: Addr<Heard>) -> Addr<Beat> {
    let arrivals = Addr::new(move |indication| {
        let fair_loss::Indication::Arrive { bytes, segment } = indication else {
            return;
        };
        for datagram in datagrams(bytes, segment) {
            up.send(Heard::of(p(datagram[0].into())));
        }
    });
    let edge = world.fair_loss(q, arrivals);
    let others = world.membership().others(q);
    let rank = Bytes::from(vec![q.rank() as u8]);
    Addr::new(move |_| {
        for to in others.iter() {
            let bytes = rank.clone();
            edge.send(Transmit {
                to,
                bytes,
                segment: 1,
            });
        }
    })
}

pub(crate) fn violated(report: &Report, tag: &str) -> bool {
    matches!(report.verdict(tag), Some(Verdict::Violated(_)))
}
