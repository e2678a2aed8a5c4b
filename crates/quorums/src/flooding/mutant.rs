//! Flooding that delivers every copy: a mutant that FLD2 catches.
use super::{
    Effect, Event, Flooding, FloodingSettings, Message,
    message::{Item, Part},
    spawn_as,
};
use quorate_abstractions::{
    flooding::Request,
    link::{self, Deliver},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Layer, Observe, wire::Wire};

struct Forgetful<M>(Flooding<M>);

impl<M: Wire + Observe> Algorithm for Forgetful<M> {
    type Event = Event<M>;
    type Effect = Effect<M>;

    fn upon(&mut self, event: Event<M>, ctx: &mut Ctx<Self>) {
        if let Event::Link(Deliver { message, .. }) = &event {
            for part in &message.0 {
                self.upon_part(part, ctx);
            }
        }
        self.0.upon(event, ctx);
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        self.0.upon_idle(ctx);
    }
}

impl<M: Wire + Observe> Forgetful<M> {
    /// Delivers a part that the algorithm is about to drop because it knows it.
    fn upon_part(&mut self, part: &Part, ctx: &mut Ctx<Self>) {
        let Part::Whole(id, bytes) = part else {
            return;
        };
        let known = self.0.known.get(&id.origin);
        if known.is_none_or(|known| known.is_new(id.version)) {
            return;
        }
        if let Ok(item) = Item::decode(id.version, usize::MAX, bytes.clone()) {
            self.0.deliver(id.origin, item, ctx);
        }
    }
}

/// Starts flooding that delivers every copy of a message. Only for tests and demonstrations.
pub fn spawn_mutant<M: Wire + Observe>(
    host: &impl Host,
    settings: FloodingSettings,
    links: impl Layer<link::Port<Message>>,
    up: Addr<Deliver<M>>,
) -> Addr<Request<M>> {
    let algorithm = Forgetful(Flooding::new(host, settings));
    spawn_as(host, algorithm, links, &Addr::nowhere(), up)
}
