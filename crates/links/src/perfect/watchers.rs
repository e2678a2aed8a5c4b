//! Who wants to know how the peers stand, or of whom anything is heard, and what they were told.
use super::{
    TooLong,
    events::{Ctx, Effect},
};
use quorate_abstractions::{heartbeat::Heard, link::Status};
use quorate_core::{Addr, ProcessId, ProcessSet};

/// The subscribers of a link, and the state as they know it.
pub struct Watchers {
    of_status: Vec<Addr<Status>>,
    of_life: Vec<Addr<Heard>>,
    of_meetings: Vec<Addr<ProcessSet>>,
    of_lengths: Vec<Addr<TooLong>>,
    drains: Vec<Addr<()>>,
    /// The last status indicated of each peer.
    told: Vec<Option<Status>>,
    /// The last status that called this process a newcomer. It stays one that came later even after it was
    /// adopted.
    newcomer: Option<Status>,
    admitted: bool,
    /// The last refusal of a process outside Π.
    stranger: Option<Status>,
    excluded: Option<Status>,
    /// The last indicated set of peers that have met this process.
    met: ProcessSet,
}

impl Watchers {
    /// No subscribers, for `n` processes.
    pub fn new(n: usize) -> Self {
        Watchers {
            of_status: Vec::new(),
            of_life: Vec::new(),
            of_meetings: Vec::new(),
            of_lengths: Vec::new(),
            drains: Vec::new(),
            told: vec![None; n],
            newcomer: None,
            admitted: false,
            stranger: None,
            excluded: None,
            met: ProcessSet::EMPTY,
        }
    }

    /// Tells the subscriber the present state, then every change.
    pub fn watch(&mut self, watcher: Addr<Status>, ctx: &mut Ctx) {
        let own = self.admitted.then_some(Status::Admitted);
        let present = self
            .newcomer
            .clone()
            .into_iter()
            .chain(own)
            .chain(self.told.iter().flatten().cloned())
            .chain(self.stranger.clone())
            .chain(self.excluded.clone());
        for status in present {
            ctx.trigger(Effect::Status(vec![watcher.clone()], status));
        }
        self.of_status.push(watcher);
    }

    fn indicate(&self, status: Status, ctx: &mut Ctx) {
        ctx.trigger(Effect::Status(self.of_status.clone(), status));
    }

    /// Tells of an event that is no state: later subscribers are not told of it.
    pub fn say(&self, status: Status, ctx: &mut Ctx) {
        self.indicate(status, ctx);
    }

    /// Tells of the new state of `p`.
    pub fn tell(&mut self, p: ProcessId, status: Status, ctx: &mut Ctx) {
        self.told[p.index()] = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// The last status told of `p`.
    pub fn told(&self, p: ProcessId) -> Option<&Status> {
        self.told[p.index()].as_ref()
    }

    /// Tells that this process has been admitted.
    pub fn tell_admitted(&mut self, ctx: &mut Ctx) {
        self.admitted = true;
        self.indicate(Status::Admitted, ctx);
    }

    /// Tells that this process comes after another.
    pub fn tell_newcomer(&mut self, status: Status, ctx: &mut Ctx) {
        self.newcomer = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// Tells that this process may not take part.
    pub fn tell_excluded(&mut self, status: Status, ctx: &mut Ctx) {
        self.excluded = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// Tells, once, that a process outside Π is refused.
    pub fn tell_stranger(&mut self, status: Status, ctx: &mut Ctx) {
        if self.stranger.is_none() {
            self.stranger = Some(status.clone());
            self.indicate(status, ctx);
        }
    }

    /// Subscribes to signs of life.
    pub fn listen(&mut self, listener: Addr<Heard>) {
        self.of_life.push(listener);
    }

    /// Tells of a sign of life.
    pub fn tell_heard(&self, heard: Heard, ctx: &mut Ctx) {
        for listener in &self.of_life {
            ctx.trigger(Effect::Heard(listener.clone(), heard));
        }
    }

    /// Tells the subscriber which peers have met this process, then every change.
    pub fn meet(&mut self, watcher: Addr<ProcessSet>, ctx: &mut Ctx) {
        ctx.trigger(Effect::Met(vec![watcher.clone()], self.met));
        self.of_meetings.push(watcher);
    }

    /// Tells which peers have met this process, if the set has changed.
    pub fn tell_met(&mut self, met: ProcessSet, ctx: &mut Ctx) {
        if self.met != met {
            self.met = met;
            if !self.of_meetings.is_empty() {
                ctx.trigger(Effect::Met(self.of_meetings.clone(), met));
            }
        }
    }

    /// Subscribes to messages that are too long.
    pub fn watch_lengths(&mut self, watcher: Addr<TooLong>) {
        self.of_lengths.push(watcher);
    }

    /// Tells of a message that is too long and was not sent.
    pub fn tell_too_long(&self, message: TooLong, ctx: &mut Ctx) {
        if !self.of_lengths.is_empty() {
            ctx.trigger(Effect::TooLong(self.of_lengths.clone(), message));
        }
    }

    /// Asks to be told once when nothing is owed.
    pub fn drain(&mut self, reply: Addr<()>) {
        self.drains.push(reply);
    }

    /// Whether any such request is open.
    pub fn await_drain(&self) -> bool {
        !self.drains.is_empty()
    }

    /// Tells that nothing is owed.
    pub fn tell_drained(&mut self, ctx: &mut Ctx) {
        for reply in std::mem::take(&mut self.drains) {
            ctx.trigger(Effect::Drained(reply));
        }
    }
}
