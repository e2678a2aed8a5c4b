//! The disturbances of the replicas and their times, as a function of the seed.
use quorate_core::algorithm::Random;
use rand::{RngExt, SeedableRng};
use std::{fmt, time::Duration};

/// The shortest disturbance.
const SHORTEST: Duration = Duration::from_millis(500);

/// The longest time between the beginnings of two disturbances.
const GAP: Duration = Duration::from_secs(6);

/// A disturbance of the replicas.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// A replica is started for the first time, later than the others.
    FirstStart(usize),
    /// A replica is killed, and started again at the end of the step.
    Kill(usize),
    /// A replica is paused.
    Pause(usize),
    /// Channels, each in one direction, disturb their messages in this way.
    Channels(Vec<(usize, usize)>, Disturbance),
}

/// What a channel does to its messages.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Disturbance {
    /// All messages are lost.
    Cut,
    /// Some messages are lost or duplicated, and all are delayed.
    Worse {
        /// The probability of loss, in hundredths.
        loss: u32,
        /// The probability of duplication, in hundredths.
        duplicate: u32,
        /// The least delay, in milliseconds.
        delay: u64,
        /// The most that is added to the delay, in milliseconds.
        jitter: u64,
    },
}

/// An act and its times.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// When it begins, counted from the beginning of the scene.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    pub act: Act,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        match &self.act {
            Act::FirstStart(p) => write!(f, "{at:7.1} s  p{p} is started for the first time"),
            Act::Kill(p) => write!(f, "{at:7.1} s  p{p} is killed for {lasts:.1} s"),
            Act::Pause(p) => write!(f, "{at:7.1} s  p{p} stands still for {lasts:.1} s"),
            Act::Channels(channels, disturbance) => {
                write!(f, "{at:7.1} s  for {lasts:.1} s {disturbance:?}:")?;
                channels
                    .iter()
                    .try_for_each(|(from, to)| write!(f, " {from}>{to}"))
            }
        }
    }
}

/// All steps against `n` replicas within `time`, in the order in which they begin. No step lasts longer than
/// `longest`, and all are over at the end.
pub fn schedule(seed: u64, n: usize, time: Duration, longest: Duration) -> Vec<Step> {
    let mut chance = Random::seed_from_u64(seed);
    let mut steps = Vec::new();
    // A group of five forms without one of them; a group of three needs all.
    if n >= 5 {
        let at = between(&mut chance, SHORTEST, (time / 4).max(SHORTEST * 2));
        let act = Act::FirstStart(n);
        let lasts = Duration::ZERO;
        steps.push(Step { at, lasts, act });
    }
    let mut at = SHORTEST;
    loop {
        at += between(&mut chance, SHORTEST, GAP.min(time / 5).max(SHORTEST * 2));
        let lasts = any_length(&mut chance, longest);
        let act = any_act(&mut chance, n);
        if at >= time {
            break;
        }
        // A step that would not be over in time is left out.
        if at + lasts <= time {
            steps.push(Step { at, lasts, act });
        }
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// Draws a length up to the longest. Each halving of the length is equally likely: short disturbances matter
/// as much as long ones.
fn any_length(chance: &mut Random, longest: Duration) -> Duration {
    let times = longest.as_millis() / SHORTEST.as_millis();
    let octave = chance.random_range(0..=times.max(1).ilog2());
    let least = SHORTEST * 2_u32.pow(octave);
    between(chance, least, least * 2).min(longest)
}

fn between(chance: &mut Random, from: Duration, to: Duration) -> Duration {
    let milliseconds = from.as_millis() as u64..=to.as_millis() as u64;
    Duration::from_millis(chance.random_range(milliseconds))
}

fn any_act(chance: &mut Random, n: usize) -> Act {
    let p = chance.random_range(1..=n);
    let q = (p + chance.random_range(1..n) - 1) % n + 1;
    let pair = vec![(p, q), (q, p)];
    let everywhere = (1..=n).flat_map(|p| (1..=n).map(move |q| (p, q)));
    let all = everywhere.filter(|(p, q)| p != q).collect();
    match chance.random_range(0..100_u32) {
        0..20 => Act::Kill(p),
        20..40 => Act::Pause(p),
        40..55 => Act::Channels(pair, Disturbance::Cut),
        55..65 => Act::Channels(vec![(p, q)], Disturbance::Cut),
        65..75 => Act::Channels(all, Disturbance::Cut),
        75..90 => Act::Channels(pair, worse(chance)),
        _ => Act::Channels(all, worse(chance)),
    }
}

fn worse(chance: &mut Random) -> Disturbance {
    Disturbance::Worse {
        loss: chance.random_range(0..=10),
        duplicate: chance.random_range(0..=5),
        delay: chance.random_range(0..=50),
        jitter: chance.random_range(0..=50),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_all_and_everything_ends_in_time() {
        let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
        for n in [3, 5] {
            let steps = schedule(7, n, hour, minute);
            assert_eq!(steps, schedule(7, n, hour, minute));
            assert_ne!(steps, schedule(8, n, hour, minute));
            assert!(steps.len() > 600);
            assert!(steps.is_sorted_by_key(|step| step.at));
            let ends = steps.iter().map(|step| step.at + step.lasts);
            assert!(ends.max() <= Some(hour));
            let lasting = |from, to| {
                let some = steps
                    .iter()
                    .filter(|step| step.lasts >= from && step.lasts <= to);
                some.count()
            };
            assert!(lasting(Duration::from_secs(20), minute) > 60);
            let starts = steps
                .iter()
                .filter(|step| matches!(step.act, Act::FirstStart(_)));
            assert_eq!(starts.count(), usize::from(n == 5));
        }
    }

    #[test]
    fn every_kind_of_act_is_about_others() {
        let steps = schedule(1, 3, Duration::from_hours(1), Duration::from_secs(10));
        let of = |wanted: fn(&Act) -> bool| steps.iter().filter(|step| wanted(&step.act)).count();
        assert!(of(|act| matches!(act, Act::Kill(_))) > 50);
        assert!(of(|act| matches!(act, Act::Pause(_))) > 50);
        assert!(of(|act| matches!(act, Act::Channels(c, Disturbance::Cut) if c.len() == 1)) > 20);
        assert!(of(|act| matches!(act, Act::Channels(c, Disturbance::Cut) if c.len() == 6)) > 20);
        assert!(of(|act| matches!(act, Act::Channels(_, Disturbance::Worse { .. }))) > 50);
        for step in &steps {
            if let Act::Channels(channels, _) = &step.act {
                assert!(channels.iter().all(|(p, q)| p != q));
            }
        }
    }
}
