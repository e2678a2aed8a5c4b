//! Shared memory and consensus over a quorum system that is given: each a whole stack, the same for every host.
//!
//! Generalized access stands on fair-loss lanes and flooding: it goes on where channels fail in one direction, as
//! the patterns of the system say. Classical access, and majorities, stand on perfect links.
#[cfg(feature = "agreement")]
mod consensus;

use bytes::Bytes;
use quorate_abstractions::{
    flooding,
    lattice::Lattice,
    lattice_agreement::{self, Propose},
    link::{Deliver, Links},
    quorum_access::{self, Answer, State},
    register::{self, Tag},
    snapshot,
};
use quorate_core::{Addr, Host, Layer, Observe, message::digest, wire::Wire};
use quorate_quorums::{
    Quorums, classical,
    file::{self, BadFile},
    flooding as flood, generalized,
    usable::{self, Unusable},
};
use quorate_registers::{
    by_quorum_access::{self, Update},
    lattice_agreement::Mode,
    message::Content,
    multi_writer, snapshot_from_registers,
};
use std::{fmt, sync::Arc, time::Duration};

/// The longest store of registers by quorum access: each message carries all of it.
pub const STORE: usize = 64 * 1024;

/// The longest value that consensus over a quorum system should be given.
pub const VALUE: usize = 16 * 1024;

/// No more bytes of values, and no more instances, should one process have open in such a consensus.
pub const OPEN_VALUES: (usize, usize) = (64, 4 * VALUE);

/// How often generalized access pushes a state, unless it is said.
pub const PUSH: Duration = Duration::from_millis(20);

/// How quorums are accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Where channels may fail in one direction: messages go round them.
    Generalized {
        /// How often the state is pushed to the others.
        push: Duration,
    },
    /// Where whoever is reached answers.
    Classical,
}

/// Read and write quorums of a number of processes, and how they are accessed. All of it must be the same at
/// every process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSystem {
    quorums: Quorums,
    access: Access,
    n: usize,
}

/// A quorum-system file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadQuorumSystem {
    /// It is no such file.
    #[error(transparent)]
    File(#[from] BadFile),
    /// It has no quorums that hold.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl QuorumSystem {
    /// The system that a quorum-system file describes (see [`quorate_quorums::file`]), with its quorums, or those
    /// that are found for what it says may fail; with generalized access.
    ///
    /// # Errors
    /// When the file cannot be read so, or there are no quorums for it.
    pub fn parse(text: &str) -> Result<Self, BadQuorumSystem> {
        let described = file::parse(text)?;
        let n = described.system.processes.n();
        let quorums = usable::quorums(&described, n)?;
        Ok(QuorumSystem::new(quorums, n))
    }

    /// These quorums, of so many processes, with generalized access.
    pub fn new(quorums: Quorums, n: usize) -> Self {
        QuorumSystem {
            quorums,
            access: Access::Generalized { push: PUSH },
            n,
        }
    }

    /// The same, accessed so.
    #[must_use]
    pub fn accessed(self, access: Access) -> Self {
        QuorumSystem { access, ..self }
    }

    /// How many processes it has.
    pub fn processes(&self) -> usize {
        self.n
    }

    /// The quorums.
    pub fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// Whether channels may fail in one direction, so that everything goes over fair-loss lanes.
    pub fn is_generalized(&self) -> bool {
        matches!(self.access, Access::Generalized { .. })
    }
}

/// As the handshake of the links compares it: the access, and a fingerprint of the quorums.
impl fmt::Display for QuorumSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::Generalized { .. } => "generalized",
            Access::Classical => "classical",
        };
        let fingerprint = digest(format!("{:?}", self.quorums).as_bytes());
        write!(f, "{access}:{fingerprint:016x}")
    }
}

/// Told of each register that is seen to have been written, here or elsewhere: name, write, and how long the value
/// is.
pub type Written = Arc<dyn Fn(&Bytes, Tag, usize) + Send + Sync>;

/// A place in the tree of modules, with the lanes of the same name.
#[derive(Clone)]
pub struct Scope<H, L, D> {
    /// The host there.
    pub host: H,
    /// Perfect lanes.
    pub links: L,
    /// Fair-loss lanes.
    pub datagrams: D,
    /// The time of this process's beginning in microseconds, on a scale that the processes share: clocks that lag
    /// behind each other only make operations slower.
    pub epoch: u64,
}

impl<H: Host + Clone, L: Links, D: Links> Scope<H, L, D> {
    /// The place of this name below.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Scope {
            host: self.host.at(name),
            links: self.links.at(name),
            datagrams: self.datagrams.at(name),
            epoch: self.epoch,
        }
    }

    /// Atomic registers of many writers; `None`: by majorities. What is seen of them is told to `written`.
    pub fn registers(
        self,
        system: Option<&QuorumSystem>,
        written: Option<Written>,
    ) -> impl Layer<register::Port> + use<H, L, D> {
        let system = system.cloned();
        move |up| match system {
            None => {
                let lane = self.links.lane();
                let lane = move |up| lane.attach(telling(written, up, written_by_majority));
                multi_writer::spawn(&self.host, lane, &self.links.status(), up)
            }
            Some(system) => {
                let host = self.host.clone();
                let layer = move |up| {
                    let up = telling(written.clone(), up, got);
                    let initial = by_quorum_access::Registers::default();
                    let taps = Taps { asked, flooded };
                    self.access(system, initial, (written, taps), up)
                };
                by_quorum_access::spawn(&host, layer, up)
            }
        }
    }

    /// An atomic snapshot over registers of its own; `None`: by majorities.
    pub fn snapshot(
        self,
        system: Option<&QuorumSystem>,
    ) -> impl Layer<snapshot::Port> + use<H, L, D> {
        let below = self.at("registers").registers(system, None);
        move |up| snapshot_from_registers::spawn(&self.host, below, up)
    }

    /// Lattice agreement, for as many proposals as are made, over a snapshot of its own; `None`: by majorities.
    pub fn lattice_agreement<V: Lattice>(
        self,
        system: Option<&QuorumSystem>,
        up: Addr<lattice_agreement::Indication<V>>,
    ) -> Addr<Propose<V>> {
        let below = self.at("snapshot").snapshot(system);
        quorate_registers::lattice_agreement::spawn(&self.host, Mode::Repeated, below, up)
    }

    /// Access to a state that begins like this, in portions of [`STORE`] bytes for each process, and one.
    pub fn quorum_access<S: State>(
        self,
        system: &QuorumSystem,
        initial: S,
        up: Addr<quorum_access::Indication<S>>,
    ) -> Addr<quorum_access::Request<S::Update>> {
        let taps = Taps {
            asked: |_, _| {},
            flooded: |_, _| {},
        };
        self.access(system.clone(), initial, (None, taps), up)
    }

    fn access<S: State>(
        self,
        system: QuorumSystem,
        initial: S,
        (written, taps): (Option<Written>, Taps<S>),
        up: Addr<quorum_access::Indication<S>>,
    ) -> Addr<quorum_access::Request<S::Update>> {
        let host = self.host.at("access");
        let quorums = system.quorums;
        match system.access {
            Access::Classical => {
                let lane = self.links.lane();
                let lane = move |up| lane.attach(telling(written, up, taps.asked));
                classical::spawn(&host, quorums, initial, lane, &self.links.status(), up)
            }
            Access::Generalized { push } => {
                let settings = generalized::AccessSettings {
                    period: push,
                    clocks: generalized::Clocks::Timed { epoch: self.epoch },
                    ..generalized::AccessSettings::default()
                };
                let flooded = self.host.at("flooding");
                let entry = STORE * (self.host.processes().n() + 1);
                let layer = move |up| {
                    let up = telling(written, up, taps.flooded);
                    repeating(&flooded, entry, &self.datagrams, up)
                };
                generalized::spawn(&host, settings, quorums, initial, layer, up)
            }
        }
    }
}

/// What is seen of written registers in the messages of either access.
struct Taps<S: State> {
    asked: fn(&Written, &Deliver<classical::Message<S>>),
    flooded: fn(&Written, &Deliver<generalized::Message<S>>),
}

/// Flooding, over datagrams: what acknowledges needs channels in both directions.
fn repeating<H: Host, D: Links, M: Wire + Observe>(
    host: &H,
    entry: usize,
    datagrams: &D,
    up: Addr<Deliver<M>>,
) -> Addr<flooding::Request<M>> {
    let settings = flood::FloodingSettings {
        entry,
        ..flood::FloodingSettings::repeating()
    };
    flood::spawn(host, settings, datagrams.lane(), up)
}

/// Tells what `tell` sees of registers that were written in all that goes up.
fn telling<T: Send + 'static>(
    written: Option<Written>,
    up: Addr<T>,
    tell: fn(&Written, &T),
) -> Addr<T> {
    let Some(written) = written else {
        return up;
    };
    Addr::new(move |indication| {
        tell(&written, &indication);
        up.send(indication);
    })
}

fn written_by_majority(written: &Written, delivery: &Deliver<quorate_registers::message::Message>) {
    if let Content::Write { register, held } = &delivery.message.content
        && let Some(value) = &held.value
    {
        written(register, held.tag, value.len());
    }
}

fn got(written: &Written, indication: &quorum_access::Indication<by_quorum_access::Registers>) {
    if let Answer::Got(states) = &indication.answer {
        for state in states {
            all_of(written, state);
        }
    }
}

fn asked(written: &Written, delivery: &Deliver<classical::Message<by_quorum_access::Registers>>) {
    if let classical::Message::SetRequest { update, .. } = &delivery.message {
        updated(written, update);
    }
}

fn flooded(
    written: &Written,
    delivery: &Deliver<generalized::Message<by_quorum_access::Registers>>,
) {
    if let generalized::Message::SetRequest { update, .. } = &delivery.message {
        updated(written, update);
    } else if let generalized::Message::State { state, .. } = &delivery.message {
        all_of(written, state);
    }
}

fn updated(written: &Written, update: &Update) {
    if let Some(value) = &update.value {
        written(&update.register, update.tag, value.len());
    }
}

fn all_of(written: &Written, state: &by_quorum_access::Registers) {
    for name in state.names() {
        let (tag, value) = state.get(name);
        written(name, tag, value.map_or(0, |value| value.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_systems_are_told_apart_by_their_quorums_and_their_access() {
        let five = QuorumSystem::parse(include_str!("../../../config/quorums/five.toml")).unwrap();
        assert_eq!(five.processes(), 5);
        assert!(five.is_generalized() && five.to_string().starts_with("generalized:"));
        let classical = five.clone().accessed(Access::Classical);
        assert!(!classical.is_generalized() && classical.to_string().starts_with("classical:"));
        let other = include_str!("../../../config/quorums/majorities-5.toml");
        let other = QuorumSystem::parse(other).unwrap();
        assert_ne!(other.to_string(), five.to_string());
        let none = QuorumSystem::parse("processes = 2\ncrashes = 1\n").unwrap_err();
        assert!(matches!(none, BadQuorumSystem::Unusable(_)), "{none}");
        let bad = QuorumSystem::parse("processes = ").unwrap_err();
        assert!(matches!(bad, BadQuorumSystem::File(_)), "{bad}");
    }
}
