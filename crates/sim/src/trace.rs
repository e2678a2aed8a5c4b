//! The trace of a run: always its hash, and its records on request.
use quorate_core::{
    Name, Observation, ProcessId, Time,
    message::{digest, fold},
    observe::Role,
};

/// The number of a module in a world, over all processes; lanes and the world itself have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ModuleNumber(pub usize);

/// One event of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number in the run, from 0.
    pub index: u64,
    pub time: Time,
    pub process: ProcessId,
    /// The module; `None` for events of the network or the adversary.
    pub module: Option<ModuleNumber>,
    /// The module's name; for events of the network, the lane's.
    pub name: Name,
    pub kind: Kind,
}

/// Why a copy is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The adversary decided so; fair loss bounds it.
    Chance,
    /// The direction was cut, or disconnected.
    Cut,
    /// Its sender crashed and took it along.
    Crash,
    /// Its stream ended.
    Gap,
    /// The queue of its channel was full.
    Queue,
    /// Its receiver had not started yet.
    Unborn,
    /// Its sender omitted it.
    SendOmission,
    /// Its receiver omitted it.
    ReceiveOmission,
}

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A module handles an event.
    Event(Observation),
    /// A module triggers an effect.
    Effect(Observation),
    /// A copy leaves for another process.
    Send {
        /// The number of the send in the run, from 1. Later records name the message by it.
        message: u64,
        /// The receiver.
        to: ProcessId,
        /// The label of the effect that caused it.
        label: &'static str,
        /// A digest of the content.
        digest: u64,
    },
    /// A copy arrives.
    Receive {
        /// The number of its send.
        message: u64,
        /// The sender.
        from: ProcessId,
        /// The label of the effect that caused the send.
        label: &'static str,
        /// A digest of the content.
        digest: u64,
    },
    /// A copy is lost.
    Drop {
        /// The number of its send.
        message: u64,
        /// The receiver that it does not reach.
        to: ProcessId,
        loss: Loss,
    },
    /// A copy is duplicated.
    Duplicate {
        /// The number of its send.
        message: u64,
        /// The receiver.
        to: ProcessId,
        /// How many additional times it will arrive.
        extra: u32,
    },
    /// The process crashes.
    Crash,
    /// The process stops for a while.
    Pause,
    /// The process goes on.
    Resume,
    /// The process starts, late or again.
    Start,
    /// Nothing passes from this process to that one from now on.
    Cut { to: ProcessId },
    /// The cut is over.
    Heal {
        /// The process that can be reached again.
        to: ProcessId,
    },
    /// The stream from this process to that one ends.
    End { to: ProcessId },
    /// The next stream from that process opens at this one: there is a gap before it.
    Gap { from: ProcessId },
    /// The next stream from this process to that one begins.
    Begin { to: ProcessId },
}

impl Kind {
    /// The observation of an event or an effect.
    pub fn observation(&self) -> Option<&Observation> {
        match self {
            Kind::Event(observation) | Kind::Effect(observation) => Some(observation),
            _ => None,
        }
    }

    /// The request that a module handles.
    pub fn request(&self) -> Option<&Observation> {
        match self {
            Kind::Event(observation) if observation.role == Role::Request => Some(observation),
            _ => None,
        }
    }

    /// The indication that a module gives.
    pub fn indication(&self) -> Option<&Observation> {
        match self {
            Kind::Effect(observation) if observation.role == Role::Indication => Some(observation),
            _ => None,
        }
    }

    fn hash(&self) -> u64 {
        let observed = |code: u64, o: &Observation| {
            let mut hash = fold(code, digest(o.label.as_bytes()));
            hash = fold(hash, o.instance.unwrap_or(u64::MAX));
            if let Some(id) = o.message {
                hash = fold(hash, id.origin.process.rank() as u64);
                hash = fold(hash, id.origin.incarnation.0);
                hash = fold(hash, id.sequence);
            }
            if let Some(object) = o.object {
                hash = fold(hash, object);
            }
            hash = fold(hash, o.count);
            hash = fold(hash, o.peer.map_or(0, |p| p.rank() as u64));
            fold(hash, o.digest)
        };
        let passed = |code: u64, message: u64, peer: ProcessId| {
            fold(fold(code, message), peer.rank() as u64)
        };
        match self {
            Kind::Event(o) => observed(1, o),
            Kind::Effect(o) => observed(2, o),
            Kind::Send {
                message,
                to,
                digest,
                ..
            } => fold(passed(3, *message, *to), *digest),
            Kind::Receive { message, from, .. } => passed(4, *message, *from),
            Kind::Drop { message, to, loss } => passed(5 | (*loss as u64) << 8, *message, *to),
            Kind::Duplicate { message, to, extra } => {
                passed(6 | u64::from(*extra) << 8, *message, *to)
            }
            Kind::Crash => 7,
            Kind::Pause => 8,
            Kind::Resume => 9,
            Kind::Cut { to } => passed(10, 0, *to),
            Kind::Heal { to } => passed(11, 0, *to),
            Kind::End { to } => passed(12, 0, *to),
            Kind::Gap { from } => passed(13, 0, *from),
            Kind::Begin { to } => passed(14, 0, *to),
            Kind::Start => 15,
        }
    }
}

/// A run's records, if they are kept, and its hash.
#[derive(Clone, Default, Debug)]
pub struct Trace {
    records: Vec<Record>,
    keep: bool,
    count: u64,
    hash: u64,
}

impl Trace {
    pub(crate) fn keeping(keep: bool) -> Self {
        Trace {
            keep,
            ..Trace::default()
        }
    }

    /// A trace of these records, made elsewhere, for diagrams. It has no hash.
    pub fn of(records: Vec<Record>) -> Self {
        Trace {
            count: records.len() as u64,
            keep: true,
            hash: 0,
            records,
        }
    }

    /// The records, in order. Empty unless the world was told to keep them.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The hash of all events: the same for two equal runs, whether their records are kept or not.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.keep
    }

    /// Counts and hashes what happened.
    pub(crate) fn fold(&mut self, time: Time, place: u64, kind: &Kind) {
        self.count += 1;
        self.hash = fold(fold(fold(self.hash, time.as_nanos()), place), kind.hash());
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.records.push(record);
    }
}
