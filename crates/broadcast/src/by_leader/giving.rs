//! How this process gives its state to who wants it.
use super::{ByLeader, Effect, Message, message::Start, send};
use bytes::BytesMut;
use quorate_abstractions::{
    link::To,
    reconfigurable::{Indication, View},
};
use quorate_core::{Ctx, Incarnation, ProcessId, ProcessSet, message::Origin, wire};
use std::collections::BTreeMap;

/// The state travels in pieces of this size.
const PIECE: usize = 512 << 10;

/// A state that was wanted: by whom, and where it begins.
#[derive(Debug)]
struct Ticket {
    to: ProcessId,
    start: Start,
}

/// The states that are wanted of this process.
#[derive(Debug, Default)]
pub(super) struct Giving {
    tickets: BTreeMap<u64, Ticket>,
    issued: u64,
}

impl Giving {
    /// These want no state any more: they are gone.
    pub(super) fn stop(&mut self, gone: ProcessSet) {
        self.tickets.retain(|_, ticket| !gone.contains(ticket.to));
    }

    fn issue(&mut self, to: ProcessId, start: Start) -> u64 {
        self.tickets.retain(|_, ticket| ticket.to != to);
        self.issued += 1;
        self.tickets.insert(self.issued, Ticket { to, start });
        self.issued
    }
}

impl ByLeader {
    /// A newcomer that the links have adopted, or one too far behind, wants the state. Before this process
    /// has applied what put it in its seat, there is none for it.
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
        let was_put_there = self.epoch.is_replaced(from);
        let has_place = self.epoch.may_hold(origin) && (was_put_there || !is_newcomer);
        if !self.joining.takes_part() || !has_place {
            return ctx.count("no state for it");
        }
        let start = self.start();
        let ticket = self.giving.issue(from, start);
        ctx.trigger(Effect::Indicate(Indication::StateWanted { ticket }));
    }

    /// Where one begins whose state is that of this process now.
    fn start(&self) -> Start {
        Start {
            configuration: self.epoch.number(),
            leader: self.epoch.leader(&self.processes),
            applied: self.sequence.applied(),
            newcomers: self.epoch.newcomers(),
            streams: self.batches.ordered(),
        }
    }

    /// The user's state has come: it leaves, and the decisions since, if they are not on their way.
    pub(super) fn upon_state(&mut self, ticket: u64, mut view: View, ctx: &mut Ctx<Self>) {
        let Some(Ticket { to, start }) = self.giving.tickets.remove(&ticket) else {
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
        if start.configuration == self.epoch.number() {
            self.ballots.inform(to, start.applied.saturating_add(1));
        }
    }
}
