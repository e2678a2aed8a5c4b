//! What an algorithm assumes: of time, crashes and detectors, and of the links below it.
use quorate_core::Membership;
use serde::Serialize;
use std::fmt;

/// What is assumed of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Timing {
    /// Nothing.
    #[serde(rename = "asynchronous")]
    Asynchronous,
    /// After an unknown time, unknown bounds hold.
    #[serde(rename = "eventually synchronous")]
    EventuallySynchronous,
    /// Known bounds always hold.
    #[serde(rename = "synchronous")]
    Synchronous,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timing::Asynchronous => "asynchronous",
            Timing::EventuallySynchronous => "eventually synchronous",
            Timing::Synchronous => "synchronous",
        })
    }
}

/// How many processes may crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Bound {
    /// Any number.
    #[serde(rename = "f ≤ n")]
    Any,
    #[serde(rename = "f < n")]
    AllButOne,
    #[serde(rename = "f < n/2")]
    Minority,
}

impl Bound {
    /// The largest number of crashes that is allowed for.
    pub fn most(self, processes: &Membership) -> usize {
        match self {
            Bound::Any => processes.n(),
            Bound::AllButOne => processes.n().saturating_sub(1),
            Bound::Minority => processes.minority(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Any => "any crash",
            Bound::AllButOne => "f < n",
            Bound::Minority => "f < n/2",
        })
    }
}

/// Which failure detector an algorithm needs, itself or in a layer that it brings along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Detector {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "◇P")]
    EventuallyPerfect,
    #[serde(rename = "P")]
    Perfect,
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Detector::None => "–",
            Detector::EventuallyPerfect => "◇P",
            Detector::Perfect => "P",
        })
    }
}

/// On what an algorithm stands in the simulator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Substrate {
    /// Fair-loss links: it is a link itself, and runs on nothing else.
    FairLoss,
    /// Heartbeats: it measures time itself, so that copies never take arbitrarily long.
    Heartbeats,
    /// Perfect links, ideal or real, under any schedule.
    Links,
    /// Perfect links whose copies never take arbitrarily long: it never rests for good, and a run is
    /// over where it rests for a while.
    TimedLinks,
    /// The same, and what an operation waits for may be what is sent once a period.
    Pushes,
}
