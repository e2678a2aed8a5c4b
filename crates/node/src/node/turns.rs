//! A module that serves one operation at a time, and those who wait for their turn.
use quorate_core::Addr;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many may wait.
const WAITING: usize = 256;

/// Too many wait already: nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{WAITING} operations wait already")]
pub struct TooMany;

struct Turn<A, O> {
    action: A,
    answer: oneshot::Sender<O>,
}

struct State<A: 'static, O> {
    waiting: VecDeque<Turn<A, O>>,
    /// Who is served. Whoever gives up is served nonetheless: an operation is never abandoned.
    served: Option<oneshot::Sender<O>>,
    begun: u64,
    requests: Option<Addr<(u64, A)>>,
}

impl<A, O> State<A, O> {
    fn begin(&mut self) {
        if self.served.is_some() {
            return;
        }
        // Who has given up before his turn is not served.
        self.waiting.retain(|turn| !turn.answer.is_closed());
        let next = self.waiting.pop_front();
        if let (Some(Turn { action, answer }), Some(requests)) = (next, &self.requests) {
            self.begun += 1;
            self.served = Some(answer);
            requests.send((self.begun, action));
        }
    }
}

fn lock<A, O>(state: &Mutex<State<A, O>>) -> MutexGuard<'_, State<A, O>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module. Clones share it.
pub struct Turns<A: 'static, O>(Arc<Mutex<State<A, O>>>);

impl<A, O> Clone for Turns<A, O> {
    fn clone(&self) -> Self {
        Turns(self.0.clone())
    }
}

impl<A: Send + 'static, O: Send + 'static> Turns<A, O> {
    /// The module that `spawn` starts, which takes numbered operations, and indicates their outcomes to
    /// what it is given.
    pub fn start(spawn: impl FnOnce(Addr<(u64, O)>) -> Addr<(u64, A)>) -> Self {
        let state = Arc::new(Mutex::new(State {
            waiting: VecDeque::new(),
            served: None,
            begun: 0,
            requests: None,
        }));
        let told = state.clone();
        let requests = spawn(Addr::new(move |(operation, outcome)| {
            let mut state = lock(&told);
            if operation != state.begun {
                return;
            }
            if let Some(answer) = state.served.take() {
                // Who has given up is not there any more.
                let _ = answer.send(outcome);
            }
            state.begin();
        }));
        lock(&state).requests = Some(requests);
        Turns(state)
    }

    /// Has this done when its turn comes; what comes back is the outcome.
    pub fn ask(&self, action: A) -> Result<oneshot::Receiver<O>, TooMany> {
        let (answer, outcome) = oneshot::channel();
        let mut state = lock(&self.0);
        state.waiting.retain(|turn| !turn.answer.is_closed());
        if state.waiting.len() >= WAITING {
            return Err(TooMany);
        }
        state.waiting.push_back(Turn { action, answer });
        state.begin();
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn one_at_a_time_and_whoever_has_begun_is_served_though_he_has_gone() {
        let (requested, requests) = mpsc::channel();
        let mut up = None;
        let turns: Turns<&str, &str> = Turns::start(|outcomes| {
            up = Some(outcomes);
            Addr::new(move |request| requested.send(request).unwrap())
        });
        let up = up.unwrap();
        drop(turns.ask("first").unwrap());
        drop(turns.ask("gave up").unwrap());
        let mut third = turns.ask("third").unwrap();
        assert_eq!(requests.try_iter().collect::<Vec<_>>(), [(1, "first")]);
        up.send((1, "done"));
        assert_eq!(requests.try_iter().collect::<Vec<_>>(), [(2, "third")]);
        // An outcome of something else is none.
        up.send((1, "done"));
        assert!(third.try_recv().is_err());
        up.send((2, "done, too"));
        assert_eq!(third.try_recv(), Ok("done, too"));
    }

    #[test]
    fn the_room_is_bounded() {
        let turns: Turns<u64, ()> = Turns::start(|_| Addr::new(drop));
        let waiting: Vec<_> = (0..=WAITING as u64)
            .map(|n| turns.ask(n).unwrap())
            .collect();
        assert_eq!(turns.ask(0).unwrap_err(), TooMany);
        drop(waiting);
        assert!(turns.ask(0).is_ok());
    }
}
