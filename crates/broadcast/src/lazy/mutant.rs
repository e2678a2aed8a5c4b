//! Lazy reliable broadcast that confuses origins and relayers.
use super::{Effect, Event, Lazy, Message};
use crate::data::Data;
use quorate_abstractions::link;
use quorate_core::{Algorithm, Ctx, ProcessId};

/// Messages are kept by origin, and the suspicion of the relayer is tested (B2-E3).
pub struct KeptByOrigin(pub Lazy);

impl Algorithm for KeptByOrigin {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Link(link::Deliver {
                from,
                message: Message::Data(data),
            }) => self.0.upon_data_by_origin(from, data, ctx),
            event => self.0.upon(event, ctx),
        }
    }
}

impl Lazy {
    pub(super) fn upon_data_by_origin(
        &mut self,
        relayer: ProcessId,
        data: Data,
        ctx: &mut Ctx<Self>,
    ) {
        if self.suspected.contains(relayer) {
            self.upon_data(relayer, data, ctx);
        } else {
            self.keep_as_from(data.id.origin.process, data, ctx);
        }
    }

    /// Keeps the message as if it came from this process, and as if nobody were suspected.
    pub(super) fn keep_as_from(&mut self, relayer: ProcessId, data: Data, ctx: &mut Ctx<Self>) {
        let suspected = std::mem::take(&mut self.suspected);
        self.upon_data(relayer, data, ctx);
        self.suspected = suspected;
    }
}
