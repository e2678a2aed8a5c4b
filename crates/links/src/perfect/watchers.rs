//! Who wants to know how the peers stand, or of whom anything is heard, and what they were told.
use super::{
    TooLong,
    events::{Ctx, Effect},
};
use quorate_abstractions::{heartbeat::Heard, link::Status};
use quorate_core::{Addr, ProcessId, ProcessSet};

/// Those who watch a link, and the present state as they know it.
pub struct Watchers {
    of_status: Vec<Addr<Status>>,
    of_life: Vec<Addr<Heard>>,
    of_meetings: Vec<Addr<ProcessSet>>,
    of_lengths: Vec<Addr<TooLong>>,
    drains: Vec<Addr<()>>,
    /// What was indicated of each peer last.
    told: Vec<Option<Status>>,
    /// What was indicated of this process, as one that came after another. It has come later even once it
    /// was adopted.
    newcomer: Option<Status>,
    admitted: bool,
    /// The last refusal of one who is no member.
    stranger: Option<Status>,
    excluded: Option<Status>,
    /// Which others have met this process, as it was told last.
    met: ProcessSet,
}

impl Watchers {
    /// Nobody watches the `n` processes.
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

    /// The present state first, then every change.
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

    /// What is no state, but happens: whoever watches later is not told.
    pub fn say(&self, status: Status, ctx: &mut Ctx) {
        self.indicate(status, ctx);
    }

    /// How `p` stands from now on.
    pub fn tell(&mut self, p: ProcessId, status: Status, ctx: &mut Ctx) {
        self.told[p.index()] = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// What was told of `p` last.
    pub fn told(&self, p: ProcessId) -> Option<&Status> {
        self.told[p.index()].as_ref()
    }

    /// This process has been admitted.
    pub fn tell_admitted(&mut self, ctx: &mut Ctx) {
        self.admitted = true;
        self.indicate(Status::Admitted, ctx);
    }

    /// This process comes after another.
    pub fn tell_newcomer(&mut self, status: Status, ctx: &mut Ctx) {
        self.newcomer = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// This process may not take part.
    pub fn tell_excluded(&mut self, status: Status, ctx: &mut Ctx) {
        self.excluded = Some(status.clone());
        self.indicate(status, ctx);
    }

    /// One who is no member is refused: said once.
    pub fn tell_stranger(&mut self, status: Status, ctx: &mut Ctx) {
        if self.stranger.is_none() {
            self.stranger = Some(status.clone());
            self.indicate(status, ctx);
        }
    }

    /// Who wants to know of signs of life.
    pub fn listen(&mut self, listener: Addr<Heard>) {
        self.of_life.push(listener);
    }

    /// A sign of life.
    pub fn tell_heard(&self, heard: Heard, ctx: &mut Ctx) {
        for listener in &self.of_life {
            ctx.trigger(Effect::Heard(listener.clone(), heard));
        }
    }

    /// Who has met this process first, then every change.
    pub fn meet(&mut self, watcher: Addr<ProcessSet>, ctx: &mut Ctx) {
        ctx.trigger(Effect::Met(vec![watcher.clone()], self.met));
        self.of_meetings.push(watcher);
    }

    /// These have met this process: said when they are others than before.
    pub fn tell_met(&mut self, met: ProcessSet, ctx: &mut Ctx) {
        if self.met != met {
            self.met = met;
            if !self.of_meetings.is_empty() {
                ctx.trigger(Effect::Met(self.of_meetings.clone(), met));
            }
        }
    }

    /// Who wants to know what is too long.
    pub fn watch_lengths(&mut self, watcher: Addr<TooLong>) {
        self.of_lengths.push(watcher);
    }

    /// A message is too long, and was not sent.
    pub fn tell_too_long(&self, message: TooLong, ctx: &mut Ctx) {
        if !self.of_lengths.is_empty() {
            ctx.trigger(Effect::TooLong(self.of_lengths.clone(), message));
        }
    }

    /// Who wants to know, once, when nothing is owed.
    pub fn drain(&mut self, reply: Addr<()>) {
        self.drains.push(reply);
    }

    /// Whether anybody does.
    pub fn await_drain(&self) -> bool {
        !self.drains.is_empty()
    }

    /// Nothing is owed.
    pub fn tell_drained(&mut self, ctx: &mut Ctx) {
        for reply in std::mem::take(&mut self.drains) {
            ctx.trigger(Effect::Drained(reply));
        }
    }
}
