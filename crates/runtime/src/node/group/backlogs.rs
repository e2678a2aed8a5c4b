//! Combines the backlogs of several users of one order: the link is told of the worst.
use quorate_abstractions::pressure::Backlog;
use quorate_core::Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// The last report of each user.
struct Reports {
    link: Addr<Backlog>,
    all: Vec<Backlog>,
    worst: Backlog,
}

/// Several users of one order.
pub(super) struct Backlogs(Arc<Mutex<Reports>>);

impl Backlogs {
    /// No users yet.
    pub(super) fn new(link: Addr<Backlog>) -> Self {
        Backlogs(Arc::new(Mutex::new(Reports {
            link,
            all: Vec::new(),
            worst: Backlog::Open,
        })))
    }

    /// The address at which one more user says how far it is behind.
    pub(super) fn join(&self) -> Addr<Backlog> {
        let lock = |said: &Mutex<Reports>| -> usize {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.all.push(Backlog::Open);
            said.all.len() - 1
        };
        let (said, place) = (self.0.clone(), lock(&self.0));
        Addr::new(move |backlog| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.upon(place, backlog);
        })
    }
}

impl Reports {
    /// When a user in the worst state repeats its report, the worst is reported again: it means that this
    /// user has read something since.
    fn upon(&mut self, place: usize, backlog: Backlog) {
        self.all[place] = backlog;
        let worst = self
            .all
            .iter()
            .copied()
            .max_by_key(|backlog| rank(*backlog));
        let worst = worst.unwrap_or(Backlog::Open);
        if worst != self.worst || (worst == backlog && backlog != Backlog::Open) {
            self.worst = worst;
            self.link.send(worst);
        }
    }
}

fn rank(backlog: Backlog) -> u8 {
    match backlog {
        Backlog::Open => 0,
        Backlog::Full => 1,
        Backlog::Over => 2,
        Backlog::Stuck => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_until_it_is_better() {
        let told: Arc<Mutex<Vec<Backlog>>> = Arc::default();
        let link = told.clone();
        let backlogs = Backlogs::new(Addr::new(move |backlog| link.lock().unwrap().push(backlog)));
        let (one, other) = (backlogs.join(), backlogs.join());
        for (who, what) in [
            (&one, Backlog::Full),
            (&other, Backlog::Stuck),
            (&one, Backlog::Open),
            (&one, Backlog::Full),
            (&other, Backlog::Full),
            (&other, Backlog::Open),
            (&one, Backlog::Full),
            (&one, Backlog::Open),
            (&other, Backlog::Open),
        ] {
            who.send(what);
        }
        let expected = [
            Backlog::Full,
            Backlog::Stuck,
            Backlog::Full,
            Backlog::Full,
            Backlog::Open,
        ];
        // When the second user reports `Open`, the first one's `Full` still holds.
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
