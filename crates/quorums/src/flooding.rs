//! Flooding: everybody passes on what is new to it, so that messages go round failed channels.
//!
//! # Promises
//! - FLD1 reachability (liveness): what a correct process posts, and neither replaces nor withdraws, is
//!   delivered by every correct process that it is addressed to and that a path of correct processes and
//!   channels leads to.
//! - FLD2 order (safety): of the messages of one process in one slot, each process delivers each at most
//!   once, and no older one after a newer one.
//! - FLD3 no creation (safety): what is delivered from p was posted by p.
//!
//! # Assumes
//! Any number of crashes; channels that fail, in one direction, for good. The channels that do not fail
//! are perfect links, or, if everything is repeated, fair-loss ones. Over a gap between two processes it goes
//! on: what stands is said again to whom a stream begins anew, in portions. A process that is started again is
//! another one: its versions begin again, and others take them for old. Over fair-loss channels, what is
//! replaced before all of its chunks have arrived need never arrive: long items are to stand for long.
//!
//! # Messages
//! ITEM(origin, version, retained, to, message), to all: what the origin posted. Versions count the posts
//! of an origin, over all its slots; `retained` are the versions in its other slots. An item without a
//! message says what stands, after a withdrawal. Several items travel in one message, and long ones in
//! chunks, where messages are limited to a datagram.
//!
//! # Cost
//! On perfect links: one step an edge of the shortest path, n(n−1) messages a post and none a withdrawal;
//! what a batch of events brings goes on in one message. With repetition, each process sends what stands
//! to all others again, each item after pauses that double up to a cap. Memory: at each process, for each
//! origin, a number for each of the slots that it used at its newest post, and, with repetition, what
//! stands in them and at most [`entry`](FloodingSettings::entry) bytes of chunks; over perfect links whose
//! streams may end, what stands in them.
//!
//! # Why it holds
//! Every process sends an item on when it first receives it, so that it goes along every path (FLD1); on
//! fair-loss channels it does so again and again while the item stands. The version of an item that was
//! received, or has been replaced or withdrawn, is neither above the highest version known of the origin
//! nor awaited, and such an item is dropped. A version becomes awaited only while it stands by what the
//! highest version says and was not received, so that of one slot only the newest is, and a newer one in
//! the slot, which comes with a higher version, ends that (FLD2). Nothing but the highest version, and
//! what stands with it, is remembered: what an origin withdrew is not in its next item's `retained`, and
//! is forgotten with it, everywhere.
//!
//! # Source
//! Folklore; that channels may be taken for transitive so is said in the paper on generalized quorum
//! systems, arXiv 2505.02646. Deviations: slots, which bound the memory where nobody can acknowledge.
mod again;
mod message;
#[cfg(any(test, feature = "mutants"))]
mod mutant;
mod origin;
mod retained;

pub use message::Message;
#[cfg(any(test, feature = "mutants"))]
pub use mutant::spawn_mutant;

use again::Again;
use bytes::Bytes;
use message::{Id, Item, OVERHEAD, Part};
use origin::{Kept, Known};
use quorate_abstractions::{
    flooding::{self, Request, Slot},
    link::{self, Deliver, Status, To},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Layer, Membership, Observe, ProcessId, ProcessSet, Time,
    message::LAST_NUMBER, ports, wire::Wire,
};
use retained::{Retained, jittered};
use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

/// A process uses no more slots at a time.
pub(crate) const SLOTS: usize = 1 << 12;

/// How what is posted is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FloodingSettings {
    /// The first pause before an item is sent again. `None` over perfect links: nothing is.
    pub repeat: Option<Duration>,
    /// The pauses double up to this one.
    pub longest: Duration,
    /// No message is longer, if it is sent over fair-loss channels. The same at every process.
    pub datagram: usize,
    /// No item is longer, if it is sent over fair-loss channels, and no more is held of incomplete ones
    /// of one origin. The same at every process.
    pub entry: usize,
}

impl Default for FloodingSettings {
    /// Over perfect links.
    fn default() -> Self {
        FloodingSettings {
            repeat: None,
            longest: Duration::from_secs(2),
            datagram: 1024,
            entry: 1 << 20,
        }
    }
}

impl FloodingSettings {
    /// Over fair-loss channels.
    pub fn repeating() -> Self {
        FloodingSettings {
            repeat: Some(Duration::from_millis(50)),
            ..FloodingSettings::default()
        }
    }

    /// How long a chunk is, but the last of an item.
    fn chunk(&self) -> usize {
        self.datagram.saturating_sub(OVERHEAD).max(1)
    }

    /// How many chunks an item has at most: a message, what stands beside it, and its receivers.
    fn chunks(&self) -> usize {
        let item = self.entry.saturating_add(10 * SLOTS + 256);
        item.div_ceil(self.chunk())
    }
}

/// What is said again to one process leaves in portions, with such a pause in between.
const PAUSE: Duration = Duration::from_millis(10);

/// Flooding, at one process.
pub struct Flooding<M> {
    me: ProcessId,
    processes: Membership,
    settings: FloodingSettings,
    /// The last version that this process posted.
    version: u64,
    /// What this process posted and has not withdrawn: the versions, by slot.
    slots: BTreeMap<Slot, u64>,
    known: BTreeMap<ProcessId, Known>,
    /// What this process posted, and is not sent yet: it goes to this process, too.
    posted: BTreeMap<u64, Bytes>,
    /// The last version that only says what stands.
    said: Option<u64>,
    /// What is passed on when the batch ends.
    passed: BTreeMap<Id, Bytes>,
    retained: Retained,
    /// What is said again of it to whom a stream has begun anew. `None` where streams do not end.
    again: Option<BTreeMap<ProcessId, Again>>,
    messages: PhantomData<fn() -> M>,
}

ports! {
    for<M: Wire + Observe>;
    offers flooding::Port<M> => Request -> Deliver;
    uses links: link::Port<Message> => Link;
    watches status: Status => Status, by link::watch_streams;
    timer Timer;
    timer Again(peer: ProcessId);

    /// Starts flooding over perfect links, whose streams may end and begin anew.
    pub fn spawn_over_streams(host) = Flooding {
        again: Some(BTreeMap::new()),
        ..Flooding::new(host, FloodingSettings::default())
    };
}

impl<M: Wire + Observe> Algorithm for Flooding<M> {
    type Event = Event<M>;
    type Effect = Effect<M>;

    fn upon(&mut self, event: Event<M>, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request::Post { slot, to, message }) => {
                self.upon_post(slot, to, message, ctx);
            }
            Event::Request(Request::Withdraw { slot }) => self.upon_withdraw(slot),
            Event::Link(Deliver { message, .. }) => {
                for part in message.0 {
                    self.upon_part(part, ctx);
                }
            }
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Timer => self.upon_timer(ctx),
            Event::Again(peer) => self.upon_again(peer, ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.flush(ctx);
    }
}

impl<M: Wire + Observe> Flooding<M> {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host, settings: FloodingSettings) -> Self {
        Flooding {
            me: host.me(),
            processes: *host.processes(),
            settings,
            version: 0,
            slots: BTreeMap::new(),
            known: BTreeMap::new(),
            posted: BTreeMap::new(),
            said: None,
            passed: BTreeMap::new(),
            retained: Retained::default(),
            again: None,
            messages: PhantomData,
        }
    }

    /// A post takes the next version, and the slot.
    fn upon_post(&mut self, slot: Slot, to: To, message: M, ctx: &mut Ctx<Self>) {
        if self.slots.len() >= SLOTS && !self.slots.contains_key(&slot) {
            return ctx.count("too many slots");
        }
        let content = message.into_bytes();
        if self.settings.repeat.is_some() && content.len() > self.settings.entry {
            return ctx.count("too long");
        }
        if let Some(replaced) = self.slots.remove(&slot) {
            self.forget(replaced);
        }
        let version = self.say(Some((to, content)));
        self.slots.insert(slot, version);
    }

    /// What is repeated no more must be said, so that nobody repeats it. Else it is forgotten with the
    /// next post.
    fn upon_withdraw(&mut self, slot: Slot) {
        let Some(withdrawn) = self.slots.remove(&slot) else {
            return;
        };
        self.forget(withdrawn);
        if self.settings.repeat.is_some() {
            self.say(None);
        }
    }

    /// Says something under the next version, when the batch ends.
    fn say(&mut self, content: Option<(To, Bytes)>) -> u64 {
        self.version += 1;
        let mut retained: Vec<u64> = self.slots.values().copied().collect();
        retained.sort_unstable();
        let item = Item { retained, content };
        // Of what was only said, the last says everything.
        if let Some(replaced) = self.said.take() {
            self.posted.remove(&replaced);
        }
        if item.content.is_none() {
            self.said = Some(self.version);
        }
        self.posted.insert(self.version, item.encode(self.version));
        self.version
    }

    /// What no longer stands is not sent any more.
    fn forget(&mut self, version: u64) {
        let origin = self.me;
        self.posted.remove(&version);
        self.retained.forget(Id { origin, version });
    }

    fn upon_part(&mut self, part: Part, ctx: &mut Ctx<Self>) {
        let (Part::Whole(id, _) | Part::Chunk(id, ..)) = &part;
        if !self.processes.contains(id.origin) {
            return ctx.count("not a member");
        }
        if id.version > LAST_NUMBER || (id.origin == self.me && id.version > self.version) {
            return ctx.count("forged version");
        }
        if !self.known.entry(id.origin).or_default().is_new(id.version) {
            return;
        }
        match part {
            Part::Whole(id, bytes) => self.upon_item(id, bytes, ctx),
            Part::Chunk(id, number, of, bytes) => self.upon_chunk(id, number, of, bytes, ctx),
        }
    }

    fn upon_chunk(&mut self, id: Id, number: u64, of: u64, bytes: Bytes, ctx: &mut Ctx<Self>) {
        let (chunk, chunks) = (self.settings.chunk(), self.settings.chunks());
        let is_last = number.checked_add(1) == Some(of);
        let fits = bytes.len() == chunk || (is_last && bytes.len() < chunk);
        if number >= of || of > chunks as u64 || !fits {
            return ctx.count("bad chunk");
        }
        let known = self.known.entry(id.origin).or_default();
        match known.keep(id.version, number, of, bytes, chunks) {
            Kept::Incomplete => {}
            Kept::Complete(bytes) => self.upon_item(id, bytes, ctx),
            Kept::NoRoom => ctx.count("no room for a chunk"),
        }
    }

    /// A new item is delivered, if it is for this process, and passed on.
    fn upon_item(&mut self, id: Id, bytes: Bytes, ctx: &mut Ctx<Self>) {
        let Ok(item) = Item::decode(id.version, SLOTS, bytes.clone()) else {
            return ctx.count("undecodable item");
        };
        let known = self.known.entry(id.origin).or_default();
        known.accept(id.version, &item);
        let is_over = |version| known.is_over(version);
        self.retained.forget_of(id.origin, is_over);
        if id.origin != self.me {
            self.passed.insert(id, bytes);
        }
        self.deliver(id.origin, item, ctx);
    }

    fn deliver(&self, from: ProcessId, item: Item, ctx: &mut Ctx<Self>) {
        let Some((to, content)) = item.content else {
            return;
        };
        let is_addressed = match to {
            To::All => true,
            To::One(p) => p == self.me,
            To::Some(some) => some.contains(self.me),
        };
        if !is_addressed {
            return;
        }
        match M::decode(content) {
            Ok(message) => ctx.trigger(Effect::Deliver(Deliver { from, message })),
            Err(_) => ctx.count("undecodable"),
        }
    }

    /// Sends what was posted, to itself, too, and what was new, to all others.
    fn flush(&mut self, ctx: &mut Ctx<Self>) {
        let origin = self.me;
        let posted: BTreeMap<Id, Bytes> = std::mem::take(&mut self.posted)
            .into_iter()
            .map(|(version, bytes)| (Id { origin, version }, bytes))
            .collect();
        self.send(To::One(self.me), &posted, ctx);
        let mut items = std::mem::take(&mut self.passed);
        let known = &self.known;
        items.retain(|id, _| {
            known
                .get(&id.origin)
                .is_some_and(|of| of.stands(id.version))
        });
        items.extend(posted);
        self.send(To::Some(self.processes.others(self.me)), &items, ctx);
        if let Some(pause) = self.settings.repeat {
            self.repeat(items, pause, ctx);
            self.arm(ctx);
        } else if self.again.is_some() {
            for (id, bytes) in items {
                self.retained.keep(id, bytes, Time::ZERO);
            }
        }
    }

    /// Upon a stream that begins anew: what stands is said again to its receiver, little by little, lest that
    /// stream end of it, too.
    fn upon_status(&mut self, status: &Status, ctx: &mut Ctx<Self>) {
        let Some(again) = &mut self.again else {
            return;
        };
        match *status {
            Status::Begun { peer } => {
                let again = again.entry(peer).or_default();
                if again.begin(self.retained.ids()) {
                    self.upon_again(peer, ctx);
                }
            }
            Status::Ended { peer } => {
                if let Some(again) = again.get_mut(&peer) {
                    again.end();
                }
            }
            _ => {}
        }
    }

    /// Says a portion again of what stands.
    fn upon_again(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        let (Some(all), retained) = (&mut self.again, &self.retained) else {
            return;
        };
        let length = |id: &Id| retained.bytes(*id).map(Bytes::len);
        let Some(again) = all.get_mut(&peer) else {
            return;
        };
        let ids = again.portion(length);
        if again.is_over() {
            all.remove(&peer);
        }
        if ids.is_empty() {
            return;
        }
        let bytes = |id: Id| Some((id, retained.bytes(id)?.clone()));
        let items = ids.into_iter().filter_map(bytes).collect();
        self.send(To::One(peer), &items, ctx);
        ctx.after(PAUSE, Event::Again(peer));
    }

    /// Has these repeated.
    fn repeat(&mut self, items: BTreeMap<Id, Bytes>, pause: Duration, ctx: &mut Ctx<Self>) {
        for (id, bytes) in items {
            let due = ctx.now() + jittered(pause, ctx.rng());
            self.retained.keep(id, bytes, due);
        }
    }

    /// Sends items, as many in a message as fit.
    fn send(&self, to: To, items: &BTreeMap<Id, Bytes>, ctx: &mut Ctx<Self>) {
        let is_nobody = matches!(to, To::Some(others) if others == ProcessSet::EMPTY);
        if is_nobody {
            return;
        }
        let (mut parts, mut size) = (Vec::new(), 0);
        for part in items.iter().flat_map(|(id, bytes)| self.parts(*id, bytes)) {
            if size + part.size() > self.settings.datagram && !parts.is_empty() {
                let message = Message(std::mem::take(&mut parts));
                ctx.trigger(Effect::Link(link::SendRequest { to, message }));
                size = 0;
            }
            size += part.size();
            parts.push(part);
        }
        if !parts.is_empty() {
            let message = Message(parts);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// The item, in chunks if it does not fit into a datagram and has to.
    fn parts(&self, id: Id, bytes: &Bytes) -> Vec<Part> {
        let chunk = self.settings.chunk();
        if self.settings.repeat.is_none() || bytes.len() <= chunk {
            return vec![Part::Whole(id, bytes.clone())];
        }
        let of = bytes.len().div_ceil(chunk) as u64;
        let cut = |number: u64| {
            let begin = number as usize * chunk;
            let end = bytes.len().min(begin + chunk);
            Part::Chunk(id, number, of, bytes.slice(begin..end))
        };
        (0..of).map(cut).collect()
    }

    /// Sends everything again that is due, and, in the same messages, what is about to be.
    fn upon_timer(&mut self, ctx: &mut Ctx<Self>) {
        let Some(shortest) = self.settings.repeat else {
            return;
        };
        let pauses = (shortest, self.settings.longest);
        let due = self.retained.take_due(pauses, ctx.now(), ctx.rng());
        self.send(To::Some(self.processes.others(self.me)), &due, ctx);
        self.arm(ctx);
    }

    /// Sees to it that the timer fires when the first item is due.
    fn arm(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(wait) = self.retained.arm(ctx.now()) {
            ctx.after_in_background(wait, Event::Timer);
        }
    }
}

/// Starts flooding over links: fair-loss ones, if the settings repeat everything, or perfect ones, whose
/// streams do not end.
pub fn spawn<M: Wire + Observe>(
    host: &impl Host,
    settings: FloodingSettings,
    links: impl Layer<link::Port<Message>>,
    up: Addr<Deliver<M>>,
) -> Addr<Request<M>> {
    let silent = Addr::nowhere();
    spawn_as(host, Flooding::new(host, settings), links, &silent, up)
}

/// No flooding: what is posted goes straight to the receivers, over perfect links between all. Promises
/// FLD1, where no channel fails, and FLD3; of FLD2, that no message is delivered twice.
pub fn direct<M: Wire>(links: impl Layer<link::Port<M>>) -> impl Layer<flooding::Port<M>> {
    move |up: Addr<Deliver<M>>| {
        let below = links.attach(up);
        Addr::new(move |request| match request {
            Request::Post { to, message, .. } => below.send(link::SendRequest { to, message }),
            Request::Withdraw { .. } => {}
        })
    }
}

#[cfg(test)]
mod tests;
