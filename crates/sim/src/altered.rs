//! Mutants of algorithms that know nothing of it: what happens between an algorithm and its neighbours is
//! altered on the way.
use quorate_core::{Algorithm, Context, Observe, ProcessId};
use std::{any::Any, fmt, sync::Arc};

/// Alters what an algorithm with these events and effects hears and says, at one process.
pub trait Alter<E, F>: Send {
    /// Puts what the algorithm hears in place of this event in `heard`: by default the event.
    fn hear(&mut self, event: E, heard: &mut Vec<E>) {
        heard.push(event);
    }

    /// Puts what leaves in place of this effect in `said`: by default the effect.
    fn say(&mut self, effect: F, said: &mut Vec<F>) {
        said.push(effect);
    }
}

type Made<E, F> = Box<dyn Alter<E, F>>;

/// An alteration, made anew for each algorithm that it fits.
#[derive(Clone)]
pub(crate) struct Alteration(Arc<dyn Fn(ProcessId) -> Box<dyn Any> + Send + Sync>);

impl fmt::Debug for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alteration")
    }
}

impl Alteration {
    pub(crate) fn new<E, F, A>(make: impl Fn(ProcessId) -> A + Send + Sync + 'static) -> Self
    where
        E: 'static,
        F: 'static,
        A: Alter<E, F> + 'static,
    {
        Alteration(Arc::new(move |p| {
            let made: Made<E, F> = Box::new(make(p));
            Box::new(made)
        }))
    }

    /// The algorithm at this process under the alteration, or the algorithm if the alteration is not for such
    /// events and effects.
    pub(crate) fn apply<A: Algorithm>(&self, p: ProcessId, algorithm: A) -> Result<Altered<A>, A> {
        let made = (self.0)(p).downcast::<Made<A::Event, A::Effect>>();
        match made {
            Ok(alter) => Ok(Altered {
                algorithm,
                alter: *alter,
            }),
            Err(_) => Err(algorithm),
        }
    }
}

/// An algorithm with an alteration.
pub(crate) struct Altered<A: Algorithm> {
    algorithm: A,
    alter: Made<A::Event, A::Effect>,
}

impl<A: Algorithm> Altered<A> {
    /// Alters the effects of a handler.
    fn release(&mut self, ctx: &mut Context<A::Event, A::Effect>) {
        let (mut effects, mut said) = (Vec::new(), Vec::new());
        ctx.take_effects(&mut effects);
        for effect in effects {
            self.alter.say(effect, &mut said);
        }
        for effect in said {
            ctx.trigger(effect);
        }
    }
}

impl<A: Algorithm> Algorithm for Altered<A> {
    type Event = A::Event;
    type Effect = A::Effect;

    fn upon_start(&mut self, ctx: &mut Context<A::Event, A::Effect>) {
        self.algorithm.upon_start(ctx);
        self.release(ctx);
    }

    fn upon(&mut self, event: A::Event, ctx: &mut Context<A::Event, A::Effect>) {
        let mut heard = Vec::new();
        self.alter.hear(event, &mut heard);
        for event in heard {
            self.algorithm.upon(event, ctx);
        }
        self.release(ctx);
    }

    fn upon_idle(&mut self, ctx: &mut Context<A::Event, A::Effect>) {
        self.algorithm.upon_idle(ctx);
        self.release(ctx);
    }
}

/// An algorithm of which only the events and effects are known.
trait Erased<E, F>: Send {
    fn start(&mut self, ctx: &mut Context<E, F>);
    fn handle(&mut self, event: E, ctx: &mut Context<E, F>);
    fn idle(&mut self, ctx: &mut Context<E, F>);
}

impl<A: Algorithm> Erased<A::Event, A::Effect> for A {
    fn start(&mut self, ctx: &mut Context<A::Event, A::Effect>) {
        self.upon_start(ctx);
    }

    fn handle(&mut self, event: A::Event, ctx: &mut Context<A::Event, A::Effect>) {
        self.upon(event, ctx);
    }

    fn idle(&mut self, ctx: &mut Context<A::Event, A::Effect>) {
        self.upon_idle(ctx);
    }
}

/// An algorithm that runs in place of another.
pub(crate) struct Replaced<E, F>(Box<dyn Erased<E, F>>);

impl<E: Observe + Send + 'static, F: Observe + Send + 'static> Algorithm for Replaced<E, F> {
    type Event = E;
    type Effect = F;

    fn upon_start(&mut self, ctx: &mut Context<E, F>) {
        self.0.start(ctx);
    }

    fn upon(&mut self, event: E, ctx: &mut Context<E, F>) {
        self.0.handle(event, ctx);
    }

    fn upon_idle(&mut self, ctx: &mut Context<E, F>) {
        self.0.idle(ctx);
    }
}

type Place<A> = Box<dyn FnOnce(A) -> Replaced<<A as Algorithm>::Event, <A as Algorithm>::Effect>>;

/// Puts another algorithm in the place of each one of a type.
#[derive(Clone)]
pub(crate) struct Replacement(Arc<dyn Fn(ProcessId) -> Box<dyn Any> + Send + Sync>);

impl Replacement {
    pub(crate) fn new<A: Algorithm, B: Algorithm<Event = A::Event, Effect = A::Effect>>(
        make: impl Fn(ProcessId, A) -> B + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        Replacement(Arc::new(move |p| {
            let make = make.clone();
            let place: Place<A> = Box::new(move |algorithm| Replaced(Box::new(make(p, algorithm))));
            Box::new(place)
        }))
    }

    /// What is put in the place of this algorithm, or the algorithm if the replacement is for another type.
    pub(crate) fn apply<A: Algorithm>(
        &self,
        p: ProcessId,
        algorithm: A,
    ) -> Result<Replaced<A::Event, A::Effect>, A> {
        match (self.0)(p).downcast::<Place<A>>() {
            Ok(place) => Ok(place(algorithm)),
            Err(_) => Err(algorithm),
        }
    }
}
