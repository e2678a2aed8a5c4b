//! The errors in the streams of a node.
use super::Error;
use quorate_core::{MessageId, ProcessId};

/// An item of a stream that is an error: in a stream of deliveries, of messages, of answers, of events of a
/// group, of its members, or of indications of a user's own algorithm.
///
/// After [`Lagged`](StreamError::Lagged) and [`Ended`](StreamError::Ended) the stream ends; after the others it goes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A delivered payload is no message of the expected type: some process broadcasts another type. The
    /// stream goes on.
    #[error("{id} is undecodable: another process broadcasts another type")]
    Undecodable { id: MessageId },
    /// A source has broadcast a payload that is no message of the expected type. The stream goes on.
    #[error("message {number} of {of} is undecodable: it broadcasts another type")]
    UndecodableAnswer {
        /// The source.
        of: ProcessId,
        /// The sequence number of the message.
        number: u64,
    },
    /// A process has sent this one a payload that is no message of the expected type. The stream goes on.
    #[error("a message of {from} is undecodable: it sends another type")]
    UndecodableMessage {
        /// The sender.
        from: ProcessId,
    },
    /// The channel to a peer, or from it, has lost the messages that waited in it: the stream between the
    /// two ended, because too many bytes were not acknowledged, or none were for too long, and another one
    /// has begun. Some messages that one of the two broadcast before may never arrive at the other, unless
    /// a third process passes them on. Everything else goes on, including the stream of deliveries.
    #[error(
        "the channel between this process and {peer} has lost what waited in it: messages may be missing"
    )]
    Gap {
        /// The other end.
        peer: ProcessId,
    },
    /// This process was out of reach for so long that the others have forgotten messages that it has not
    /// delivered, and it skips them. The stream goes on. The sequence numbers tell which messages of the
    /// origin are missing.
    #[error("the messages of {} before number {} were skipped: nobody keeps them for this process", next.origin.process, next.sequence)]
    Skipped {
        /// Messages of the origin are delivered from this one on.
        next: MessageId,
    },
    /// The reader fell behind: more than the limit waited for it. The stream ends.
    #[error("the reader lagged behind: more than {limit} bytes of deliveries were waiting for it")]
    Lagged {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The node has ended, or may not go on, for the given reason. The stream ends.
    #[error(transparent)]
    Ended(#[from] Error),
}
