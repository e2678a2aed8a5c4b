//! The simulated process, given to a wiring function in place of a real one.
use crate::state::Shared;
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
        let index = mailbox.index();
        let seed = fold(self.seed, index as u64);
        let (name, counters) = (self.path.clone(), self.counters.clone());
        let actor = join(name.clone(), seed, counters, mailbox, algorithm, route);
        self.shared.lock().install(index, name, actor);
    }
}
