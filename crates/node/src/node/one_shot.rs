//! Those who wait for the decisions of a one-shot module, and the decisions that are remembered.
//!
//! Memory is bounded: the last [`REMEMBERED`] decisions, so many instances that somebody waits for, and
//! which instances are decided (a watermark).
use quorate_core::{Addr, watermark::Watermark};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many decisions are remembered, and in how many instances somebody may wait.
const REMEMBERED: usize = 1024;

/// Instances so far above the lowest undecided one are refused: the modules drop what lies further ahead.
const AHEAD: u64 = 1 << 15;

/// Why nothing was asked of the module.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The decision was dropped from memory.
    #[error("instance {0} is decided, but what was decided is not remembered any more")]
    Forgotten(u64),
    /// A lower instance must be decided first.
    #[error(
        "instance {0} is too far ahead: {1} is undecided, and the highest that is accepted is {2}"
    )]
    TooFar(u64, u64, u64),
    /// Too many wait.
    #[error("{REMEMBERED} instances are waited for already")]
    TooMany,
}

struct Ledger<D> {
    decided: Watermark,
    remembered: BTreeMap<u64, D>,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<D>>>,
}

type Shared<D> = Arc<Mutex<Ledger<D>>>;

/// A module's instances: requests `R`, decisions `D`. Clones share it.
pub struct OneShot<R: 'static, D> {
    requests: Addr<R>,
    ledger: Shared<D>,
}

impl<R, D> Clone for OneShot<R, D> {
    fn clone(&self) -> Self {
        OneShot {
            requests: self.requests.clone(),
            ledger: self.ledger.clone(),
        }
    }
}

fn lock<D>(ledger: &Shared<D>) -> MutexGuard<'_, Ledger<D>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: 'static, D: Clone + Send + 'static> OneShot<R, D> {
    /// The module that `spawn` starts, which indicates its decisions to what it is given.
    pub fn start<E>(spawn: impl FnOnce(Addr<(u64, D)>) -> Result<Addr<R>, E>) -> Result<Self, E> {
        let ledger = Arc::new(Mutex::new(Ledger {
            decided: Watermark::default(),
            remembered: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }));
        let told = ledger.clone();
        let up = Addr::new(move |(instance, decision)| upon_decide(&told, instance, decision));
        Ok(OneShot {
            requests: spawn(up)?,
            ledger,
        })
    }

    /// Makes a request in an instance, if that is undecided; what comes back is its decision.
    pub fn ask(&self, instance: u64, request: R) -> Result<oneshot::Receiver<D>, Refusal> {
        let (answer, decision) = oneshot::channel();
        {
            let mut ledger = lock(&self.ledger);
            if let Some(known) = ledger.remembered.get(&instance) {
                let _ = answer.send(known.clone());
                return Ok(decision);
            }
            if ledger.decided.contains(instance) {
                return Err(Refusal::Forgotten(instance));
            }
            let low = ledger.decided.low();
            if instance - low > AHEAD {
                return Err(Refusal::TooFar(instance, low + 1, low + AHEAD));
            }
            ledger.waiting.retain(|_, waiting| {
                waiting.retain(|answer| !answer.is_closed());
                !waiting.is_empty()
            });
            if ledger.waiting.len() >= REMEMBERED && !ledger.waiting.contains_key(&instance) {
                return Err(Refusal::TooMany);
            }
            ledger.waiting.entry(instance).or_default().push(answer);
        }
        self.requests.send(request);
        Ok(decision)
    }
}

fn upon_decide<D: Clone>(ledger: &Shared<D>, instance: u64, decision: D) {
    let mut ledger = lock(ledger);
    for answer in ledger.waiting.remove(&instance).into_iter().flatten() {
        // Who has given up is not there any more.
        let _ = answer.send(decision.clone());
    }
    ledger.decided.insert(instance);
    ledger.remembered.insert(instance, decision);
    if ledger.remembered.len() > REMEMBERED {
        ledger.remembered.pop_first();
    }
}

#[cfg(test)]
mod tests;
