//! How a newcomer gets its state, or a process that is too far behind.
use super::{ByLeader, Effect, Event, Message, message::Start, send};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    link::{Adopt, Status, To},
    reconfigurable::{Indication, Restore},
};
use quorate_consensus::ballots::Ballots;
use quorate_core::{Ctx, ProcessId, message::Origin, wire};
use std::{collections::BTreeMap, time::Duration};

/// A state has at most so many pieces.
const PIECES: u64 = 1 << 13;
/// No count that a state speaks of is higher.
const MOST: u64 = 1 << 62;
/// The state is asked for again, from another process, after this,
const JOINING: Duration = Duration::from_millis(200);
/// …and ever more slowly, up to this.
const MOST_JOINING: Duration = Duration::from_secs(5);

/// What this process is to the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It does not know yet whether another incarnation held its seat.
    Waits,
    /// It takes part.
    Member,
    /// It lacks the state, which it asks for once the links have admitted it.
    Newcomer {
        /// Whether they have.
        admitted: bool,
    },
    /// Another incarnation holds its seat.
    Gone,
}

/// The pieces of an answer, as far as they have come.
#[derive(Debug)]
struct Pieces {
    ticket: u64,
    parts: u64,
    here: BTreeMap<u64, Bytes>,
}

/// How far this process has come on its way into the group.
#[derive(Debug)]
pub(super) struct Joining {
    role: Role,
    /// Whether this process came after another in its seat.
    came_later: bool,
    /// In epochs before this one it may have promised and accepted, or has no place.
    least: u64,
    pieces: BTreeMap<ProcessId, Pieces>,
    /// How many were asked.
    asked: usize,
    patience: Duration,
    /// Whether the wait before asking again is on.
    waits: bool,
    /// Whether something of an answer has come since.
    flows: bool,
}

impl Joining {
    /// One that takes part.
    pub(super) fn member() -> Self {
        Joining {
            role: Role::Member,
            came_later: false,
            least: 0,
            pieces: BTreeMap::new(),
            asked: 0,
            patience: JOINING,
            waits: false,
            flows: false,
        }
    }

    /// One that does not know yet whether it came after another.
    pub(super) fn unknown() -> Self {
        Joining {
            role: Role::Waits,
            ..Joining::member()
        }
    }

    /// Whether this process has its state, and its seat.
    pub(super) fn takes_part(&self) -> bool {
        self.role == Role::Member
    }

    /// Whether another holds its seat.
    pub(super) fn is_gone(&self) -> bool {
        self.role == Role::Gone
    }

    /// Another holds its seat.
    pub(super) fn leave(&mut self) {
        self.role = Role::Gone;
    }

    /// Nothing of an answer is wanted any more.
    pub(super) fn drop_pieces(&mut self) {
        self.pieces.clear();
    }

    /// Whether something of an answer has come since this was asked last.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.flows)
    }

    /// In epochs before this one this process has no place.
    #[cfg(test)]
    pub(super) fn begin_no_earlier_than(&mut self, least: u64) {
        self.least = least;
    }
}

impl ByLeader {
    /// Asks the next process for the state, and another one after a while.
    pub(super) fn upon_ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        self.joining.waits = false;
        self.ask_to_join(ctx);
    }

    fn ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        let joining = &mut self.joining;
        let wants = joining.role == Role::Newcomer { admitted: true };
        if !wants || joining.waits || self.processes.n() == 1 {
            return;
        }
        joining.waits = true;
        ctx.after(joining.patience, Event::AskToJoin);
        joining.patience = joining.patience.saturating_mul(2).min(MOST_JOINING);
        // An answer on its way would only be begun again.
        if !std::mem::take(&mut joining.flows) {
            self.ask_for_state(ctx);
        }
    }

    /// Asks the next process for the state.
    pub(super) fn ask_for_state(&mut self, ctx: &mut Ctx<Self>) {
        let joining = &mut self.joining;
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        let Some(p) = others.get(joining.asked % others.len().max(1)) else {
            return;
        };
        joining.asked += 1;
        let message = Message::Join {
            incarnation: self.me.incarnation,
            is_newcomer: joining.came_later,
        };
        send(ctx, To::One(*p), message);
    }

    /// More waits than is bearable: what has come is dropped, and a later state asked for. In the
    /// configurations that it dropped this process has said nothing yet, and may begin in any of them.
    pub(super) fn upon_too_far_behind(&mut self, ctx: &mut Ctx<Self>) {
        ctx.count("too far behind");
        self.ahead.clear();
        self.joining.pieces.clear();
        if self.joining.takes_part() {
            self.joining.role = Role::Newcomer { admitted: true };
            self.joining.least = self.epoch.number() + 1;
        }
        self.ask_to_join(ctx);
    }

    /// A piece of an answer. Of one process one answer counts, the latest that was begun.
    pub(super) fn upon_piece(
        &mut self,
        from: ProcessId,
        ticket: u64,
        (part, parts): (u64, u64),
        piece: Bytes,
        ctx: &mut Ctx<Self>,
    ) {
        let is_newcomer = matches!(self.joining.role, Role::Newcomer { .. });
        let wants = is_newcomer || self.missing.has_asked_for_state();
        if !wants || part >= parts || parts > PIECES {
            return ctx.count("no state is wanted");
        }
        let known = self.joining.pieces.get(&from);
        if known.is_none_or(|known| (known.ticket, known.parts) != (ticket, parts)) {
            let here = BTreeMap::new();
            let pieces = Pieces {
                ticket,
                parts,
                here,
            };
            self.joining.pieces.insert(from, pieces);
        }
        let Some(pieces) = self.joining.pieces.get_mut(&from) else {
            return;
        };
        pieces.here.insert(part, piece);
        self.joining.flows = true;
        if pieces.here.len() as u64 == pieces.parts {
            let mut whole = BytesMut::new();
            pieces
                .here
                .values()
                .for_each(|piece| whole.extend_from_slice(piece));
            self.joining.pieces.remove(&from);
            self.upon_whole(whole.freeze(), ctx);
        }
    }

    /// The state is here: this process takes part from there on.
    fn upon_whole(&mut self, mut whole: Bytes, ctx: &mut Ctx<Self>) {
        let Ok(start) = wire::take_head::<Start>(&mut whole) else {
            return ctx.count("undecodable state");
        };
        let is_own =
            |(origin, _): &(Origin, u64)| origin.process != self.me.process || *origin == self.me;
        let has_place =
            !self.joining.came_later || start.newcomers.iter().any(|(o, _)| *o == self.me);
        let is_possible = has_place
            && start.newcomers.iter().all(is_own)
            && start
                .newcomers
                .iter()
                .all(|(o, _)| self.processes.contains(o.process))
            && self.processes.contains(start.leader)
            && start.configuration >= self.joining.least
            && start.applied <= MOST
            && start.streams.iter().all(|(_, ordered, _)| *ordered <= MOST)
            && self.is_news(&start);
        if !is_possible {
            return ctx.count("impossible state");
        }
        self.begin(&start);
        for (origin, number) in &start.newcomers {
            ctx.trigger(Effect::Adopt(Adopt {
                slot: origin.process,
                incarnation: origin.incarnation,
                number: *number,
            }));
        }
        for restore in [Restore::Begin, Restore::Chunk(whole), Restore::Whole] {
            ctx.trigger(Effect::Indicate(Indication::Restore(restore)));
        }
        self.ask_everybody(ctx);
        let configuration = self.epoch.present();
        ctx.trigger(Effect::Indicate(Indication::Configuration(configuration)));
        self.upon_beginning(ctx);
    }

    /// Whether the state is of a later point of the order than this process's own.
    fn is_news(&self, start: &Start) -> bool {
        let own = (self.epoch.number(), self.sequence.applied());
        !self.joining.takes_part() || (start.configuration, start.applied) > own
    }

    fn begin(&mut self, start: &Start) {
        let goes_on = self.joining.takes_part() && start.configuration == self.epoch.number();
        self.joining.role = Role::Member;
        self.joining.pieces.clear();
        self.joining.patience = JOINING;
        self.epoch
            .begin(start.configuration, start.leader, &start.newcomers);
        self.missing.begin_anew();
        let may_hold = |origin| self.epoch.may_hold(origin);
        self.batches.advance(&start.streams, may_hold);
        self.sequence.skip_to(start.applied);
        if goes_on {
            self.ballots.skip_to(start.applied);
        } else {
            self.begin_epoch(start);
        }
    }

    fn begin_epoch(&mut self, start: &Start) {
        let (me, processes) = (self.me.process, self.processes);
        let ballots = Ballots::from(me, processes, start.leader, start.applied);
        self.ballots = if self.is_sparing() {
            ballots.to_leader_alone()
        } else {
            ballots
        };
        self.stable = start.applied;
        self.batches.forget_holders();
        self.sequence.begin_anew();
    }

    /// The links say how they stand: who has come back without its memory, this process maybe.
    pub(super) fn upon_status(&mut self, status: Status, ctx: &mut Ctx<Self>) {
        match (status, self.joining.role) {
            (
                Status::Replaced {
                    peer,
                    known,
                    newcomer,
                },
                _,
            ) => self.epoch.note_replaced(peer, known, newcomer),
            (Status::Admitted, Role::Waits) => {
                self.joining.role = Role::Member;
                self.upon_beginning(ctx);
            }
            (Status::Newcomer { .. }, Role::Waits) => {
                self.joining.role = Role::Newcomer { admitted: false };
                self.joining.came_later = true;
            }
            (Status::Admitted, Role::Newcomer { .. }) => {
                self.joining.role = Role::Newcomer { admitted: true };
                self.upon_ask_to_join(ctx);
            }
            (
                Status::Admitted
                | Status::Newcomer { .. }
                | Status::Connected { .. }
                | Status::Refused { .. }
                | Status::Ended { .. }
                | Status::Begun { .. }
                | Status::Gap { .. }
                | Status::Excluded { .. },
                _,
            ) => {}
        }
    }

    /// An epoch has begun here: what was said in it before is heard.
    pub(super) fn upon_beginning(&mut self, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_beginning(&mut self.ballots);
        for (from, epoch, message) in self.ahead.take_messages() {
            if epoch >= self.epoch.number() {
                self.upon_of_epoch(from, epoch, message, ctx);
            }
        }
        for (id, batch) in self.ahead.take_batches() {
            self.upon_data(id, batch, ctx);
        }
    }
}
