//! Shared memory and consensus over a given quorum system: each is a whole stack, the same for every host.
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

/// The longest store of registers by quorum access, in bytes: each message carries the whole store.
pub const STORE: usize = 64 * 1024;

/// The longest value that consensus over a quorum system should be given, in bytes.
pub const VALUE: usize = 16 * 1024;

/// The limits of the open instances of one process in such a consensus: their number, and the bytes of
/// their values together.
pub const OPEN_VALUES: (usize, usize) = (64, 4 * VALUE);

/// How often generalized access pushes a state, unless it is said.
pub const PUSH: Duration = Duration::from_millis(20);

/// How quorums are accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// For channels that may fail in one direction: messages are flooded around them.
    Generalized {
        /// The interval at which the state is pushed to the other processes.
        push: Duration,
    },
    /// For channels that work in both directions: each process that receives a request answers it.
    Classical,
}

/// The read and write quorums of a number of processes, and how they are accessed. All of this must be the
/// same at every process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumSystem {
    quorums: Quorums,
    access: Access,
    n: usize,
}

/// A quorum-system file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadQuorumSystem {
    /// The text is no quorum-system file.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The file has no usable quorums.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl QuorumSystem {
    /// The system that a quorum-system file describes (see [`quorate_quorums::file`]), with generalized
    /// access. It has the file's quorums, or quorums that are found for the failures that the file allows.
    ///
    /// # Errors
    /// When the file cannot be parsed, or there are no quorums for it.
    pub fn parse(text: &str) -> Result<Self, BadQuorumSystem> {
        let described = file::parse(text)?;
        let n = described.system.processes.n();
        let quorums = usable::quorums(&described, n)?;
        Ok(QuorumSystem::new(quorums, n))
    }

    /// A system with these quorums, of `n` processes, with generalized access.
    pub fn new(quorums: Quorums, n: usize) -> Self {
        QuorumSystem {
            quorums,
            access: Access::Generalized { push: PUSH },
            n,
        }
    }

    /// The same system, with this kind of access.
    #[must_use]
    pub fn accessed(self, access: Access) -> Self {
        QuorumSystem { access, ..self }
    }

    /// The number of processes.
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

/// The text that the handshake of the links compares: the access, and a fingerprint of the quorums.
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

/// A function that is called for each write to a register that this process sees, its own or another's,
/// with the register's name, the write, and the length of the value.
pub type Written = Arc<dyn Fn(&Bytes, Tag, usize) + Send + Sync>;

/// A place in the tree of modules, with the lanes of the same path.
#[derive(Clone)]
pub struct Scope<H, L, D> {
    /// The host at this place.
    pub host: H,
    /// Perfect lanes.
    pub links: L,
    /// Fair-loss lanes.
    pub datagrams: D,
    /// The time at which this process began, in microseconds, on a scale that the processes share. If their
    /// clocks differ, operations only become slower.
    pub epoch: u64,
}

impl<H: Host + Clone, L: Links, D: Links> Scope<H, L, D> {
    /// The place with this name below this one.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Scope {
            host: self.host.at(name),
            links: self.links.at(name),
            datagrams: self.datagrams.at(name),
            epoch: self.epoch,
        }
    }

    /// Atomic registers with many writers; by majorities if `system` is `None`. `written` is told of the
    /// writes that this process sees.
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

    /// An atomic snapshot over registers of its own; by majorities if `system` is `None`.
    pub fn snapshot(
        self,
        system: Option<&QuorumSystem>,
    ) -> impl Layer<snapshot::Port> + use<H, L, D> {
        let below = self.at("registers").registers(system, None);
        move |up| snapshot_from_registers::spawn(&self.host, below, up)
    }

    /// Lattice agreement over a snapshot of its own; by majorities if `system` is `None`. Processes may
    /// propose any number of times.
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

/// The functions that see register writes in the messages of the two kinds of access.
struct Taps<S: State> {
    asked: fn(&Written, &Deliver<classical::Message<S>>),
    flooded: fn(&Written, &Deliver<generalized::Message<S>>),
}

/// Flooding over datagrams. Links with acknowledgements would need channels in both directions.
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

/// Passes everything on to `up`, and tells `written` of the register writes that `tell` finds in it.
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
