//! Where connections wait until it is known who is at their other end.
//!
//! A stranger has a place in the hall until he is admitted: on a port with TLS until the handshake is done, and where
//! there are users until he has shown a password. The hall is small. When it is full and another one comes, the one who
//! has been there for the longest time has to go: so whoever opens many connections and says nothing keeps nobody out
//! who knows what to say. Those who are admitted have places of their own, which strangers cannot take.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A hall, and the places for those who are admitted. Clones share both.
#[derive(Clone)]
pub struct Hall {
    strangers: Arc<Mutex<Strangers>>,
    inside: Arc<Semaphore>,
}

struct Strangers {
    most: usize,
    /// The number of the last one.
    last: u64,
    /// By number, and so by age.
    present: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection.
pub struct Place {
    hall: Hall,
    state: State,
}

enum State {
    Stranger { number: u64, out: CancellationToken },
    Admitted { _permit: OwnedSemaphorePermit },
}

impl Hall {
    /// A hall for so many strangers, before a room with so many places.
    pub fn new(strangers: usize, inside: usize) -> Self {
        Hall {
            strangers: Arc::new(Mutex::new(Strangers {
                most: strangers,
                last: 0,
                present: BTreeMap::new(),
            })),
            inside: Arc::new(Semaphore::new(inside)),
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stranger. If the hall is full, the oldest has to go.
    pub fn enter(&self) -> Place {
        let out = CancellationToken::new();
        let mut strangers = self.strangers();
        strangers.last += 1;
        let number = strangers.last;
        strangers.present.insert(number, out.clone());
        if strangers.present.len() > strangers.most
            && let Some((_, oldest)) = strangers.present.pop_first()
        {
            oldest.cancel();
        }
        drop(strangers);
        Place {
            hall: self.clone(),
            state: State::Stranger { number, out },
        }
    }

    /// A place inside for somebody who need not show anything; `None` if none is free.
    pub fn enter_admitted(&self) -> Option<Place> {
        let permit = self.inside.clone().try_acquire_owned().ok()?;
        Some(Place {
            hall: self.clone(),
            state: State::Admitted { _permit: permit },
        })
    }

    /// The same, when one is free.
    pub async fn wait_admitted(&self) -> Option<Place> {
        // The semaphore is never closed.
        let permit = self.inside.clone().acquire_owned().await.ok()?;
        Some(Place {
            hall: self.clone(),
            state: State::Admitted { _permit: permit },
        })
    }
}

impl Place {
    /// Admits the stranger. Returns `false` if no place inside is free, or he has to go already.
    pub fn admit(&mut self) -> bool {
        let State::Stranger { number, .. } = self.state else {
            return true;
        };
        let Ok(permit) = self.hall.inside.clone().try_acquire_owned() else {
            return false;
        };
        if self.hall.strangers().present.remove(&number).is_none() {
            return false;
        }
        self.state = State::Admitted { _permit: permit };
        true
    }

    /// What tells a stranger that he has to go. Nobody tells those who are admitted.
    pub fn out(&self) -> Option<CancellationToken> {
        match &self.state {
            State::Stranger { out, .. } => Some(out.clone()),
            State::Admitted { .. } => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let State::Stranger { number, .. } = &self.state {
            self.hall.strangers().present.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn must_go(place: &Place) -> bool {
        place.out().is_some_and(|out| out.is_cancelled())
    }

    #[test]
    fn the_oldest_stranger_goes_and_who_is_admitted_stays() {
        let hall = Hall::new(2, 1);
        let mut first = hall.enter();
        assert!(first.admit() && first.admit());
        let (second, third) = (hall.enter(), hall.enter());
        assert!(!must_go(&second));
        let fourth = hall.enter();
        assert!(must_go(&second) && !must_go(&third) && !must_go(&fourth));
        assert!(first.out().is_none());
        // Who has left makes room.
        drop(third);
        let fifth = hall.enter();
        assert!(!must_go(&fourth) && !must_go(&fifth));
    }

    #[test]
    fn places_inside_are_limited_and_given_back() {
        let hall = Hall::new(2, 1);
        let (mut first, mut second) = (hall.enter(), hall.enter());
        assert!(first.admit());
        assert!(!second.admit() && hall.enter_admitted().is_none());
        drop(first);
        assert!(second.admit());
        drop(second);
        assert!(hall.enter_admitted().is_some());
    }

    #[test]
    fn who_has_to_go_is_not_admitted_any_more() {
        let hall = Hall::new(1, 2);
        let mut first = hall.enter();
        let _second = hall.enter();
        assert!(must_go(&first) && !first.admit());
        assert!(hall.enter_admitted().is_some(), "no place was kept");
    }
}
