//! What was accepted or decided and is not here is asked for, and given to who asks.
use super::{ByLeader, Message, send};
use crate::ordering::Cut;
use quorate_abstractions::link::To;
use quorate_core::{Ctx, MessageId, ProcessId};

/// Batches of one origin in one answer.
const ANSWER: usize = 64;

impl ByLeader {
    /// Batches were missing for a while: the next process is asked for them.
    pub(super) fn upon_ask(&mut self, ctx: &mut Ctx<Self>) {
        self.waits = false;
        if !self.is_waiting_for_batches() {
            return;
        }
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        let Some(p) = others.get(self.asked as usize % others.len().max(1)) else {
            return;
        };
        self.asked += 1;
        let held = self.held();
        send(ctx, To::One(*p), Message::Lacks { held });
    }

    /// Asks everybody at once: what origins sent before they knew of this process will not come by itself.
    pub(super) fn ask_everybody(&self, ctx: &mut Ctx<Self>) {
        let others = To::Some(self.processes.others(self.me.process));
        send(ctx, others, Message::Lacks { held: self.held() });
    }

    fn held(&self) -> Cut {
        let held = self.streams.iter().map(|(o, s)| (*o, s.contiguous));
        Cut(held.collect())
    }

    pub(super) fn upon_lacks(&mut self, from: ProcessId, held: &Cut, ctx: &mut Ctx<Self>) {
        for (origin, stream) in &self.streams {
            for (sequence, batch) in stream.beyond(held.up_to(*origin)).take(ANSWER) {
                let id = MessageId {
                    origin: *origin,
                    sequence,
                };
                let batch = batch.clone();
                send(ctx, To::One(from), Message::Data { id, batch });
            }
        }
    }

    pub(super) fn is_waiting_for_batches(&self) -> bool {
        let next = self.decisions.get(&(self.applied + 1));
        let mut wanted = next.into_iter().chain(self.ballots.reported());
        !self.deferred.is_empty() || wanted.any(|cut| !self.holds_all(cut))
    }
}
