//! How a newcomer gets its state, or a process that is too far behind.
use super::{
    ByLeader, Effect, Event, Message, PATIENCE,
    message::Start,
    newcomers::{JOINING, Standing},
    send,
    stream::Stream,
};
use crate::ordering::Cut;
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    link::{Adopt, To},
    reconfigurable::Indication,
};
use quorate_consensus::ballots::Ballots;
use quorate_core::{Ctx, ProcessId, message::Origin, wire};
use std::{collections::BTreeMap, time::Duration};

/// A state has at most so many pieces.
const PIECES: u64 = 1 << 13;
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
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        if !wants || newcomers.waits || others.is_empty() {
            return;
        }
        let p = others[newcomers.asked % others.len()];
        newcomers.asked += 1;
        newcomers.waits = true;
        ctx.after(newcomers.patience, Event::AskToJoin);
        newcomers.patience = newcomers.patience.saturating_mul(2).min(MOST_JOINING);
        let message = Message::Join {
            incarnation: self.me.incarnation,
            is_newcomer: newcomers.came_later,
        };
        send(ctx, To::One(p), message);
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
        let wants = matches!(self.newcomers.standing, Standing::Newcomer { .. });
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
            && start.configuration >= self.newcomers.least;
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
        ctx.trigger(Effect::Indicate(Indication::State(whole)));
        self.ask_everybody(ctx);
        let configuration = self.newcomers.present();
        ctx.trigger(Effect::Indicate(Indication::Configuration(configuration)));
        self.upon_beginning(ctx);
    }

    fn begin(&mut self, start: &Start) {
        self.newcomers.standing = Standing::Member;
        self.newcomers.configuration = start.configuration;
        self.newcomers.leader = Some(start.leader);
        let holders = start.newcomers.iter();
        let holders = holders.map(|(o, number)| (o.process, (o.incarnation, *number)));
        self.newcomers.holders = holders.collect();
        self.newcomers.pieces.clear();
        self.newcomers.patience = JOINING;
        let streams = start.streams.iter();
        let streams =
            streams.map(|(o, ordered, delivered)| (*o, Stream::from(*ordered, *delivered)));
        self.streams = streams.collect();
        let returned = self.streams.get(&self.me).map_or(0, |own| own.ordered);
        self.outgoing.upon_return(returned);
        let (me, processes) = (self.me.process, self.processes);
        let ballots = Ballots::from(me, processes, start.leader, start.applied);
        self.ballots = if self.is_sparing() {
            ballots.to_leader_alone()
        } else {
            ballots
        };
        self.stable = start.applied;
        self.holds = processes.iter().map(|p| (p, Cut::default())).collect();
        self.applied = start.applied;
        self.proposed = Cut::default();
        self.decisions.clear();
        self.deferred.clear();
        self.patience = PATIENCE;
    }
}
