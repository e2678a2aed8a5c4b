//! The simulated process, given to a wiring function in place of a real one.
use crate::{
    altered::{Alter, Alteration, Replacement},
    state::Shared,
};
use quorate_core::{
    Algorithm, Counters, Host, Incarnation, Mailbox, Membership, Name, Observe, ProcessId,
    actor::join, message::fold,
};
use std::sync::Arc;

/// One process of a world, as its modules see it.
#[derive(Clone)]
pub struct SimHost {
    pub(crate) shared: Arc<Shared>,
    pub(crate) me: ProcessId,
    pub(crate) incarnation: Incarnation,
    pub(crate) membership: Membership,
    pub(crate) counters: Counters,
    pub(crate) path: Name,
    pub(crate) seed: u64,
    pub(crate) alteration: Option<Alteration>,
    pub(crate) replacements: Vec<Replacement>,
}

impl SimHost {
    /// The same process, where the algorithms with these events and effects are altered, each by an alteration
    /// of its own: for mutants.
    #[must_use]
    pub fn altered<E: 'static, F: 'static, A: Alter<E, F> + 'static>(
        self,
        make: impl Fn(ProcessId) -> A + Send + Sync + 'static,
    ) -> Self {
        let alteration = Some(Alteration::new(make));
        SimHost { alteration, ..self }
    }

    /// The same process, where another algorithm stands in the place of each one of this type, and is made of
    /// it: for mutants that need what is private. Of several for one type, the first counts.
    #[must_use]
    pub fn replaced<A: Algorithm, B: Algorithm<Event = A::Event, Effect = A::Effect>>(
        mut self,
        make: impl Fn(ProcessId, A) -> B + Send + Sync + 'static,
    ) -> Self {
        self.replacements.push(Replacement::new(make));
        self
    }

    /// Starts the algorithm, altered if the alteration fits it.
    fn start_altered<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        let index = mailbox.index();
        let seed = fold(self.seed, index as u64);
        let (name, counters) = (self.path.clone(), self.counters.clone());
        let join_as = |name, counters| match &self.alteration {
            None => join(name, seed, counters, mailbox, algorithm, route),
            Some(alteration) => match alteration.apply(self.me, algorithm) {
                Ok(altered) => join(name, seed, counters, mailbox, altered, route),
                Err(algorithm) => join(name, seed, counters, mailbox, algorithm, route),
            },
        };
        let actor = join_as(name.clone(), counters);
        self.shared.lock().install(index, name, actor);
    }
}

impl Host for SimHost {
    fn me(&self) -> ProcessId {
        self.me
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn processes(&self) -> &Membership {
        &self.membership
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn path(&self) -> &Name {
        &self.path
    }

    fn at(&self, segment: &str) -> Self {
        let path = self.path.at(segment);
        SimHost {
            path,
            ..self.clone()
        }
    }

    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        let index = self.shared.lock().add_module(self.me, self.path.clone());
        Mailbox::new(index, self.shared.clone())
    }

    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        let mut own = algorithm;
        for replacement in &self.replacements {
            match replacement.apply(self.me, own) {
                Ok(other) => return self.start_altered(mailbox, other, route),
                Err(algorithm) => own = algorithm,
            }
        }
        self.start_altered(mailbox, own, route);
    }
}
