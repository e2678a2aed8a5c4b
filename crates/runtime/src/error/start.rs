//! The errors before a node runs.
use crate::peers::PeerAddress;
use quorate_abstractions::perfect::NeedsPerfect;
use quorate_core::{ProcessId, process::BadMembership};
#[cfg(feature = "agreement")]
use quorate_stacks::agreements::UnknownAgreement;
#[cfg(feature = "broadcast")]
use quorate_stacks::broadcasts::UnknownBroadcast;
#[cfg(feature = "rounds")]
use quorate_stacks::rounds::BadBounds;
#[cfg(feature = "membership")]
use quorate_stacks::views::UnknownViews;
#[cfg(feature = "shared-memory")]
use quorate_stacks::{quorum_system::BadQuorumSystem, registers::UnknownRegisters};
use std::{io, net::SocketAddr, sync::Arc};

/// The reason why a module cannot be declared on a [`Builder`](crate::Builder), or why a node cannot be
/// started.
///
/// An unknown name of an algorithm, or an unusable quorum-system file, is reported where it is parsed.
/// Those errors are variants here, too, so that a function that parses and declares needs only one error
/// type.
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
        other: ProcessId,
        /// The address, or its name, that both have.
        address: PeerAddress,
    },
    /// A peer cannot be reached at its address: the address is unspecified, or has no port, or a UDP socket
    /// of one IP version cannot send to an address of the other.
    #[error("{process} cannot be talked to at {address} from {from}")]
    BadAddress {
        process: ProcessId,
        address: SocketAddr,
        /// The address of this process's own socket.
        from: SocketAddr,
    },
    /// A setting is 0. With this value nothing would happen, or the thread would do nothing else.
    #[error("{0} must be above 0")]
    Zero(&'static str),
    /// The longest message has more bytes than a peer may leave unacknowledged: each such message would end
    /// its stream.
    #[error("the queue limit, {queue} bytes, is below the longest message, {message} bytes")]
    ShortQueue {
        /// How many bytes a peer may leave unacknowledged.
        queue: usize,
        /// The longest message, in bytes.
        message: usize,
    },
    /// A quorum-system file cannot be used.
    #[cfg(feature = "shared-memory")]
    #[error(transparent)]
    QuorumSystem(#[from] BadQuorumSystem),
    /// A quorum system is for another number of processes.
    #[error("the quorum system is for {own} processes, and there are {n} peers")]
    QuorumSystemSize {
        /// The number of processes of the system.
        own: usize,
        /// The number of peers.
        n: usize,
    },
    /// The builder's datagrams are too short for the portions in which generalized access sends its
    /// messages over fair-loss lanes.
    #[error("a datagram of {datagram} bytes is too short for generalized access: at least {least}")]
    ShortDatagram {
        /// The builder's datagram length, in bytes.
        datagram: usize,
        /// The shortest allowed, in bytes.
        least: usize,
    },
    /// Neither `udp` nor `tcp` nor a socket was given.
    #[error("the node has no socket: say `udp`, `tcp` or `socket`")]
    NoSocket,
    /// The address cannot be bound.
    #[error("cannot bind {address}: {}", cause(.error))]
    Bind {
        address: SocketAddr,
        /// The error of the operating system.
        error: Arc<io::Error>,
    },
    /// Without keys, only a loopback address may be bound: whoever reaches another one could speak for a member.
    #[error(
        "{address} is no loopback address, and the node has no keys: give it keys, or say `insecure`"
    )]
    Unprotected {
        /// The address that is bound.
        address: SocketAddr,
    },
    /// The keys are not those of this cluster.
    #[cfg(feature = "sealed")]
    #[error(transparent)]
    Keys(#[from] crate::node::BadKeys),
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
    /// The module runs in synchronous rounds, and the system is not assumed to be synchronous.
    #[error("`{0}` runs in rounds, which only a synchronous system has: see `assume_synchronous`")]
    NeedsRounds(&'static str),
    /// There are no rounds with these bounds.
    #[cfg(feature = "rounds")]
    #[error(transparent)]
    BadRounds(#[from] BadBounds),
    /// The registers have one writer, and none was named.
    #[error("the registers `{0}` have one writer: say which process it is")]
    WantsWriter(&'static str),
    /// A writer was named, and the registers are written by all processes.
    #[error("the registers `{0}` have no writer of their own: all processes write them")]
    ManyWriters(&'static str),
}

/// The cause in plain words, if there are any.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "address not available on this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
