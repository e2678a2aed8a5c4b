//! The algorithm as it was printed, or as somebody might write it, with one wrong rule.
use super::*;
use quorate_core::watermark::WatermarkSet;

/// The rule that is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Decisions are applied in the order in which they come (B7-E1).
    AsTheyCome,
    /// A decision that comes before its turn is dropped (B7-E1).
    DropsEarly,
    /// A decision that comes after a later one is thrown away, with its messages (B7-E1).
    DropsLate,
    /// A decision is ignored if this process has not proposed (B7-E2).
    OnlyIfProposed,
    /// A message that a decision has delivered already is taken for new (B7-E4).
    ProposesAgain,
    /// A decision's messages are delivered in the order in which they arrived here (B7-E5).
    ArrivalOrder,
    /// A batch is cut to one message, the latest (B7-E8).
    CutAnywhere,
    /// Identifiers are proposed, and their payloads awaited (B7-E9).
    Identifiers,
}

type Batch = Vec<(MessageId, Bytes)>;

pub(super) struct Published {
    flaw: Flaw,
    /// In the order of arrival.
    unordered: Batch,
    /// Every message that arrived and is not delivered.
    held: BTreeMap<MessageId, Bytes>,
    delivered: WatermarkSet,
    /// The next instance.
    next: u64,
    wait: bool,
    decisions: BTreeMap<u64, Batch>,
}

impl Published {
    pub(super) fn new(flaw: Flaw) -> Self {
        Published {
            flaw,
            unordered: Vec::new(),
            held: BTreeMap::new(),
            delivered: WatermarkSet::default(),
            next: 1,
            wait: false,
            decisions: BTreeMap::new(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn upon_reliable(&mut self, id: MessageId, payload: Bytes) {
        if !self.delivered.contains(id) || self.has(Flaw::ProposesAgain) {
            self.held.insert(id, payload.clone());
            self.unordered.push((id, payload));
        }
    }

    fn upon_decide(&mut self, instance: u64, batch: Batch, ctx: &mut Ctx<Self>) {
        match self.flaw {
            Flaw::AsTheyCome => self.apply(instance.max(self.next - 1), batch, ctx),
            Flaw::DropsEarly if instance == self.next => self.apply(instance, batch, ctx),
            Flaw::DropsLate if instance >= self.next => self.apply(instance, batch, ctx),
            Flaw::DropsLate => self.unordered.retain(|(id, _)| !is_in(&batch, *id)),
            Flaw::OnlyIfProposed if self.wait => self.apply(instance, batch, ctx),
            Flaw::DropsEarly | Flaw::OnlyIfProposed => {}
            Flaw::ProposesAgain | Flaw::ArrivalOrder | Flaw::CutAnywhere | Flaw::Identifiers => {
                self.decisions.insert(instance, batch);
            }
        }
        self.upon_applicable(ctx);
    }

    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        while self
            .decisions
            .get(&self.next)
            .is_some_and(|batch| self.can_apply(batch))
        {
            if let Some(batch) = self.decisions.remove(&self.next) {
                self.apply(self.next, batch, ctx);
            }
        }
    }

    fn can_apply(&self, batch: &Batch) -> bool {
        let is_here = |id| self.held.contains_key(id) || self.delivered.contains(*id);
        !self.has(Flaw::Identifiers) || batch.iter().all(|(id, _)| is_here(id))
    }

    fn apply(&mut self, instance: u64, mut batch: Batch, ctx: &mut Ctx<Self>) {
        let arrival = |id| self.unordered.iter().position(|(other, _)| *other == id);
        if self.has(Flaw::ArrivalOrder) {
            batch.sort_by_key(|(id, _)| (arrival(*id).is_none(), arrival(*id)));
        } else {
            batch.sort_by_key(|(id, _)| *id);
        }
        self.unordered.retain(|(id, _)| !is_in(&batch, *id));
        for (id, payload) in batch {
            let held = self.held.remove(&id);
            if self.delivered.insert(id) || self.has(Flaw::ProposesAgain) {
                let payload = held
                    .filter(|_| self.has(Flaw::Identifiers))
                    .unwrap_or(payload);
                ctx.trigger(Effect::Deliver(Deliver { id, payload }));
            }
        }
        self.next = instance + 1;
        self.wait = false;
    }

    fn upon_unordered(&mut self, ctx: &mut Ctx<Self>) {
        if self.wait || self.unordered.is_empty() {
            return;
        }
        self.wait = true;
        let left_out = match self.flaw {
            Flaw::CutAnywhere => self.unordered.len() - 1,
            _ => 0,
        };
        let mut value = BytesMut::new();
        for (id, payload) in &self.unordered[left_out..] {
            let nothing = Bytes::new();
            let sent = if self.has(Flaw::Identifiers) {
                &nothing
            } else {
                payload
            };
            put_message(*id, sent, &mut value);
        }
        let (instance, value) = (self.next, value.freeze());
        ctx.trigger(Effect::Propose(Propose { instance, value }));
    }
}

fn is_in(batch: &Batch, id: MessageId) -> bool {
    batch.iter().any(|(other, _)| *other == id)
}

impl Algorithm for Published {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => {
                ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
            }
            Event::Reliable(reliable::Deliver { id, payload }) => {
                self.upon_reliable(id, payload);
                self.upon_applicable(ctx);
            }
            Event::Decide(Decide { instance, value }) => {
                let batch = take_messages(value).unwrap_or_default();
                self.upon_decide(instance, batch.into_iter().collect(), ctx);
            }
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.upon_unordered(ctx);
    }
}
