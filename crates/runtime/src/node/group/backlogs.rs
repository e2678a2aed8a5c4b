//! How far several users of one order are behind, as one: the link is told of the worst.
use quorate_abstractions::pressure::Backlog;
use quorate_core::Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// What each of them said last.
struct Said {
    link: Addr<Backlog>,
    all: Vec<Backlog>,
    worst: Backlog,
}

/// Several users of one order.
pub(super) struct Backlogs(Arc<Mutex<Said>>);

impl Backlogs {
    /// Nobody yet.
    pub(super) fn new(link: Addr<Backlog>) -> Self {
        Backlogs(Arc::new(Mutex::new(Said {
            link,
            all: Vec::new(),
            worst: Backlog::Open,
        })))
    }

    /// Where one more says how far it is behind.
    pub(super) fn join(&self) -> Addr<Backlog> {
        let lock = |said: &Mutex<Said>| -> usize {
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

impl Said {
    /// The worst is said again whenever who is in it says so: that it has read something since is news.
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
        // Of the second, `Open` leaves the first one's `Full` as it was.
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
