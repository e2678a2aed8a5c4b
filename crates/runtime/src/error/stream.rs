//! What can go wrong with what a node delivers.
use super::Error;
use quorate_core::{MessageId, ProcessId};

/// What comes in a stream in place of an item: of deliveries, of messages, of answers, of what happens in a group, of
/// its members, or of what an algorithm of one's own indicates.
///
/// After [`Lagged`](StreamError::Lagged) and [`Ended`](StreamError::Ended) the stream ends; after the others it goes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A delivered payload is no message of the expected type: some process broadcasts another one.
    /// The stream goes on.
    #[error("{id} is undecodable: another process broadcasts another type")]
    Undecodable { id: MessageId },
    /// What a source has broadcast is no message of the expected type. The stream goes on.
    #[error("message {number} of {of} is undecodable: it broadcasts another type")]
    UndecodableAnswer {
        /// The source.
        of: ProcessId,
        /// The sequence number of the message.
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
    /// The node has ended, or may not go on, for this reason. The stream ends.
    #[error(transparent)]
    Ended(#[from] Error),
}
