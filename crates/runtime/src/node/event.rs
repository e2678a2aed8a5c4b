//! What can happen to a node in its cluster.
use quorate_abstractions::pressure::Hindrance;
use quorate_core::{Incarnation, ProcessId, message::Origin};
use std::net::SocketAddr;

/// Something has happened to a node in its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NodeEvent {
    /// This process takes part from now on: enough others have met it, or, if it was started again, it has its
    /// seat and the state.
    Admitted,
    /// This process was started again: it waits for its seat, and for the state of the others.
    Newcomer {
        /// The process that reported this.
        by: ProcessId,
        /// The start that the others know.
        known: Incarnation,
    },
    /// This process has received the state of the others, because it was started again or was too far behind.
    CaughtUp {
        /// The size of the state in bytes.
        bytes: u64,
        /// The position of the state in the order.
        position: u64,
    },
    /// Another process is given the state of this one.
    StateGiven,
    /// This process was given a state that it cannot read, and stops.
    Unreadable,
    /// This process may not take part. This is final.
    Excluded {
        /// Who said so.
        by: ProcessId,
        reason: String,
    },
    /// Data flows between this process and this start of a peer.
    Connected {
        peer: ProcessId,
        /// Which start of it.
        incarnation: Incarnation,
    },
    /// A peer is at this address from now on: its name leads there, or it has proven so in a sealed session.
    Located {
        peer: ProcessId,
        address: SocketAddr,
    },
    /// A peer's name leads nowhere: it is looked up again, and an address that was known stays until then.
    NotLocated { peer: ProcessId, reason: String },
    /// A peer has proven an identity, in the session that its sealed links use from now on.
    Proven {
        peer: ProcessId,
        /// The identity's fingerprint.
        identity: String,
    },
    /// The session with a peer has ended, because its identity is no longer listed.
    NotListed {
        peer: ProcessId,
        /// The identity's fingerprint.
        identity: String,
    },
    /// A process that answers at a peer's address is incompatible.
    Refused { peer: ProcessId, reason: String },
    /// A peer was started again: the start that took part has crashed.
    Replaced {
        peer: ProcessId,
        /// The start that took part.
        known: Incarnation,
        /// The new start.
        newcomer: Incarnation,
    },
    /// The stream to a process has ended, since it owed too much for too long: what was sent to it and not
    /// received is lost.
    StreamEnded {
        /// The process: a peer; oneself, if a process sends too much to itself before it is admitted.
        peer: ProcessId,
    },
    /// A stream to that process has begun anew.
    StreamBegun { peer: ProcessId },
    /// Something that a process sent is missing here for good.
    Gap { peer: ProcessId },
    /// A peer is suspected: it may have crashed, or be cut off from a majority.
    Suspected { peer: ProcessId },
    /// A peer is suspected no longer.
    Restored { peer: ProcessId },
    /// A process has crashed, as the perfect failure detector reports.
    Crashed { process: ProcessId },
    /// A process has said that it is about to stop, and a majority remains without it: it is suspected from now on,
    /// so that nobody waits for it.
    Leaving {
        /// The process; oneself, too.
        process: ProcessId,
    },
    /// A process that was about to stop is not heard any more; or it was started again; or it is needed, since others are
    /// gone.
    LeavingNoLonger {
        /// The process; oneself, too.
        process: ProcessId,
    },
    /// A process is known to reach less than a majority in both directions.
    CutOff {
        /// The process; oneself, too.
        process: ProcessId,
    },
    /// A process is not known to be cut off any more.
    CutOffNoLonger {
        /// The process; oneself, too.
        process: ProcessId,
    },
    /// The trusted leader has changed. It is a hint: see
    /// [`Node::leader_hint`](super::Node::leader_hint).
    Elected { leader: ProcessId },
    /// The order of the group has given seats to other incarnations.
    Seats {
        /// How many replacements there were before: see [`NodeStatus::epoch`](super::NodeStatus::epoch).
        epoch: u64,
        /// The seats whose holder is not their first one: the holder, and how many held it before.
        newcomers: Vec<(Origin, u64)>,
    },
    /// The handles of a module wait for room.
    Slowed {
        module: String,
        /// The peers that slow it.
        by: Hindrance,
    },
    /// A module has room again.
    SlowedNoLonger { module: String },
    /// In a module that runs in synchronous rounds, a message came after the end of its round, and counts as
    /// omitted: the system did not keep the bounds that were assumed.
    Omission {
        /// The module; of a broadcast also its source: `roll/p2`.
        module: String,
        /// The sender of the message.
        from: ProcessId,
        instance: u64,
        /// The round in which it was sent.
        round: u64,
    },
    /// This process wanted to send a message that is longer than the link carries: it went to nobody. The handles
    /// refuse such messages; your own algorithms must stay below the limit.
    TooLong {
        /// The lane: the module's name, and what the module has called it.
        lane: String,
        /// How long the message is, encoded.
        bytes: usize,
        /// The longest allowed: see [`maximum_message`](super::Builder::maximum_message).
        limit: usize,
    },
    /// The reader was slow, and this many events were dropped. Their result is in the
    /// [status](super::NodeEvents::now) after the next event.
    Missed {
        /// How many.
        count: u64,
    },
}
