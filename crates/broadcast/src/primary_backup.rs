//! Uniform total-order broadcast by a primary with backups: the state machine replication of synchronous systems.
//!
//! The process of lowest rank that has not crashed is the *primary*. It appends each request to its log, sends
//! the entry to the others, its *backups*, and delivers once each of them holds it. When it crashes, the next
//! process takes over: it first sends its log again, and then goes on.
//!
//! # Promises
//! - TOB1 validity (liveness): a correct process delivers its own broadcasts.
//! - TOB2 no duplication (safety). TOB3 no creation (safety).
//! - TOB4 uniform agreement (liveness): what any process delivers, even one that crashes, every
//!   correct process delivers.
//! - TOB5 uniform total order (safety): of two processes' delivery sequences, one is a prefix of the other.
//! - FRB5 (safety), a stated extra: the messages of one origin are delivered in the order of their broadcasts.
//!
//! # Assumes
//! Perfect links and the perfect failure detector P: a synchronous system. Any number of crashes; of two
//! processes one may crash, which takes a detector that tells the truth. A process that omits messages is not
//! reported, and then the others wait for it (and two servers cannot do better: the crate of impossibility
//! results shows it). No origin is more than 2²⁰ broadcasts ahead of what is delivered from it; messages beyond
//! that are refused. A gap does not stop it: when a stream begins anew, a process sends again its undelivered
//! requests to the primary, and what it holds to the one whose log it has, even before P has reported those before it;
//! and the primary its entries that are not delivered everywhere.
//!
//! # Messages
//! - `Request(data)`, from the origin → the primary, and again → the next one if the primary crashes: order this.
//! - `Entry(inherited, place, data)`, from the primary → its backups: this stands at this place of the log. Of
//!   the places that are `inherited`, from the first to the last, the primary held the entries when it took over.
//! - `Held(upto)`, from a backup → the primary: I hold each entry up to this place.
//! - `Stable(inherited, upto)`, from the primary → its backups: everybody holds each entry up to this place.
//!
//! # Cost
//! A broadcast of the primary: failure-free 3(n−1) messages; the primary delivers at step 2, the others at
//! step 3 (n = 1: 0). Another origin adds 1 message and 1 step. With the last process dead, reported D steps
//! after the start: 3n−5 messages, max(2, D) + 1 steps. The primary crashing after k ≥ 1 sends of an entry of
//! its own: 2k + 4(n−2) messages. Memory: the undelivered entries, of which the primary has at most 4,096; the
//! requests that wait for room; a counter for each origin.
//!
//! # Why it holds
//! P tells the truth, so that a process that takes over knows that all before it have crashed, and a process
//! that hears of a new primary before P has reported the old one may believe it. What any process has
//! delivered, every process held that had not crashed then: the primary has waited for all of them. So it is
//! in the log of each later primary, at the same place (TOB5), which sends it again until everybody holds it
//! (TOB4). Entries that a backup holds and the next primary lacks were delivered nowhere: the log of the new
//! primary replaces that of its backups. A backup replaces its own only when it has all that the primary has
//! inherited, and confirms nothing before that: if that primary crashes, too, what everybody held is still there.
//! What the replacement loses, its origin requests again (TOB1). The
//! primary orders the requests of an origin in their order, and none twice: what is delivered or in its log
//! it knows (TOB2, FRB5). It waits only for processes that P has not reported, so for correct ones in the end.
//!
//! # Source
//! Alsberg, Day: *A Principle for Resilient Sharing of Distributed Resources*, 1976; the protocol of the note
//! “Primary-Backup for Two Servers”, decentralizedthoughts.github.io, 2019. Deviations: the primary delivers when all
//! backups have confirmed, where the note waits for one round: a message that takes longer than the bound then
//! delays a delivery, and harms nothing; backups deliver, too, when they are told that it is safe; requests are
//! known by identifier, so that one that is repeated is ordered once.
use crate::data::{Data, Numbering, WINDOW};
use bytes::Bytes;
use quorate_abstractions::{
    link::{self, To},
    perfect,
    total_order::{self, Broadcast, Deliver},
};
use quorate_core::{
    Algorithm, Ctx, Host, MessageId, ProcessId, ProcessSet, message::Origin, messages, ports,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// At most this many entries of the primary are undelivered; further requests wait.
const ENTRIES: usize = 1 << 12;
/// Entries this far above the last delivered one are refused.
const PLACES_AHEAD: u64 = 1 << 20;

messages! {
    /// The messages.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// The receiver, as the primary, is to order this broadcast of the sender.
        Request(Data),
        /// An entry of the sender's log.
        Entry {
            /// What the sender had when it became the primary.
            inherited: Inherited,
            /// The place of this entry, counted from 1.
            place: u64;
            /// The broadcast.
            data: Data
        } => instance(*place).message(data.id),
        /// The sender holds each entry of the receiver up to this place.
        Held {
            /// The place.
            upto: u64
        } => instance(*upto),
        /// Everybody holds each entry of the sender up to this place.
        Stable {
            /// As in an entry.
            inherited: Inherited,
            /// The place.
            upto: u64
        } => instance(*upto),
    }
}

/// The places of a log whose entries a process had, and had not delivered, when it became the primary: none if the
/// last comes before the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inherited {
    pub first: u64,
    pub last: u64,
}

/// What a backup has of the log of a primary that is new to it.
#[derive(Debug)]
struct Succession {
    primary: ProcessId,
    inherited: Inherited,
    /// By place.
    entries: BTreeMap<u64, Data>,
    /// The lowest inherited place whose entry is not here.
    missing: u64,
}

/// The rules of a take-over and of a delivery: a mutant lacks one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The primary waits for its backups before it delivers.
    waits: bool,
    /// A process that takes over sends its log again.
    sends_its_log: bool,
    /// A process that takes over knows what is delivered or in its log, and orders it no second time.
    knows_its_log: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        waits: true,
        sends_its_log: true,
        knows_its_log: true,
    };
}

#[cfg(any(test, feature = "mutants"))]
impl Rules {
    /// The primary delivers at once.
    pub const ANSWERS_AT_ONCE: Rules = Rules {
        waits: false,
        ..Rules::ALL
    };
    /// A process that takes over keeps its log for itself.
    pub const KEEPS_ITS_LOG: Rules = Rules {
        sends_its_log: false,
        ..Rules::ALL
    };
    /// A process that takes over orders again what is repeated.
    pub const ORDERS_AGAIN: Rules = Rules {
        knows_its_log: false,
        ..Rules::ALL
    };
}

/// Total order by a primary with backups.
pub struct PrimaryBackup {
    rules: Rules,
    numbering: Numbering,
    /// Processes that the detector has reported.
    crashed: ProcessSet,
    /// Own broadcasts that are not delivered here.
    pending: BTreeMap<u64, Bytes>,
    /// The primary whose entries the log has.
    term: ProcessId,
    /// A later primary, as long as its inherited entries are not all here.
    succession: Option<Succession>,
    /// At the primary: what it had when it took over.
    inherited: Inherited,
    /// The undelivered entries, by place.
    log: BTreeMap<u64, Data>,
    /// Up to this place this process holds each entry of that primary, or has delivered it.
    holds: u64,
    /// The place of the last delivered entry.
    delivered: u64,
    /// The number of the last delivered message of each origin.
    delivered_of: BTreeMap<Origin, u64>,
    /// Requests that wait for an earlier one of their origin, or for this process to become the primary.
    early: BTreeMap<MessageId, Bytes>,
    /// At the primary: requests that wait for room in the log, in the order of their arrival.
    queue: VecDeque<Data>,
    /// At the primary: the number of the last message of each origin that is in the queue, in the log or delivered.
    accepted: BTreeMap<Origin, u64>,
    /// At the primary: up to which place each backup holds its entries.
    held: BTreeMap<ProcessId, u64>,
}

ports! {
    offers total_order::Port => Broadcast -> Deliver;
    uses link: link::Port<Message> => Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Crash;

    /// Starts total order by a primary with backups over perfect links and P.
    pub fn spawn(host) = PrimaryBackup::new(host, Rules::ALL);

    /// Starts a mutant, which lacks a rule.
    #[cfg(any(test, feature = "mutants"))]
    pub fn spawn_mutant(host, rules: Rules) = PrimaryBackup::new(host, rules);
}

impl Algorithm for PrimaryBackup {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Link(link::Deliver { from, message }) => match message {
                Message::Request(data) => self.upon_request(from, data, ctx),
                Message::Entry {
                    inherited,
                    place,
                    data,
                } => {
                    if self.upon_primary(from, inherited, ctx) {
                        self.upon_entry(from, place, data, ctx);
                    }
                }
                Message::Held { upto } => self.upon_held(from, upto, ctx),
                Message::Stable { inherited, upto } => {
                    if self.upon_primary(from, inherited, ctx) {
                        self.upon_stable_at(from, inherited, upto, ctx);
                    }
                }
            },
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
        }
    }
}

/// What every process does.
impl PrimaryBackup {
    fn new(host: &impl Host, rules: Rules) -> Self {
        PrimaryBackup {
            rules,
            numbering: Numbering::new(host),
            crashed: ProcessSet::EMPTY,
            pending: BTreeMap::new(),
            term: host.processes().coordinator(1),
            succession: None,
            inherited: Inherited { first: 1, last: 0 },
            log: BTreeMap::new(),
            holds: 0,
            delivered: 0,
            delivered_of: BTreeMap::new(),
            early: BTreeMap::new(),
            queue: VecDeque::new(),
            accepted: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    fn me(&self) -> ProcessId {
        self.numbering.me()
    }

    /// The process of lowest rank that has not crashed.
    fn primary(&self) -> ProcessId {
        let alive = self.numbering.processes().set().without(self.crashed);
        alive.iter().next().unwrap_or(self.me())
    }

    fn is_primary(&self) -> bool {
        self.primary() == self.me()
    }

    /// The others that have not crashed.
    fn others(&self) -> ProcessSet {
        self.numbering.others().without(self.crashed)
    }

    /// A broadcast is requested from the primary, until it is delivered here.
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let data = self.numbering.number(payload);
        self.pending.insert(data.id.sequence, data.payload.clone());
        send(To::One(self.primary()), Message::Request(data), ctx);
    }

    /// Requests all undelivered broadcasts of this process again.
    fn request_again(&self, ctx: &mut Ctx<Self>) {
        let to = To::One(self.primary());
        for (sequence, payload) in &self.pending {
            let (id, payload) = (self.numbering.id(*sequence), payload.clone());
            send(to, Message::Request(Data { id, payload }), ctx);
        }
    }

    /// When the primary has crashed, the next process takes over. While this process is the primary, it no longer
    /// waits for a backup that has crashed.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        let before = self.primary();
        self.crashed.insert(p);
        let primary = self.primary();
        if primary != before {
            if primary == self.me() {
                self.take_over(ctx);
            }
            self.request_again(ctx);
        }
        self.upon_progress(ctx);
    }

    /// Delivers each entry up to this place.
    fn deliver_up_to(&mut self, upto: u64, ctx: &mut Ctx<Self>) {
        while self.delivered < upto
            && let Some(Data { id, payload }) = self.log.remove(&(self.delivered + 1))
        {
            self.delivered += 1;
            self.holds = self.holds.max(self.delivered);
            self.delivered_of.insert(id.origin, id.sequence);
            self.early.remove(&id);
            if self.numbering.is_mine(id) {
                self.pending.remove(&id.sequence);
            }
            let (origin, first, payloads) = (id.origin, id.sequence, vec![payload]);
            ctx.trigger(Effect::Deliver(Deliver {
                origin,
                first,
                payloads,
            }));
        }
    }

    /// When a stream begins anew, sends its receiver again what a gap may have taken: to the primary, requests; to the
    /// one whose log this process has, and of which P may not have told yet that it is the primary, what it holds.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        if self.is_primary() {
            self.send_log(To::One(peer), ctx);
            return;
        }
        if peer == self.primary() {
            self.request_again(ctx);
        }
        if peer == self.term {
            send(To::One(peer), Message::Held { upto: self.holds }, ctx);
        }
    }
}

/// What a backup does.
impl PrimaryBackup {
    /// Whether to listen to this process. A process that acts as the primary tells that all before it have crashed.
    fn upon_primary(&mut self, from: ProcessId, inherited: Inherited, ctx: &mut Ctx<Self>) -> bool {
        if from >= self.me() {
            ctx.count("not a primary of this process");
            return false;
        }
        let next = self.succession.as_ref().map(|it| it.primary);
        let latest = next.unwrap_or(self.term);
        if from < latest {
            ctx.count("message of an earlier primary");
            return false;
        }
        if from > latest {
            self.succession = Some(Succession {
                primary: from,
                inherited,
                entries: BTreeMap::new(),
                missing: inherited.first,
            });
            self.upon_inherited(ctx);
        }
        true
    }

    /// Keeps the entry. Of a primary whose log this process has, confirms all that it holds without a hole.
    fn upon_entry(&mut self, from: ProcessId, place: u64, data: Data, ctx: &mut Ctx<Self>) {
        if place > self.delivered.saturating_add(PLACES_AHEAD) {
            return ctx.count("place too far ahead");
        }
        if !self.numbering.is_possible(data.id) {
            return ctx.count("impossible identifier");
        }
        if let Some(succession) = &mut self.succession {
            succession.entries.insert(place, data);
            return self.upon_inherited(ctx);
        }
        if place > self.delivered {
            self.log.entry(place).or_insert(data);
        }
        self.confirm(from, ctx);
    }

    /// Once all that a new primary has inherited is here, its log replaces the one of this process.
    fn upon_inherited(&mut self, ctx: &mut Ctx<Self>) {
        let delivered = self.delivered;
        let is_here = |it: &mut Succession| {
            it.missing = it.missing.max(delivered + 1);
            while it.missing <= it.inherited.last && it.entries.contains_key(&it.missing) {
                it.missing += 1;
            }
            it.missing > it.inherited.last
        };
        let Some(new) = self.succession.take_if(is_here) else {
            return;
        };
        self.term = new.primary;
        self.log.split_off(&new.inherited.first);
        let undelivered = new
            .entries
            .into_iter()
            .filter(|(place, _)| *place > delivered);
        self.log.extend(undelivered);
        self.holds = delivered.max(new.inherited.first.saturating_sub(1));
        if !self.log.is_empty() {
            self.confirm(self.term, ctx);
        }
    }

    /// Confirms all entries without a hole.
    fn confirm(&mut self, primary: ProcessId, ctx: &mut Ctx<Self>) {
        while self.log.contains_key(&(self.holds + 1)) {
            self.holds += 1;
        }
        send(To::One(primary), Message::Held { upto: self.holds }, ctx);
    }

    /// What a new primary has delivered before it took over, this process holds whether it has the new log or not.
    fn upon_stable_at(
        &mut self,
        from: ProcessId,
        inherited: Inherited,
        upto: u64,
        ctx: &mut Ctx<Self>,
    ) {
        let before = inherited.first.saturating_sub(1);
        let is_known = from == self.term;
        self.deliver_up_to(if is_known { upto } else { upto.min(before) }, ctx);
    }
}

/// What the primary does.
impl PrimaryBackup {
    /// Everything that a process has delivered is in the log of this one, or delivered here. Its backups get the
    /// log anew, and then what they have requested in the meantime. Entries behind a hole were delivered nowhere.
    fn take_over(&mut self, ctx: &mut Ctx<Self>) {
        (self.term, self.succession) = (self.me(), None);
        let (first, mut last) = (self.delivered + 1, self.delivered);
        while self.log.contains_key(&(last + 1)) {
            last += 1;
        }
        self.log.split_off(&(last + 1));
        self.holds = last;
        self.inherited = Inherited { first, last };
        if self.rules.knows_its_log {
            self.accepted.clone_from(&self.delivered_of);
            for Data { id, .. } in self.log.values() {
                self.accepted.insert(id.origin, id.sequence);
            }
        }
        if self.rules.sends_its_log {
            self.send_log(To::Some(self.others()), ctx);
        }
        let origins: Vec<Origin> = self.early.keys().map(|id| id.origin).collect();
        for origin in origins {
            self.upon_next(origin);
        }
    }

    /// Says how far everybody holds the log, and sends the rest of it.
    fn send_log(&self, to: To, ctx: &mut Ctx<Self>) {
        let (inherited, upto) = (self.inherited, self.delivered);
        send(to, Message::Stable { inherited, upto }, ctx);
        for (place, data) in &self.log {
            let entry = Message::Entry {
                inherited,
                place: *place,
                data: data.clone(),
            };
            send(to, entry, ctx);
        }
    }

    /// A process takes requests before it knows that it is the primary: their senders may know it earlier.
    fn upon_request(&mut self, from: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let Data { id, payload } = data;
        if id.origin.process != from || !self.numbering.is_possible(id) {
            return ctx.count("impossible identifier");
        }
        let known = self.delivered_of.get(&id.origin).copied().unwrap_or(0);
        if id.sequence > known.saturating_add(WINDOW) {
            return ctx.count("identifier too far ahead");
        }
        if self.rules.knows_its_log && id.sequence <= known {
            return;
        }
        self.early.insert(id, payload);
        if self.is_primary() {
            self.upon_next(id.origin);
            self.upon_progress(ctx);
        }
    }

    /// Takes the requests of an origin into the queue, in their order, each once.
    fn upon_next(&mut self, origin: Origin) {
        let accepted = self.accepted.entry(origin).or_default();
        let id = |sequence| MessageId { origin, sequence };
        while let Some((&id, _)) = self.early.range(id(0)..=id(*accepted)).next() {
            self.early.remove(&id);
        }
        while let Some(payload) = self.early.remove(&id(*accepted + 1)) {
            *accepted += 1;
            let id = id(*accepted);
            self.queue.push_back(Data { id, payload });
        }
    }

    fn upon_held(&mut self, from: ProcessId, upto: u64, ctx: &mut Ctx<Self>) {
        if !self.is_primary() {
            return ctx.count("confirmation for a primary");
        }
        let held = self.held.entry(from).or_default();
        *held = upto.max(*held);
        self.upon_progress(ctx);
    }

    /// At the primary: appends requests as long as there is room, and delivers what everybody holds.
    fn upon_progress(&mut self, ctx: &mut Ctx<Self>) {
        if !self.is_primary() {
            return;
        }
        loop {
            self.upon_room(ctx);
            if !self.upon_stable(ctx) {
                return;
            }
        }
    }

    /// Appends requests to the log while it has room, and sends them to the backups.
    fn upon_room(&mut self, ctx: &mut Ctx<Self>) {
        while self.log.len() < ENTRIES
            && let Some(data) = self.queue.pop_front()
        {
            self.holds += 1;
            self.log.insert(self.holds, data.clone());
            let (inherited, place) = (self.inherited, self.holds);
            let entry = Message::Entry {
                inherited,
                place,
                data,
            };
            send(To::Some(self.others()), entry, ctx);
        }
    }

    /// Delivers what everybody holds that has not crashed, and says so. Returns whether there was such an entry.
    fn upon_stable(&mut self, ctx: &mut Ctx<Self>) -> bool {
        let held = |p| self.held.get(&p).copied().unwrap_or(0);
        let least = self.others().iter().map(held).min();
        let stable = least.filter(|_| self.rules.waits).unwrap_or(self.holds);
        let stable = stable.min(self.holds);
        if stable <= self.delivered {
            return false;
        }
        self.deliver_up_to(stable, ctx);
        let (inherited, upto) = (self.inherited, stable);
        let news = Message::Stable { inherited, upto };
        send(To::Some(self.others()), news, ctx);
        true
    }
}

fn send(to: To, message: Message, ctx: &mut Ctx<PrimaryBackup>) {
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

#[cfg(test)]
mod tests;
