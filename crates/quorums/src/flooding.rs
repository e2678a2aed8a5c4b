//! Flooding: every process passes on what is new to it, so that messages go round failed channels.
//!
//! # Promises
//! - FLD1 reachability (liveness): a message that a correct process posts, and neither replaces nor
//!   withdraws, is delivered by every correct process that it is addressed to and that a path of correct
//!   processes and channels leads to.
//! - FLD2 order (safety): of the messages of one process in one slot, each process delivers each at most
//!   once, and no older one after a newer one.
//! - FLD3 no creation (safety): what is delivered from p was posted by p.
//!
//! # Assumes
//! Any number of crashes; channels that fail, in one direction, for good. The channels that do not fail are
//! perfect links, or, if everything is repeated, fair-loss ones. A gap between two processes does not stop
//! flooding: when a stream begins anew, the retained items are sent to its receiver again, in portions. A
//! process that is started again is another process: its versions begin again, and others take them for old.
//! Over fair-loss channels, an item that is replaced before all of its chunks have arrived need never arrive:
//! long items must be retained for long.
//!
//! # Messages
//! ITEM(origin, version, retained, to, message), to all: what the origin posted. Versions count the posts of
//! an origin, over all its slots; `retained` are the versions in its other slots. After a withdrawal, an item
//! without a message tells the retained versions. Several items travel in one message, and long ones in
//! chunks, if messages are limited to a datagram.
//!
//! # Cost
//! On perfect links: one step per edge of the shortest path, n(n−1) messages per post and none per
//! withdrawal; what a batch of events brings is passed on in one message. With repetition, each process sends
//! the retained items to all others again, each item after pauses that double up to a cap. Memory: at each
//! process, for each origin, a number for each of the slots that it used at its newest post, and, with
//! repetition, the items retained in them and at most [`entry`](FloodingSettings::entry) bytes of chunks;
//! over perfect links whose streams may end, the items retained in them.
//!
//! # Why it holds
//! Every process sends an item on when it first receives it, so that the item goes along every path (FLD1);
//! on fair-loss channels it does so again and again while the item is retained. The version of an item that
//! was received, or has been replaced or withdrawn, is neither above the highest version known of the origin
//! nor awaited, and such an item is dropped. A version becomes awaited only while the item of the highest
//! version names it as retained and it was not received. So only the newest item of a slot is awaited, and a
//! newer one in the slot, which comes with a higher version, ends that (FLD2). Only the highest version, and
//! those retained with it, are remembered: what an origin withdrew is not in its next item's `retained`, and
//! is forgotten everywhere when that item arrives.
//!
//! # Source
//! Folklore; the paper on generalized quorum systems, arXiv 2505.02646, says that flooding makes channels
//! transitive. Deviations: slots, which bound the memory although nobody can acknowledge.
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

/// A process uses at most this many slots at a time.
pub(crate) const SLOTS: usize = 1 << 12;

/// How posted messages are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FloodingSettings {
    /// The first pause before an item is sent again; `None` over perfect links, where nothing is repeated.
    pub repeat: Option<Duration>,
    /// The pauses double up to this one.
    pub longest: Duration,
    /// The longest message over fair-loss channels, in bytes. The same at every process.
    pub datagram: usize,
    /// The longest item over fair-loss channels, and the most that is held of incomplete items of one origin,
    /// in bytes. The same at every process.
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

    /// The length of a chunk in bytes, except for the last of an item.
    fn chunk(&self) -> usize {
        self.datagram.saturating_sub(OVERHEAD).max(1)
    }

    /// The most chunks of an item: a message, the retained versions beside it, and its receivers.
    fn chunks(&self) -> usize {
        let item = self.entry.saturating_add(10 * SLOTS + 256);
        item.div_ceil(self.chunk())
    }
}

/// Items that are sent to one process again leave in portions, with this pause in between.
const PAUSE: Duration = Duration::from_millis(10);

/// Flooding, at one process.
pub struct Flooding<M> {
    me: ProcessId,
    processes: Membership,
    settings: FloodingSettings,
    /// The last version that this process posted.
    version: u64,
    /// The versions that this process posted and has not withdrawn, by slot.
    slots: BTreeMap<Slot, u64>,
    known: BTreeMap<ProcessId, Known>,
    /// What this process posted, and has not sent yet: it goes to this process, too.
    posted: BTreeMap<u64, Bytes>,
    /// The last version that only tells the retained versions.
    said: Option<u64>,
    /// The items that are passed on when the batch ends.
    passed: BTreeMap<Id, Bytes>,
    retained: Retained,
    /// The items that are sent again to a process to which a stream has begun anew. `None` if streams do not end.
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

    /// A post takes the next version, and occupies the slot.
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

    /// With repetition, a withdrawal must be told, so that nobody repeats the item any more. Otherwise the
    /// item is forgotten with the next post.
    fn upon_withdraw(&mut self, slot: Slot) {
        let Some(withdrawn) = self.slots.remove(&slot) else {
            return;
        };
        self.forget(withdrawn);
        if self.settings.repeat.is_some() {
            self.say(None);
        }
    }

    /// Tells something under the next version, when the batch ends.
    fn say(&mut self, content: Option<(To, Bytes)>) -> u64 {
        self.version += 1;
        let mut retained: Vec<u64> = self.slots.values().copied().collect();
        retained.sort_unstable();
        let item = Item { retained, content };
        // Of several items that only tell the retained versions, the last one suffices.
        if let Some(replaced) = self.said.take() {
            self.posted.remove(&replaced);
        }
        if item.content.is_none() {
            self.said = Some(self.version);
        }
        self.posted.insert(self.version, item.encode(self.version));
        self.version
    }

    /// An item that is no longer retained is not sent any more.
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

    /// Sends all others, and this process itself, what was posted, and all others what was new.
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
                .is_some_and(|of| of.is_retained(id.version))
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

    /// When a stream begins anew, the retained items are sent to its receiver again, little by little, so
    /// that they do not overload the new stream.
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

    /// Sends the next portion of the retained items again.
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

    /// Makes these items repeat.
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

    /// The parts of an item: chunks, if it does not fit into a datagram and the channels are fair-loss ones.
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

    /// Sends everything again that is due and, in the same messages, what is almost due.
    fn upon_timer(&mut self, ctx: &mut Ctx<Self>) {
        let Some(shortest) = self.settings.repeat else {
            return;
        };
        let pauses = (shortest, self.settings.longest);
        let due = self.retained.take_due(pauses, ctx.now(), ctx.rng());
        self.send(To::Some(self.processes.others(self.me)), &due, ctx);
        self.arm(ctx);
    }

    /// Sets the timer to fire when the first item is due.
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

/// No flooding: posted messages go straight to the receivers, over perfect links between all. Promises FLD1,
/// if no channel fails, and FLD3; of FLD2, that no message is delivered twice.
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
