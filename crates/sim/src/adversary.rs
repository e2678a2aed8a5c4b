//! Adversaries, which decide what the model leaves open.
//!
//! An adversary has the stated powers and no others: it decides how long a copy is in flight, whether a
//! fair-loss copy is lost or duplicated, and, if it paces the world by choosing, which of the enabled steps
//! comes next. Crashes, omissions, pauses and cuts are data, given to the world beforehand
//! (see [`Crash`](crate::Crash), [`Omission`](crate::Omission)), and so are clocks and the timing model
//! (see [`Clock`](crate::Clock), [`timing`](crate::timing)). It cannot forge, alter or withhold for ever the messages of a perfect link.
use crate::{chance, enabled::Enabled};
use quorate_core::{ProcessId, Random as Generator};
use std::time::Duration;

/// The unit of a lock-step run: the time that every message between two processes takes.
pub const UNIT: Duration = Duration::from_millis(1);

/// How a world moves on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// By time: the earliest event comes next; within one process's mailboxes, the oldest; a batch is
    /// everything that is there.
    Timed,
    /// By choice: the adversary chooses the next of the enabled steps, whatever the time.
    Chosen,
    /// By schedule: a step is a whole reaction of one process, and a driver chooses the next one (see
    /// [`schedule`](crate::schedule)). Without a driver, the world takes the oldest.
    Atomic,
}

/// A copy of a message between two processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// The number of the send in the run, from 1.
    pub message: u64,
    /// The sender.
    pub from: ProcessId,
    /// The receiver, which is not the sender.
    pub to: ProcessId,
}

/// What becomes of a copy on a fair-loss link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is lost, if the bound on consecutive losses allows.
    Lost,
    /// It arrives this many times: at least once, and at most as often as the bound on duplicates allows.
    Arrives(u32),
}

/// The power to decide what the model leaves open.
pub trait Adversary: Send {
    /// How the world moves on. Called once.
    fn pace(&self) -> Pace {
        Pace::Timed
    }

    /// How long a copy is in flight (has no effect when the pace is by choice).
    fn latency(&mut self, copy: Transmission, rng: &mut Generator) -> Duration;

    /// What becomes of a copy on a fair-loss link.
    fn fate(&mut self, _copy: Transmission, _rng: &mut Generator) -> Fate {
        Fate::Arrives(1)
    }

    /// Which of the enabled steps comes next: an index below `enabled.len()`, which is not zero.
    fn choose(&mut self, _enabled: &Enabled<'_>, _rng: &mut Generator) -> usize {
        0
    }
}

impl Adversary for Box<dyn Adversary> {
    fn pace(&self) -> Pace {
        (**self).pace()
    }

    fn latency(&mut self, copy: Transmission, rng: &mut Generator) -> Duration {
        (**self).latency(copy, rng)
    }

    fn fate(&mut self, copy: Transmission, rng: &mut Generator) -> Fate {
        (**self).fate(copy, rng)
    }

    fn choose(&mut self, enabled: &Enabled<'_>, rng: &mut Generator) -> usize {
        (**self).choose(enabled, rng)
    }
}

/// How long copies are in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Latency {
    /// Always this long.
    Constant(Duration),
    /// Any duration between the two, uniformly distributed.
    Uniform(Duration, Duration),
    /// At least the first, and then a tail whose chance halves every second duration: most copies
    /// are fast and a few are very late.
    Tailed(Duration, Duration),
}

impl Latency {
    pub(crate) fn draw(self, rng: &mut Generator) -> Duration {
        match self {
            Latency::Constant(latency) => latency,
            Latency::Uniform(minimum, maximum) => chance::between(rng, minimum, maximum),
            Latency::Tailed(minimum, half_life) => minimum + chance::decaying(rng, half_life),
        }
    }
}

/// The probabilities of loss and duplication on fair-loss links.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Chances {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
}

impl Chances {
    pub(crate) fn fate(self, rng: &mut Generator) -> Fate {
        if chance::happens(rng, self.loss) {
            return Fate::Lost;
        }
        let mut copies = 1;
        while copies < 8 && chance::happens(rng, self.duplication) {
            copies += 1;
        }
        Fate::Arrives(copies)
    }
}

/// The adversary that draws latencies, losses and duplications, and otherwise lets time decide.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    latency: Latency,
    chances: Chances,
}

impl Timed {
    /// Copies take the time that `latency` draws; none is lost.
    pub fn new(latency: Latency) -> Self {
        Timed {
            latency,
            chances: Chances::default(),
        }
    }

    /// Every message between two processes takes exactly one [`UNIT`], and a message to oneself takes no
    /// time: the model in which communication steps are counted.
    pub fn lock_step() -> Self {
        Timed::new(Latency::Constant(UNIT))
    }

    /// Latencies are uniformly distributed between the two.
    pub fn uniform(minimum: Duration, maximum: Duration) -> Self {
        Timed::new(Latency::Uniform(minimum, maximum))
    }

    /// Fair-loss links lose a copy with this probability.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.chances.loss = probability;
        self
    }

    /// Fair-loss links duplicate a copy with this probability.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.chances.duplication = probability;
        self
    }
}

impl Adversary for Timed {
    fn latency(&mut self, _: Transmission, rng: &mut Generator) -> Duration {
        self.latency.draw(rng)
    }

    fn fate(&mut self, _: Transmission, rng: &mut Generator) -> Fate {
        self.chances.fate(rng)
    }
}

/// The adversary that takes any enabled step with equal probability, regardless of time.
///
/// A timer never fires before its time, but maybe long after; a message may stay in flight while the
/// clock runs on; a batch may end after any event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random {
    chances: Chances,
}

impl Random {
    /// No loss, no duplication.
    pub fn new() -> Self {
        Random::default()
    }

    /// Fair-loss links lose a copy with this probability.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.chances.loss = probability;
        self
    }

    /// Fair-loss links duplicate a copy with this probability.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.chances.duplication = probability;
        self
    }
}

impl Adversary for Random {
    fn pace(&self) -> Pace {
        Pace::Chosen
    }

    fn latency(&mut self, _: Transmission, _: &mut Generator) -> Duration {
        Duration::ZERO
    }

    fn fate(&mut self, _: Transmission, rng: &mut Generator) -> Fate {
        self.chances.fate(rng)
    }

    fn choose(&mut self, enabled: &Enabled<'_>, rng: &mut Generator) -> usize {
        chance::below(rng, enabled.len() as u64) as usize
    }
}
