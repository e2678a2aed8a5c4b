//! What can go wrong for the user of a node.
use crate::peers::PeerAddress;
use quorate_catalogue::{
    agreements::UnknownAgreement,
    broadcasts::{NeedsPerfect, UnknownBroadcast},
    quorum_system::BadQuorumSystem,
    registers::UnknownRegisters,
    views::UnknownViews,
};
use quorate_core::{MessageId, ProcessId, process::BadMembership};
use std::{io, net::SocketAddr, sync::Arc};

/// An error of a node or of a handle on it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list of peers is empty or too long.
    #[error(transparent)]
    Membership(#[from] BadMembership),
    /// The process is not among the peers.
    #[error("{me} is not among the {n} peers")]
    NotMember {
        /// The process.
        me: ProcessId,
        /// How many peers there are.
        n: usize,
    },
    /// Two peers have the same address.
    #[error("{one} and {other} have the same address, {address}")]
    SameAddress {
        /// A process.
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
        /// The process.
        process: ProcessId,
        /// Its address.
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
        /// The address.
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
    /// No broadcast has the name that was asked for.
    #[error(transparent)]
    UnknownBroadcast(#[from] UnknownBroadcast),
    /// The algorithm needs the perfect failure detector, and the system is not assumed to be
    /// synchronous.
    #[error("{0}: see `assume_synchronous`")]
    NeedsPerfect(#[from] NeedsPerfect),
    /// No consensus, or no atomic commit, has the name that was asked for.
    #[error(transparent)]
    UnknownAgreement(#[from] UnknownAgreement),
    /// No view synchrony has the name that was asked for.
    #[error(transparent)]
    UnknownViews(#[from] UnknownViews),
    /// No registers have the name that was asked for.
    #[error(transparent)]
    UnknownRegisters(#[from] UnknownRegisters),
    /// The registers have one writer, and none was named.
    #[error("the registers `{0}` have one writer: say which process it is")]
    WantsWriter(&'static str),
    /// A writer was named, and the registers are written by all processes.
    #[error("the registers `{0}` have no writer of their own: all processes write them")]
    ManyWriters(&'static str),
    /// A module's name is empty or contains a slash.
    #[error("`{0}` cannot name a module: it must be one segment of a path")]
    BadName(String),
    /// The node has not been started yet.
    #[error("the node has not started")]
    NotStarted,
    /// The node has stopped, or is stopping: the message was not broadcast, and nothing was begun.
    #[error("the node has stopped")]
    Stopped,
    /// The node stopped after the message was broadcast, and before it was delivered here; or after an
    /// operation on shared memory was begun, and before it returned. Or this process has
    /// [skipped](Error::Skipped) the message, and does not know whether others have delivered it.
    #[error(
        "outcome unknown: the message was skipped here, or the node stopped before it was delivered, or the operation returned"
    )]
    OutcomeUnknown,
    /// The node could not drain within the deadline.
    #[error("stopped with {pending} own messages not delivered, outcome unknown")]
    NotDrained {
        /// How many own messages were not delivered.
        pending: u64,
    },
    /// This process was started again, and the module has no place for who has lost its memory: the others go
    /// on without it. Nothing was begun.
    #[error("this process was started again: the others go on without it here")]
    StartedAgain,
    /// A state that came cannot be read: the others run another program. The node has stopped.
    #[error("the state that came cannot be read: do all processes run the same program?")]
    UnreadableState,
    /// Too few others are left that can talk to this process: the modules, programs, versions or clusters
    /// differ. It may still be admitted, once they run what it runs.
    #[error("{by} cannot talk to this process, and without it too few are left: {reason}")]
    Refused {
        /// One who cannot.
        by: ProcessId,
        /// Why.
        reason: String,
    },
    /// The others know this process under another incarnation: it may not take part.
    #[error("excluded by {by}: {reason}")]
    Excluded {
        /// Who said so.
        by: ProcessId,
        /// Why.
        reason: String,
    },
    /// The system was [assumed to be synchronous](crate::Builder::assume_synchronous) and was not:
    /// another process has reported this one as crashed, for ever. It has stopped, as if it had.
    #[error("{by} has reported this process as crashed: the system was not synchronous")]
    ReportedCrashed {
        /// Who has.
        by: ProcessId,
    },
    /// This process has proposed, or voted, in this undecided instance before.
    #[error("a second request in instance {instance}")]
    RequestedTwice {
        /// The instance.
        instance: u64,
    },
    /// The instance was decided so long ago that its decision is forgotten; 0 is no instance.
    #[error("instance {instance} is over")]
    InstanceOver {
        /// The instance.
        instance: u64,
    },
    /// The instance is too far above the oldest one that is undecided here.
    #[error("instance {instance} is too far ahead: now at most {most}")]
    InstanceTooFar {
        /// The instance.
        instance: u64,
        /// The highest that is accepted at present.
        most: u64,
    },
    /// The consensus agrees on a bit, and the value is neither `false` nor `true`.
    #[error("this consensus agrees on a bit: propose `false` or `true`")]
    NotABit,
    /// What was decided is no value of the expected type: some process proposes another one.
    #[error(
        "the decision of instance {instance} is undecodable: another process proposes another type"
    )]
    UndecodableDecision {
        /// The instance.
        instance: u64,
    },
    /// The algorithm itself refuses the operation, because it has one of this process in flight that the handle
    /// knows nothing of: this one was not begun. Calls of the handle wait for each other, so that this is a fault
    /// of whoever else gives the algorithm requests.
    #[error(
        "the algorithm has an operation of this process in flight that the handle has not begun"
    )]
    Busy,
    /// Another process alone writes the registers.
    #[error("{writer} alone writes the registers")]
    NotWriter {
        /// The writer.
        writer: ProcessId,
    },
    /// There are no larger timestamps: the register cannot be written any more.
    #[error("the timestamps of the register are used up")]
    Exhausted,
    /// What a register holds is no value of the expected type: some process writes another one.
    #[error("the value of register `{0}` is undecodable: another process writes another type")]
    UndecodableValue(String),
    /// What a process's segment of a snapshot holds is no value of the expected type.
    #[error("the segment of {of} is undecodable: it updates with another type")]
    UndecodableSegment {
        /// The process.
        of: ProcessId,
    },
    /// The message is longer than messages may be.
    #[error("a message of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// Its length, encoded.
        size: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// Messages carry all registers, and these would have more than the limit together: nothing was written.
    #[error(
        "the store is full: over a quorum system messages carry all of it, at most {limit} bytes"
    )]
    StoreFull {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The codec does not support the message's type, or this value of it: what it makes of it could not be
    /// read again.
    #[error("the codec does not support the message's type")]
    Unencodable,
    /// A delivered payload is no message of the expected type: some process broadcasts another one.
    /// The stream goes on.
    #[error("{id} is undecodable: another process broadcasts another type")]
    Undecodable {
        /// The message.
        id: MessageId,
    },
    /// What a source has broadcast is no message of the expected type. The stream goes on.
    #[error("message {number} of {of} is undecodable: it broadcasts another type")]
    UndecodableAnswer {
        /// The source.
        of: ProcessId,
        /// The how-manieth of its messages it is.
        number: u64,
    },
    /// What a process has sent to this one is no message of the expected type. The stream goes on.
    #[error("a message of {from} is undecodable: it sends another type")]
    UndecodableMessage {
        /// The sender.
        from: ProcessId,
    },
    /// The channel to this process, or from it, has lost what waited in it: the stream between the two ended,
    /// because too much was owed or nothing was acknowledged for too long, and another has begun. Some of
    /// what the two broadcast before may never arrive at the other, unless a third one passes it on.
    /// Everything else goes on, the stream of deliveries too.
    #[error(
        "the channel between this process and {peer} has lost what waited in it: messages may be missing"
    )]
    Gap {
        /// The other end.
        peer: ProcessId,
    },
    /// This process was out of reach for so long that the others have forgotten messages that it has not
    /// delivered: it goes on behind them. The stream goes on; which messages of the origin are missing their
    /// numbers tell.
    #[error("the messages of {} before number {} were skipped: nobody keeps them for this process", next.origin.process, next.sequence)]
    Skipped {
        /// Of the origin, what comes from this one on is delivered.
        next: MessageId,
    },
    /// The reader fell behind: more than the limit waited for it. The stream ends.
    #[error("the reader lagged behind: more than {limit} bytes of deliveries were waiting for it")]
    Lagged {
        /// The limit, in bytes.
        limit: usize,
    },
    /// An algorithm panicked.
    #[error("the protocol thread panicked in {0}")]
    Panicked(String),
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
