//! What can go wrong before a node runs.
use crate::peers::PeerAddress;
use quorate_abstractions::perfect::NeedsPerfect;
use quorate_core::{ProcessId, process::BadMembership};
#[cfg(feature = "agreement")]
use quorate_stacks::agreements::UnknownAgreement;
#[cfg(feature = "broadcast")]
use quorate_stacks::broadcasts::UnknownBroadcast;
#[cfg(feature = "membership")]
use quorate_stacks::views::UnknownViews;
#[cfg(feature = "shared-memory")]
use quorate_stacks::{quorum_system::BadQuorumSystem, registers::UnknownRegisters};
use std::{io, net::SocketAddr, sync::Arc};

/// Why a module cannot be declared on a [`Builder`](crate::Builder), or a node not be started.
///
/// That no algorithm has a name, or that a quorum-system file cannot be used, is told where it is read. These errors
/// are here, too, so that whoever reads and declares in one function needs one type.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The list of peers is empty or too long.
    #[error(transparent)]
    Membership(#[from] BadMembership),
    /// The process is not among the peers.
    #[error("{me} is not among the {n} peers")]
    NotMember {
        me: ProcessId,
        /// How many peers there are.
        n: usize,
    },
    /// Two peers have the same address.
    #[error("{one} and {other} have the same address, {address}")]
    SameAddress {
        one: ProcessId,
        /// Another one.
        other: ProcessId,
        /// Their address, or its name.
        address: PeerAddress,
    },
    /// A peer cannot be reached at its address: it is unspecified, or has no port; or a UDP socket of one
    /// family cannot talk to an address of the other.
    #[error("{process} cannot be talked to at {address} from {from}")]
    BadAddress {
        process: ProcessId,
        address: SocketAddr,
        /// The address of this process's own socket.
        from: SocketAddr,
    },
    /// A setting is 0, with which nothing would ever happen, or nothing else.
    #[error("{0} must be above 0")]
    Zero(&'static str),
    /// The longest message would be more than a peer may owe: each would end its stream.
    #[error("the queue limit, {queue} bytes, is below the longest message, {message} bytes")]
    ShortQueue {
        /// How many bytes a peer may owe.
        queue: usize,
        /// How long a message may be.
        message: usize,
    },
    /// A quorum-system file cannot be used.
    #[cfg(feature = "shared-memory")]
    #[error(transparent)]
    QuorumSystem(#[from] BadQuorumSystem),
    /// A quorum system is for another number of processes.
    #[error("the quorum system is for {own} processes, and there are {n} peers")]
    QuorumSystemSize {
        /// How many it has.
        own: usize,
        /// How many there are.
        n: usize,
    },
    /// What goes over fair-loss lanes, in portions, does not fit into the builder's datagrams.
    #[error("a datagram of {datagram} bytes is too short for generalized access: at least {least}")]
    ShortDatagram {
        /// Its length.
        datagram: usize,
        /// The shortest allowed.
        least: usize,
    },
    /// Neither `udp` nor `tcp` nor a socket was given.
    #[error("the node has no socket: say `udp`, `tcp` or `socket`")]
    NoSocket,
    /// The address cannot be bound.
    #[error("cannot bind {address}: {}", cause(.error))]
    Bind {
        address: SocketAddr,
        /// What the operating system says.
        error: Arc<io::Error>,
    },
    /// The node was started outside a Tokio runtime.
    #[error("a node starts within a Tokio runtime: there is none here")]
    NoRuntime,
    /// The operating system refuses a socket's setup, a runtime or a thread.
    #[error("cannot start: {0}")]
    Start(Arc<io::Error>),
    /// The link cannot start.
    #[error("cannot start the link: {0}")]
    Link(#[from] quorate_links::perfect::StartError),
    /// Two modules were declared under one name.
    #[error("the name `{0}` is used twice")]
    UsedTwice(String),
    /// A module's name is empty or contains a slash.
    #[error("`{0}` cannot name a module: it must be one segment of a path")]
    BadName(String),
    /// No broadcast has the name that was asked for.
    #[cfg(feature = "broadcast")]
    #[error(transparent)]
    UnknownBroadcast(#[from] UnknownBroadcast),
    /// No consensus, or no atomic commit, has the name that was asked for.
    #[cfg(feature = "agreement")]
    #[error(transparent)]
    UnknownAgreement(#[from] UnknownAgreement),
    /// No view synchrony has the name that was asked for.
    #[cfg(feature = "membership")]
    #[error(transparent)]
    UnknownViews(#[from] UnknownViews),
    /// No registers have the name that was asked for.
    #[cfg(feature = "shared-memory")]
    #[error(transparent)]
    UnknownRegisters(#[from] UnknownRegisters),
    /// The algorithm needs the perfect failure detector, and the system is not assumed to be
    /// synchronous.
    #[error("{0}: see `assume_synchronous`")]
    NeedsPerfect(#[from] NeedsPerfect),
    /// The registers have one writer, and none was named.
    #[error("the registers `{0}` have one writer: say which process it is")]
    WantsWriter(&'static str),
    /// A writer was named, and the registers are written by all processes.
    #[error("the registers `{0}` have no writer of their own: all processes write them")]
    ManyWriters(&'static str),
}

/// The cause in plain words where there are any.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "address not available on this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
