//! Shared memory and consensus over a quorum system that is given.
use super::{
    Builder, LatticeProposer, Registers, Segments, Wiring,
    codec::{Coded, Coding, Raw},
    operations::{Begun, Operations, Sharing},
    registers::Declared,
    segments::SEGMENT,
    store::{ENTRY, Store},
};
use crate::{error::StartError, host::TokioHost};
use bytes::Bytes;
use quorate_abstractions::{
    lattice::Lattice, lattice_agreement, pressure::Wait, register, snapshot,
};
use quorate_core::{Addr, Layer};
use quorate_links::perfect::{Datagrams, PerfectLinks};
use quorate_stacks::{
    quorum_system::{QuorumSystem, STORE, Scope, Written},
    registers::Registers as Algorithm,
};
use std::sync::Arc;

/// The place of a module from which stacks over quorum systems are built.
pub(super) type NodeScope = Scope<TokioHost, PerfectLinks<TokioHost>, Datagrams<TokioHost>>;

impl Wiring {
    /// The scope from which stacks over a quorum system are built: the host and the lanes of this module.
    pub fn scope(&self) -> NodeScope {
        Scope {
            host: self.host.clone(),
            links: self.links.clone(),
            datagrams: self.links.datagrams(),
            epoch: epoch(),
        }
    }
}

/// Microseconds since 1970. If the clocks of processes differ, operations only become slower.
fn epoch() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Modules over a quorum system. A quorum-system file stands for generalized access unless it says
/// otherwise. Then all these modules use fair-loss lanes and flooding. Under each pattern of failures of
/// the system they work at the processes where the pattern promises that, although channels fail in one
/// direction for good. The processes must have met once before, and the builder's
/// [datagram](Builder::datagram) must not be below 1050 bytes.
///
/// # Example
/// ```
/// # use quorate_abstractions::lattice::Union;
/// # use quorate_core::ProcessId;
/// # use quorate_runtime::{Node, QuorumSystem};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
/// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// # let peers = vec![socket.local_addr()?];
/// // Of one process, to begin with: see config/quorums for larger ones.
/// let system = QuorumSystem::parse("processes = 1\ncrashes = 0\n")?;
///
/// let mut node = Node::builder(me, peers).socket(socket);
/// let settings = node.registers_over::<u32>("settings", &system)?;
/// let lots = node.consensus_over::<String>("lots", &system)?;
/// let accounts = node.snapshot_over::<u64>("accounts", &system)?;
/// let seen = node.lattice_agreement_over::<Union<String>>("seen", &system)?;
/// let node = node.start().await?;
///
/// settings.write("limit", &7).await?;
/// assert_eq!(settings.read("limit").await?, Some(7));
/// assert_eq!(lots.propose(1, &"red".to_owned()).await?, "red");
/// accounts.update(&100).await?;
/// assert_eq!(accounts.scan().await?, [Some(100)]);
/// let all = seen.propose(&Union(["p1".to_owned()].into())).await?;
/// assert!(all.0.contains("p1"));
/// # node.shutdown().await?;
/// # Ok(())
/// # }
/// ```
impl Builder {
    /// Declares atomic registers over a quorum system, which every process reads and writes like
    /// [`registers`](Builder::registers). Each message carries all registers: names and values have at most
    /// 64 KiB together. A write that would exceed this is refused when its turn comes, as
    /// [`StoreFull`](crate::MemoryError::StoreFull).
    ///
    /// # Errors
    /// [`QuorumSystemSize`](StartError::QuorumSystemSize) when the system is for another number of
    /// processes. Otherwise, when the name is used already.
    pub fn registers_over<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        system: &QuorumSystem,
    ) -> Result<Registers<T>, StartError> {
        self.carried_registers(name.into(), system, None)
    }

    /// Like [`registers`](Builder::registers) with values of raw bytes, or like
    /// [`registers_over`](Builder::registers_over) if `system` is given. For a program that must know which
    /// registers exist and how long their values are: `written` is called on the protocol thread for each
    /// write that this process sees, its own and those of others, in any order, and more than once for
    /// some.
    ///
    /// # Errors
    /// As [`registers_over`](Builder::registers_over).
    pub fn registers_observed(
        &mut self,
        name: &str,
        system: Option<&QuorumSystem>,
        written: Written,
    ) -> Result<Registers<Bytes>, StartError> {
        if let Some(system) = system {
            return self.carried_registers(Coded::raw(name), system, Some(written));
        }
        let declared = Declared {
            limits: self.limits,
            longest: self.longest_register(),
            writer: None,
            codec: Coding::by::<Raw>(),
            wait: Wait::for_majority(),
        };
        let algorithms = Algorithm::MultiWriterMajority.algorithms();
        let wire = move |wiring: Wiring, up| {
            let scope = wiring.scope().at("register");
            Ok(scope.registers(None, Some(written)).attach(up))
        };
        self.wire_registers(name, algorithms, declared, |_, _| Ok(()), wire)
    }

    /// Registers where each message carries all of them.
    fn carried_registers<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        system: &QuorumSystem,
        told: Option<Written>,
    ) -> Result<Registers<T>, StartError> {
        self.check_system(system)?;
        let store = Arc::new(Store::new(STORE));
        let declared = Declared {
            limits: self.limits,
            longest: STORE - ENTRY,
            writer: None,
            codec,
            wait: Wait::for_majority(),
        };
        let algorithms = codec.of(&name, &format!("register:by-quorum-access access:{system}"));
        let (asked, kept, chosen) = (store.clone(), store, system.clone());
        let admit = move |register: &Bytes, action: &register::Action| match action {
            register::Action::Read => Ok(()),
            register::Action::Write(value) => asked.begin(register, value.len()),
        };
        let wire = move |wiring: Wiring, up: Addr<register::Indication>| {
            let ended = kept.clone();
            let up = Addr::new(move |indication: register::Indication| {
                ended.ended(&indication.register, &indication.outcome);
                up.send(indication);
            });
            let written: Written = Arc::new(move |register, tag, length| {
                kept.learn(register, tag, length);
                if let Some(told) = &told {
                    told(register, tag, length);
                }
            });
            let registers = wiring.scope().registers(Some(&chosen), Some(written));
            Ok(registers.attach(up))
        };
        self.wire_registers(&name, &algorithms, declared, admit, wire)
    }

    /// Declares an atomic snapshot over a quorum system: see [`snapshot`](Builder::snapshot). A segment has
    /// at most 64 KiB divided by n, minus 96 bytes.
    ///
    /// # Errors
    /// As [`registers_over`](Builder::registers_over).
    pub fn snapshot_over<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        system: &QuorumSystem,
    ) -> Result<Segments<T>, StartError> {
        self.snapshot_over_of(name.into(), system)
    }

    fn snapshot_over_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        system: &QuorumSystem,
    ) -> Result<Segments<T>, StartError> {
        self.check_system(system)?;
        let operations = Arc::new(Operations::new(self.limits, Sharing::of_a_kind()));
        let (told, chosen) = (operations.clone(), system.clone());
        let algorithms =
            format!("snapshot:from-registers register:by-quorum-access access:{system}");
        self.module(&name, &codec.of(&name, &algorithms), move |wiring| {
            let returned = told.clone();
            let up = Addr::new(move |indication: snapshot::Indication| {
                let snapshot::Indication { operation, outcome } = indication;
                returned.returned(&(), operation, outcome);
            });
            wiring.pressure(Wait::for_majority(), told.pressure());
            let port = wiring.scope().snapshot(Some(&chosen)).attach(up);
            told.open(
                port.with(|begun: Begun<(), snapshot::Action>| snapshot::Request {
                    operation: begun.operation,
                    action: begun.action,
                }),
            );
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(Segments::new(operations, self.segment_over(), codec))
    }

    /// Declares lattice agreement over a quorum system: see
    /// [`lattice_agreement`](Builder::lattice_agreement). The join of all that a process proposes has at
    /// most 64 KiB divided by n, minus 96 bytes.
    ///
    /// # Errors
    /// As [`registers_over`](Builder::registers_over).
    pub fn lattice_agreement_over<L: Lattice>(
        &mut self,
        name: &str,
        system: &QuorumSystem,
    ) -> Result<LatticeProposer<L>, StartError> {
        self.check_system(system)?;
        let proposer = LatticeProposer::new(self.limits, self.segment_over());
        let (told, chosen) = (proposer.operations.clone(), system.clone());
        let algorithms = format!(
            "lattice-agreement:repeated snapshot:from-registers register:by-quorum-access \
             access:{system}"
        );
        self.module(name, &algorithms, move |wiring| {
            let returned = told.clone();
            let up = Addr::new(move |indication: lattice_agreement::Indication<L>| {
                let lattice_agreement::Indication { operation, outcome } = indication;
                returned.returned(&(), operation, outcome);
            });
            wiring.pressure(Wait::for_majority(), told.pressure());
            let port = wiring.scope().lattice_agreement(Some(&chosen), up);
            told.open(port.with(|begun: Begun<(), L>| lattice_agreement::Propose {
                operation: begun.operation,
                value: begun.action,
            }));
        })?;
        self.handles.agreements.push(proposer.operations.clone());
        Ok(proposer)
    }

    /// The longest segment of a snapshot over a quorum system: of each process a register holds its own, and
    /// those of all as it has seen them.
    fn segment_over(&self) -> usize {
        (STORE / self.processes()).saturating_sub(2 * ENTRY + SEGMENT)
    }

    /// Refuses a system for another number of processes. For generalized access the length of datagrams is
    /// checked when the node starts.
    pub(super) fn check_system(&mut self, system: &QuorumSystem) -> Result<(), StartError> {
        let (own, n) = (system.processes(), self.processes());
        if own != n {
            return Err(StartError::QuorumSystemSize { own, n });
        }
        self.floods |= system.is_generalized();
        Ok(())
    }
}
