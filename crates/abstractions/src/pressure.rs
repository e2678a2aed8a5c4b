//! Pressure: the link tells each module above whether it may send more.
//!
//! For each module and peer, a link keeps account of the bytes sent and not acknowledged. (A module consists
//! of the lanes whose paths share a first segment.) A module that some peer owes too much has no room. Peers
//! also tell each other that they have no room: a process that passes on the messages of others has queues of
//! its own, and a process whose user does not read has a backlog. Only the origin can send less.
//!
//! - **PR1 bound** (safety): while a module has no room at a process, senders that honour it send nothing
//!   there. So the bytes that the link holds of the module for a peer that is waited for exceed its limit by
//!   no more than what the module's senders have in flight.
//! - **PR2 no verdict** (liveness): a module gets room again when the peers acknowledge, or when those that
//!   do not are not [waited for](Wait) any more. No process loses its place by that.
//!
//! Algorithms know nothing of pressure; the users' handles honour it.
use quorate_core::{Observation, Observe, ProcessId};
use std::time::Duration;

/// Which slow peers a module waits for, and for how long.
///
/// A peer that owes a module and has acknowledged nothing for the given time, or whose user has not read for
/// that long, is not waited for until it resumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Waits for every process, because messages that a process missed cannot be replaced.
    Everybody {
        /// How long a silent peer slows the module.
        silence: Duration,
    },
    /// Always waits for a majority, and for every process that keeps up; the others are given a state. A
    /// straggler that the majority does not need slows the rest for at most a tenth of the time, and for at
    /// most a quarter of a second in a row.
    Majority {
        /// How long a silent peer slows the module once a majority has room.
        silence: Duration,
    },
}

impl Default for Wait {
    fn default() -> Self {
        Wait::Everybody {
            silence: Duration::from_mins(2),
        }
    }
}

impl Wait {
    /// The policy for modules that transfer their state to processes that are behind.
    #[must_use]
    pub const fn for_majority() -> Self {
        Wait::Majority {
            silence: Duration::from_secs(1),
        }
    }

    /// The policy for modules that exclude a process that stays silent.
    #[must_use]
    pub const fn for_crash_stop() -> Self {
        Wait::Everybody {
            silence: Duration::from_secs(5),
        }
    }

    /// The policy for a total order whose users keep no state. It waits for every live process, because such
    /// a process would have to skip the messages that it missed. A silent process delays the others by ten
    /// seconds, once.
    #[must_use]
    pub const fn for_order_without_state() -> Self {
        Wait::Everybody {
            silence: Duration::from_secs(10),
        }
    }

    /// How long a user that reads nothing slows the module.
    #[must_use]
    pub fn reader(self) -> Duration {
        self.silence().min(Duration::from_secs(10))
    }

    /// How long a silent peer slows the module.
    #[must_use]
    pub const fn silence(self) -> Duration {
        match self {
            Wait::Everybody { silence } | Wait::Majority { silence } => silence,
        }
    }
}

/// Why a module has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hindrance {
    /// The process that slows the module: the peer that owes most, a peer that has no room itself, or this
    /// process, whose user does not read.
    pub by: ProcessId,
    /// How many bytes the peer owes this process in this module.
    pub owed: usize,
    /// Whether the peer has announced that it has no room, for messages that it passes on or for its user.
    pub announced: bool,
}

/// Whether a module may send. A subscriber gets the present state first, then every change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// The module may send.
    Open,
    /// The module should wait.
    Full(Hindrance),
}

/// How much a module's user has not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backlog {
    /// Too much, and the user has read something since the last report, or reads for the first time: the
    /// others are to send less.
    Full,
    /// Far too much: this process is to send nothing, too, until the backlog is [`Open`](Backlog::Open)
    /// again. A user that alternates between reading and sending reads nothing while it may not send. So
    /// after half the time for which a [reader](Wait::reader) is waited for it may send again, until this is
    /// reported anew, when the backlog is much larger.
    Over,
    /// So much that the link takes no more packets from the peers, as if they did not arrive, and says that
    /// it hears nobody. This process stands still until its user reads some of the backlog.
    Stuck,
    /// Little or nothing.
    Open,
}

impl Observe for Room {
    fn observe(&self) -> Observation {
        match self {
            Room::Open => Observation::indication("Open"),
            Room::Full(Hindrance { by, owed, .. }) => Observation::indication("Full")
                .peer(*by)
                .count(*owed as u64),
        }
    }
}

impl Observe for Backlog {
    fn observe(&self) -> Observation {
        Observation::request(match self {
            Backlog::Full => "BacklogFull",
            Backlog::Over => "BacklogOver",
            Backlog::Stuck => "BacklogStuck",
            Backlog::Open => "BacklogOpen",
        })
    }
}
