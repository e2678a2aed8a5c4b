//! Configurations: who holds the slots, who is put in them, and how a newcomer gets its state.
use super::{
    ByLeader, Effect, Message, behind::Behind, early::Early, joining::Pieces, message::Start, send,
};
use crate::ordering::Cut;
use bytes::BytesMut;
use quorate_abstractions::{
    link::{Adopt, Status, To},
    reconfigurable::{Configuration, Indication, View},
};
use quorate_consensus::ballots;
use quorate_core::{
    Ctx, Incarnation, Membership, MessageId, ProcessId, ProcessSet, message::Origin, wire,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Of configurations that have not begun here, so many messages wait; beyond, the state is asked for.
const AHEAD: usize = 1 << 18;
/// The state travels in pieces of this size.
const PIECE: usize = 512 << 10;
/// The state is asked for again, from another process, after this.
pub(super) const JOINING: Duration = Duration::from_millis(200);

/// What this process is to the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It does not know yet whether another incarnation held its slot.
    Waits,
    /// It takes part.
    Member,
    /// It lacks the state, which it asks for once the links have admitted it.
    Newcomer {
        /// Whether they have.
        admitted: bool,
    },
    /// Another incarnation holds its slot.
    Gone,
}

/// A state that was wanted: by whom, and where it begins.
#[derive(Debug)]
struct Ticket {
    to: ProcessId,
    start: Start,
}

/// Who holds the slots, and who is to.
#[derive(Debug)]
pub(super) struct Newcomers {
    pub(super) standing: Standing,
    pub(super) configuration: u64,
    /// Whether this process came after another in its slot.
    pub(super) came_later: bool,
    /// In configurations before this one it may have promised and accepted, or has no place.
    pub(super) least: u64,
    /// Who has the first ballot of the configuration; nobody in particular in the first one.
    pub(super) leader: Option<ProcessId>,
    /// The newcomers that hold slots, each with how many incarnations held it before.
    pub(super) holders: BTreeMap<ProcessId, (Incarnation, u64)>,
    /// Of whom the links say that another incarnation is there: the one they know, and the new one.
    pub(super) replaced: BTreeMap<ProcessId, (Incarnation, Incarnation)>,
    /// Batches that have no place yet.
    pub(super) early: Early,
    /// Whether this process gets no further.
    pub(super) behind: Behind,
    /// Messages of configurations that have not begun here.
    pub(super) ahead: VecDeque<(ProcessId, u64, ballots::Message<Cut>)>,
    tickets: BTreeMap<u64, Ticket>,
    pub(super) issued: u64,
    pub(super) pieces: BTreeMap<ProcessId, Pieces>,
    pub(super) asked: usize,
    pub(super) patience: Duration,
    /// Whether the wait before asking again is on.
    pub(super) waits: bool,
    /// Whether something of an answer has come since.
    pub(super) flows: bool,
}

impl Newcomers {
    /// Nobody is ever replaced.
    pub(super) fn nobody() -> Self {
        Newcomers {
            standing: Standing::Member,
            configuration: 0,
            came_later: false,
            least: 0,
            leader: None,
            holders: BTreeMap::new(),
            replaced: BTreeMap::new(),
            early: Early::default(),
            behind: Behind::default(),
            ahead: VecDeque::new(),
            tickets: BTreeMap::new(),
            issued: 0,
            pieces: BTreeMap::new(),
            asked: 0,
            patience: JOINING,
            waits: false,
            flows: false,
        }
    }

    /// Whether this process came after another is not known yet.
    pub(super) fn unknown() -> Self {
        Newcomers {
            standing: Standing::Waits,
            ..Newcomers::nobody()
        }
    }

    /// Whether this process has its state, and its slot.
    pub(super) fn takes_part(&self) -> bool {
        self.standing == Standing::Member
    }

    /// How many replacements there were.
    pub(super) fn configuration(&self) -> u64 {
        self.configuration
    }

    /// Whether the origin holds its slot, as far as that is known: of first incarnations it is not.
    pub(super) fn may_hold(&self, origin: Origin) -> bool {
        let holder = self.holders.get(&origin.process);
        holder.is_none_or(|(incarnation, _)| *incarnation == origin.incarnation)
    }

    /// The newcomers that a leader has not proposed yet.
    pub(super) fn wanted(&self, proposed: &Cut) -> Vec<Origin> {
        let wanted = self
            .replaced
            .iter()
            .filter_map(|(slot, (known, newcomer))| {
                let holder = self.holders.get(slot).map(|(incarnation, _)| incarnation);
                let newcomer = Origin {
                    process: *slot,
                    incarnation: *newcomer,
                };
                let is_due = holder.is_none_or(|holder| holder == known);
                (is_due && !proposed.0.contains_key(&newcomer)).then_some(newcomer)
            });
        wanted.collect()
    }

    /// Puts it in its slot: what the links are to be told.
    fn hold(&mut self, newcomer: Origin) -> Adopt {
        let Origin {
            process: slot,
            incarnation,
        } = newcomer;
        let before = self.holders.get(&slot).map_or(0, |(_, number)| *number);
        let number = before + 1;
        self.holders.insert(slot, (incarnation, number));
        let pending = self.replaced.get(&slot);
        if pending.is_some_and(|(_, wanted)| *wanted == incarnation) {
            self.replaced.remove(&slot);
        }
        Adopt {
            slot,
            incarnation,
            number,
        }
    }

    fn origins(&self) -> Vec<(Origin, u64)> {
        let holders = self.holders.iter();
        let origin = |(process, (incarnation, number)): (&ProcessId, &(Incarnation, u64))| {
            let (process, incarnation) = (*process, *incarnation);
            let origin = Origin {
                process,
                incarnation,
            };
            (origin, *number)
        };
        holders.map(origin).collect()
    }

    pub(super) fn present(&self) -> Configuration {
        Configuration {
            number: self.configuration,
            newcomers: self.origins(),
        }
    }
}

/// Members: who is put in a slot, and what that ends.
impl ByLeader {
    /// A message of the acceptors of some configuration.
    pub(super) fn upon_configured(
        &mut self,
        from: ProcessId,
        configuration: u64,
        message: ballots::Message<Cut>,
        ctx: &mut Ctx<Self>,
    ) {
        let present = self.newcomers.configuration;
        match self.newcomers.standing {
            Standing::Member if configuration == present => self.upon_ballots(from, message, ctx),
            Standing::Member if configuration < present => ctx.count("of another configuration"),
            Standing::Member | Standing::Waits | Standing::Newcomer { .. } => {
                let ahead = &mut self.newcomers.ahead;
                ahead.push_back((from, configuration, message));
                if ahead.len() > AHEAD {
                    self.upon_too_far_behind(ctx);
                }
            }
            Standing::Gone => ctx.count("of another configuration"),
        }
    }

    pub(super) fn upon_status(&mut self, status: Status, ctx: &mut Ctx<Self>) {
        match (status, self.newcomers.standing) {
            (
                Status::Replaced {
                    peer,
                    known,
                    newcomer,
                },
                _,
            ) => _ = self.newcomers.replaced.insert(peer, (known, newcomer)),
            (Status::Admitted, Standing::Waits) => {
                self.newcomers.standing = Standing::Member;
                self.upon_beginning(ctx);
            }
            (Status::Newcomer { .. }, Standing::Waits) => {
                self.newcomers.standing = Standing::Newcomer { admitted: false };
                self.newcomers.came_later = true;
            }
            (Status::Admitted, Standing::Newcomer { .. }) => {
                self.newcomers.standing = Standing::Newcomer { admitted: true };
                self.upon_ask_to_join(ctx);
            }
            (
                Status::Admitted
                | Status::Newcomer { .. }
                | Status::Connected { .. }
                | Status::Refused { .. }
                | Status::Lost { .. }
                | Status::Ended { .. }
                | Status::Begun { .. }
                | Status::Gap { .. }
                | Status::Excluded { .. },
                _,
            ) => {}
        }
    }

    /// A cut that puts newcomers in their slots is applied: the configuration is over, and with it what
    /// was accepted or decided in later instances.
    pub(super) fn upon_replacements(&mut self, newcomers: &[Origin], ctx: &mut Ctx<Self>) {
        let is_new = |origin: &&Origin| {
            let holder = self.newcomers.holders.get(&origin.process);
            holder.is_none_or(|(incarnation, _)| *incarnation != origin.incarnation)
        };
        let newcomers: Vec<Origin> = newcomers.iter().filter(is_new).copied().collect();
        if newcomers.is_empty() {
            return;
        }
        let slots: ProcessSet = newcomers.iter().map(|origin| origin.process).collect();
        let leader = first_leader(&self.processes, slots);
        let owed = self.ballots.succeed(self.applied, leader, slots);
        self.say(owed, ctx);
        self.decisions.clear();
        self.deferred.clear();
        self.proposed = Cut::default();
        self.stable = self.applied;
        self.newcomers.configuration += 1;
        self.newcomers.leader = Some(leader);
        self.newcomers
            .tickets
            .retain(|_, ticket| !slots.contains(ticket.to));
        for newcomer in newcomers {
            let adopt = self.newcomers.hold(newcomer);
            ctx.trigger(Effect::Adopt(adopt));
            self.let_go(newcomer.process, ctx);
        }
        // Who is put in its slot with its memory, as one that some process did not know, goes on.
        if !self.newcomers.may_hold(self.me) {
            self.newcomers.standing = Standing::Gone;
        }
        let configuration = self.newcomers.present();
        ctx.trigger(Effect::Indicate(Indication::Configuration(configuration)));
    }

    /// What is not ordered of the one before in the slot never will be; what is ordered leaves for
    /// those that may lack it. Its successor's state will have all of it.
    fn let_go(&mut self, slot: ProcessId, ctx: &mut Ctx<Self>) {
        let of_slot = |origin: &&Origin| origin.process == slot;
        let gone: Vec<Origin> = self.streams.keys().filter(of_slot).copied().collect();
        let ordered = self.streams.iter().map(|(o, s)| (*o, s.ordered));
        let ordered = Cut(ordered.filter(|(_, up_to)| *up_to > 0).collect());
        for origin in gone.into_iter().filter(|o| !self.newcomers.may_hold(*o)) {
            let Some(stream) = self.streams.remove(&origin) else {
                continue;
            };
            for p in self.processes.others(self.me.process).iter() {
                let held = self.holds.get(&p).map_or(0, |cut| cut.up_to(origin));
                let lacking = stream
                    .beyond(held)
                    .take_while(|(n, _)| *n <= stream.ordered);
                for (sequence, batch) in lacking.filter(|_| p != slot) {
                    let id = MessageId { origin, sequence };
                    let batch = batch.clone();
                    send(ctx, To::One(p), Message::Data { id, batch });
                }
            }
        }
        self.holds.insert(slot, ordered);
    }

    /// A configuration has begun here: what was said in it before is heard.
    pub(super) fn upon_beginning(&mut self, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_beginning(&mut self.ballots);
        let ahead = std::mem::take(&mut self.newcomers.ahead);
        for (from, configuration, message) in ahead {
            if configuration >= self.newcomers.configuration {
                self.upon_configured(from, configuration, message, ctx);
            }
        }
        for (id, batch) in self.newcomers.early.take() {
            self.upon_data(id, batch, ctx);
        }
    }

    /// A newcomer that the links have adopted, or one too far behind, wants the state. Before this process has applied what
    /// put it in its slot, there is none for it.
    pub(super) fn upon_join(
        &mut self,
        from: ProcessId,
        incarnation: Incarnation,
        is_newcomer: bool,
        ctx: &mut Ctx<Self>,
    ) {
        let origin = Origin {
            process: from,
            incarnation,
        };
        let was_put_there = self.newcomers.holders.contains_key(&from);
        let has_place = self.newcomers.may_hold(origin) && (was_put_there || !is_newcomer);
        if !self.newcomers.takes_part() || !has_place {
            return ctx.count("no state for it");
        }
        self.newcomers.tickets.retain(|_, ticket| ticket.to != from);
        self.newcomers.issued += 1;
        let ticket = self.newcomers.issued;
        let start = self.start();
        self.newcomers
            .tickets
            .insert(ticket, Ticket { to: from, start });
        ctx.trigger(Effect::Indicate(Indication::StateWanted { ticket }));
    }

    /// Where one begins whose state is that of this process now.
    fn start(&self) -> Start {
        let streams = self.streams.iter().filter(|(_, s)| s.ordered > 0);
        Start {
            configuration: self.newcomers.configuration,
            leader: self
                .newcomers
                .leader
                .unwrap_or(self.processes.coordinator(1)),
            applied: self.applied,
            newcomers: self.newcomers.origins(),
            streams: streams.map(|(o, s)| (*o, s.ordered, s.delivered)).collect(),
        }
    }

    /// The user's state has come: it leaves, and the decisions since, if they are not on their way.
    pub(super) fn upon_state(&mut self, ticket: u64, mut view: View, ctx: &mut Ctx<Self>) {
        let Some(Ticket { to, start }) = self.newcomers.tickets.remove(&ticket) else {
            return ctx.count("nobody waits for this state");
        };
        let mut whole = BytesMut::new();
        wire::put_head(&start, &mut whole);
        while let Some(chunk) = view.next_chunk() {
            whole.extend_from_slice(&chunk);
        }
        let mut whole = whole.freeze();
        let parts = whole.len().div_ceil(PIECE) as u64;
        for part in 0..parts {
            let piece = whole.split_to(PIECE.min(whole.len()));
            let message = Message::State {
                ticket,
                part,
                parts,
                piece,
            };
            send(ctx, To::One(to), message);
        }
        if start.configuration == self.newcomers.configuration {
            self.ballots.inform(to, start.applied.saturating_add(1));
        }
    }
}

/// Who has the first ballot after these slots were given to newcomers, who have no state yet.
fn first_leader(processes: &Membership, newcomers: ProcessSet) -> ProcessId {
    let mut old = processes.iter().filter(|p| !newcomers.contains(*p));
    old.next().unwrap_or(processes.coordinator(1))
}
