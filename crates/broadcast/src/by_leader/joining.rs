//! How a newcomer gets its state, or a process that is too far behind.
use super::{
    ByLeader, Effect, Event, Message, PATIENCE,
    behind::Behind,
    message::Start,
    newcomers::{JOINING, Standing},
    send,
};
use crate::ordering::Cut;
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    link::{Adopt, To},
    reconfigurable::{Indication, Restore},
};
use quorate_consensus::ballots::Ballots;
use quorate_core::{Ctx, ProcessId, message::Origin, wire};
use std::{collections::BTreeMap, time::Duration};

/// A state has at most so many pieces.
const PIECES: u64 = 1 << 13;
/// No count that a state speaks of is higher.
const MOST: u64 = 1 << 62;
/// The state is asked for again ever more slowly, up to this.
const MOST_JOINING: Duration = Duration::from_secs(5);

/// The pieces of an answer, as far as they have come.
#[derive(Debug)]
pub(super) struct Pieces {
    ticket: u64,
    parts: u64,
    here: BTreeMap<u64, Bytes>,
}

impl ByLeader {
    /// Asks the next process for the state, and another one after a while.
    pub(super) fn upon_ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        self.newcomers.waits = false;
        self.ask_to_join(ctx);
    }

    fn ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        let newcomers = &mut self.newcomers;
        let wants = newcomers.standing == Standing::Newcomer { admitted: true };
        if !wants || newcomers.waits || self.processes.n() == 1 {
            return;
        }
        newcomers.waits = true;
        ctx.after(newcomers.patience, Event::AskToJoin);
        newcomers.patience = newcomers.patience.saturating_mul(2).min(MOST_JOINING);
        // An answer on its way would only be begun again.
        if !std::mem::take(&mut newcomers.flows) {
            self.ask_for_state(ctx);
        }
    }

    /// Asks the next process for the state.
    pub(super) fn ask_for_state(&mut self, ctx: &mut Ctx<Self>) {
        let newcomers = &mut self.newcomers;
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        let Some(p) = others.get(newcomers.asked % others.len().max(1)) else {
            return;
        };
        newcomers.asked += 1;
        let message = Message::Join {
            incarnation: self.me.incarnation,
            is_newcomer: newcomers.came_later,
        };
        send(ctx, To::One(*p), message);
    }

    /// More waits than is bearable: what has come is dropped, and a later state asked for. In the
    /// configurations that it dropped this process has said nothing yet, and may begin in any of them.
    pub(super) fn upon_too_far_behind(&mut self, ctx: &mut Ctx<Self>) {
        ctx.count("too far behind");
        self.newcomers.ahead.clear();
        self.newcomers.pieces.clear();
        if self.newcomers.takes_part() {
            self.newcomers.standing = Standing::Newcomer { admitted: true };
            self.newcomers.least = self.newcomers.configuration + 1;
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
        let is_newcomer = matches!(self.newcomers.standing, Standing::Newcomer { .. });
        let wants = is_newcomer || self.newcomers.behind.has_asked();
        if !wants || part >= parts || parts > PIECES {
            return ctx.count("no state is wanted");
        }
        let known = self.newcomers.pieces.get(&from);
        if known.is_none_or(|known| (known.ticket, known.parts) != (ticket, parts)) {
            let here = BTreeMap::new();
            let pieces = Pieces {
                ticket,
                parts,
                here,
            };
            self.newcomers.pieces.insert(from, pieces);
        }
        let Some(pieces) = self.newcomers.pieces.get_mut(&from) else {
            return;
        };
        pieces.here.insert(part, piece);
        self.newcomers.flows = true;
        if pieces.here.len() as u64 == pieces.parts {
            let mut whole = BytesMut::new();
            pieces
                .here
                .values()
                .for_each(|piece| whole.extend_from_slice(piece));
            self.newcomers.pieces.remove(&from);
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
            !self.newcomers.came_later || start.newcomers.iter().any(|(o, _)| *o == self.me);
        let is_possible = has_place
            && start.newcomers.iter().all(is_own)
            && start
                .newcomers
                .iter()
                .all(|(o, _)| self.processes.contains(o.process))
            && self.processes.contains(start.leader)
            && start.configuration >= self.newcomers.least
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
        let configuration = self.newcomers.present();
        ctx.trigger(Effect::Indicate(Indication::Configuration(configuration)));
        self.upon_beginning(ctx);
    }

    /// Whether the state is of a later point of the order than this process's own.
    fn is_news(&self, start: &Start) -> bool {
        let own = (self.newcomers.configuration, self.applied);
        !self.newcomers.takes_part() || (start.configuration, start.applied) > own
    }

    fn begin(&mut self, start: &Start) {
        let goes_on =
            self.newcomers.takes_part() && start.configuration == self.newcomers.configuration;
        self.newcomers.standing = Standing::Member;
        self.newcomers.configuration = start.configuration;
        self.newcomers.leader = Some(start.leader);
        let holders = start.newcomers.iter();
        let holders = holders.map(|(o, number)| (o.process, (o.incarnation, *number)));
        self.newcomers.holders = holders.collect();
        self.newcomers.pieces.clear();
        self.newcomers.patience = JOINING;
        self.newcomers.behind = Behind::default();
        let newcomers = &self.newcomers;
        self.streams.retain(|origin, _| newcomers.may_hold(*origin));
        for (origin, ordered, delivered) in &start.streams {
            let stream = self.streams.entry(*origin).or_default();
            stream.advance(*ordered, *delivered);
        }
        let returned = self.streams.get(&self.me).map_or(0, |own| own.ordered);
        self.outgoing.upon_return(returned);
        self.applied = start.applied;
        self.patience = PATIENCE;
        if goes_on {
            self.ballots.skip_to(start.applied);
            self.decisions = self.decisions.split_off(&(start.applied + 1));
            self.deferred = self.deferred.split_off(&(start.applied + 1));
        } else {
            self.begin_configuration(start);
        }
    }

    fn begin_configuration(&mut self, start: &Start) {
        let (me, processes) = (self.me.process, self.processes);
        let ballots = Ballots::from(me, processes, start.leader, start.applied);
        self.ballots = if self.is_sparing() {
            ballots.to_leader_alone()
        } else {
            ballots
        };
        self.stable = start.applied;
        self.holds = processes.iter().map(|p| (p, Cut::default())).collect();
        self.proposed = Cut::default();
        self.decisions.clear();
        self.deferred.clear();
    }
}
