//! Shared memory: the registers, a snapshot and lattice agreement, each over registers of its own.
use crate::{
    configuration::{self, Access, Configuration},
    node::{
        registers::{Known, Limits, Registers},
        turns::Turns,
        view::View,
    },
};
use quorate_abstractions::{
    lattice::Union,
    lattice_agreement::{self, Propose},
    link::{Deliver, Links},
    quorum_access::{self, Answer},
    register::{Indication, Request},
    snapshot,
};
use quorate_core::{Addr, Host, Layer};
use quorate_quorums::{classical, flooding, generalized};
use quorate_registers::{
    by_quorum_access::{self, Update},
    lattice_agreement::Mode,
    message::Content,
    multi_writer, snapshot_from_registers,
};
use quorate_services::kv::MAXIMUM_BYTES;
use std::{convert::Infallible, time::Duration};

/// The longest store, where each message carries all of it.
const STORE: usize = 64 * 1024;

/// A snapshot of strings, and what can be asked of it.
pub type Snapshot = Turns<snapshot::Action, snapshot::Outcome>;

/// Agreement on growing sets of strings.
pub type Joined = Turns<Union<String>, lattice_agreement::Outcome<Union<String>>>;

/// What processes share.
#[derive(Clone)]
pub struct Memory {
    /// The registers.
    pub registers: Registers,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The lattice agreement.
    pub joined: Joined,
}

/// Starts them.
pub fn start<H: Host + Clone, L: Links, D: Links>(
    configuration: &Configuration,
    host: &H,
    links: &L,
    datagrams: &D,
    view: &View,
) -> Memory {
    let root = At {
        host: host.clone(),
        links: links.clone(),
        datagrams: datagrams.clone(),
    };
    let chosen = &configuration.registers;
    let limits = if chosen.carry_the_store() {
        Limits {
            entry: STORE,
            store: Some(STORE),
        }
    } else {
        Limits {
            entry: MAXIMUM_BYTES,
            store: None,
        }
    };
    let registers = Registers::start(view, limits, |up, known| {
        let registers = root.below("registers").registers(chosen, Some(known));
        Ok::<_, Infallible>(registers.attach(up))
    });
    let Ok(registers) = registers;
    let snapshot = Turns::start(|up| {
        let up = up.with(|i: snapshot::Indication| (i.operation, i.outcome));
        let requests = root.below("snapshot").snapshot(chosen).attach(up);
        requests.with(|(operation, action)| snapshot::Request { operation, action })
    });
    let joined = Turns::start(|up| {
        let up = up.with(|i: lattice_agreement::Indication<_>| (i.operation, i.outcome));
        let at = root.below("lattice-agreement");
        let host = at.host.clone();
        let requests = quorate_registers::lattice_agreement::spawn(
            &host,
            Mode::Repeated,
            at.below("snapshot").snapshot(chosen),
            up,
        );
        requests.with(|(operation, value)| Propose { operation, value })
    });
    Memory {
        registers,
        snapshot,
        joined,
    }
}

/// A place in the tree of modules, with the lanes of the same name.
struct At<H, L, D> {
    host: H,
    links: L,
    /// What needs no answer from the other side.
    datagrams: D,
}

impl<H: Host + Clone, L: Links, D: Links> At<H, L, D> {
    fn below(&self, name: &str) -> Self {
        At {
            host: self.host.at(name),
            links: self.links.at(name),
            datagrams: self.datagrams.at(name),
        }
    }

    /// A snapshot over registers of its own.
    fn snapshot(
        self,
        chosen: &configuration::Registers,
    ) -> impl Layer<snapshot::Request, snapshot::Indication> {
        let below = self.below("registers").registers(chosen, None);
        move |up| snapshot_from_registers::spawn(&self.host, below, up)
    }

    /// Registers. What is known of them is told to `known`.
    fn registers(
        self,
        chosen: &configuration::Registers,
        known: Option<Known>,
    ) -> impl Layer<Request, Indication> {
        let chosen = chosen.clone();
        move |up| match chosen {
            configuration::Registers::Majorities => {
                let lane = self.links.lane();
                let lane = move |up| lane.attach(telling(known, up, written));
                multi_writer::spawn(&self.host, lane, &self.links.status(), up)
            }
            configuration::Registers::Quorums {
                quorums,
                access,
                push,
            } => {
                let host = self.host.clone();
                let layer = move |up| {
                    let up = telling(known.clone(), up, got);
                    self.access(quorums, access, push, known, up)
                };
                by_quorum_access::spawn(&host, layer, up)
            }
        }
    }

    fn access(
        self,
        quorums: quorate_quorums::Quorums,
        access: Access,
        push: Duration,
        known: Option<Known>,
        up: Addr<quorum_access::Indication<by_quorum_access::Registers>>,
    ) -> Addr<quorum_access::Request<Update>> {
        let initial = by_quorum_access::Registers::default();
        let host = self.host.at("access");
        match access {
            Access::Classical => {
                let lane = self.links.lane();
                let lane = move |up| lane.attach(telling(known, up, asked));
                classical::spawn(&host, quorums, initial, lane, &self.links.status(), up)
            }
            Access::Generalized => {
                let configuration = generalized::Configuration {
                    period: push,
                    clocks: generalized::Clocks::Timed { epoch: epoch() },
                    ..generalized::Configuration::default()
                };
                let flooded = self.host.at("flooding");
                let entry = STORE * (self.host.processes().n() + 1);
                let layer = move |up| {
                    let up = telling(known, up, flooded_here);
                    flood(&flooded, entry, &self.datagrams, up)
                };
                generalized::spawn(&host, configuration, quorums, initial, layer, up)
            }
        }
    }
}

/// Flooding, over datagrams: what acknowledges needs channels in both directions.
fn flood<H: Host, L: Links, M: quorate_core::wire::Wire + quorate_core::Observe>(
    host: &H,
    entry: usize,
    datagrams: &L,
    up: Addr<Deliver<M>>,
) -> Addr<quorate_abstractions::flooding::Request<M>> {
    let configuration = flooding::Configuration {
        entry,
        ..flooding::Configuration::repeating()
    };
    flooding::spawn(host, configuration, datagrams.lane(), up)
}

/// Tells what `tell` sees of registers that were written in all that goes up.
fn telling<T: Send + 'static>(known: Option<Known>, up: Addr<T>, tell: fn(&Known, &T)) -> Addr<T> {
    let Some(known) = known else {
        return up;
    };
    Addr::new(move |indication| {
        tell(&known, &indication);
        up.send(indication);
    })
}

fn written(known: &Known, delivery: &Deliver<quorate_registers::message::Message>) {
    if let Content::Write { register, held } = &delivery.message.content
        && let Some(value) = &held.value
    {
        known.written([(register, held.tag, value.len())]);
    }
}

fn got(known: &Known, indication: &quorum_access::Indication<by_quorum_access::Registers>) {
    if let Answer::Got(states) = &indication.answer {
        for state in states {
            all_of(known, state);
        }
    }
}

fn asked(known: &Known, delivery: &Deliver<classical::Message<by_quorum_access::Registers>>) {
    if let classical::Message::SetRequest { update, .. } = &delivery.message {
        updated(known, update);
    }
}

fn flooded_here(
    known: &Known,
    delivery: &Deliver<generalized::Message<by_quorum_access::Registers>>,
) {
    if let generalized::Message::SetRequest { update, .. } = &delivery.message {
        updated(known, update);
    } else if let generalized::Message::State { state, .. } = &delivery.message {
        all_of(known, state);
    }
}

fn updated(known: &Known, update: &Update) {
    if let Some(value) = &update.value {
        known.written([(&update.register, update.tag, value.len())]);
    }
}

fn all_of(known: &Known, state: &by_quorum_access::Registers) {
    known.written(state.names().map(|name| {
        let (tag, value) = state.get(name);
        (name, tag, value.map_or(0, |value| value.len()))
    }));
}

/// Microseconds since 1970: clocks that lag behind each other only make gets slower.
fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
