//! Regular reliable broadcast, lazy: a message is relayed only once its sender is suspected.
//!
//! # Promises
//! - RB1 validity (liveness): a correct process delivers its own broadcasts.
//! - RB2 no duplication (safety). RB3 no creation (safety).
//! - RB4 agreement (liveness): what some correct process delivers, every correct process delivers.
//!
//! # Assumes
//! Perfect links; a failure detector of which only the completeness is needed: ◇P, or P in its place. A false
//! suspicion costs messages and nothing else. Any number of crashes. No origin is more than 2²⁰ broadcasts
//! ahead of what a correct process has delivered from it; messages beyond that are refused. A gap does not
//! stop a broadcast: when a stream to a process begins anew, this process sends it again what the other has
//! not reported, as far as the window goes. Older messages stay lost for it, and the users are told of the
//! gap.
//!
//! # Messages
//! - `Data(id, payload)`: from the origin → everybody. From a process that has it from a *relayer* (the
//!   origin, or one that relayed in its turn) → those that may lack it, if the relayer is suspected or the
//!   window is full.
//! - `Report(numbers)`: every 1,024 deliveries → everybody else: for each origin, the number up to which the
//!   sender has delivered all messages.
//!
//! # Cost
//! Failure-free n−1 messages and one step; with another process dead the same; the sender crashing
//! after k ≥ 1 sends, kn, the last delivery max(1, D) + 1 steps after the crash. Reports add n(n−1)
//! every 1,024 broadcasts. Where a process reports nothing (it is dead, or thousands of messages
//! behind), each message of a full window costs n−2 more: with it, 2n−3 a broadcast.
//! Memory: the delivered identifiers as watermarks, and of each relayer a window of 4,096 messages, with
//! as many of those that this process has sent.
//!
//! # Why it holds
//! A correct process that delivers has sent the message to everybody, or keeps it. It forgets it only once
//! every other process has reported that it holds it, or was sent it from here. If the relayer is correct,
//! its sends arrive. If it crashes, it is eventually suspected for ever, and the messages kept from it, and
//! those that still come from it, are sent to all that have not reported them (RB4). No suspected process is
//! taken for dead: when the window is full, what a suspected process lacks is sent to it, not forgotten.
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 3.3, “Lazy Reliable Broadcast”. Deviations: messages are known by identifier, not content; they
//! are kept by relayer, not by origin, so that one crash has them relayed once; the window and the reports,
//! which bound the memory, are ours, and are the reason why the algorithm uses links and not best-effort
//! broadcast; the origin delivers when its own copy arrives.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

use crate::data::{Data, Numbering, detached};
use bytes::Bytes;
use quorate_abstractions::{
    eventually_perfect,
    link::{self, To},
    reliable::{self, Broadcast, Deliver},
};
use quorate_core::{
    Algorithm, Ctx, Host, ProcessId, ProcessSet, message::Origin, messages, ports,
    process::MAXIMUM_PROCESSES, watermark::WatermarkSet,
};
use std::collections::{BTreeMap, VecDeque};

messages! {
    /// The messages.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// A broadcast.
        Data(Data),
        /// For each origin, the sender has delivered all messages up to this one.
        Report {
            lows: Vec<(Origin, u64)>
        },
    }
}

/// The limits that bound the memory.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The number of deliveries between two reports.
    interval: u64,
    /// How many messages of a relayer are kept: those delivered since the last reports, and those in flight.
    window: usize,
}

const LIMITS: Limits = Limits {
    interval: 1024,
    window: 4096,
};

/// A message that may have to be relayed.
struct Kept {
    data: Data,
    /// Processes that have not reported that they hold the message.
    missing: ProcessSet,
}

/// Lazy reliable broadcast.
pub struct Lazy {
    numbering: Numbering,
    limits: Limits,
    delivered: WatermarkSet,
    /// Messages delivered since the last report.
    unreported: u64,
    suspected: ProcessSet,
    /// By relayer: the messages that came from it first and that some process may lack, in the order of
    /// arrival; of this process, those that it has sent, as an origin or a relayer.
    from: BTreeMap<ProcessId, VecDeque<Kept>>,
}

ports! {
    offers reliable::Port => Broadcast -> Deliver;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: eventually_perfect::Indication => Detector;

    /// Starts lazy reliable broadcast over perfect links and ◇P.
    pub fn spawn(host) = Lazy::new(host);
}

impl Algorithm for Lazy {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Data(data) => self.upon_data(from, data, ctx),
                Message::Report { lows } => self.upon_report(from, &lows),
            },
            Event::Detector(indication) => match indication {
                eventually_perfect::Indication::Suspect(p) => self.upon_suspect(p, ctx),
                eventually_perfect::Indication::Restore(p) => self.upon_restore(p),
            },
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl Lazy {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Self::with_limits(host, LIMITS)
    }

    fn with_limits(host: &impl Host, limits: Limits) -> Self {
        Lazy {
            numbering: Numbering::new(host),
            limits,
            delivered: WatermarkSet::default(),
            unreported: 0,
            suspected: ProcessSet::EMPTY,
            from: BTreeMap::new(),
        }
    }

    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        let (to, message) = (To::All, Message::Data(data.clone()));
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        // Recorded at once: a gap may take the copies to others before this process's own copy arrives.
        let missing = self.numbering.others();
        self.keep_sent(Kept { data, missing });
    }

    /// The first copy is delivered, and kept as long as its relayer is not suspected.
    fn upon_data(&mut self, relayer: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        if let Err(reason) = self.numbering.check(data.id, &mut self.delivered) {
            return ctx.count(reason);
        }
        if !self.delivered.insert(data.id) {
            return;
        }
        let (id, payload) = (data.id, data.payload.clone());
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
        if !self.numbering.is_mine(id) {
            self.keep(relayer, data, ctx);
        }
        self.unreported += 1;
        self.upon_report_due(ctx);
    }

    /// Keeps a message against the crash of its relayer, or relays it if the relayer is suspected already. A
    /// message that leaves a full window is relayed: later, nobody but the relayer might do it.
    fn keep(&mut self, relayer: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let missing = self.numbering.others();
        if self.suspected.contains(relayer) {
            return self.relay(Kept { data, missing }, ctx);
        }
        let from = self.from.entry(relayer).or_default();
        let payload = detached(&data.payload);
        let data = Data { payload, ..data };
        from.push_back(Kept { data, missing });
        if from.len() > self.limits.window
            && let Some(oldest) = from.pop_front()
        {
            self.relay(oldest, ctx);
        }
    }

    /// Keeps what this process has sent, against a gap. A message that leaves a full window is not sent
    /// again.
    fn keep_sent(&mut self, kept: Kept) {
        let sent = self.from.entry(self.numbering.me()).or_default();
        sent.push_back(kept);
        if sent.len() > self.limits.window {
            sent.pop_front();
        }
    }

    /// When a stream begins anew, sends its receiver again what this process has sent and the receiver has
    /// not reported.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        let sent = self.from.get(&self.numbering.me()).into_iter().flatten();
        for Kept { data, .. } in sent.filter(|kept| kept.missing.contains(peer)) {
            let (to, message) = (To::One(peer), Message::Data(data.clone()));
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// Every suspicion counts, even after an earlier one was revoked.
    fn upon_suspect(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.suspected.insert(p);
        for kept in self.from.remove(&p).unwrap_or_default() {
            self.relay(kept, ctx);
        }
    }

    fn upon_restore(&mut self, p: ProcessId) {
        self.suspected.remove(p);
    }

    /// Notes the messages that `q` holds, and forgets those that everybody holds.
    fn upon_report(&mut self, q: ProcessId, lows: &[(Origin, u64)]) {
        let held: BTreeMap<Origin, u64> = lows.iter().copied().collect();
        for from in self.from.values_mut() {
            from.retain_mut(|Kept { data, missing }| {
                let low = held.get(&data.id.origin).copied().unwrap_or(0);
                if data.id.sequence <= low {
                    missing.remove(q);
                }
                !missing.is_empty()
            });
        }
    }

    /// Sends the next report after enough deliveries since the last one.
    fn upon_report_due(&mut self, ctx: &mut Ctx<Self>) {
        if self.unreported < self.limits.interval {
            return;
        }
        self.unreported = 0;
        let lows = self.delivered.lows().take(MAXIMUM_PROCESSES).collect();
        let (to, message) = (To::Some(self.numbering.others()), Message::Report { lows });
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
    }

    /// Sends a message to all processes that may lack it.
    fn relay(&mut self, kept: Kept, ctx: &mut Ctx<Self>) {
        let (to, message) = (To::Some(kept.missing), Message::Data(kept.data.clone()));
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        self.keep_sent(kept);
    }
}

#[cfg(test)]
mod tests;
