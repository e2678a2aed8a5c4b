//! The round synchroniser: rounds made of messages and clocks that keep their bounds.
//!
//! It runs any algorithm of rounds ([`RoundAlgorithm`]) in many instances, over perfect links and timers. A
//! process begins an instance when its user asks for it, or when the first message of the instance arrives.
//! From then on its round k ends when k times the length of a round has passed.
//!
//! # Promises
//! - **RS1** rounds (safety, whatever the delays): what a process receives in round k of an instance was sent
//!   to it in round k of that instance, and by each process once; what it sends to itself always arrives. So
//!   every instance is an execution in rounds in which processes crash, and messages are omitted.
//! - **RS2** synchrony (safety, while the bounds hold): no message is omitted, except the last ones of a process
//!   that crashes. So every instance is an execution in lock step in which processes only crash.
//! - **RS3** reports (safety, whatever the delays): a message that arrives after the end of its round is omitted,
//!   and is reported with its instance, round and sender; no other message is. Of an instance that is finished and
//!   forgotten, or too far ahead, it is only counted.
//! - **RS4** progress (liveness): where a correct process begins an instance, every correct process begins it
//!   within δ, and is in round k until k rounds' length after that, or until the algorithm halts.
//!
//! # Assumes
//! A synchronous system: a message arrives within δ of the moment at which its round begins at the sender,
//! with the timer's lateness and the processing at both ends; in a time t every clock advances by t / (1 + ρ)
//! at least and t (1 + ρ) at most; no process begins an instance later than Δ after another that completes its
//! first round, where Δ = δ need not be assumed. Any number of crashes, as far as the algorithm survives them.
//! If the bounds do not hold, what arrives late is an omission (RS1, RS3), also from processes that are
//! correct. A message that is lost for good, by a gap, is an omission that nobody reports.
//!
//! # Messages
//! | message | from → to | meaning |
//! |---|---|---|
//! | Round(instance, k, messages) | each → those to whom the algorithm sends in round k | all that it sends to them in that round |
//! | the same, with no messages | each → the others, in round 1 | that the instance begins |
//!
//! # Cost
//! As many messages as the algorithm sends, and in round 1 one to each process to which the algorithm sends
//! nothing then: an algorithm in which all send to all in round 1 costs nothing more. A round takes
//! (δ + Δ)(1 + ρ) / (R − (R − 1)(1 + ρ)²) where an instance has at most R of them, which is δ + Δ if ρ = 0.
//! Memory: of each running instance the algorithm's state, and of each process one message a round, for at
//! most R rounds; instances that begin are no more than 2¹⁶ above the oldest that is not over; of the latest
//! 1,024 that are over, their last rounds.
//!
//! # Why it holds
//! *RS1, RS3.* Messages name their round. One that comes before the end of its round waits for it; the
//! others are reported, and go nowhere.
//!
//! *Δ = δ.* A process q that completes the sends of its first round at its beginning, time t, has sent to all.
//! So each process that is alive at t + δ has begun by then, by q's message if not before. A process that
//! crashes before it completes them receives nothing in any round, so that nobody needs to be in time for it.
//!
//! *RS2.* Let p send in round k to q, which is alive at the end of that round. Let s and t be their
//! beginnings, s ≤ t + Δ. The message leaves by s + (k − 1) L (1 + ρ), since p's clock is slow at worst,
//! and arrives δ later; q's round k ends at t + k L / (1 + ρ) or later, since q's clock is fast at worst. It
//! is in time if Δ + δ ≤ L (k / (1 + ρ) − (k − 1)(1 + ρ)). The right side is least for k = R. A round is longer
//! than that by one instant of the clock, so that what arrives at the last moment is still in time. What
//! arrives early waits. A process that crashes in round k has sent some messages of round k and all of the
//! earlier ones, which have arrived before: it is the crash of the model.
//!
//! A length of (δ + Δ)(1 + ρ) suffices for one round. In later rounds the clocks have drifted apart, and with
//! that length messages come too late (a test has the execution).
//!
//! *Behind.* While the bounds hold no message arrives more than one round ahead: by the same inequality, p's
//! round k + 2 does not begin before q's round k has ended. Where one does, this process is the one that is
//! late; that is counted.
//!
//! # Source
//! The synchronous model of the lecture on consensus and reliable broadcast. Deviation: what a process sends to
//! itself is handed over without the link, since no delay may part it from its round (errata C3-E1, C4-E2).
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use quorate_abstractions::link::Links;
//! use quorate_core::{Host, Time};
//! use quorate_rounds::{
//!     problem::Consensus,
//!     synchroniser::{self, Begin, RoundBounds},
//! };
//! use quorate_sim::{Timed, UNIT, World};
//!
//! let mut world = World::new(3, 7, Timed::uniform(UNIT / 4, UNIT))?;
//! let length = RoundBounds::new(UNIT)?.length(2)?;
//! for p in world.processes() {
//!     let (host, links) = (world.host(p).at("motion"), world.links(p).at("motion"));
//!     let problem = Consensus::new(1, host.processes());
//!     let port = synchroniser::spawn(&host, problem, length, links.lane(), world.application(p));
//!     let request = Bytes::from(vec![p.rank() as u8]);
//!     world.request(p, Time::ZERO, &port, Begin { instance: 1, request });
//! }
//! world.run();
//! let p1 = world.membership().coordinator(1);
//! let decided = world.tally(p1, "motion", "Decide").ok_or("it decides")?;
//! assert_eq!(decided.last.since(Time::ZERO), 2 * length);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use crate::{
    algorithm::RoundAlgorithm,
    execution::is_for,
    problem::{self, Output, Problem},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::link::{self, To};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, Observation, Observe, ProcessId, ProcessSet, Time,
    instances::{Entry, Instances},
    messages, ports,
    wire::{self, Undecodable},
};
use std::{
    collections::{BTreeMap, btree_map},
    time::Duration,
};

/// Instances this far above the oldest one that is not over are refused.
const INSTANCES_AHEAD: u64 = 1 << 16;

/// Of so many instances that are over the last round is known.
const REMEMBERED: usize = 1024;

/// The resolution of [`Time`]: what arrives at the last moment of a round is in time.
const INSTANT: Duration = Duration::from_nanos(1);

/// One, in parts per million.
const MILLION: u128 = 1_000_000;

/// The bounds of a synchronous system, from which the length of a round follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundBounds {
    delay: Duration,
    skew: Duration,
    /// ρ, in parts per million.
    drift: u32,
}

/// Bounds with which there are no rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadBounds {
    /// The bound on delays is 0.
    #[error("the longest delay of a message must be above 0")]
    NoDelay,
    /// The clocks drift so fast that no round is long enough.
    #[error(
        "clocks that drift by {drift} parts per million are too far apart after {rounds} rounds"
    )]
    TooMuchDrift {
        /// The drift, in parts per million.
        drift: u32,
        /// How many rounds there are.
        rounds: u64,
    },
    /// As many processes may fail as there are.
    #[error("{f} failures among {n} processes: at least one must not fail")]
    TooManyFailures {
        /// How many may fail.
        f: usize,
        /// How many processes there are.
        n: usize,
    },
}

impl RoundBounds {
    /// A message arrives within `delay` of the moment at which it is to be sent: δ, with the timer's
    /// lateness and the processing at both ends. Clocks do not drift, and Δ is δ.
    ///
    /// # Errors
    /// When the delay is 0.
    pub fn new(delay: Duration) -> Result<Self, BadBounds> {
        if delay.is_zero() {
            return Err(BadBounds::NoDelay);
        }
        Ok(RoundBounds {
            delay,
            skew: delay,
            drift: 0,
        })
    }

    /// Clocks that drift: ρ, in parts per million. Quartz clocks drift by less than 100.
    #[must_use]
    pub fn drift(mut self, parts_per_million: u32) -> Self {
        self.drift = parts_per_million;
        self
    }

    /// A bound Δ on how long after each other processes begin, where one is known that is below δ; a longer
    /// one changes nothing.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew.min(self.delay);
        self
    }

    /// The length of a round, where an instance has at most so many.
    ///
    /// # Errors
    /// When the clocks drift too fast for so many rounds.
    pub fn length(&self, rounds: u64) -> Result<Duration, BadBounds> {
        let nanoseconds =
            |it: Duration| u128::from(u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        let (all, later) = (u128::from(rounds), u128::from(rounds.saturating_sub(1)));
        let rate = MILLION + u128::from(self.drift);
        // (δ + Δ)(1 + ρ) / (R − (R − 1)(1 + ρ)²), with ρ in millionths.
        let apart = (nanoseconds(self.delay) + nanoseconds(self.skew)) * rate * MILLION;
        let drifted = later.checked_mul(rate * rate);
        let left = drifted.and_then(|drifted| (all * MILLION * MILLION).checked_sub(drifted));
        let left = left
            .filter(|left| *left > 0)
            .ok_or(BadBounds::TooMuchDrift {
                drift: self.drift,
                rounds,
            })?;
        let length = u64::try_from(apart.div_ceil(left)).unwrap_or(u64::MAX);
        Ok(Duration::from_nanos(length).saturating_add(INSTANT))
    }
}

messages! {
    /// What processes send to each other.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Message {
        /// All that the algorithm sends to the receiver in this round.
        Round {
            instance: u64,
            /// The round of the sender, counted from 1.
            round: u64;
            /// The algorithm's messages.
            messages: Bytes
        } => instance(*instance).digest(*round),
    }
}

/// Requests that an instance begin here. It has no effect in an instance that has begun.
pub struct Begin<P: Problem> {
    /// The instance, counted from 1.
    pub instance: u64,
    pub request: P::Request,
}

impl<P: Problem> Observe for Begin<P> {
    fn observe(&self) -> Observation {
        P::observe_request(&self.request).instance(self.instance)
    }
}

/// A message that arrived after the end of its round: the bounds do not hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Omission {
    pub instance: u64,
    /// The round in which it was sent, and is missing.
    pub round: u64,
    /// Its sender.
    pub from: ProcessId,
}

/// What the synchroniser indicates.
pub enum Told<P: Problem> {
    /// The algorithm's output in an instance.
    Output {
        instance: u64,
        /// At the end of which round.
        round: u64,
        output: Output<P>,
    },
    /// A message came too late.
    Omission(Omission),
}

impl<P: Problem> Observe for Told<P> {
    fn observe(&self) -> Observation {
        match self {
            Told::Output {
                instance, output, ..
            } => P::observe_output(output).instance(*instance),
            Told::Omission(Omission {
                instance,
                round,
                from,
            }) => Observation::indication("Omission")
                .instance(*instance)
                .peer(*from)
                .digest(*round),
        }
    }
}

/// What is requested, and what is indicated.
pub type Port<P> = (Begin<P>, Told<P>);

/// An instance that is not over.
struct Run<P: Problem> {
    algorithm: P::Rounds,
    began: Time,
    /// The present round.
    round: u64,
    /// By round, what has arrived for this one and for later ones, by sender.
    received: BTreeMap<u64, BTreeMap<ProcessId, Vec<problem::Message<P>>>>,
}

impl<P: Problem> Run<P> {
    /// What has arrived for the present round, by sender.
    fn take_received(&mut self) -> Vec<(ProcessId, problem::Message<P>)> {
        let received = self.received.remove(&self.round).unwrap_or_default();
        let each = received.into_iter();
        each.flat_map(|(from, messages)| messages.into_iter().map(move |message| (from, message)))
            .collect()
    }
}

/// The round synchroniser.
pub struct Synchroniser<P: Problem> {
    problem: P,
    me: ProcessId,
    processes: Membership,
    /// L, the length of a round.
    length: Duration,
    running: Instances<Run<P>>,
    /// Of the latest instances that are over, the last round.
    over: BTreeMap<u64, u64>,
    #[cfg(test)]
    mutant: Option<Mutant>,
}

/// A rule that is changed.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutant {
    /// What arrives before its round is dropped.
    DropsEarly,
    /// What arrives after its round counts in the present one.
    CountsLate,
    /// What arrives after its round is dropped without a report.
    Silent,
    /// An instance begins upon a request alone.
    WaitsForRequests,
    /// A process does not hear itself.
    Deaf,
    /// A second message of a round replaces the first.
    TakesTheLast,
}

ports! {
    for<P: Problem>;
    offers Port<P> => Begin -> Tell;
    uses lane: link::Port<Message> => Link;
    timer RoundEnd(instance: u64);

    /// Starts rounds of this length over the links of a lane: see [`RoundBounds::length`].
    pub fn spawn(host, problem: P, length: Duration) = Synchroniser::new(host, problem, length);
}

impl<P: Problem> Algorithm for Synchroniser<P> {
    type Event = Event<P>;
    type Effect = Effect<P>;

    fn upon(&mut self, event: Event<P>, ctx: &mut Ctx<Self>) {
        match event {
            Event::Begin(Begin { instance, request }) => self.upon_begin(instance, request, ctx),
            Event::Link(link::Deliver { from, message }) => self.upon_round(from, message, ctx),
            Event::RoundEnd(instance) => self.upon_round_end(instance, ctx),
        }
    }
}

impl<P: Problem> Synchroniser<P> {
    /// The synchroniser at `host`, with no instances.
    pub fn new(host: &impl Host, problem: P, length: Duration) -> Self {
        Synchroniser {
            problem,
            me: host.me(),
            processes: *host.processes(),
            length,
            running: Instances::new(INSTANCES_AHEAD),
            over: BTreeMap::new(),
            #[cfg(test)]
            mutant: None,
        }
    }

    /// An instance that another process has begun goes on without the request.
    fn upon_begin(&mut self, instance: u64, request: P::Request, ctx: &mut Ctx<Self>) {
        if self.running.get(instance).is_some() || self.running.is_retired(instance) {
            return ctx.count("request in an instance that has begun");
        }
        let algorithm = self.problem.begin(request);
        self.begin(instance, algorithm, ctx);
    }

    /// What belongs to the present round or to a later one waits for its end, once a sender; what comes after
    /// the end of its round is an omission.
    fn upon_round(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        let Message::Round {
            instance,
            round,
            messages,
        } = message;
        if !(1..=self.problem.rounds()).contains(&round) {
            return ctx.count("no such round");
        }
        let omission = Omission {
            instance,
            round,
            from,
        };
        if self.running.is_retired(instance) {
            return self.upon_late(omission, ctx);
        }
        let Ok(messages) = self.unpack(messages) else {
            return ctx.count("undecodable messages");
        };
        if self.running.get(instance).is_none() && !self.join(instance, &messages, ctx) {
            return;
        }
        let Some(run) = self.running.get(instance) else {
            return;
        };
        #[cfg(test)]
        let round = match self.mutant {
            Some(Mutant::CountsLate) => round.max(run.round),
            Some(Mutant::DropsEarly) if round > run.round => return,
            _ => round,
        };
        if round < run.round {
            return self.upon_late(omission, ctx);
        }
        if round > run.round + 1 {
            ctx.count("more than a round ahead: this process is behind");
        }
        match run.received.entry(round).or_default().entry(from) {
            btree_map::Entry::Vacant(none) => _ = none.insert(messages),
            #[cfg(test)]
            btree_map::Entry::Occupied(mut first) if self.mutant == Some(Mutant::TakesTheLast) => {
                _ = first.insert(messages);
            }
            btree_map::Entry::Occupied(_) => ctx.count("second message of a round"),
        }
    }

    /// Reports what came after the end of its round. Who has halted receives no more: only what was sent in one
    /// of its rounds is missing.
    fn upon_late(&mut self, omission: Omission, ctx: &mut Ctx<Self>) {
        let Omission {
            instance, round, ..
        } = omission;
        match self.over.get(&instance) {
            Some(last) if round > *last => return,
            None if self.running.is_retired(instance) => {
                return ctx.count("message of an instance that is forgotten");
            }
            Some(_) | None => {}
        }
        #[cfg(test)]
        if self.mutant == Some(Mutant::Silent) {
            return;
        }
        ctx.count("message after the end of its round");
        ctx.trigger(Effect::Tell(Told::Omission(omission)));
    }

    /// Begins an instance because another process has. Gives whether it could.
    fn join(&mut self, instance: u64, heard: &[problem::Message<P>], ctx: &mut Ctx<Self>) -> bool {
        #[cfg(test)]
        if self.mutant == Some(Mutant::WaitsForRequests) {
            return false;
        }
        let Some(algorithm) = self.problem.join(heard) else {
            ctx.count("nothing to begin with");
            return false;
        };
        self.begin(instance, algorithm, ctx)
    }

    /// Round 1 begins. Gives whether it does.
    fn begin(&mut self, instance: u64, algorithm: P::Rounds, ctx: &mut Ctx<Self>) -> bool {
        let run = || Run {
            algorithm,
            began: ctx.now(),
            round: 1,
            received: BTreeMap::new(),
        };
        if let Entry::TooFar = self.running.at(instance, run) {
            ctx.count("instance too far ahead");
            return false;
        }
        self.begin_round(instance, ctx);
        true
    }

    /// Sends what the algorithm sends in the present round. In round 1 all are told that the instance begins.
    fn begin_round(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        let Some(run) = self.running.get(instance) else {
            return;
        };
        let round = run.round;
        let sent = run.algorithm.send(round);
        let rounds = u32::try_from(round).unwrap_or(u32::MAX);
        let end = run.began + self.length.saturating_mul(rounds);
        for (places, receivers) in same_messages(&sent, &self.processes) {
            let chosen = places.iter().filter_map(|place| sent.get(*place));
            if receivers.contains(self.me) {
                let own = chosen.clone().map(|(_, message)| message.clone());
                let arrived = run.received.entry(round).or_default();
                arrived.insert(self.me, own.collect());
            }
            let others = receivers.without(ProcessSet::from_iter([self.me]));
            if others.is_empty() || places.is_empty() && round > 1 {
                continue;
            }
            let messages = pack::<P>(chosen.map(|(_, message)| message));
            ctx.trigger(Effect::Link(link::SendRequest {
                to: To::Some(others),
                message: Message::Round {
                    instance,
                    round,
                    messages,
                },
            }));
        }
        #[cfg(test)]
        if self.mutant == Some(Mutant::Deaf) {
            run.received.entry(round).or_default().remove(&self.me);
        }
        ctx.after(end.since(ctx.now()), Event::RoundEnd(instance));
    }

    /// The algorithm receives what has arrived in the round, and the next one begins.
    fn upon_round_end(&mut self, instance: u64, ctx: &mut Ctx<Self>) {
        let last = self.problem.rounds();
        let Some(run) = self.running.get(instance) else {
            return;
        };
        let (round, received) = (run.round, run.take_received());
        if let Some(output) = run.algorithm.receive(round, &received) {
            ctx.trigger(Effect::Tell(Told::Output {
                instance,
                round,
                output,
            }));
        }
        if run.algorithm.is_halted() || round >= last {
            self.running.retire(instance);
            return self.remember(instance, round);
        }
        run.round += 1;
        self.begin_round(instance, ctx);
    }

    /// Keeps the last round of an instance that is over, and forgets the oldest.
    fn remember(&mut self, instance: u64, round: u64) {
        self.over.insert(instance, round);
        if self.over.len() > REMEMBERED {
            self.over.pop_first();
        }
    }

    fn unpack(&self, messages: Bytes) -> Result<Vec<problem::Message<P>>, Undecodable> {
        let each = wire::take_batch(messages)?.into_iter();
        each.map(|message| self.problem.read(message)).collect()
    }
}

fn pack<'m, P: Problem>(messages: impl Iterator<Item = &'m problem::Message<P>>) -> Bytes
where
    problem::Message<P>: 'm,
{
    let each = messages.map(|message| {
        let mut out = BytesMut::new();
        P::write(message, &mut out);
        out.freeze()
    });
    let (each, mut out): (Vec<_>, _) = (each.collect(), BytesMut::new());
    wire::put_batch(&each, &mut out);
    out.freeze()
}

/// The processes that are sent the same messages, by the places of these messages.
fn same_messages<M>(sent: &[(To, M)], processes: &Membership) -> BTreeMap<Vec<usize>, ProcessSet> {
    let mut same: BTreeMap<Vec<usize>, ProcessSet> = BTreeMap::new();
    for q in processes.iter() {
        let places = sent.iter().enumerate();
        let places = places.filter(|(_, (to, _))| is_for(to, q));
        let places = places.map(|(place, _)| place).collect();
        same.entry(places).or_default().insert(q);
    }
    same
}

#[cfg(test)]
mod tests;
