//! Pressure: how much more a module may send, told upward by the link.
//!
//! A link accounts, by module and peer, for what was sent and is not acknowledged. (A module is what one
//! first segment of the lanes' paths names.) A module that owes some peer too much has no room. Peers tell
//! each other that too: who passes on what others send has queues of its own, and so has a process whose
//! user does not read, and only the origin can do something about them.
//!
//! - **PR1 bound** (safety): while a module has no room at a process, whoever honours it sends nothing
//!   there, so that what the link holds of the module for a peer that is waited for exceeds its limit by no
//!   more than what its senders have in flight.
//! - **PR2 no verdict** (liveness): a module gets room again: when the peers acknowledge, or when those that
//!   do not are not [waited for](Wait) any more. Nobody loses its place by that.
//!
//! Algorithms know nothing of pressure; handles do.
use quorate_core::{Observation, Observe, ProcessId};
use std::time::Duration;

/// Whom a module waits for when somebody does not keep up, and for how long.
///
/// Who owes a module and has acknowledged nothing for so long, or whose user has not read for so long, is
/// not waited for any more, until he goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// For everybody: what somebody missed cannot be made good.
    Everybody {
        /// How long a silence slows.
        silence: Duration,
    },
    /// For a majority always, and for whoever keeps up: the others are given a state. Who is not needed and
    /// straggles slows the rest for at most a tenth of the time, and a quarter of a second at once.
    Majority {
        /// How long a silence slows, once a majority has room.
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
    /// The policy of what gives a state to those that are behind.
    #[must_use]
    pub const fn for_majority() -> Self {
        Wait::Majority {
            silence: Duration::from_secs(1),
        }
    }

    /// The policy of what excludes whoever is silent for good.
    #[must_use]
    pub const fn for_crash_stop() -> Self {
        Wait::Everybody {
            silence: Duration::from_secs(5),
        }
    }

    /// The policy of an order whose users keep no state: who lives is waited for, since what it missed it
    /// would have to skip; who is silent costs the others ten seconds, once.
    #[must_use]
    pub const fn for_order_without_state() -> Self {
        Wait::Everybody {
            silence: Duration::from_secs(10),
        }
    }

    /// How long a user that reads nothing slows.
    #[must_use]
    pub fn reader(self) -> Duration {
        self.silence().min(Duration::from_secs(10))
    }

    /// How long a silence slows.
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
    /// Who slows it: the peer that owes most, or that has no room itself; oneself, whose user does not
    /// read.
    pub by: ProcessId,
    /// How many bytes the peer owes this process, in this module.
    pub owed: usize,
    /// Whether the peer has said that it has no room: for what it passes on, or for its user.
    pub announced: bool,
}

/// Whether a module may send: the present state first, then every change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// It may.
    Open,
    /// It should wait.
    Full(Hindrance),
}

/// What a module's user has not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backlog {
    /// Too much, of which something was read since this was said last, or is being read for the first
    /// time: the others are to send less.
    Full,
    /// Far too much: this process, too, is to send nothing, until it is [`Open`](Backlog::Open) again. But a
    /// user may read and send in turn: while it may not send it reads nothing, and after half the time that a
    /// [reader](Wait::reader) is waited for it may send again, until this is said anew, when much more is there.
    Over,
    /// So much that the link takes nothing more from the peers, as if it did not arrive, and says that it
    /// hears nobody: this process stands still until some of it is read.
    Stuck,
    /// Not much.
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
