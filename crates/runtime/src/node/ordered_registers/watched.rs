//! Who watches which registers.
use super::versioned::Held;
use crate::{error::Error, node::Abandon};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::watch;

/// Why nobody is told anything any more.
pub(super) type Ended = Arc<OnceLock<Error>>;

/// Who watches which registers.
#[derive(Default)]
pub(super) struct Watched {
    registers: Mutex<Watches>,
    ended: Ended,
}

/// Where watches are told what their registers hold.
#[derive(Default)]
struct Watches {
    senders: BTreeMap<Vec<u8>, watch::Sender<Held>>,
    /// How many there were when those that nobody reads were taken out.
    looked_at: usize,
}

impl Watches {
    /// Takes out those that nobody reads, once there are twice as many as were left the last time.
    fn prune(&mut self) {
        if self.senders.len() > 2 * self.looked_at + 16 {
            self.senders.retain(|_, told| !told.is_closed());
            self.looked_at = self.senders.len();
        }
    }
}

impl Watched {
    fn registers(&self) -> MutexGuard<'_, Watches> {
        self.registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The register holds this from now on.
    pub(super) fn tell(&self, register: &[u8], held: &Held) {
        let mut registers = self.registers();
        if let Some(told) = registers.senders.get(register) {
            told.send_replace(held.clone());
            if told.is_closed() {
                registers.senders.remove(register);
            }
        }
    }

    /// Another state is there: what each watched register holds now.
    pub(super) fn tell_all(&self, held: impl Fn(&[u8]) -> Held) {
        self.registers().senders.retain(|register, told| {
            let now = held(register);
            told.send_if_modified(|before| {
                let is_news = *before != now;
                *before = now;
                is_news
            });
            !told.is_closed()
        });
    }

    /// Why nobody is told anything any more, once it is so.
    pub(super) fn ended(&self) -> Ended {
        self.ended.clone()
    }

    /// Where it is told what the register holds, which is this now.
    pub(super) fn watch(&self, register: &[u8], present: Held) -> watch::Receiver<Held> {
        let mut registers = self.registers();
        registers.prune();
        if self.ended.get().is_some() {
            // Its sender is gone at once.
            return watch::channel(present).1;
        }
        let told = registers.senders.entry(register.to_vec());
        told.or_insert_with(|| watch::Sender::new(present))
            .subscribe()
    }
}

impl Abandon for Watched {
    fn close(&self, _: &Error) {}

    fn abandon(&self, error: &Error) {
        let mut registers = self.registers();
        let _ = self.ended.set(error.clone());
        registers.senders.clear();
    }
}
